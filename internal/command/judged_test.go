package command_test

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/scripts"
)

// several returns records of webhooks of one dialog; the sequence of each is its index.
func several(now time.Time) map[string]record.Record {
	failed := func(failures int64, doubt bool, v record.Verdict) record.Record {
		return record.Record{
			State: record.Failed, Attempt: 3, Token: "gw-1/7~X~1", Started: now.Add(-2 * time.Hour),
			FailedAt: now.Add(-time.Hour),
			Reason:   "timeout", Doubt: doubt, Failures: failures, Verdict: v,
		}
	}
	crashed := record.Record{
		State: record.InProgress, Attempt: 3, Token: "gw-2/7~X~1", Deadline: now.Add(-time.Minute), Lease: lease,
		Started: now.Add(-time.Hour), Failures: 2,
	}
	runs := crashed
	runs.Deadline = now.Add(time.Minute)
	old := failed(1, true, record.Doubtful)
	old.FailedAt = now.Add(-48 * time.Hour)
	return map[string]record.Record{
		"done": found(now)["done"].record, "runs": runs, "crashed": crashed, "certain": failed(0, false, record.NoVerdict),
		"in doubt": failed(1, true, record.NoVerdict), "thrice": failed(3, true, record.NoVerdict),
		"poisoned": failed(1, false, record.Poisoned), "doubtful": failed(1, true, record.Doubtful), "long doubtful": old,
	}
}

// nameOf returns the fingerprint of one of them.
func nameOf(what string) fingerprint.Fingerprint { return fingerprint.Of([]byte("d"), []byte(what), 1) }

func (e *engine) plantSeveral(keys redis.Keys) {
	e.Helper()
	for what, r := range several(e.now()) {
		e.plant(keys.Record(nameOf(what)), r, ttl)
	}
	e.do("LPUSH", keys.Record(nameOf("foreign")), "foreign")
}

func TestTheListsHaveWhatWasJudgedAndWhatWillBe(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plantSeveral(keys)
		for name, c := range map[string]struct {
			list   func(command.Deployment, context.Context, io.Writer) error
			change func(*command.Deployment)
			want   map[string]string // the text after the fingerprint
			hint   string
		}{
			"poisoned": {
				command.Deployment.Poisoned, nil, map[string]string{"poisoned": "1 3 # gw-1/7 timeout poisoned"},
				"MAX_ATTEMPTS is 0 here",
			},
			"poisoned, with a limit": {command.Deployment.Poisoned, func(d *command.Deployment) { d.MaxAttempts = 3 },
				map[string]string{
					"poisoned": "1 3 # gw-1/7 timeout poisoned", "thrice": "3 3 # gw-1/7 timeout poisoned, as the first one",
					"crashed": "3 3 # gw-2/7 expired poisoned, as the first one",
				}, ""},
			"doubtful": {command.Deployment.Doubtful, nil, map[string]string{
				"doubtful": "1 3 # gw-1/7 timeout doubtful", "long doubtful": "1 3 # gw-1/7 timeout doubtful",
			}, "IN_DOUBT is execute here"},
			"doubtful, with stop": {command.Deployment.Doubtful, func(d *command.Deployment) {
				d.StopInDoubt,
					d.MaxAttempts = true, 3
			}, map[string]string{
				"doubtful": "1 3 # gw-1/7 timeout doubtful", "long doubtful": "1 3 # gw-1/7 timeout doubtful",
				"in doubt": "1 3 # gw-1/7 timeout doubtful, as the first one",
			}, ""},
			"doubtful, where the backend is asked": {command.Deployment.Doubtful, func(d *command.Deployment) {
				d.StopInDoubt,
					d.Asks = true, true
			}, map[string]string{
				"doubtful": "1 3 # gw-1/7 timeout doubtful", "long doubtful": "1 3 # gw-1/7 timeout doubtful",
				"in doubt": "1 3 # gw-1/7 timeout asks the backend", "thrice": "3 3 # gw-1/7 timeout asks the backend",
				"crashed": "3 3 # gw-2/7 expired asks the backend",
			}, ""},
		} {
			d := e.deployment()
			if c.change != nil {
				c.change(&d)
			}
			var out strings.Builder
			if err := c.list(d, e.Context(), &out); err != nil {
				t.Fatal(err)
			}
			for what, line := range c.want {
				if page := unbroken(masked(out.String())); !strings.Contains(page, nameOf(what).String()+" "+line) {
					t.Errorf("%s: it does not say %q of %q:\n%s", name, line, what, &out)
				}
			}
			if n := strings.Count(out.String(), "cognigy:fp:"); n != len(c.want) ||
				!strings.Contains(out.String(), "oncegate forget --fingerprint") {
				t.Errorf("%s: it lists %d:\n%s", name, n, &out)
			}
			hinted := regexp.MustCompile(`(?m)^(MAX_ATTEMPTS|IN_DOUBT) is `).MatchString(out.String())
			if hinted != (c.hint != "") || !strings.Contains(out.String(), c.hint) {
				t.Errorf("%s: it says\n%s", name, &out)
			}
		}
	})
}

