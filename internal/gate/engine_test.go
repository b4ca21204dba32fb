package gate_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

// openAtEngine adds a replica whose Redis answers as the test wants.
func (h *testbed) openAtEngine(o gate.Options) (*replica, *redistest.Engine) {
	h.Helper()
	e := redistest.NewEngine(h, h.server.Addr())
	return h.openAt(o, e.URL()), e
}

func TestAnErrorOutOfTheScriptIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"raised, by Redis 7": "-ERR Wrong number of args calling Redis command from script script: 7a3b, on " +
			"@user_script:212.",
		"raised, by Redis 6.2": "-ERR Error running script (call to f_7a3b): @user_script:212: Wrong number of args",
		"refused a write": "-READONLY You can't write against a read only replica. script: 7a3b, on " +
			"@user_script:212.",
		"full":                    "-OOM command not allowed when used memory > 'maxmemory'.",
		"an allowed code, raised": "-BUSY raised script: 7a3b, on @user_script:212.",
		"another engine's":        "-ERR internal error",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			o := impatient()
			o.LockTTL = time.Minute // longer than the test waits
			a, engine := h.openAtEngine(o)
			b := h.open(o)
			engine.Twists("EVALSHA", says)
			h.expect(a.send(1), gate.Unavailable, "")
			if r := h.recordOf(1); r.State != record.InProgress {
				t.Fatalf("redis did not execute the claim: %+v", r)
			}
			engine.Passes()
			h.expect(b.send(1), gate.Executed, `{"execution":1}`) // the claim was failed, and blocks nobody
		})
	}
}

func TestWhatRedisSaysBeforeItRunsAScriptProvesThatNothingWasDone(t *testing.T) {
	t.Parallel()
	for _, says := range []string{
		"-LOADING Redis is loading the dataset in memory",
		"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"-NOAUTH Authentication required.",
		"-CLUSTERDOWN The cluster is down",
		"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			h := onReal(t)
			a, engine := h.openAtEngine(impatient())
			engine.Says("EVALSHA", says)
			h.expect(a.send(1), gate.Unavailable, "")
			engine.Passes()
			h.eventually("it serves again", func() bool { return a.send(2).Outcome == gate.Executed })
			if r := h.recordOf(1); r.State != 0 {
				t.Errorf("a claim that was never made was failed: %+v", r)
			}
		})
	}
}

func TestAScriptThatMayNotAskForTheHistoryIsToldInTheWordsOfEveryEngine(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, says := range map[string]string{
		"Redis 7.0": "-ERR The user executing the script can't run this command or subcommand script: 7a3b, on " +
			"@user_script:80.",
		"Redis 8 and Valkey 8": "-ERR ACL failure in script: User oncegate has no permissions to run the 'info' command " +
			"script: 7a3b, on @user_script:80.",
	} {
		t.Run(name, func(t *testing.T) {
			engine := redistest.NewEngine(t, server.Addr()).Says("EVALSHA", says)
			o := options()
			o.Settle = time.Second
			g, store := open(t, engine.URL(), o)
			defer store.Close()
			if err := g.Start(t.Context(), store); err == nil || !strings.Contains(err.Error(), "SETTLE=0") {
				t.Errorf("%v", err)
			}
		})
	}
}

// journal is a log to look into.
type journal struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(line)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.lines.String(), text)
}

func TestARedisThatComesBackWithoutTheUserIsSaidToTurnTheGatewayAway(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	redistest.Do(t, h.client, "ACL", "SETUSER", "oncegate", "on", ">PASSWORD", "~*", "&*", "+@all")
	o, logged := impatient(), new(journal)
	o.Log = slog.New(slog.NewTextHandler(logged, nil))
	g := gate.New(o)
	url := strings.Replace(h.url, "redis://", "redis://oncegate:PASSWORD@", 1)
	store, err := redis.Open(t.Context(), config.Redis{URL: config.Secret(url), KeyPrefix: "cognigy",
		Timeout: o.RedisTimeout}, g.Invalidated, o.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := g.Start(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close(t.Context()) }()
	h.server.Kill()
	h.eventually("it is missed", func() bool { return g.Ready() != nil && logged.count("redis does not answer") == 1 })
	h.server.Restart()
	h.eventually("it is said why", func() bool {
		_ = g.Ready()
		return logged.count("WRONGPASS") > 0
	})
	time.Sleep(300 * time.Millisecond) // some probes more
	if n := logged.count("WRONGPASS"); n != 1 || logged.count("ACL SETUSER") != 1 {
		t.Errorf("%d lines", n)
	}
}
