package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// journal is a log that a test can read.
type journal struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func ignore([]rueidis.RedisMessage) {}

// at returns the settings for a server, without retries.
func at(addr string) config.Redis {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16)
	return config.Redis{Host: host, Port: config.Port(n), Timeout: time.Second}
}

func byURL(url string) config.Redis {
	return config.Redis{URL: config.Secret(url), Timeout: time.Second}
}

// open opens a Redis, which must succeed, and closes it with the test.
func open(t *testing.T, c config.Redis) (store *redis.Store, logged *journal) {
	t.Helper()
	logged = new(journal)
	store, err := redis.Open(t.Context(), c, ignore, logged.logger())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(store.Close)
	return store, logged
}

// refused opens a Redis, which must fail, and returns the error's text.
func refused(t *testing.T, c config.Redis) (sentence string, logged *journal) {
	t.Helper()
	return refusedAs(t, c, ignore)
}

// refusedAs does the same for a command, which passes no invalidated.
func refusedAs(
	t *testing.T, c config.Redis, invalidated func([]rueidis.RedisMessage),
) (sentence string, logged *journal) {
	t.Helper()
	logged = new(journal)
	store, err := redis.Open(t.Context(), c, invalidated, logged.logger())
	if err == nil {
		store.Close()
		t.Fatal("it opened")
	}
	return err.Error(), logged
}

func TestOpenConnectsByURLAndByHost(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	s := redistest.Start(t, "--requirepass", "s3:cret", "--unixsocket", socket)
	commandsAs(t, s.Addr(), "default", "s3:cret")("ACL", "SETUSER", "gate", "on", ">of@gate", "~*", "&*", "+@all")

	withDB, asUser := at(s.Addr()), at(s.Addr())
	withDB.Password, withDB.DB = "s3:cret", 3
	asUser.Username, asUser.Password = "gate", "of@gate"
	for name, c := range map[string]struct {
		config   config.Redis
		user     string
		database int
		address  string
	}{
		"URL":                {byURL("redis://:s3%3Acret@" + s.Addr()), "default", 0, s.Addr()},
		"URL with a slash":   {byURL("redis://:s3%3Acret@" + s.Addr() + "/"), "default", 0, s.Addr()},
		"URL with database":  {byURL("redis://:s3%3Acret@" + s.Addr() + "/3"), "default", 3, s.Addr()},
		"URL with user":      {byURL("redis://gate:of%40gate@" + s.Addr()), "gate", 0, s.Addr()},
		"socket":             {byURL("unix://:s3%3Acret@" + socket), "default", 0, socket},
		"host with database": {withDB, "default", 3, s.Addr()},
		"host with user":     {asUser, "gate", 0, s.Addr()},
	} {
		t.Run(name, func(t *testing.T) {
			store, logged := open(t, c.config)
			b := store.Client.B()
			info, err := store.Client.Do(t.Context(), b.Arbitrary("CLIENT", "INFO").Build()).ToString()
			for _, want := range []string{" user=" + c.user + " ", fmt.Sprintf(" db=%d ", c.database), " name=oncegate "} {
				if err != nil || !strings.Contains(info, want) {
					t.Errorf("%q is not in %s, %v", want, info, err)
				}
			}
			if store.Embedded || !store.Tracking || store.Address != c.address {
				t.Errorf("embedded %v, tracking %v, address %s", store.Embedded, store.Tracking, store.Address)
			}
			if logged.String() != "" {
				t.Errorf("logged: %s", logged)
			}
		})
	}
}

// commandsAs returns a function that sends commands as a user.
func commandsAs(t *testing.T, addr, user, password string) func(args ...string) string {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, Username: user, Password: password, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatalf("client of %s: %v", addr, err)
	}
	t.Cleanup(client.Close)
	return func(args ...string) string { t.Helper(); return redistest.Do(t, client, args...) }
}

