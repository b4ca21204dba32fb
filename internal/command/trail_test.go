package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/trail"
)

// withTrail keeps a trail that can be searched by an order.
func withTrail(g *gateway) {
	g.config.Trail.Keep, g.config.Trail.Fields = 10_000, "variables.orderId,variables.secret.none"
	g.config.Execution.WaitTimeout = 20 * time.Second
}

// book delivers a webhook with an order in it.
func (g *gateway) book(of string, sequence int, order string) (code int) {
	g.Helper()
	text := fmt.Sprintf(`{"dialogId":%q,"nodeId":%q,"sequence":%d,"variables":{"orderId":%s,"name":"planted"}}`, of, node,
		sequence, order)
	reply, err := http.Post(g.url, "application/json", strings.NewReader(text))
	if err != nil {
		g.Errorf("a delivery: %v", err)
		return 0
	}
	defer func() { _ = reply.Body.Close() }()
	_, _ = io.Copy(io.Discard, reply.Body)
	return reply.StatusCode
}

// trail returns the command's output.
func (g *gateway) trail(q trail.Query) string {
	g.Helper()
	var out strings.Builder
	o := command.TrailOptions{Query: q, Since: func(time.Time) time.Time { return time.Time{} }}
	if err := g.deployment().Trail(g.Context(), o, &out); err != nil {
		g.Fatal(err)
	}
	return out.String()
}

// timesAndNames are the texts that differ from run to run.
var timesAndNames = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}|, after [0-9.]+m?s|replica [^ ]+/\d+`)

func told(text string) string {
	text = strings.ReplaceAll(text, "\n"+strings.Repeat(" ", 27), " ") // long lines
	text = strings.TrimSuffix(text, "\nTimes are those of Redis' clock, in UTC.\n")
	return strings.TrimSpace(timesAndNames.ReplaceAllStringFunc(text, func(of string) string {
		switch {
		case strings.HasPrefix(of, ","):
			return ""
		case strings.HasPrefix(of, "replica"):
			return "replica _"
		}
		return "T"
	}))
}

// TestWhatRedisHadLostMayHaveBeenDone: a failover also loses the events of the records that replicas put back.
func TestWhatRedisHadLostMayHaveBeenDone(t *testing.T) {
	for _, test := range []struct {
		lost trail.Event
		want string
	}{
		{trail.Event{Status: 200}, "was done once: attempt 2 (it has a result)."},
		{trail.Event{Status: 422}, "was not done, as far as this tells."},
		{trail.Event{Cause: "error"}, "was not done, as far as this tells."},
		{trail.Event{Cause: "timeout"}, "may have been done once: attempt 2 (nobody knows)."},
		{trail.Event{}, "may have been done once: attempt 2 (it runs, or it crashed)."},
	} {
		test.lost.What, test.lost.Attempt = trail.Restored, 2
		if got := command.Conclusion([][]trail.Event{{test.lost}}); !strings.HasSuffix(got[0], test.want) {
			t.Errorf("of status %d, cause %q it says %q", test.lost.Status, test.lost.Cause, got)
		}
	}
}

// TestARefusalIsNoBooking, and the last lines say so.
func TestARefusalIsNoBooking(t *testing.T) {
	refused := trail.Event{What: trail.Rejected, Attempt: 1, Status: 422}
	said := command.Conclusion([][]trail.Event{{{What: trail.Claimed, Attempt: 1}, refused}})
	if !strings.HasSuffix(said[0], " was not done: attempt 1 was refused by the backend (422).") {
		t.Errorf("it says %q", said)
	}
}

func TestAForeignFieldPlaysNoTricksOnATerminal(t *testing.T) {
	var webhooks [][]trail.Event
	for _, value := range []string{"a", "b"} {
		webhooks = append(webhooks, []trail.Event{{Fields: []trail.Field{{Name: "order\x1b[2J", Value: value}}}})
	}
	if said := strings.Join(command.Conclusion(webhooks), "\n"); !strings.Contains(said, `differ in "order\x1b[2J"`) {
		t.Errorf("it says %q", said)
	}
}

// TestTheTrailTellsWhatBecameOfABooking: a storm, a failure, a takeover, a forget and a refusal of one webhook.
func TestTheTrailTellsWhatBecameOfABooking(t *testing.T) {
	onEach(t, func(e *engine) {
		g := e.gateway(e.addr, withTrail)
		g.does(fails(fmt.Errorf("no answer: %w", logic.ErrOutcomeUnknown)))
		if code := g.book(dialog, sequence, "4711"); code != 500 {
			t.Errorf("a failure is answered %d", code)
		}
		_, first, release := g.crash()
		entered, answered := stuck(g, `{"booked":1}`)
		var storm sync.WaitGroup
		for range 40 {
			storm.Go(func() {
				if code := g.book(dialog, sequence, "4711"); code != 200 {
					g.Errorf("a delivery of the storm is answered %d", code)
				}
			})
		}
		<-entered
		e.eventually("all wait", func() bool { return g.watch.Gate.Snapshot().Waiting == 40 })
		answered()
		storm.Wait()
		release()
		<-first
		replays := 3
		for range replays {
			g.book(dialog, sequence, "4711")
		}
		if err := g.deployment().Forget(g.Context(), webhook, false, io.Discard); err != nil {
			g.Fatal(err)
		}
		g.does(answers(404, `{"sold":"out"}`))
		for g.book(dialog, sequence, "4711") != 404 { // until it hears of the forget
			replays++
		}

		f := fingerprint.Of([]byte(dialog), []byte(node), sequence)
		about := "  dialogId=d-0001  nodeId=n-0001  sequence=7"
		text := g.trail(trail.Query{Name: "orderId", Value: "4711"})
		name := f.Hex()[:12] + "…"
		want := f.String() + about + `  variables.orderId=4711
  T  attempt 1 began, by replica _
  T  attempt 1 ended: outcome unknown: the backend may have done it; the replica's log of that time has the error
  T  attempt 2 began, by replica _
  T  attempt 3 began, by replica _: the one before it crashed: ` +
			`its replica ended, froze or lost Redis for LOCK_TTL; outcome unknown: the backend may have done it
  T  attempt 3 ended with a result (200); 39 other deliveries to its replica since the event before
  T  a person had it forgotten (which counts as attempt 4): the result of attempt 3
  T  attempt 5 began, by replica _, since a person had it forgotten; ` + fmt.Sprint(replays) +
			` other deliveries to its replica since the event before
  T  attempt 5 was refused by the backend (404)

