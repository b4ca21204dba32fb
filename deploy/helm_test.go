package deploy_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/proc"
)

const chart = "helm/oncegate"

// installations are values of the chart, each with the objects that it adds to a Deployment, a ConfigMap and a Service.
var installations = map[string]struct {
	values string
	brings []string
}{
	"the defaults": {
		values: `existingSecret: oncegate`,
		brings: []string{"NetworkPolicy/oncegate", "NetworkPolicy/oncegate-redis", "PodDisruptionBudget/oncegate",
			"Service/oncegate-redis", "StatefulSet/oncegate-redis"},
	},
	"own Redis with a password, TLS, a tenant": {
		values: `
existingSecret: oncegate
tls: {existingSecret: tls}
redis: {existingSecret: redis, existingSecretPasswordKey: password}
settings:
  tenants:
    acme: {api_keys_file: /run/secrets/acme/keys, upstream: {url: "https://acme.example/bookings"}}
extraVolumes: [{name: acme, secret: {secretName: acme}}]
extraVolumeMounts: [{name: acme, mountPath: /run/secrets/acme, readOnly: true}]
resources: {limits: {memory: 2Gi}}
`,
		brings: []string{"NetworkPolicy/oncegate", "NetworkPolicy/oncegate-redis", "PodDisruptionBudget/oncegate",
			"Service/oncegate-redis", "StatefulSet/oncegate-redis"},
	},
	"Sentinels, an Ingress, all of Cognigy's monitoring": {
		values: `
existingSecret: oncegate
settings: {upstream: {url: "https://backend.example/bookings"}, in_doubt: stop}
redis:
  enabled: false
  url: redis://sentinel-1:26379/0?master_set=mymaster&addr=sentinel-2:26379
  existingSecret: redis
  existingSecretSentinelPasswordKey: sentinel
ingress: {enabled: true, host: hooks.example, className: traefik, tls: {existingSecret: hooks-tls}}
networkPolicy: {callers: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}]}
podMonitors: {enabled: true, namespace: monitoring}
rules:
  enabled: true
  oncegate:
    OncegateRedisAway: {severity: warning, timeout: 2m}
    OncegateSettling: {enabled: false}
    OncegateExecutionsFailing: {threshold: 0.25}
dashboards: {enabled: true}
`,
		brings: []string{"ConfigMap/oncegate-dashboard", "Ingress/oncegate", "NetworkPolicy/oncegate",
			"PodDisruptionBudget/oncegate", "PodMonitor/oncegate", "PrometheusRule/oncegate"},
	},
	"a Redis of one's own, keys, autoscaling, a long drain": {
		values: `
existingSecret: oncegate
existingSecretApiKeysKey: api-keys
redis: {enabled: false, existingSecret: redis, existingSecretUrlKey: url}
autoscaling: {enabled: true}
podDisruptionBudget: {enabled: false}
networkPolicy: {enabled: false}
drainDelaySeconds: 30
shutdownTimeoutSeconds: 120
settings: {execution_timeout: 110s}
`,
		brings: []string{"HorizontalPodAutoscaler/oncegate"},
	},
}

// secrets stand in for the values of the Secrets that the chart refers to.
var secrets = map[string]string{
	"admin-token": "0123456789abcdef", "api-keys": "a-key", "password": "p", "sentinel": "s", "url": "redis://redis:6379",
}

