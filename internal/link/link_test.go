package link

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

// line is a link to a Redis that answers as a test wants.
type line struct {
	*Link
	testing.TB
	engine *redistest.Engine
	direct rueidis.Client // past the engine
	calls  atomic.Int64   // of the script
}

// dial opens a link whose first call, which teaches Redis the script, has been made.
func dial(t testing.TB, change func(*Options)) *line {
	t.Helper()
	_, url := redistest.Embedded(t)
	addr := strings.TrimPrefix(url, "redis://")
	l := &line{TB: t, engine: redistest.NewEngine(t, addr), direct: redistest.Client(t, addr)}
	o := Options{
		Settings: Settings{
			LockTTL: time.Minute, RedisTimeout: 10 * time.Second, RedisPatience: 10 * time.Second,
			MetricsFlush: time.Hour,
		},
		Class:  &scripts.Class{TTL: time.Hour, DoubtTTL: time.Hour},
		Client: client(t, l.engine.Addr()), Keys: "cognigy", Process: "test", Slots: NewSlots(),
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	l.Link = New(o)
	settle := l.Settle
	l.Settle = 0 // the embedded store tells no history
	if _, _, err := l.Handshake(); err != nil {
		t.Fatal(err)
	}
	l.Settle = settle
	l.hears(func(string) {})
	return l
}

func client(t testing.TB, addr string) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, AlwaysRESP2: true,
		AlwaysPipelining: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// hears calls f with each command that calls the script, before Redis gets it, and counts them.
func (l *line) hears(f func(command string)) {
	l.engine.Hears(func(command string) {
		if strings.HasPrefix(command, "EVALSHA ") {
			l.calls.Add(1)
			f(command)
		}
	})
}

// says makes the script answer this, in Redis' own form, and tell a history.
func (l *line) says(h scripts.History, answers ...[]any) {
	reply := []any{fmt.Sprint(h.ID, " ", h.Met), fmt.Sprint(time.Now().UnixMilli()), 0, 3}
	for _, a := range answers {
		reply = append(reply, a)
	}
	l.engine.Says("EVALSHA", strings.TrimSuffix(resp(reply), "\r\n"))
}

func resp(value any) string {
	switch value := value.(type) {
	case []any:
		text := fmt.Sprintf("*%d\r\n", len(value))
		for _, v := range value {
			text += resp(v)
		}
		return text
	case string:
		return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	}
	return fmt.Sprintf(":%d\r\n", value)
}

// within fails the test if f goes on for longer than d.
func (l *line) within(d time.Duration, what string, f func()) {
	l.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		l.Fatalf("%s goes on after %v", what, d)
	}
}

func (l *line) stands(key string) record.Record {
	l.Helper()
	r, err := record.Parse([]byte(redistest.Do(l, l.direct, "GET", key)))
	if err != nil {
		l.Fatal(err)
	}
	return r
}

func claimOf(key, token string) scripts.Op { return scripts.Claim(key, token, scripts.Question{}) }

