package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/tlstest"
)

// noHello is the answer to HELLO of a proxy or engine without RESP3.
var noHello = map[string]string{
	"Envoy":                    "-ERR unsupported command 'HELLO'",
	"twemproxy":                redistest.HangUp,
	"an engine of RESP2 alone": "-NOPROTO unsupported protocol version",
}

func TestWhereHelloBreaksProtocol2IsNamed(t *testing.T) {
	s := redistest.Start(t)
	for name, says := range noHello {
		t.Run(name, func(t *testing.T) {
			e := redistest.NewEngine(t, s.Addr()).Says("HELLO", says)
			if sentence, _ := refused(t, at(e.Addr())); !strings.Contains(sentence, "?protocol=2") ||
				strings.Contains(sentence, "\n") {
				t.Errorf("%s", sentence)
			}
		})
	}
}

func TestWithProtocol2HelloIsNeverSent(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "s3cret")
	for name, says := range noHello {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var heard []string
			e := redistest.NewEngine(t, s.Addr())
			for _, command := range []string{"HELLO", "CLIENT", "INFO", "TIME", "SCAN"} { // only scripts pass
				e.Says(command, says)
			}
			e.Hears(func(command string) { mu.Lock(); heard = append(heard, command); mu.Unlock() })
			store, logged := open(t, byURL("redis://:s3cret@"+e.Addr()+"/3?protocol=2"))
			if store.Tracking || !strings.Contains(logged.String(), "level=WARN") || !strings.Contains(logged.String(),
				"protocol=2") {
				t.Errorf("tracking %v, logged: %s", store.Tracking, logged)
			}
			eventually(t, "a write goes through", func() bool { // a connection that was closed at TIME may be its last
				return store.Client.Do(t.Context(), store.Client.B().Set().Key(name).Value("v").Build()).Error() == nil
			})
			if got := redistest.Do(t, store.Client, "GET", name); got != "v" {
				t.Errorf("GET: %q", got)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(heard, "SELECT 3") || slices.ContainsFunc(heard, func(c string) bool {
				return strings.HasPrefix(c, "HELLO") || strings.HasPrefix(c, "CLIENT")
			}) {
				t.Errorf("it sent %q", heard)
			}
		})
	}
}

func TestTrackingIsBelievedWhereItWorks(t *testing.T) {
	s := redistest.Start(t)
	for name, c := range map[string]struct {
		says map[string]string
		why  string
	}{
		"CLIENT CACHING is refused in other words": {map[string]string{"CLIENT CACHING": "-ERR syntax error"},
			"syntax error"},
		"CLIENT CACHING is granted and not done": {map[string]string{"CLIENT CACHING": "+OK"}, "told nothing of a change"},
		"nothing is tracked":                     {map[string]string{"CLIENT": "+OK"}, "told nothing of a change"},
		"CLIENT TRACKING is refused": {map[string]string{"CLIENT TRACKING": "-ERR unknown subcommand"},
			"unknown subcommand"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := redistest.NewEngine(t, s.Addr())
			for command, reply := range c.says {
				e.Says(command, reply)
			}
			store, logged := open(t, at(e.Addr()))
			if store.Tracking || !strings.Contains(logged.String(), "level=WARN") || !strings.Contains(logged.String(), c.why) ||
				strings.Contains(logged.String(), `\n`) {
				t.Errorf("tracking %v, logged: %s", store.Tracking, logged)
			}
			for _, value := range []string{"old", "new"} {
				redistest.Do(t, store.Client, "SET", name, value)
				get := store.Client.B().Get().Key(name).Cache().ToStaticTTL()
				if got, err := store.Client.DoCache(t.Context(), get, time.Minute).ToString(); err != nil || got != value {
					t.Errorf("%q is read, %v, want %q", got, err, value)
				}
			}
		})
	}
}

func TestTrackingThatCannotBeTriedIsTakenAtItsWord(t *testing.T) {
	s := redistest.Start(t)
	s.Config("maxmemory", "1") // it is full
	if store, logged := open(t, at(s.Addr())); !store.Tracking || logged.String() != "" {
		t.Errorf("tracking %v, logged: %s", store.Tracking, logged)
	}
}

func TestWhatTryingLeavesBehindEnds(t *testing.T) {
	s := redistest.Start(t)
	store, _ := open(t, at(s.Addr()))
	for key := range strings.FieldsSeq(strings.Trim(redistest.Do(t, store.Client, "KEYS", "*"), "[]")) {
		if ttl := redistest.Do(t, store.Client, "PTTL", key); strings.HasPrefix(ttl, "-") {
			t.Errorf("%s stays", key)
		}
	}
}

func TestAFirstConnectionThatFailsSaysWhatIsLikelyWrong(t *testing.T) {
	a := tlstest.NewAuthority(t)
	secured, plain, locked := redistest.StartTLS(t, a), redistest.Start(t), redistest.Start(t, "--requirepass", "s3cret")
	sentinel := redistest.NewEngine(t, plain.Addr()).Says("INFO", bulk("server_mode:sentinel"))
	for name, c := range map[string]struct{ url, says string }{
		"rediss:// to a plain port": {"rediss://" + plain.Addr(), "speak TLS"},
		"redis:// to a TLS port":    {"redis://" + secured.Addr(), "rediss://"},
		"no password":               {locked.URL(), "it wants a user or a password"},
		"a user that is gone":       {"redis://oncegate:PASSWORD@" + plain.Addr(), "ACL SETUSER"},
		"a Valkey Sentinel":         {sentinel.URL(), "is a Sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			sentence, _ := refused(t, byURL(c.url))
			if !strings.Contains(sentence, c.says) || strings.Contains(sentence, "\n") ||
				strings.Count(sentence, "redis at ") != 1 {
				t.Errorf("%s", sentence)
			}
		})
	}
}

func TestAClusterThatAnnouncesAddressesNobodyReachesIsExplained(t *testing.T) {
	e := redistest.NewEngine(t, redistest.Start(t).Addr())
	e.Says("INFO", bulk("cluster_enabled:1"))
	e.Says("CLUSTER SLOTS", "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n"+bulk("127.0.0.9")+"\r\n:1")
	e.Says("CLUSTER SHARDS", "*1\r\n*4\r\n"+bulk("slots")+"\r\n*2\r\n:0\r\n:16383\r\n"+bulk("nodes")+"\r\n*1\r\n*10\r\n"+
		bulk("health")+"\r\n"+bulk("online")+"\r\n"+
		bulk("ip")+"\r\n"+bulk("127.0.0.9")+"\r\n"+bulk("endpoint")+"\r\n"+bulk("127.0.0.9")+"\r\n"+
		bulk("port")+"\r\n:1\r\n"+bulk("role")+"\r\n"+bulk("master"))
	for _, invalidated := range []func([]rueidis.RedisMessage){ignore, nil} {
		sentence, _ := refusedAs(t, at(e.Addr()), invalidated)
		for _, want := range []string{"cluster-announce-ip", "127.0.0.9:1", "redis at " + e.Addr()} {
			if !strings.Contains(sentence, want) {
				t.Errorf("%q is not in: %s", want, sentence)
			}
		}
	}
}

// bulk returns a text as a bulk string of RESP, without the end of its last line.
func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s", len(text), text) }