// render renders the chart as helm does, and decodes each object strictly into its type of the Kubernetes API.
func render(t *testing.T, values string) (objects map[string]any, err error) {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	options := common.ReleaseOptions{Name: "oncegate", Namespace: "hooks", IsInstall: true, Revision: 1}
	rendering, err := util.ToRenderValues(loaded, valuesOf(t, values), options, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(loaded, rendering)
	if err != nil {
		return nil, err
	}
	objects = make(map[string]any)
	for file, text := range rendered {
		if filepath.Ext(file) != ".yaml" {
			continue
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			name, object := decode(t, file, document)
			if objects[name] != nil {
				t.Errorf("%s has a second %s", file, name)
			}
			objects[name] = object
		}
	}
	return objects, nil
}

func valuesOf(t *testing.T, text string) (values map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func decode(t *testing.T, file, document string) (name string, object any) {
	t.Helper()
	var head struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	object, known := map[string]any{
		"apps/v1 Deployment":                      new(apps.Deployment),
		"apps/v1 StatefulSet":                     new(apps.StatefulSet),
		"autoscaling/v2 HorizontalPodAutoscaler":  new(autoscaling.HorizontalPodAutoscaler),
		"monitoring.coreos.com/v1 PodMonitor":     new(monitoring.PodMonitor),
		"monitoring.coreos.com/v1 PrometheusRule": new(monitoring.PrometheusRule),
		"networking.k8s.io/v1 Ingress":            new(networking.Ingress),
		"networking.k8s.io/v1 NetworkPolicy":      new(networking.NetworkPolicy),
		"policy/v1 PodDisruptionBudget":           new(policy.PodDisruptionBudget),
		"v1 ConfigMap":                            new(core.ConfigMap),
		"v1 Service":                              new(core.Service),
	}[head.APIVersion+" "+head.Kind]
	if !known {
		t.Fatalf("%s has a %s %s, which this test does not know", file, head.APIVersion, head.Kind)
	}
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	return head.Kind + "/" + head.Metadata.Name, object
}

func TestTheChartRenders(t *testing.T) {
	for name, c := range installations {
		t.Run(name, func(t *testing.T) {
			for _, message := range lint.RunAll(chart, valuesOf(t, c.values), "hooks").Messages {
				if message.Severity > support.InfoSev {
					t.Errorf("helm lint: %s", message)
				}
			}
			objects, err := render(t, c.values)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]string{"Deployment/oncegate", "ConfigMap/oncegate", "Service/oncegate"}, c.brings...)
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
				t.Errorf("it brings %q, want %q", got, want)
			}
			gateway := objects["Deployment/oncegate"].(*apps.Deployment)
			selects(t, gateway.Spec.Selector.MatchLabels, gateway.Spec.Template.Labels)
			isConfined(t, gateway.Spec.Template.Spec)
			drains(t, gateway.Spec.Template.Spec, settings(t, objects))
			limitsMemory(t, gateway.Spec.Template.Spec.Containers[0])
			isProbed(t, gateway.Spec.Template.Spec.Containers[0])
			selects(t, objects["Service/oncegate"].(*core.Service).Spec.Selector, gateway.Spec.Template.Labels)
			if redis, ok := objects["StatefulSet/oncegate-redis"].(*apps.StatefulSet); ok {
				selects(t, redis.Spec.Selector.MatchLabels, redis.Spec.Template.Labels)
				isConfined(t, redis.Spec.Template.Spec)
				if maps.Equal(redis.Spec.Selector.MatchLabels, gateway.Spec.Selector.MatchLabels) {
					t.Error("Redis and the gateways are selected by the same labels")
				}
			}
			if (gateway.Spec.Replicas == nil) != (objects["HorizontalPodAutoscaler/oncegate"] != nil) {
				t.Errorf("replicas %v beside autoscaling", gateway.Spec.Replicas)
			}
		})
	}
}

func selects(t *testing.T, selector, labels map[string]string) {
	t.Helper()
	for key, value := range selector {
		if labels[key] != value {
			t.Errorf("the selector wants %s=%s, and the pods have %v", key, value, labels)
		}
	}
}

// settings are those of the pods, validated as the gateway does.
func settings(t *testing.T, objects map[string]any) *config.CommandLine {
	t.Helper()
	container := objects["Deployment/oncegate"].(*apps.Deployment).Spec.Template.Spec.Containers[0]
	env := make(map[string]string)
	for _, variable := range container.Env {
		env[variable.Name] = variable.Value
		if from := variable.ValueFrom; from != nil {
			env[variable.Name] = secrets[from.SecretKeyRef.Key]
			if from.SecretKeyRef.Name == "" || env[variable.Name] == "" {
				t.Errorf("%s comes from %v", variable.Name, from.SecretKeyRef)
			}
		}
	}
	folder := t.TempDir()
	text := objects["ConfigMap/oncegate"].(*core.ConfigMap).Data["oncegate.yaml"]
	text = strings.ReplaceAll(text, "/run/secrets/acme/keys", folder+"/keys")
	for file, content := range map[string]string{"oncegate.yaml": text, "keys": "a-key-of-acme"} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env["CONFIG"] = folder + "/" + filepath.Base(env["CONFIG"])
	if misspelt, err := config.Misspellings(names(env)); err != nil || len(misspelt) > 0 {
		t.Errorf("misspelt: %v, %v", misspelt, err)
	}
	line, err := config.Parse(nil, func(name string) string { return env[name] }, "")
	if err != nil {
		t.Fatalf("the gateway would not start: %v\n%v\n%s", err, env, text)
	}
	if line.Redis.Embedded() {
		t.Error("the store is embedded")
	}
	return line
}

