package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// gateway is a whole gateway before a Redis, with a proxy between them that can cut it off.
type gateway struct {
	*testing.T
	engine *engine
	proxy  *redistest.Proxy
	config handler.Config
	logic  atomic.Pointer[logic.Func]
	asks   bool
	addr   string // of its Redis
	change func(*gateway)
	url    string
	watch  handler.Watch
	stop   func()
}

// Execute runs the logic that the test has set.
func (g *gateway) Execute(ctx context.Context, w logic.Webhook) (logic.Result, error) {
	return (*g.logic.Load())(ctx, w)
}

// Asks returns what the test has set.
func (g *gateway) Asks() bool { return g.asks }

func (g *gateway) does(logic logic.Func) { g.logic.Store(&logic) }

// gateway starts a gateway that notices soon that it was cut off.
func (e *engine) gateway(addr string, change func(*gateway)) *gateway {
	e.Helper()
	g := &gateway{T: e.T, engine: e, addr: addr, change: change, proxy: redistest.NewProxy(e.T, addr),
		config: handler.DefaultConfig()}
	g.config.Execution.LockTTL, g.config.Redis.Timeout = 3*time.Second, 900*time.Millisecond
	g.config.Execution.Settle, g.config.Redis.Patience = 0, time.Second
	g.config.Redis.URL = config.Secret(g.proxy.URL())
	change(g)
	if g.config.Execution.InDoubt == config.InDoubtStop {
		stop(g)
	}
	opened, err := handler.Open(e.Context(), g.config, g, slog.New(slog.DiscardHandler))
	if err != nil {
		e.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	g.watch = opened.Watch()
	g.url = "http://" + listener.Addr().String() + "/webhook/cognigy"
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = opened.Serve(ctx, listener) // an execution that a test cuts off cannot end well
	}()
	g.stop = func() { stop(); <-ended }
	e.Cleanup(func() { g.proxy.Mend(); g.stop() })
	return g
}

// deployment returns the gateway's settings that commands need.
func (g *gateway) deployment() command.Deployment {
	x := g.config.Execution
	return command.Deployment{
		Client: g.engine.client, Keys: keys, MaxAttempts: x.MaxAttempts, StopInDoubt: x.InDoubt == config.InDoubtStop,
		Asks:    g.asks,
		LockTTL: x.LockTTL, ResultTTL: x.ResultTTL, RejectedTTL: x.RejectedTTL, DoubtTTL: x.DoubtTTL,
		RedisTimeout: g.config.Redis.Timeout, KeepTrail: g.config.Trail.Keep,
	}
}

// got is the answer to a delivery: its code, and the headers that describe it.
type got struct {
	code    int
	status  string
	attempt string
	body    string
}

func (g *gateway) deliver() got {
	g.Helper()
	text := fmt.Sprintf(`{"dialogId":%q,"nodeId":%q,"sequence":%d}`, dialog, node, sequence)
	reply, err := http.Post(g.url, "application/json", strings.NewReader(text))
	if err != nil {
		g.Errorf("a delivery: %v", err)
		return got{}
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		g.Errorf("a delivery: %v", err)
	}
	return got{reply.StatusCode, reply.Header.Get("Idempotency-Status"), reply.Header.Get("Idempotency-Attempt"),
		string(body)}
}

// later delivers in the background.
func (g *gateway) later() <-chan got {
	answers := make(chan got, 1)
	go func() { answers <- g.deliver() }()
	return answers
}

func (g *gateway) inspect() string {
	g.Helper()
	var out strings.Builder
	if err := g.deployment().Inspect(g.Context(), webhook, &out); err != nil {
		g.Fatal(err)
	}
	return out.String()
}

// unbroken returns a page without the breaks in its long lines.
func unbroken(page string) string { return strings.Join(strings.Fields(page), " ") }

func (e *engine) eventually(what string, holds func() bool) {
	e.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.Fatalf("never: %s; %s stands", what, e.do("GET", key))
		}
	}
}

// The logic of the tests.

func fails(err error) logic.Func {
	return func(context.Context, logic.Webhook) (logic.Result, error) { return logic.Result{}, err }
}

func answers(status int, body string) logic.Func {
	return func(context.Context, logic.Webhook) (logic.Result, error) {
		return logic.Result{Status: status, ContentType: record.JSON, Body: []byte(body)}, nil
	}
}

// waits runs until its context ends, and then may have had its effect.
func waits(ctx context.Context, _ logic.Webhook) (logic.Result, error) {
	<-ctx.Done()
	return logic.Result{}, context.Cause(ctx)
}

