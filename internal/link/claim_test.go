package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

func isNotSent(err error) bool { return errors.Is(err, ErrNotSent) }

var aClaim = Claim{Key: "k", Token: "t"}

func TestWhileRedisSettlesTheCacheIsNotTrusted(t *testing.T) {
	l := dial(t, nil)
	l.SuspectLoss()
	l.says(scripts.History{}, []any{"settling", 5})
	if won, ok := l.Link.Claim(t.Context(), aClaim); !ok || l.CacheTrusted() {
		t.Errorf("while it settles: %+v, the cache is trusted: %v", won, l.CacheTrusted())
	}
	l.engine.Passes()
	if won, ok := l.Link.Claim(t.Context(), aClaim); !ok || !l.CacheTrusted() {
		t.Errorf("once it has settled: %+v, the cache is trusted: %v", won, l.CacheTrusted())
	}
}

func TestALeaseThatIsOverWhenItsClaimIsAnsweredIsAskedForAgain(t *testing.T) {
	l := dial(t, func(o *Options) { o.LockTTL = time.Second })
	var once atomic.Bool
	l.hears(func(string) {
		if once.CompareAndSwap(false, true) {
			time.Sleep(1200 * time.Millisecond)
		}
	})
	l.calls.Store(0)
	began := time.Now()
	if _, ok := l.Link.Claim(t.Context(), aClaim); !ok || l.calls.Load() < 2 {
		t.Errorf("won %v, after %d calls", ok, l.calls.Load())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was asked again after %v", took)
	}
}

func TestAClaimThatHadNoReplyIsRepeatedUnderItsToken(t *testing.T) {
	l := dial(t, nil)
	l.engine.Twists("EVALSHA", redistest.HangUp) // Redis does it, and its answer is lost
	l.hears(func(string) { l.engine.Passes() })  // but for the first time
	won, ok := l.Link.Claim(t.Context(), aClaim)
	if answer, current := won.Now(); !ok || !current || answer.Verdict != scripts.Claimed || answer.Attempt != 1 {
		t.Errorf("it is answered %+v", won)
	}
	if r := l.stands("k"); r.Attempt != 1 || r.Token != "t" {
		t.Errorf("%+v stands", r)
	}
}

// TestAClaimIsGivenUpAfterItsPatienceThoughRedisAnswersOthers: each answer is outdated when it comes.
func TestAClaimIsGivenUpAfterItsPatienceThoughRedisAnswersOthers(t *testing.T) {
	l := dial(t, func(o *Options) { o.RedisPatience = 500 * time.Millisecond })
	l.hears(func(string) { l.SuspectLoss() })
	l.within(10*time.Second, "the claim", func() {
		if won, ok := l.Link.Claim(t.Context(), aClaim); ok || !won.Sent {
			t.Errorf("%+v", won)
		}
	})
}

func TestWhereRedisHasBeenSilentForItsPatienceNoClaimIsSent(t *testing.T) {
	l := dial(t, nil)
	l.health.silent.since.Store(time.Now().Add(-l.RedisPatience).UnixNano())
	l.calls.Store(0)
	if won, ok := l.Link.Claim(t.Context(), aClaim); ok || won.Sent || l.calls.Load() > 0 {
		t.Errorf("%+v, after %d calls", won, l.calls.Load())
	}
}

func TestAClaimEndsWithTheLifeOfItsGate(t *testing.T) {
	l := dial(t, func(o *Options) { o.RedisPatience = time.Minute })
	l.engine.Says("EVALSHA", "-LOADING Redis is loading the dataset in memory")
	life, end := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, end)
	l.within(10*time.Second, "the claim", func() {
		if _, ok := l.Link.Claim(life, aClaim); ok {
			t.Error("it is answered")
		}
	})
}

func TestAClaimThatHadNoReplyIsKnownToHaveBeenSent(t *testing.T) {
	l := dial(t, func(o *Options) { o.RedisPatience = 500 * time.Millisecond })
	l.engine.Twists("EVALSHA", redistest.HangUp)
	if won, ok := l.Link.Claim(t.Context(), aClaim); ok || !won.Sent {
		t.Errorf("%+v", won)
	}
	if r := l.stands("k"); r.State != record.InProgress {
		t.Errorf("%+v stands", r)
	}
}

func TestAClaimThatWasNeverSentIsKnownNotToHaveBeen(t *testing.T) {
	m, url := redistest.Embedded(t)
	l := dial(t, func(o *Options) {
		o.RedisPatience = 500 * time.Millisecond
		o.Client = client(t, strings.TrimPrefix(url, "redis://"))
	})
	m.Close() // nobody listens there any more
	for deadline := time.Now().Add(30 * time.Second); !isNotSent(l.Probe()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a refused connection does not prove that nothing was sent")
		}
	}
	l.health.silent.end()
	if won, ok := l.Link.Claim(t.Context(), aClaim); ok || won.Sent {
		t.Errorf("%+v", won)
	}
}

func TestOnlyThreeThingsProveThatNothingWasDone(t *testing.T) {
	l := dial(t, nil)
	for said, nothing := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":     true,
		"BUSY Redis is busy running a script":                true,
		"MASTERDOWN Link with MASTER is down":                true,
		"NOAUTH Authentication required.":                    true,
		"NOPERM User gateway has no permissions":             true,
		"CLUSTERDOWN Hash slot not served":                   true,
		"READONLY You can't write against a read only slave": false,
		"OOM command not allowed when used memory":           false,
		"MISCONF Redis is configured to save RDB snapshots":  false,
		"NOREPLICAS Not enough good replicas to write.":      false,
		"ERR unknown command":                                false,
		"BUSY it was, script: 1f, on @user_script:3.":        false,
	} {
		l.engine.Says("EVALSHA", "-"+said)
		if err := l.Do(claimOf("k", "t")).Err; err == nil || isNotSent(err) != nothing {
			t.Errorf("%q: error %v", said, err)
		}
	}
	broken := func(op string) error { return fmt.Errorf("redis: %w", &net.OpError{Op: op, Net: "tcp", Err: io.EOF}) }
	if !notDone(broken("dial")) || notDone(broken("read")) || notDone(broken("write")) || notDone(io.EOF) {
		t.Error("only a connection that was not made proves that nothing was done")
	}
}

func TestADoneRecordThatHadNoRoomIsFetched(t *testing.T) {
	l := dial(t, nil)
	now := time.Now()
	value := record.Append(nil, record.Record{
		State: record.Done, Attempt: 1, Token: "t", Stored: now, Ends: now.Add(time.Hour),
		Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)},
	})
	redistest.Do(t, l.direct, "SET", "k", string(value))
	l.says(scripts.History{}, []any{"done", ""})
	won, ok := l.Link.Claim(t.Context(), aClaim)
	if answer, _ := won.Now(); !ok || string(answer.Record) != string(value) {
		t.Errorf("%+v", won)
	}
}