func names(env map[string]string) (entries []string) {
	for name, value := range env {
		entries = append(entries, name+"="+value)
	}
	return entries
}

// isConfined wants pods that may do nothing beside their work.
func isConfined(t *testing.T, pod core.PodSpec) {
	t.Helper()
	falsely := new(bool)
	if !reflect.DeepEqual(pod.EnableServiceLinks, falsely) ||
		!reflect.DeepEqual(pod.AutomountServiceAccountToken, falsely) {
		t.Error("service links, or a token of the API, are mounted")
	}
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod runs as %+v", s)
	}
	for _, container := range pod.Containers {
		s := container.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			!reflect.DeepEqual(s.AllowPrivilegeEscalation, falsely) ||
			!slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || s.Privileged != nil {
			t.Errorf("%s may do %+v", container.Name, s)
		}
		for _, variable := range container.Env {
			if secret := regexp.MustCompile(`PASSWORD|TOKEN|KEYS|AUTH`); secret.MatchString(variable.Name) &&
				variable.ValueFrom == nil {
				t.Errorf("%s is no reference to a Secret", variable.Name)
			}
		}
	}
}

// drains wants pods that are killed only when their settings say that all has ended.
func drains(t *testing.T, pod core.PodSpec, line *config.CommandLine) {
	t.Helper()
	needs := line.HTTP.DrainDelay + line.HTTP.ShutdownTimeout + 4*line.Redis.Timeout
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= needs {
		t.Errorf("pods are killed after %v, and may drain for %v", grace, needs)
	}
	if line.HTTP.DrainDelay < 5*time.Second {
		t.Errorf("DRAIN_DELAY is %v: a load balancer needs longer to go elsewhere", line.HTTP.DrainDelay)
	}
	if line.HTTP.ShutdownTimeout < line.DrainNeeds() {
		t.Errorf("SHUTDOWN_TIMEOUT is %v, and an execution may take %v", line.HTTP.ShutdownTimeout, line.DrainNeeds())
	}
}

// limitsMemory wants a GOMEMLIMIT of nine tenths of the container's memory.
func limitsMemory(t *testing.T, container core.Container) {
	t.Helper()
	for _, variable := range container.Env {
		if variable.Name != "GOMEMLIMIT" {
			continue
		}
		mebibytes, err := strconv.Atoi(strings.TrimSuffix(variable.Value, "MiB"))
		limit := container.Resources.Limits.Memory().Value() >> 20
		if share := float64(mebibytes) / float64(limit); err != nil || share < 0.89 || share > 0.9 {
			t.Errorf("GOMEMLIMIT is %s of %d MiB", variable.Value, limit)
		}
		return
	}
	t.Error("GOMEMLIMIT is missing")
}

func isProbed(t *testing.T, container core.Container) {
	t.Helper()
	scheme := core.URISchemeHTTP
	for _, variable := range container.Env {
		if variable.Name == "TLS_CERT" {
			scheme = core.URISchemeHTTPS
		}
	}
	for path, probe := range map[string]*core.Probe{
		"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe,
	} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Scheme != scheme ||
			probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("%s is probed by %+v", path, probe)
		}
	}
	if container.StartupProbe == nil {
		t.Error("a first start that waits for Redis is killed")
	}
}