// stuck ignores its context and runs until the returned function is called.
func stuck(g *gateway, body string) (entered <-chan struct{}, release func()) {
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	g.does(func(context.Context, logic.Webhook) (logic.Result, error) {
		begun <- struct{}{}
		<-goOn
		return logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(body)}, nil
	})
	return begun, func() { close(goOn) }
}

// crash makes a delivery to a second replica, which is cut off from Redis past its lease. The returned function ends
// that replica's logic.
func (g *gateway) crash() (owner *gateway, first <-chan got, release func()) {
	g.Helper()
	owner = g.engine.gateway(g.addr, g.change)
	first, release = owner.cutOff()
	return owner, first, release
}

// cutOff makes a delivery, and cuts its replica off from Redis until its lease has ended.
func (g *gateway) cutOff() (first <-chan got, release func()) {
	g.Helper()
	entered, release := stuck(g, `{"late":true}`)
	first = g.later()
	<-entered
	g.proxy.Cut()
	g.engine.eventually("its lease ends", func() bool { return !g.engine.recordOf().Deadline.After(g.engine.now()) })
	return first, release
}

var errOdd = errors.New("odd")

// stop sets IN_DOUBT=stop, which needs SETTLE to be on, and no less.
func stop(g *gateway) {
	g.config.Execution.InDoubt = config.InDoubtStop
	g.config.Execution.Settle = (config.DialTimeout+g.config.Redis.Timeout)*4/3 + time.Millisecond
}

