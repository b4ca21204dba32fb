package upstream_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTheWayToTheBackendBringsNeitherAListenerNorRedisNorACommandLine(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, above := range []string{"fasthttp", "miniredis", "rueidis", "kong", "internal/gate", "internal/config"} {
		if strings.Contains(string(list), above) {
			t.Errorf("it imports %s, by itself or by what it imports", above)
		}
	}
}