func TestAWrongPasswordIsSaidAtOnceAndNotShown(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "the-right-one")
	wrong, none := at(s.Addr()), at(s.Addr())
	wrong.Password = "the-wrong-one"
	for name, c := range map[string]config.Redis{
		"wrong":        wrong,
		"wrong in URL": byURL("redis://:the-wrong-one@" + s.Addr()),
		"unknown user": byURL("redis://somebody:the-wrong-one@" + s.Addr()),
		"none":         none,
	} {
		t.Run(name, func(t *testing.T) {
			c.Retries = 10
			sentence, logged := refused(t, c)
			for line := range strings.Lines(logged.String()) { // a connection that takes too long is tried again
				if strings.Contains(line, "again_in") && !strings.Contains(line, "deadline exceeded") {
					t.Errorf("it is tried again: %s", line)
				}
			}
			if !strings.Contains(sentence, s.Addr()) || !strings.Contains(sentence, "WRONGPASS") &&
				!strings.Contains(sentence, "NOAUTH") {
				t.Errorf("%s", sentence)
			}
			for _, secret := range []string{"the-wrong-one", "the-right-one"} {
				if strings.Contains(sentence+logged.String(), secret) {
					t.Errorf("%s is shown: %s %s", secret, sentence, logged)
				}
			}
		})
	}
}

func TestAURLThatCannotBeReadIsNotShown(t *testing.T) {
	for _, url := range []string{"redis://:s3cret@[", "http://:s3cret@host", "redis://:s3cret@host/rubbish"} {
		sentence, _ := refused(t, byURL(url))
		if strings.Contains(sentence, "s3cret") || !strings.Contains(sentence, "REDIS_URL") {
			t.Errorf("%s", sentence)
		}
	}
}

func TestARedisThatCannotBeReachedIsTriedAgainAndNamed(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	for retries, tries := range []string{"(tried 1×)", "(tried 2×)"} {
		c := byURL("redis://:s3cret@" + s.Addr())
		c.Retries = retries
		sentence, logged := refused(t, c)
		if !strings.Contains(sentence, s.Addr()) || !strings.Contains(sentence, tries) {
			t.Errorf("%s", sentence)
		}
		if n := strings.Count(logged.String(), "redis can't be reached"); n != retries {
			t.Errorf("%d warnings: %s", n, logged)
		}
		if strings.Contains(sentence+logged.String(), "s3cret") {
			t.Errorf("the password is shown: %s %s", sentence, logged)
		}
	}
}

func TestARedisThatComesUpMeanwhileIsOpened(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	logged := new(journal)
	opened := make(chan error, 1)
	c := at(s.Addr())
	c.Retries = 3
	go func() {
		store, err := redis.Open(t.Context(), c, ignore, logged.logger())
		if err == nil {
			store.Close()
		}
		opened <- err
	}()
	eventually(t, "it was tried once", func() bool { return strings.Contains(logged.String(), "again_in") })
	s.Restart()
	if err := <-opened; err != nil {
		t.Errorf("open: %v", err)
	}
}

func TestReplicasThatWaitForARedisComeBackApart(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const replicas = 20
	logged := new(journal)
	opened := make(chan error, replicas)
	c := at(s.Addr())
	c.Retries = 10
	for range replicas {
		go func() {
			_, err := redis.Open(ctx, c, ignore, logged.logger())
			opened <- err
		}()
	}
	first := regexp.MustCompile(`try=1 .*again_in=(\S+)`)
	eventually(t, "all wait", func() bool { return len(first.FindAllString(logged.String(), -1)) == replicas })
	pauses := make(map[string]bool)
	for _, m := range first.FindAllStringSubmatch(logged.String(), -1) {
		pauses[m[1]] = true
		if pause, err := time.ParseDuration(m[1]); err != nil || pause > 2*time.Second {
			t.Errorf("it waits for %s, %v", m[1], err)
		}
	}
	if len(pauses) < replicas/2 {
		t.Errorf("%d replicas wait for %v", replicas, pauses)
	}
	start := time.Now()
	cancel()
	for range replicas {
		if err, took := <-opened, time.Since(start); !errors.Is(err, context.Canceled) || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	}
}

func TestOpenRefusesWhatCannotKeepThePromise(t *testing.T) {
	primary := redistest.Start(t)
	_, port, _ := net.SplitHostPort(primary.Addr())
	for want, args := range map[string][]string{
		"read-only replica": {"--replicaof", "127.0.0.1 " + port},
	} {
		t.Run(want, func(t *testing.T) {
			s := redistest.Start(t, args...)
			if sentence, _ := refused(t, at(s.Addr())); !strings.Contains(sentence, want) ||
				!strings.Contains(sentence, s.Addr()) {
				t.Errorf("%s", sentence)
			}
		})
	}
}