func TestInspectSaysWhatBecameOfADeliveryAndWhatTheNextOneGets(t *testing.T) {
	t.Parallel()
	again := "executes it as attempt 2"
	perhapsTwice := again + ", and so perhaps twice"
	executed, replayed := got{200, "executed", "2", ""}, got{200, "replayed", "1", ""}
	once := func(logic logic.Func) func(*gateway) {
		return func(g *gateway) { g.does(logic); g.deliver() }
	}
	crashes := func(g *gateway) {
		_, _, release := g.crash()
		g.Cleanup(release)
	}
	poisoned := func(g *gateway) { g.config.Execution.MaxAttempts = 1 }
	tooLong := func(g *gateway) { g.config.Execution.Timeout = 50 * time.Millisecond }
	for name, c := range map[string]struct {
		change func(*gateway)
		before func(*gateway)
		state  string
		next   string
		then   got // without its body
	}{
		"a result": {nil, once(answers(201, `{}`)), "state done", "gets this result", replayed},
		"a refusal": {
			nil, once(answers(409, `{}`)), "state refused by the backend (409)", "gets the same refusal",
			got{409, "replayed", "1", ""},
		},
		"a refusal that is not kept": {
			func(g *gateway) { g.config.Execution.RejectedTTL = 0 }, once(answers(409, `{}`)),
			"state refused by the backend (4xx); its callers were told, and it is not kept", again, executed,
		},
		"a certain failure": {nil, once(fails(errOdd)), "state failed for certain: it was not done", again, executed},
		"a refused request": {
			nil, once(fails(logic.ErrRefused)), "state failed for certain: the backend took no request", again,
			executed,
		},
		"an unknown one": {nil, once(fails(logic.ErrOutcomeUnknown)), "state outcome unknown: the backend may have done it",
			perhapsTwice, executed},
		"a slow one": {tooLong, once(waits), "state outcome unknown: it took longer than EXECUTION_TIMEOUT", perhapsTwice,
			executed},
		"a panic": {
			nil, once(func(context.Context, logic.Webhook) (logic.Result, error) { panic("secret") }),
			"state outcome unknown: the logic panicked", perhapsTwice, executed,
		},
		"an exit": {
			nil, once(func(context.Context, logic.Webhook) (logic.Result, error) { runtime.Goexit(); panic("not reached") }),
			"state outcome unknown: the logic ended its goroutine", perhapsTwice, executed,
		},
		"a result that is too large": {
			func(g *gateway) { g.config.Execution.MaxResultBytes = config.KiB },
			once(answers(200, `"`+strings.Repeat("x", 1024)+`"`)),
			"state done, in all likelihood, but its result is larger than MAX_RESULT_BYTES", perhapsTwice, executed,
		},
		"a failure for certain after one in doubt": {
			nil, func(g *gateway) { once(fails(logic.ErrOutcomeUnknown))(g); once(fails(errOdd))(g) },
			"it was not done; an attempt before it may have been done", "executes it as attempt 3, and so perhaps twice",
			got{200, "executed", "3", ""},
		},
		"a crash": {
			nil, crashes, "state crashed: its replica ended, froze or lost Redis", perhapsTwice,
			executed,
		},
		"a lease that was lost": {
			nil, func(g *gateway) {
				owner, _, release := g.crash()
				release() // it has a result, and knows that its lease is over
				owner.proxy.Mend()
				g.engine.eventually("it has told its end",
					func() bool { return g.engine.recordOf().State != record.InProgress })
			}, "state done", "gets this result", replayed, // no other had begun
		},
		"a shutdown": {
			func(g *gateway) { g.config.HTTP.ShutdownTimeout = 50 * time.Millisecond }, func(g *gateway) {
				entered := make(chan struct{}, 1)
				g.does(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
					entered <- struct{}{}
					return waits(ctx, w)
				})
				go func() {
					_, _ = http.Post(g.url, "", strings.NewReader(fmt.Sprintf(`{"dialogId":%q,"nodeId":%q,"sequence":%d}`, dialog,
						node, sequence)))
				}()
				<-entered
				g.stop()
			}, "state outcome unknown: its replica was stopped while it ran", perhapsTwice, got{},
		},
		"a failure too many": {poisoned, once(fails(errOdd)), "state failed for certain",
			`500 "poisoned", and each one after it, until a person decides: MAX_ATTEMPTS is 1`, got{500, "poisoned", "1", ""}},
		"a crash too many": {poisoned, crashes, "state crashed", `500 "poisoned", and each one after it`,
			got{500, "poisoned", "1", ""}},
		"poison that was told": {
			poisoned, func(g *gateway) { crashes(g); g.deliver() }, "state poisoned: 1 execution failed or crashed",
			`500 "poisoned", until a person decides: oncegate forget`, got{500, "poisoned", "1", ""},
		},
		"a crash with stop": {stop, crashes, "state crashed",
			`500 "doubtful", and each one after it, until a person decides: IN_DOUBT is stop`, got{500, "doubtful", "1", ""}},
		"a doubt with stop": {stop, once(fails(logic.ErrOutcomeUnknown)), "state outcome unknown",
			`500 "doubtful", and each one after it`, got{500, "doubtful", "1", ""}},
		"a doubt that was told": {stop, func(g *gateway) { once(fails(logic.ErrOutcomeUnknown))(g); g.deliver() },
			"state doubtful: nobody knows whether it was done", `500 "doubtful", until a person decides: oncegate forget`,
			got{500, "doubtful", "1", ""}},
		"a certain failure with stop": {stop, once(fails(errOdd)), "state failed for certain", again, executed},
		"a doubt that can be asked about": {
			func(g *gateway) { stop(g); g.asks = true }, once(fails(logic.ErrOutcomeUnknown)),
			"state outcome unknown", "asks the backend (UPSTREAM_STATUS_URL), and executes it as attempt 2 only if", executed,
		},
		"a question without a clear answer": {
			func(g *gateway) { stop(g); g.asks = true }, func(g *gateway) {
				once(fails(logic.ErrOutcomeUnknown))(g)
				once(fails(fmt.Errorf("%w: %w", logic.ErrUnasked, logic.ErrOutcomeUnknown)))(g)
			}, "state outcome unknown: the backend was asked what became of an earlier attempt and gave no clear answer",
			"asks the backend (UPSTREAM_STATUS_URL), and executes it as attempt 3 only if", got{200, "executed", "3", ""},
		},
		"a forget": {
			nil, func(g *gateway) { once(answers(200, `{}`))(g); g.forget(false) },
			"state forgotten by a person", "executes it as attempt 3", got{200, "executed", "3", ""},
		},
		"a result from a person": {
			poisoned, func(g *gateway) { once(fails(errOdd))(g); g.deliver(); g.resolve(201, `{"by":"hand"}`) },
			"state done, as a person found out (oncegate resolve)", "gets this result", got{200, "replayed", "2", ""},
		},
		"a refusal from a person": {
			nil, func(g *gateway) { once(fails(logic.ErrOutcomeUnknown))(g); g.resolve(404, `{"by":"hand"}`) },
			"state refused by the backend (404), as a person found out", "gets the same refusal", got{404, "replayed", "2", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			e := &engine{T: t, client: redistest.Client(t, server.Addr())}
			g := e.gateway(server.Addr(), func(g *gateway) {
				if c.change != nil {
					c.change(g)
				}
			})
			c.before(g)
			page := unbroken(g.inspect())
			for _, says := range []string{c.state, "next delivery " + c.next} {
				if !strings.Contains(page, says) {
					t.Errorf("it does not say %q:\n%s", says, g.inspect())
				}
			}
			if c.then == (got{}) {
				return
			}
			g.does(answers(200, `{}`))
			then := g.deliver()
			if then.body = ""; then != c.then {
				t.Errorf("the next delivery gets %+v, want %+v", then, c.then)
			}
		})
	}
}

func (g *gateway) forget(force bool) {
	g.Helper()
	if err := g.deployment().Forget(g.Context(), webhook, force, io.Discard); err != nil {
		g.Error(err)
	}
}