func TestALeaseRunsFromBeforeItsOperationWasSent(t *testing.T) {
	const underWay = 50 * time.Millisecond
	l := dial(t, nil)
	l.hears(func(string) { time.Sleep(underWay) })
	reply := l.Do(claimOf("k", "t"))
	if age := l.Lease(reply).Age(); reply.Err != nil || age < underWay {
		t.Errorf("a claim that was under way for %v won a lease that is %v old, error %v", underWay, age, reply.Err)
	}
	replies, _, err := l.Batch([]scripts.Op{scripts.Renew("k", 1, "t", record.Digest{}, false, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if age := l.Lease(replies[0]).Age(); age < underWay {
		t.Errorf("a renewal that was under way for %v won a lease that is %v old", underWay, age)
	}
}

func TestAnAnswerIsOfTheEpochInWhichItWasAsked(t *testing.T) {
	l := dial(t, nil)
	l.engine.Hears(func(string) { l.SuspectLoss() })
	if _, ok := l.Do(claimOf("k", "t")).Now(); ok {
		t.Error("an answer that a loss overtook is given out")
	}
	replies, _, err := l.Batch([]scripts.Op{claimOf("k", "t")})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := replies[0].Now(); ok {
		t.Error("one of a batch is given out")
	}
	if fact, _, err := l.Get("k"); err != nil {
		t.Error(err)
	} else if _, ok := fact.Now(); ok {
		t.Error("what a loss overtook in the cache is given out")
	}
}

func TestAnotherReplicationIDAtTheSameMomentBeginsAnEpoch(t *testing.T) {
	l := New(Options{})
	l.epochs.observe(scripts.History{ID: "a", Met: 1})
	if !l.epochs.observe(scripts.History{ID: "b", Met: 1}) {
		t.Error("a promotion is not noticed")
	}
}

func TestAClaimThatWasSentBetweenTwoLossesDoesNotMakeTheCacheTrusted(t *testing.T) {
	l := New(Options{})
	l.SuspectLoss()
	between := l.Epoch()
	l.SuspectLoss()
	l.epochs.trust(between)
	if l.CacheTrusted() {
		t.Error("it does")
	}
}

func TestEveryReplyMayTellOfAnotherHistory(t *testing.T) {
	l := dial(t, nil)
	l.says(scripts.History{ID: "a", Met: 1}, []any{"free", "nothing"})
	l.Do(scripts.Look("k", scripts.Question{}))
	before := l.Epoch()
	l.says(scripts.History{ID: "b", Met: 2}, []any{"free", "nothing"})
	reply := l.Do(scripts.Look("k", scripts.Question{}))
	if _, ok := reply.Now(); ok || l.Current(before) {
		t.Error("a reply with another history begins no epoch, or is believed itself")
	}
}

func TestACallIsBoundedByItsTimeout(t *testing.T) {
	l := dial(t, func(o *Options) { o.RedisTimeout = time.Second })
	release := make(chan struct{})
	defer close(release)
	l.hears(func(string) { <-release })
	l.within(10*time.Second, "a call that has no answer", func() {
		if reply := l.Do(claimOf("k", "t")); reply.Err == nil {
			t.Errorf("%+v", reply)
		}
	})
}

func TestAtMost512CallsAndLooksAreUnderWay(t *testing.T) {
	l := dial(t, nil)
	l.RedisTimeout = 50 * time.Millisecond
	for n := range 512 {
		select {
		case l.Slots.calls <- struct{}{}:
		default:
			t.Fatalf("%d calls are all that may be under way", n)
		}
	}
	l.calls.Store(0)
	if reply := l.Do(claimOf("k", "t")); !isNotSent(reply.Err) || l.calls.Load() > 0 {
		t.Errorf("call 513: error %v, %d were sent", reply.Err, l.calls.Load())
	}
	l.Slots.looks.Store(511)
	if _, _, err := l.Look("k"); errors.Is(err, ErrBusy) {
		t.Error("look 512 is turned away")
	}
	l.Slots.looks.Store(512)
	if _, _, err := l.Look("k"); !errors.Is(err, ErrBusy) {
		t.Errorf("look 513: %v", err)
	}
}

func TestWhoIsBusyIsHeardOfWhenAllIsQuiet(t *testing.T) {
	l := dial(t, func(o *Options) { o.Settle = time.Second })
	l.says(scripts.History{ID: "a", Met: 1})
	for _, c := range []struct {
		busy  bool
		quiet time.Duration
		calls int64
	}{{true, 0, 1}, {false, 0, 0}, {true, time.Hour, 0}} {
		l.calls.Store(0)
		l.Touch(c.busy, c.quiet)
		if got := l.calls.Load(); got != c.calls {
			t.Errorf("busy %v, after %v: %d calls", c.busy, c.quiet, got)
		}
	}
}

func TestARedisInTroubleIsProbedWithAWrite(t *testing.T) {
	l := dial(t, nil)
	l.health.refusing.begin()
	l.Touch(false, time.Hour)
	if n := redistest.Do(t, l.direct, "GET", l.Keys.Flush("test")); n == "" {
		t.Error("nothing was written")
	}
	if l.InTrouble() {
		t.Error("it took the write, and counts as refusing still")
	}
}