// TestTheChartLetsNothingElseIn: callers reach the port of webhooks, watchers that of metrics, gateways their Redis.
func TestTheChartLetsNothingElseIn(t *testing.T) {
	objects, err := render(t, installations["Sentinels, an Ingress, all of Cognigy's monitoring"].values)
	if err != nil {
		t.Fatal(err)
	}
	gateway := objects["NetworkPolicy/oncegate"].(*networking.NetworkPolicy).Spec
	selects(t, gateway.PodSelector.MatchLabels, objects["Deployment/oncegate"].(*apps.Deployment).Spec.Template.Labels)
	if len(gateway.Ingress) != 2 || !slices.Equal(gateway.PolicyTypes, []networking.PolicyType{"Ingress"}) {
		t.Fatalf("the policy has %+v", gateway)
	}
	callers, watchers := gateway.Ingress[0], gateway.Ingress[1]
	if len(callers.From) != 1 ||
		callers.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "traefik" ||
		len(callers.Ports) != 1 || callers.Ports[0].Port.StrVal != "http" {
		t.Errorf("callers: %+v", callers)
	}
	if len(watchers.From) != 1 || len(watchers.Ports) != 1 || watchers.Ports[0].Port.StrVal != "metrics" {
		t.Errorf("watchers: %+v", watchers)
	}
	objects, err = render(t, installations["the defaults"].values)
	if err != nil {
		t.Fatal(err)
	}
	redis := objects["NetworkPolicy/oncegate-redis"].(*networking.NetworkPolicy).Spec
	if len(redis.Ingress) != 1 || len(redis.Ingress[0].From) != 1 {
		t.Fatalf("Redis lets in %+v", redis.Ingress)
	}
	pods := objects["Deployment/oncegate"].(*apps.Deployment).Spec.Template.Labels
	selects(t, redis.Ingress[0].From[0].PodSelector.MatchLabels, pods)
	own := objects["NetworkPolicy/oncegate"].(*networking.NetworkPolicy).Spec.Ingress[0].From
	if len(own) != 1 || own[0].PodSelector == nil || own[0].NamespaceSelector != nil {
		t.Errorf("by default it lets in %+v", own)
	}
}

// TestTheRedisOfTheChartStarts with its own arguments, keeps its data in a file, and never evicts.
func TestTheRedisOfTheChartStarts(t *testing.T) {
	objects, err := render(t, installations["the defaults"].values)
	if err != nil {
		t.Fatal(err)
	}
	redis := objects["StatefulSet/oncegate-redis"].(*apps.StatefulSet).Spec
	container := redis.Template.Spec.Containers[0]
	if len(redis.VolumeClaimTemplates) != 1 || container.VolumeMounts[0].Name != redis.VolumeClaimTemplates[0].Name ||
		container.VolumeMounts[0].MountPath != "/data" {
		t.Errorf("its data is at %+v", container.VolumeMounts)
	}
	folder, port := t.TempDir(), freePort(t)
	args := slices.Clone(container.Args)
	args[slices.Index(args, "/data")] = folder
	start(t, proc.Listens("127.0.0.1:"+port), nil,
		slices.Concat(container.Command, args, []string{"--bind", "127.0.0.1", "--port", port})...)
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "",
		"maxmemory": "734003200",
	} {
		out, err := exec.Command("redis-cli", "-p", port, "config", "get", name).Output()
		if got := strings.TrimSuffix(strings.TrimPrefix(string(out), name+"\n"), "\n"); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	limit := container.Resources.Limits.Memory().Value()
	if 734003200 > limit*7/10 {
		t.Errorf("maxmemory leaves too little of %d for a rewrite of the file", limit)
	}
}