func (g *gateway) resolve(status int, body string) {
	g.Helper()
	result := record.Result{Status: status, ContentType: record.JSON, Body: []byte(body)}
	if err := g.deployment().Resolve(g.Context(), webhook, result, io.Discard); err != nil {
		g.Error(err)
	}
}

func TestInspectTellsOfTheAttemptsBeforeAndWhoHadThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	owner, other := e.gateway(server.Addr(), func(*gateway) {}), e.gateway(server.Addr(), func(*gateway) {})
	_, release := owner.cutOff()
	t.Cleanup(release)
	other.does(fails(logic.ErrOutcomeUnknown))
	other.deliver() // a takeover
	other.forget(false)
	other.does(answers(200, `{}`))
	other.deliver()
	other.forget(false)
	entered, goOn := stuck(other, `{}`)
	running := other.later()
	<-entered
	page := unbroken(other.inspect())
	host := record.Replica(e.recordOf().Token)
	if _, pid, named := strings.Cut(host, "/"); !named || pid == "" {
		t.Errorf("its replica is %q", host)
	}
	for _, says := range []string{
		"state running", "next delivery waits for the outcome", "attempt 6, by replica " + host, "its replica renews it",
		"before it attempt 2, by replica " + host + ", began 20", "outcome unknown: the backend may have done it",
		"before it attempt 3, 20", "UTC: forgotten by a person",
		"before it attempt 4, by replica " + host + ", 20", "UTC: had a result, until a person forgot it",
	} {
		if !strings.Contains(page, says) {
			t.Errorf("it does not say %q:\n%s", says, other.inspect())
		}
	}
	if n := strings.Count(page, "before it"); n != 4 {
		t.Errorf("it tells of %d attempts before", n)
	}
	other.forget(true)
	goOn()
	<-running
	if page := unbroken(other.inspect()); !strings.Contains(page, "before it attempt 6, by replica "+host+", began") ||
		!strings.Contains(page, "forgotten by a person with --force while it ran") {
		t.Errorf("after a forget by force:\n%s", page)
	}
}

// TestInspectForetellsWhatTheScriptDecides compares the rule that inspect knows with the script's own, for every state
// under every setting.
func TestInspectForetellsWhatTheScriptDecides(t *testing.T) {
	onEach(t, func(e *engine) {
		now := e.now()
		var states []record.Record
		for _, failures := range []int64{0, 1, 2} {
			for _, doubt := range []bool{false, true} {
				for _, verdict := range []record.Verdict{record.NoVerdict, record.Poisoned, record.Doubtful} {
					states = append(states,
						record.Record{State: record.Failed, Attempt: 2, Token: "t", FailedAt: now, Reason: "error", Doubt: doubt,
							Failures: failures, Verdict: verdict})
				}
				for _, left := range []time.Duration{time.Hour, -time.Second} {
					states = append(states,
						record.Record{State: record.InProgress, Attempt: 2, Token: "t", Deadline: now.Add(left), Lease: lease,
							Started: now, Doubt: doubt, Failures: failures})
				}
			}
		}
		states = append(states, found(now)["done"].record, found(now)["sealed"].record, found(now)["forgotten"].record)
		for _, r := range states {
			for _, maxAttempts := range []int{0, 1, 2, 3} {
				for _, bits := range []int{0, 1, 2, 3} {
					d := e.deployment()
					d.MaxAttempts, d.StopInDoubt, d.Asks = maxAttempts, bits&1 != 0, bits&2 != 0
					e.plant(key, r, ttl)
					var out strings.Builder
					if err := d.Inspect(e.Context(), webhook, &out); err != nil {
						e.Fatal(err)
					}
					_, page, _ := strings.Cut(unbroken(out.String()), "next delivery ")
					if want := e.foretold(d); !strings.HasPrefix(page, want) {
						e.Errorf("%+v under %d, %v, %v: the script decides %q, and inspect says\n%s", r,
							maxAttempts, d.StopInDoubt, d.Asks, want, page)
					}
				}
			}
		}
	})
}

// foretold returns the beginning that inspect's text should have, by what the script does.
func (e *engine) foretold(d command.Deployment) string {
	e.Helper()
	switch a := e.claimUnder(d); a.Verdict {
	case "claimed":
		if a.Doubt && d.Asks {
			return "asks the backend"
		}
		text := "executes it as attempt " + strconv.FormatInt(a.Attempt, 10)
		if a.Doubt {
			return text + ", and so perhaps twice"
		}
		return text
	case "poisoned", "doubtful":
		return fmt.Sprintf("500 %q", a.Verdict)
	case "done":
		return "gets th"
	case "progress":
		return "waits for the outcome"
	default:
		return "not " + string(a.Verdict)
	}
}