func TestAListThatIsEmptySaysSo(t *testing.T) {
	onEach(t, func(e *engine) {
		e.count(busy)
		d := e.deployment()
		d.MaxAttempts, d.StopInDoubt = 3, true
		var out strings.Builder
		if err := d.Poisoned(e.Context(), &out); err != nil || out.String() != "No webhook is poisoned.\n" {
			t.Errorf("it says %q, %v", &out, err)
		}
		out.Reset()
		if err := d.Doubtful(e.Context(), &out); err != nil || out.String() != "No webhook is doubtful.\n" {
			t.Errorf("it says %q, %v", &out, err)
		}
	})
}

// TestALeaseIsJudgedByRedisClock: this machine's clock may be wrong.
func TestALeaseIsJudgedByRedisClock(t *testing.T) {
	t.Parallel()
	e := onMini(t)
	e.count(busy)
	e.mini.SetTime(time.Now().Add(-24 * time.Hour))
	e.plant(keys.Record(nameOf("runs")), several(e.now())["runs"], ttl)
	d := e.deployment()
	d.MaxAttempts = 1
	for _, want := range []string{"No webhook is poisoned.\n", "FINGERPRINT"} {
		var out strings.Builder
		if err := d.Poisoned(e.Context(), &out); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("it says %q, %v", &out, err)
		}
		e.mini.SetTime(e.now().Add(2 * time.Minute))
	}
}

// ago returns a limit that is a length of time ago.
func ago(d time.Duration) func(now time.Time) time.Time {
	return func(now time.Time) time.Time { return now.Add(-d) }
}

// person answers a question, after it has called a function that shows what happens meanwhile.
type person struct {
	says      string
	meanwhile func()
}

func (p *person) Read(b []byte) (int, error) {
	if p.meanwhile != nil {
		p.meanwhile()
	}
	return copy(b, p.says), io.EOF
}

func TestForgettingTheDoubtfulAsksFirstAndSaysHowMany(t *testing.T) {
	onEach(t, func(e *engine) {
		for name, c := range map[string]struct {
			before    time.Duration
			says      string
			yes       bool
			counts    string
			forgotten []string
			err       error
		}{
			"yes": {time.Minute, "yes\n", false, "2 doubtful webhooks ended before",
				[]string{"doubtful", "long doubtful"}, nil},
			"Y at the end":   {24 * time.Hour, "Y", false, "1 doubtful webhook ended before", []string{"long doubtful"}, nil},
			"without asking": {24 * time.Hour, "", true, "1 doubtful webhook ended before", []string{"long doubtful"}, nil},
			"no":             {time.Minute, "no\n", false, "2 doubtful webhooks ended before", nil, command.ErrUnconfirmed},
			"nothing":        {time.Minute, "", false, "2 doubtful webhooks ended before", nil, command.ErrUnconfirmed},
			"before them all": {
				100 * time.Hour, "", false, "No doubtful webhook has ended before that time.\n", nil, nil,
			},
		} {
			e.do("FLUSHALL")
			e.count(busy)
			e.plantSeveral(keys)
			var out strings.Builder
			err := e.deployment().ForgetDoubtful(e.Context(), ago(c.before), c.yes, &person{says: c.says}, &out)
			if !errors.Is(err, c.err) || !strings.Contains(out.String(), c.counts) ||
				strings.Contains(out.String(), "[y/N]") == (c.yes || c.counts[0] == 'N') {
				e.Errorf("%s: it says\n%s\n%v", name, &out, err)
			}
			var forgotten []string
			for _, what := range []string{"certain", "crashed", "done", "doubtful", "in doubt", "long doubtful", "poisoned",
				"runs", "thrice"} {
				r, err := record.Parse([]byte(e.do("GET", keys.Record(nameOf(what)))))
				if err != nil {
					e.Fatal(err)
				}
				if r.Forgotten() {
					forgotten = append(forgotten, what)
				}
			}
			if strings.Join(forgotten, ";") != strings.Join(c.forgotten, ";") {
				e.Errorf("%s: forgotten %q", name, forgotten)
			}
		}
	})
}