func TestARedisThatMayEvictIsALoudWarning(t *testing.T) {
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		s := redistest.Start(t, "--maxmemory-policy", policy)
		if _, logged := open(t, at(s.Addr())); !strings.Contains(logged.String(), "level=WARN") ||
			!strings.Contains(logged.String(), "EVICT") || !strings.Contains(logged.String(), policy) {
			t.Errorf("logged: %s", logged)
		}
	}
}

func TestARedisThatTellsNothingOfItselfIsAWarning(t *testing.T) {
	s := redistest.Start(t)
	commandsAs(t, s.Addr(), "", "")("ACL", "SETUSER", "gate", "on", ">secret", "~*", "&*", "+@all", "-info")
	if _, logged := open(t, byURL("redis://gate:secret@"+s.Addr())); !strings.Contains(logged.String(), "level=WARN") ||
		!strings.Contains(logged.String(), "INFO") {
		t.Errorf("logged: %s", logged)
	}
}

func TestWithoutTrackingItOpensWithAWarning(t *testing.T) {
	s := redistest.Start(t)
	do := commandsAs(t, s.Addr(), "", "")
	for user, denied := range map[string]string{"noclient": "-client", "notracking": "-client|tracking",
		"nocaching": "-client|caching"} {
		t.Run(denied, func(t *testing.T) {
			do("ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", denied)
			store, logged := open(t, byURL("redis://"+user+":secret@"+s.Addr()))
			if store.Tracking {
				t.Error("it is said to track")
			}
			if !strings.Contains(logged.String(), "level=WARN") || !strings.Contains(logged.String(), "TRACKING") {
				t.Errorf("logged: %s", logged)
			}
			if err := store.Client.Do(t.Context(), store.Client.B().Set().Key("k").Value("v").Build()).Error(); err != nil {
				t.Errorf("SET: %v", err)
			}
		})
	}
}

func TestWhoWantsNoInvalidationsGetsNoTracking(t *testing.T) {
	s := redistest.Start(t)
	store, err := redis.Open(t.Context(), at(s.Addr()), nil, new(journal).logger())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer store.Close()
	info := redistest.Do(t, store.Client, "CLIENT", "INFO")
	if store.Tracking || strings.Contains(info, "flags=t") {
		t.Errorf("tracking %v, %s", store.Tracking, info)
	}
}

func TestChangesOfWhatWasReadAreTold(t *testing.T) {
	s := redistest.Start(t)
	told := make(chan string, 100)
	store, err := redis.Open(t.Context(), at(s.Addr()), func(changed []rueidis.RedisMessage) {
		if changed == nil {
			told <- "all"
		}
		for i := range changed {
			if key, _ := changed[i].ToString(); !strings.HasSuffix(key, ":probe") { // the start's own
				told <- key
			}
		}
	}, new(journal).logger())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	do := commandsAs(t, s.Addr(), "", "")
	read := func() {
		if err := store.Client.DoCache(t.Context(), store.Client.B().Get().Key("k").Cache(),
			time.Minute).Error(); err != nil && !rueidis.IsRedisNil(err) {
			t.Fatalf("DoCache: %v", err)
		}
	}
	read()
	do("SET", "k", "v")
	if key := <-told; key != "k" {
		t.Errorf("told: %s", key)
	}
	read()
	do("FLUSHALL")
	if key := <-told; key != "all" {
		t.Errorf("told: %s", key)
	}
	store.Close()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestARedisThatStillLoadsIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	full := redistest.Start(t, "--dir", dir, "--rdbcompression", "no") // loading looks up from its work by bytes read
	c := redistest.Client(t, full.Addr())
	for n := range 40 {
		redistest.Do(t, c, "SET", fmt.Sprint("key", n), strings.Repeat("x", 4096))
	}
	redistest.Do(t, c, "SAVE")
	full.Kill()
	loading := redistest.Start(t, "--dir", dir, "--key-load-delay", "20000", "--loading-process-events-interval-bytes",
		"1024")
	store, err := redis.Open(t.Context(), config.Redis{URL: config.Secret(loading.URL()), Timeout: time.Second,
		Retries: 3}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Client.Do(t.Context(), store.Client.B().Get().Key("key1").Build()).Error(); err != nil {
		t.Errorf("it was opened while it cannot be read: %v", err)
	}
}