` + name + ` may have been done 3 times: attempt 1 (nobody knows), attempt 2 (nobody knows), ` +
			`attempt 3 (it has a result).
All attempts of a webhook carry one idempotency key: the backend can tell whether it did more than one.`
		if got := told(text); got != want {
			e.Errorf("it tells\n%s\nwant\n%s", got, want)
		}
		story, _, _ := strings.Cut(text, "\n\n")
		if all := g.trail(trail.Query{}); all != story+"\n" {
			e.Errorf("asked for all it tells\n%s", all)
		}
		for _, q := range []trail.Query{{Name: trail.Dialog, Value: dialog}, {Fingerprint: &f}} {
			if again := g.trail(q); again != text {
				e.Errorf("%+v tells\n%s\nwant\n%s", q, again, text)
			}
		}
		if strings.Contains(text, "planted") || strings.Contains(e.do("XRANGE", "cognigy:trail", "-", "+"), "planted") {
			e.Errorf("a field that was not chosen is in the trail")
		}
	})
}

// TestNoEventIsToldTwiceWhereRepliesWereLost: the calls were executed, and are repeated under their tokens.
func TestNoEventIsToldTwiceWhereRepliesWereLost(t *testing.T) {
	onEach(t, func(e *engine) {
		g := e.gateway(e.addr, func(g *gateway) {
			withTrail(g)
			g.config.Execution.LockTTL, g.config.Redis.Patience = 20*time.Second, 15*time.Second
		})
		running := make(chan struct{}, 100)
		g.does(func(ctx context.Context, w logic.Webhook) (logic.Result, error) {
			running <- struct{}{}
			return answers(200, `{}`)(ctx, w)
		})
		g.book("warm", 0, "1")
		var all sync.WaitGroup
		for range 5 {
			g.proxy.Snap() // the claims
			for i := range 10 {
				all.Go(func() { g.book("lost", i, "7") })
			}
			time.Sleep(100 * time.Millisecond)
			g.proxy.Mend()
			<-running
			g.proxy.Snap() // and the stores
			time.Sleep(100 * time.Millisecond)
			g.proxy.Mend()
			all.Wait()
		}
		text := g.trail(trail.Query{Name: trail.Dialog, Value: "lost"})
		for what, want := range map[string]int{"attempt 1 began": 10, "attempt 1 ended with a result": 10, "attempt": 30} {
			if n := strings.Count(text, what); n != want {
				e.Errorf("%q is told %d times, want %d:\n%s", what, n, want, text)
			}
		}
	})
}

// TestTwoWebhooksOfOneBookingAreShownToDiffer: the answer to "my booking was made twice", most of the time.
func TestTwoWebhooksOfOneBookingAreShownToDiffer(t *testing.T) {
	onEach(t, func(e *engine) {
		g := e.gateway(e.addr, withTrail)
		g.does(answers(200, `{}`))
		g.book("d1", 1, `"4711"`)
		g.book("d1", 2, `"4711"`)
		g.book("d1", 3, `"4712"`)
		g.book("d2", 3, `4711`)
		text := told(g.trail(trail.Query{Name: "variables.orderId", Value: "4711"}))
		if n := strings.Count(text, "ended with a result"); n != 3 || strings.Contains(text, "4712") ||
			!strings.HasSuffix(text, "3 webhooks to Oncegate, since they differ in sequence, dialogId: each is executed.") {
			e.Errorf("it tells\n%s", text)
		}
	})
}

func TestATrailThatIsNotThereIsSaid(t *testing.T) {
	onEach(t, func(e *engine) {
		o := command.TrailOptions{Since: func(time.Time) time.Time { return time.Time{} }}
		if err := e.deployment().Trail(e.Context(), o, io.Discard); !errors.Is(err, command.ErrNoTrail) {
			e.Errorf("without a trail: %v", err)
		}
		g := e.gateway(e.addr, withTrail)
		g.does(answers(200, `{}`))
		g.book("d1", 1, `1`)
		o.Name, o.Value = "orderId", "2"
		if err := e.deployment().Trail(e.Context(), o, io.Discard); !errors.Is(err, command.ErrNotFound) {
			e.Errorf("of no webhook: %v", err)
		}
		o.Name = "booking"
		if err := e.deployment().Trail(e.Context(), o, io.Discard); !errors.Is(err, command.ErrNotFound) ||
			!strings.Contains(err.Error(), "a field booking: the trail knows dialogId, nodeId, sequence, variables.orderId (") {
			e.Errorf("of a field that no webhook has: %v", err)
		}
		o = command.TrailOptions{Since: func(now time.Time) time.Time { return now.Add(time.Minute) }}
		if err := e.deployment().Trail(e.Context(), o, io.Discard); !errors.Is(err, command.ErrNotFound) {
			e.Errorf("since later: %v", err)
		}
		o = command.TrailOptions{Query: trail.Query{Tenant: "acme"}, Since: func(time.Time) time.Time { return time.Time{} }}
		if err := e.deployment().Trail(e.Context(), o, io.Discard); !errors.Is(err, command.ErrNotFound) {
			e.Errorf("of another tenant: %v", err)
		}
	})
}

// TestTheTrailGoesOnWithWhatComes, as lines of JSON.
func TestTheTrailGoesOnWithWhatComes(t *testing.T) {
	onEach(t, func(e *engine) {
		g := e.gateway(e.addr, withTrail)
		g.does(answers(200, `{}`))
		g.book("d1", 1, `1`)
		ctx, stop := context.WithCancel(e.Context())
		read, write := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			o := command.TrailOptions{Since: func(time.Time) time.Time { return time.Time{} }, Follow: true, JSON: true}
			ended <- g.deployment().Trail(ctx, o, write)
		}()
		lines := make(chan string, 10)
		go func() {
			buffer := make([]byte, 1<<16)
			for {
				n, err := read.Read(buffer)
				if err != nil {
					return
				}
				lines <- string(buffer[:n])
			}
		}()
		for _, want := range []string{`"event":"claimed"`, `"event":"stored"`} {
			if got := <-lines; !strings.Contains(got, want) || !strings.Contains(got, `"value":"d1"`) {
				e.Errorf("it tells %s, want %s", got, want)
			}
		}
		g.book("d2", 1, `1`)
		if got := <-lines; !strings.Contains(got, `"value":"d2"`) {
			e.Errorf("it goes on with %s", got)
		}
		<-lines
		stop()
		if err := <-ended; err != nil {
			e.Errorf("it ends with %v", err)
		}
		_ = read.Close()
	})
}

func TestOnAClusterTheTrailIsThatOfAllBuckets(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	e := &engine{T: t, client: c.Client()}
	g := e.gateway(c.Servers[0].Addr(), func(g *gateway) {
		withTrail(g)
		g.config.Redis.URL, g.config.Redis.Buckets = config.Secret(c.URL()), 16
		g.config.Redis.Timeout, g.config.Execution.LockTTL = time.Second, 4*time.Second
	})
	g.does(answers(200, `{}`))
	for i := range 60 {
		g.book("d", i, fmt.Sprint(4711+i%2))
	}
	d := g.deployment()
	d.Keys = redis.NewClusterKeys("cognigy", 16)
	if err := d.Forget(t.Context(), command.Webhook{Dialog: "d", Node: node, Sequence: 4}, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	o := command.TrailOptions{Query: trail.Query{Name: "orderId", Value: "4711"},
		Since: func(time.Time) time.Time { return time.Time{} }}
	if err := d.Trail(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{
		"attempt 1 began": 30, "attempt 1 ended with a result (200)": 30, "a person had it forgotten": 1, "orderId=4711": 30,
		"orderId=4712": 0, "was done once: attempt 1 (it has a result).": 30,
	} {
		if n := strings.Count(out.String(), what); n != want {
			t.Errorf("%q is told %d times, want %d:\n%s", what, n, want, &out)
		}
	}
	began := regexp.MustCompile(`([0-9:.]+)  attempt 1 began`).FindAllString(out.String(), -1)
	if !slices.IsSorted(began) {
		t.Errorf("the webhooks stand in another order than they began: %q", began)
	}
}

// TestALongTrailIsReadToItsEnd: it has several pages, and entries among them that are not events of ours.
func TestALongTrailIsReadToItsEnd(t *testing.T) {
	onEach(t, func(e *engine) {
		f := fingerprint.Of([]byte("d"), []byte("n"), 1)
		for i := range 2500 {
			e.do("XADD", "cognigy:trail", fmt.Sprintf("%d-%d", 1000+i, 1), "e",
				fmt.Sprintf("claimed - 0 1 %d gw~A~1 AQIDAAAAAAAAAAAAAAAAAA %s 0 x=y", i+1, keys.Record(f)))
			if i%100 == 0 {
				e.do("XADD", "cognigy:trail", fmt.Sprintf("%d-%d", 1000+i, 2), "other", "thing")
			}
		}
		var out strings.Builder
		o := command.TrailOptions{Query: trail.Query{Name: "x", Value: "y"},
			Since: func(time.Time) time.Time { return time.Time{} }}
		if err := e.deployment().Trail(e.Context(), o, &out); err != nil {
			e.Fatal(err)
		}
		if n := strings.Count(out.String(), " began"); n != 2500 {
			e.Errorf("it tells of %d", n)
		}
	})
}

// TestAWholeTrailIsToldWhileItIsRead, so that it need not fit into memory.
func TestAWholeTrailIsToldWhileItIsRead(t *testing.T) {
	e := onReal(t)
	const webhooks, pages = 80_000, 160
	e.do("EVAL", `
		local function add(event, i, about)
			redis.call('XADD', KEYS[1], '*', 'e', event .. ' 0 1 gw~A~1 AQIDAAAAAAAAAAAAAAAAAA ' .. 'cognigy:fp:' ..
				string.format('%064x', i) .. ' 0 ' .. about)
		end
		for i = 1, ARGV[1] + 100 do
			if i <= tonumber(ARGV[1]) then add('claimed - 0', i, 'order=' .. i) end
			if i > 100 then add('stored - 200', i - 100, '-') end
		end`, "1", "cognigy:trail", fmt.Sprint(webhooks))
	var out strings.Builder
	read := "" // when the first line was told
	o := command.TrailOptions{Since: func(time.Time) time.Time { return time.Time{} }}
	err := e.deployment().Trail(e.Context(), o, writerFunc(func(line []byte) (int, error) {
		if read == "" {
			read = e.do("INFO", "commandstats")
		}
		return out.Write(line)
	}))
	if err != nil {
		e.Fatal(err)
	}
	for what, want := range map[string]int{
		"cognigy:fp:": webhooks, "  order=": webhooks, " began": webhooks, " ended with a result": webhooks,
	} {
		if n := strings.Count(out.String(), what); n != want {
			e.Errorf("%q is told %d times, want %d", what, n, want)
		}
	}
	_, calls, _ := strings.Cut(read, "cmdstat_xrange:calls=")
	calls, _, _ = strings.Cut(calls, ",")
	if n, err := strconv.Atoi(calls); err != nil || n >= pages {
		e.Errorf("nothing was told before %q pages were read, of %d", calls, pages)
	}
}

type writerFunc func(line []byte) (int, error)

func (f writerFunc) Write(line []byte) (int, error) { return f(line) }

// TestTheTrailOfATenantIsItsOwn, even if another tenant's webhook had the same value.
func TestTheTrailOfATenantIsItsOwn(t *testing.T) {
	onEach(t, func(e *engine) {
		f := fingerprint.Of([]byte("d"), []byte("n"), 1)
		for i, tenant := range []string{"", "acme", "beta"} {
			e.do("XADD", "cognigy:trail", fmt.Sprint(1000+i, "-1"), "e",
				fmt.Sprintf("claimed - 0 1 %d gw~A~1 AQIDAAAAAAAAAAAAAAAAAA %s 0 x=y", i+1, keys.RecordOf(tenant, f)))
		}
		for i, tenant := range []string{"", "acme", "beta"} {
			for _, q := range []trail.Query{{Name: "x", Value: "y"}, {Fingerprint: &f}, {}} {
				q.Tenant = tenant
				var out strings.Builder
				o := command.TrailOptions{Query: q, Since: func(time.Time) time.Time { return time.Time{} }}
				err := e.deployment().Trail(e.Context(), o, &out)
				if text := out.String(); err != nil || strings.Count(text, "began") != 1 ||
					!strings.Contains(text, fmt.Sprintf("attempt %d began", i+1)) {
					e.Errorf("of tenant %q: %v\n%s", tenant, err, text)
				}
			}
		}
	})
}

// TestWhatWasBeforeIsNotToldAndCounts: an answer to whether it was done twice needs all of a webhook's steps.
func TestWhatWasBeforeIsNotToldAndCounts(t *testing.T) {
	onEach(t, func(e *engine) {
		steps := map[string]string{"1000-1": "claimed - 0 1000 1", "2000-1": "takeover expired 0 2000 2",
			"3000-1": "stored - 200 2000 2"}
		for _, id := range slices.Sorted(maps.Keys(steps)) {
			e.do("XADD", "cognigy:trail", id, "e", steps[id]+" gw~A~1 AQIDAAAAAAAAAAAAAAAAAA "+key+" 0 x=y")
		}
		var out strings.Builder
		o := command.TrailOptions{Query: trail.Query{Name: "x", Value: "y"},
			Since: func(time.Time) time.Time { return time.UnixMilli(2500) }}
		if err := e.deployment().Trail(e.Context(), o, &out); err != nil {
			e.Fatal(err)
		}
		if text := out.String(); strings.Count(text, "1970-01-01") != 1 || !strings.Contains(text,
			"may have been done 2 times: attempt 1 (nobody knows), attempt 2 (it has a result)") {
			e.Errorf("it tells\n%s", text)
		}
	})
}

// TestTheTrailTellsOfVerdictsAndOfWhatAPersonDid about them.
func TestTheTrailTellsOfVerdictsAndOfWhatAPersonDid(t *testing.T) {
	t.Parallel()
	e := onReal(t) // miniredis tells no history, which IN_DOUBT=stop needs
	g := e.gateway(e.addr, func(g *gateway) {
		withTrail(g)
		stop(g)
		g.config.Execution.MaxAttempts = 2
	})
	unknown := fails(fmt.Errorf("no answer: %w", logic.ErrOutcomeUnknown))
	g.does(unknown)
	for range 3 { // the second one gets the verdict, the third one only hears of it
		g.book(dialog, sequence, "1")
	}
	result := record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{}`)}
	if err := g.deployment().Resolve(e.Context(), webhook, result, io.Discard); err != nil {
		e.Fatal(err)
	}
	g.does(fails(errors.New("it was not done")))
	for range 3 {
		g.book("poisoned", 1, "2")
	}
	begins := "began, by replica _"
	for value, want := range map[string][]string{
		"1": {"attempt 1 " + begins, "attempt 1 ended: " + "outcome unknown: the backend may have done it; the replica's " +
			"log of that time has the error",
			"doubtful after attempt 1: it is not executed again until a person decides",
			"a person found out what became of it: 200", "",
			"may have been done once: attempt 1 (nobody knows). Then a person found out what became of it: 200."},
		"2": {"attempt 1 " + begins, "attempt 1 ended: failed for certain: it was not done", "attempt 2 " + begins,
			"attempt 2 ended: failed for certain: it was not done",
			"poisoned after attempt 2: it is not executed again until a person decides", "",
			"was not done, as far as this tells."},
	} {
		lines := strings.Split(told(g.trail(trail.Query{Name: "orderId", Value: value})), "\n")[1:]
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "  T  ")
			if _, rest, named := strings.Cut(lines[i], "… "); named {
				lines[i] = rest
			}
		}
		if !slices.Equal(lines, want) {
			e.Errorf("it tells\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	}
}