func TestForgettingTheDoubtfulLeavesWhatChangedMeanwhile(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plantSeveral(keys)
		late := keys.Record(nameOf("doubtful"))
		again := keys.Record(nameOf("long doubtful"))
		var out strings.Builder
		err := e.deployment().ForgetDoubtful(e.Context(), ago(time.Minute), false, &person{says: "y\n", meanwhile: func() {
			e.plant(late, found(e.now())["done"].record, ttl) // its owner came back with a result
			later := several(e.now())["doubtful"]
			later.Attempt++ // it was forgotten, and is in doubt anew
			e.plant(again, later, ttl)
		}}, &out)
		if err != nil || !strings.Contains(out.String(), "Forgotten: 0 webhooks.\n2 others had changed meanwhile") {
			t.Errorf("it says\n%s\n%v", &out, err)
		}
		for key, state := range map[string]record.State{late: record.Done, again: record.Failed} {
			if r, err := record.Parse([]byte(e.do("GET", key))); err != nil || r.State != state || r.Forgotten() {
				t.Errorf("%+v stands, %v", r, err)
			}
		}
	})
}

// silent is a person who never answers, and does something else when asked.
type silent func()

func (does silent) Read([]byte) (int, error) { does(); select {} }

func TestAQuestionWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	e := onMini(t)
	e.plantSeveral(keys)
	ctx, end := context.WithCancel(t.Context())
	var out strings.Builder
	asked := make(chan error, 1)
	go func() { asked <- e.deployment().ForgetDoubtful(ctx, ago(time.Minute), false, silent(end), &out) }()
	select {
	case err := <-asked:
		if !errors.Is(err, command.ErrUnconfirmed) {
			t.Errorf("error %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it goes on asking")
	}
}

func TestOnAClusterTheListsAndTheForgetReachAllPrimaries(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	e := &engine{T: t, client: c.Client()}
	d := e.deployment()
	d.Keys = redis.NewClusterKeys("cognigy", 16)
	const webhooks = 60
	found := several(time.Now())["doubtful"]
	for i := range webhooks {
		f := fingerprint.Of([]byte("d"), []byte("n"), int64(i))
		e.plant(d.Keys.Record(f), found, ttl)
	}
	var out strings.Builder
	if err := d.Doubtful(t.Context(), &out); err != nil || strings.Count(out.String(), "cognigy:fp:") != webhooks {
		t.Errorf("%v; it lists\n%s", err, &out)
	}
	out.Reset()
	if err := d.ForgetDoubtful(t.Context(), ago(time.Minute), false, &person{says: "y\n"}, &out); err != nil ||
		!strings.Contains(out.String(), "Forgotten: 60 webhooks.\n") {
		t.Errorf("%v; it says\n%s", err, &out)
	}
	for i := range webhooks {
		f := fingerprint.Of([]byte("d"), []byte("n"), int64(i))
		r, err := record.Parse([]byte(e.do("GET", d.Keys.Record(f))))
		if err != nil || !r.Forgotten() || r.Attempt != found.Attempt+1 {
			t.Fatalf("%+v stands, %v", r, err)
		}
	}
	f := fingerprint.Of([]byte("d"), []byte("n"), 7)
	for _, w := range []command.Webhook{{Dialog: "d", Node: "n", Sequence: 7}, {Fingerprint: &f}} {
		out.Reset()
		if err := d.Inspect(t.Context(), w, &out); err != nil ||
			!strings.Contains(out.String(), "forgotten by a person") ||
			!strings.Contains(out.String(), d.Keys.Record(f)) {
			t.Errorf("%v; it says\n%s", err, &out)
		}
	}
	if err := d.Resolve(t.Context(), command.Webhook{Fingerprint: &f}, record.Result{Status: 200, ContentType: record.JSON,
		Body: []byte("{}")}, &out); err != nil {
		t.Error(err)
	}
	call := scripts.Call{
		Metrics: d.Keys.Of(f).Metrics(), Flushed: d.Keys.Of(f).Flush("test"), Lease: lease,
		Classes: []scripts.Class{{TTL: ttl}},
		Ops:     []scripts.Op{scripts.Claim(d.Keys.Record(f), "next", scripts.Question{})},
	}
	if reply, err := call.Run(t.Context(), e.client); err != nil || reply.Answers[0].Verdict != scripts.Done {
		t.Errorf("the next delivery is answered %+v, %v", reply, err)
	}
}
