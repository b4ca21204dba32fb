package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/proc"
)

// compose reads compose.yaml by the library of the Compose specification.
func compose(t *testing.T) *types.Project {
	t.Helper()
	project, err := readCompose(t, "ADMIN_TOKEN=0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func readCompose(t *testing.T, env ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func TestComposeNamesWhatIsThere(t *testing.T) {
	project := compose(t)
	for _, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", service.Name, err)
			}
		}
		if service.Build == nil {
			continue
		}
		dockerfile, err := os.ReadFile(filepath.Join(service.Build.Context, service.Build.Dockerfile))
		if target := service.Build.Target; err != nil || !strings.Contains(string(dockerfile), " AS "+target+"\n") &&
			target != "" {
			t.Errorf("%s is built by %s, target %q: %v", service.Name, service.Build.Dockerfile, target, err)
		}
	}
	if _, err := readCompose(t); err == nil || !strings.Contains(err.Error(), "openssl rand -hex 16") {
		t.Errorf("without ADMIN_TOKEN it says %v", err)
	}
}

// TestTheSettingsOfComposeAreValid: each is a setting, and together they make sense. A container is not killed before
// its drain has ended.
func TestTheSettingsOfComposeAreValid(t *testing.T) {
	model, err := config.Model()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"GOMEMLIMIT": true}
	for _, flag := range model.Flags {
		if flag.Group != nil {
			known[strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))] = true
		}
	}
	project := compose(t)
	for _, name := range []string{"gateway-1", "gateway-2"} {
		service := project.Services[name]
		env := service.Environment.Resolve(func(string) (string, bool) { return "", false }).ToMapping()
		for variable := range env {
			if !known[variable] {
				t.Errorf("%s sets %s, which is no setting", name, variable)
			}
		}
		line, err := config.Parse(nil, func(name string) string { return env[name] }, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		needs := line.HTTP.DrainDelay + line.HTTP.ShutdownTimeout + 4*line.Redis.Timeout
		if grace := time.Duration(*service.StopGracePeriod); grace <= needs {
			t.Errorf("%s is killed after %v, and may drain for %v", name, grace, needs)
		}
		proxy := project.Services["nginx"].Networks["default"].Ipv4Address
		if line.HTTP.TrustedProxies != proxy {
			t.Errorf("%s trusts %s, and nginx is at %s", name, line.HTTP.TrustedProxies, proxy)
		}
	}
}

// TestTheTopologyOfComposeAsProcesses starts the services of compose.yaml, with their commands, settings and files, as
// processes, each at a free port of loopback in place of its name and port. A storm through nginx books once, and
// Prometheus says so.
func TestTheTopologyOfComposeAsProcesses(t *testing.T) {
	t.Parallel()
	project, folder := compose(t), t.TempDir()
	places := make(map[string]string)
	at := func(place string) (address string) { // gateway-1:8000, for one
		if places[place] == "" {
			places[place] = "127.0.0.1:" + freePort(t)
		}
		return places[place]
	}
	place := regexp.MustCompile(`\b(` + strings.Join(slices.Collect(maps.Keys(project.Services)), "|") + `):\d+`)
	elsewhere := strings.NewReplacer(project.Services["nginx"].Networks["default"].Ipv4Address, "127.0.0.1",
		"/etc/prometheus", folder+"/prometheus", "=/prometheus", "="+folder+"/series")
	located := func(text string) string { return place.ReplaceAllStringFunc(elsewhere.Replace(text), at) }
	command := func(service string) (words []string) {
		for _, word := range project.Services[service].Command {
			words = append(words, located(word))
		}
		return words
	}

	_, port, _ := strings.Cut(at("redis:6379"), ":")
	start(t, proc.Listens(at("redis:6379")), nil,
		append(command("redis"), "--bind", "127.0.0.1", "--port", port, "--dir", folder)...)
	bookings := filepath.Join(folder, "bookings")
	backendCommand := append([]string{backend}, command("backend")...)
	backendCommand[slices.Index(backendCommand, ":9000")] = at("backend:9000")
	start(t, proc.Listens(at("backend:9000")), nil, append(backendCommand, "-dir", bookings)...)
	for _, name := range []string{"gateway-1", "gateway-2"} {
		env := []string{"LISTEN=" + at(name+":8000")}
		for variable, value := range project.Services[name].Environment {
			if variable == "ADMIN_LISTEN" {
				*value = name + *value
			}
			env = append(env, variable+"="+located(*value))
		}
		start(t, proc.Says200("http://"+at(name+":8000")+"/readyz"), env, program)
	}
	proxied := startNginxAt(t, at("nginx:8080"), []string{at("gateway-1:8000"), at("gateway-2:8000")})
	if err := os.Mkdir(folder+"/prometheus", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prometheus.yaml", "alerts.yaml"} {
		source, err := os.ReadFile(filepath.Join("prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(located(string(source)), "5s", "1s")
		if err := os.WriteFile(filepath.Join(folder, "prometheus", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prometheus := "http://" + at("prometheus:9090")
	start(t, proc.Says200(prometheus+"/-/ready"), nil, append([]string{"prometheus"},
		append(command("prometheus"), "--web.listen-address="+at("prometheus:9090"))...)...)

	const deliveries = 200
	var sent sync.WaitGroup
	for range deliveries {
		sent.Go(func() {
			if status, body := post(proxied, "storm"); status != "200 OK" && status != "201 Created" {
				t.Errorf("answer %s %s", status, body)
			}
		})
	}
	sent.Wait()
	if booked, err := filepath.Glob(bookings + "/*.json"); err != nil || len(booked) != 1 {
		t.Errorf("the backend has the bookings %q, %v", booked, err)
	}
	for query, want := range map[string]string{
		`sum(oncegate_executions_total)`:     "1",
		`sum(oncegate_requests_total)`:       fmt.Sprint(deliveries),
		`max(oncegate_cluster_stored_total)`: "1",
		`count(up{job="oncegate"} == 1)`:     "2",
	} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			got, err := ask(prometheus, query)
			if got == want {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("Prometheus says %s to %s (%v), want %s", got, query, err, want)
				break
			}
		}
	}
}

// ask returns the value of a query of Prometheus that has one.
func ask(prometheus, query string) (value string, err error) {
	reply, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return "", err
	}
	defer func() { _ = reply.Body.Close() }()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil {
		return "", err
	}
	if len(answer.Data.Result) != 1 {
		return fmt.Sprintf("%d values", len(answer.Data.Result)), nil
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
}

// TestTheFilesOfPrometheusAndGrafanaAreRead by promtool, and as JSON.
func TestTheFilesOfPrometheusAndGrafanaAreRead(t *testing.T) {
	if out, err := exec.Command("promtool", "check", "config", "prometheus/prometheus.yaml").CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	project := compose(t)
	grafana := project.Services["grafana"]
	provider, err := os.ReadFile("grafana/provisioning/dashboards/oncegate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, volume := range grafana.Volumes {
		at := filepath.Dir(volume.Target)
		if filepath.Ext(volume.Target) == ".json" && !strings.Contains(string(provider), "path: "+at+"\n") {
			t.Errorf("Grafana does not look for dashboards where %s is", volume.Target)
		}
	}
}
