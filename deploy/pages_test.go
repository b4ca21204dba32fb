package deploy_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/proc"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheCommandsOfThePagesExist: targets of make, files of this folder, and commands of the program.
func TestTheCommandsOfThePagesExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile("(?m)(?:^|`|&& )make ([a-z-]+)")
	paths := regexp.MustCompile(`\bdeploy/[\w./-]*\w`)
	commands := regexp.MustCompile("(?m)(?:^(?:sudo )?|-- /usr/bin/|`)oncegate( [^#`\n]+)?")
	for _, name := range []string{"install.md", "production.md"} {
		text, found := page(t, name), 0
		for _, target := range targets.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+target[1]+": ##") {
				t.Errorf("%s: make %s is no target", name, target[1])
			}
		}
		for _, path := range paths.FindAllString(text, -1) {
			if _, err := os.Stat("../" + path); err != nil && path != "deployment/oncegate" {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, command := range commands.FindAllStringSubmatch(text, -1) {
			args := strings.Fields(strings.ReplaceAll(command[1], "/etc/oncegate", "systemd"))
			_, err := config.Parse(args, func(string) string { return "" }, "",
				kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
			if err != nil {
				t.Errorf("%s: oncegate%s: %v", name, command[1], err)
			}
			found++
		}
		if found < 2 {
			t.Errorf("%s has %d commands of the program", name, found)
		}
	}
}

// TestTheInstallationOfThePageStarts renders the chart with the values of `helm install`, and reads its settings.
func TestTheInstallationOfThePageStarts(t *testing.T) {
	_, command, _ := strings.Cut(page(t, "install.md"), "helm install ")
	command, _, _ = strings.Cut(command, "```")
	var values strings.Builder
	for _, set := range regexp.MustCompile(`--set (\S+)=(\S+)`).FindAllStringSubmatch(command, -1) {
		path := strings.Split(set[1], ".")
		values.WriteString(strings.Join(path, ": {") + ": " + set[2] + strings.Repeat("}", len(path)-1) + "\n")
	}
	objects, err := render(t, values.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, values.String())
	}
	if line := settings(t, objects); line.Upstream.URL == "" || len(line.HTTP.APIKeys()) != 1 {
		t.Errorf("the backend is %q, with %d keys", line.Upstream.URL, len(line.HTTP.APIKeys()))
	}
}

// TestTheRedisOfProductionKeepsItsUser and its records: it starts a Redis on the files of docs/production.md, and a
// gateway as the user that they name, and both of them again.
func TestTheRedisOfProductionKeepsItsUser(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)\n```\n(.*?)```\n").FindAllStringSubmatch(page(t, "production.md"), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks", len(blocks))
	}
	// The user has every right that docs/redis.md says the gateway needs.
	line := regexp.MustCompile(`ACL SETUSER oncegate on >PASSWORD (.*~cognigy:.*)`)
	for right := range strings.FieldsSeq(line.FindStringSubmatch(page(t, "redis.md"))[1]) {
		if !strings.Contains(blocks[1][1], " "+right+" ") {
			t.Errorf("the user lacks %s", right)
		}
	}
	folder, port := t.TempDir(), freePort(t)
	located := strings.NewReplacer("/etc/redis", folder, "0.0.0.0", "127.0.0.1", ">PASSWORD", ">a-password")
	for name, text := range map[string]string{"redis.conf": blocks[0][1], "users.acl": blocks[1][1]} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(located.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	redis := func() *proc.Process {
		return start(t, proc.Listens("127.0.0.1:"+port), nil, "redis-server", folder+"/redis.conf", "--port", port,
			"--dir", folder)
	}
	first := redis()
	g := startGateway(t, program, "REDIS_URL=redis://oncegate:a-password@127.0.0.1:"+port)
	if status, body := post("http://"+g.address, "d"); status != "200 OK" {
		t.Errorf("answer %s %s", status, body)
	}
	first.Stop()
	redis()
	g.stop()
	g.start(program)
	if status, body := post("http://"+g.address, "d"); status != "200 OK" || !strings.Contains(body, `"cached"`) {
		t.Errorf("after a restart of both: %s %s", status, body)
	}
	for _, command := range [][]string{{"inspect", "d", "n", "--sequence=1"}, {"stats"}} {
		c := exec.Command(program, command...)
		c.Env = g.env
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("oncegate %s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
}