// TestTheChartMonitorsAsCognigyDoes: a PodMonitor on the port metrics, alerts that can be changed one by one, and a
// dashboard that Grafana's sidecar finds.
func TestTheChartMonitorsAsCognigyDoes(t *testing.T) {
	objects, err := render(t, installations["Sentinels, an Ingress, all of Cognigy's monitoring"].values)
	if err != nil {
		t.Fatal(err)
	}
	monitor := objects["PodMonitor/oncegate"].(*monitoring.PodMonitor)
	pods := objects["Deployment/oncegate"].(*apps.Deployment).Spec.Template
	selects(t, monitor.Spec.Selector.MatchLabels, pods.Labels)
	if monitor.Namespace != "monitoring" || !slices.Equal(monitor.Spec.NamespaceSelector.MatchNames, []string{"hooks"}) ||
		*monitor.Spec.PodMetricsEndpoints[0].Port != "metrics" {
		t.Errorf("the PodMonitor is %+v", monitor.Spec)
	}
	ports := pods.Spec.Containers[0].Ports
	if !slices.ContainsFunc(ports, func(p core.ContainerPort) bool { return p.Name == "metrics" }) {
		t.Error("no port is named metrics")
	}

	source, err := os.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups := objects["PrometheusRule/oncegate"].(*monitoring.PrometheusRule).Spec.Groups
	if len(groups) != 1 || groups[0].Name != "oncegate.alert.gateway" {
		t.Fatalf("the groups are %+v", groups)
	}
	if all := strings.Count(string(source), "- alert:"); len(groups[0].Rules) != all-1 {
		t.Errorf("%d of %d alerts are there, but one was switched off", len(groups[0].Rules), all)
	}
	pages, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range groups[0].Rules {
		_, runbook, _ := strings.Cut(rule.Annotations["runbook_url"], "/docs/runbooks.md#")
		if !strings.Contains(strings.ToLower(string(pages)), "\n## "+runbook+"\n") {
			t.Errorf("%s leads to no runbook: %s", rule.Alert, rule.Annotations["runbook_url"])
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.For == nil {
			t.Errorf("%s lacks something: %+v", rule.Alert, rule)
		}
		if rule.Alert == "OncegateRedisAway" && (rule.Labels["severity"] != "warning" || *rule.For != "2m") {
			t.Errorf("%s was changed to %v, %v", rule.Alert, rule.Labels, *rule.For)
		}
	}
	failing := slices.IndexFunc(groups[0].Rules, func(r monitoring.Rule) bool {
		return r.Alert == "OncegateExecutionsFailing"
	})
	if expr := groups[0].Rules[failing].Expr.StrVal; !strings.Contains(expr, "> 0.25 * sum") ||
		!strings.Contains(expr, "> 3") {
		t.Errorf("with another threshold it is %s", expr)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	rules, err := yaml.Marshal(objects["PrometheusRule/oncegate"].(*monitoring.PrometheusRule).Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	dashboard := objects["ConfigMap/oncegate-dashboard"].(*core.ConfigMap)
	drawn, err := os.ReadFile("grafana/oncegate.json")
	if err != nil || dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Data["oncegate.json"] != string(drawn) {
		t.Errorf("the dashboard has the labels %v and %d bytes: %v", dashboard.Labels,
			len(dashboard.Data["oncegate.json"]), err)
	}
}

func TestTheChartRefusesWhatMakesNoSense(t *testing.T) {
	for values, want := range map[string]string{
		``: "existingSecret is missing",
		`{existingSecret: s, redis: {url: "redis://r:6379"}}`:                                        "set it to false",
		`{existingSecret: s, redis: {enabled: false}}`:                                               "no Redis",
		`{existingSecret: s, redis: {existingSecretPasswordKey: password}}`:                          "a key of it is named",
		`{existingSecret: s, ingress: {enabled: true, host: h}}`:                                     "networkPolicy.callers",
		`{existingSecret: s, existingSecretApiKeysKey: k, settings: {tenants: {}}}`:                  "api_keys_file",
		`{existingSecret: s, settings: {drain_delay: 1s}}`:                                           "drainDelaySeconds",
		`{existingSecret: s, resources: {limits: {memory: "536870912"}}}`:                            "must be in Mi or Gi",
		`{existingSecret: s, ingress: {enabled: true}, networkPolicy: {enabled: false}}`:             "ingress.host",
		`{existingSecret: s, rules: {enabled: true, oncegate: {OncegateRedisAway: {threshold: 2}}}}`: "compares with none",
		`{existingSecret: s, rules: {enabled: true, oncegate: {RedisAway: {enabled: false}}}}`:       "no alert",
		`{existingSecret: s, redis: {enabled: false, url: "redis://:p@r:6379"}}`:                     "holds a password",
		`{existingSecret: s, settings: {inbound_api_keys: [k]}}`:                                     "is a secret",
		`{existingSecret: s, settings: {upstream: {headers: "X-Key: k"}}}`:                           "upstream_headers is",
		`{existingSecret: s, settings: {tenants: {a: {api_keys: [k]}}}}`:                             "tenants.a.api_keys is",
		`{existingSecret: s, settings: {tenants: {a: {signature: {secret: k}}}}}`:                    "signature_secret",
		`{existingSecret: s, replicas: 3}`:                                                           "additional properties",
		`{existingSecret: s, replicaCount: two}`:                                                     "replicaCount",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: it says %v, want %q", values, err, want)
		}
	}
}
