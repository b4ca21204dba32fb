package redis_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// withUser starts a server and creates the user of docs/redis.md there.
func withUser(t *testing.T, args ...string) (s *redistest.Server, url string) {
	t.Helper()
	s = redistest.Start(t, args...)
	admin := redistest.Client(t, s.Addr())
	redistest.Do(t, admin, "ACL", "SETUSER", "oncegate", "on", ">PASSWORD", "~*", "&*", "+@all")
	url = "redis://oncegate:PASSWORD@" + s.Addr()
	open(t, byURL(url))
	return s, url
}

func TestAUserThatNobodySavedIsGoneAfterARestart(t *testing.T) {
	s, url := withUser(t)
	s.Kill()
	s.Restart()
	sentence, _ := refused(t, byURL(url))
	if !strings.Contains(sentence, "WRONGPASS") || !strings.Contains(sentence, "unless it was saved") {
		t.Errorf("%s", sentence)
	}
}

// TestWithoutHMGETAScrapeHasNothingOfTheHash, and commands that read the whole hash still work.
func TestWithoutHMGETAScrapeHasNothingOfTheHash(t *testing.T) {
	s, _ := withUser(t)
	admin := redistest.Client(t, s.Addr())
	redistest.Do(t, admin, "HSET", "cognigy:metrics", "executed", "7", "acme/executed", "7")
	keys := redis.NewKeys("cognigy")
	some, err := redis.Metrics(t.Context(), admin, keys, "executed", "stored")
	if err != nil || len(some) != 1 || some["executed"] != "7" {
		t.Errorf("of two fields it reads %v, %v", some, err)
	}
	redistest.Do(t, admin, "ACL", "SETUSER", "default", "-hmget")
	_, err = redis.Metrics(t.Context(), admin, keys, "executed")
	if err == nil || !strings.Contains(err.Error(), "hmget") {
		t.Errorf("without the right it says %v", err)
	}
	if all, err := redis.Metrics(t.Context(), admin, keys); err != nil || len(all) != 2 {
		t.Errorf("all it reads are %v, %v", all, err)
	}
}

func TestAUserInAnACLFileOutlivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, url := withUser(t, "--aclfile", file)
	redistest.Do(t, redistest.Client(t, s.Addr()), "ACL", "SAVE")
	s.Kill()
	s.Restart()
	open(t, byURL(url))
}

func TestConfigRewriteWritesDownAUserThatCanBeStartedWith(t *testing.T) {
	s, _ := withUser(t)
	admin := redistest.Client(t, s.Addr())
	redistest.Do(t, admin, "CONFIG", "REWRITE")
	dir := strings.TrimSuffix(strings.TrimPrefix(redistest.Do(t, admin, "CONFIG", "GET", "dir"), "map[dir:"), "]")
	text, err := os.ReadFile(filepath.Join(dir, "redis.conf"))
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?m)^user (oncegate .+)$`).FindSubmatch(text)
	if user == nil || strings.Contains(string(text), "PASSWORD") {
		t.Fatalf("it wrote down:\n%s", text)
	}
	again := redistest.Start(t, append([]string{"--user"}, strings.Fields(string(user[1]))...)...)
	open(t, byURL("redis://oncegate:PASSWORD@"+again.Addr()))
}
