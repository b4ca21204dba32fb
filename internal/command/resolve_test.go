package command_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/scripts"
)

var byHand = record.Result{Status: 201, ContentType: record.JSON, Body: []byte(`{"booking":"AB12"}`)}

func TestResolveGivesEveryDeliveryThatResult(t *testing.T) {
	onEach(t, func(e *engine) {
		for _, what := range []string{"crashed", "failed", "doubtful", "poisoned", "forgotten"} {
			r := found(e.now())[what].record
			r.Digest = record.Digest{4, 2}
			e.plant(key, r, ttl)
			var out strings.Builder
			if err := e.deployment().Resolve(e.Context(), webhook, byHand, &out); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if want := "gets status 201 and these 18 bytes"; !strings.Contains(out.String(), want) ||
				!strings.Contains(out.String(), "For 1h0m0s every") {
				t.Errorf("%s: it says %q", what, &out)
			}
			stands := e.recordOf()
			if stands.Attempt != r.Attempt+1 || stands.Token != record.Person || stands.Digest != r.Digest &&
				what != "forgotten" ||
				stands.Result.Status != 201 || string(stands.Result.Body) != string(byHand.Body) {
				t.Errorf("%s: %+v stands", what, stands)
			}
			if a := e.claim(); a.Verdict != scripts.Done {
				t.Errorf("%s: the next webhook is answered %+v", what, a)
			}
		}
	})
}

func TestResolveSealsWhereResultsAreSealed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	path := filepath.Join(t.TempDir(), "keys")
	secret := func(letter string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	if err := os.WriteFile(path, []byte("k7 "+secret("k")+"\ndigest "+secret("d")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := e.gateway(server.Addr(), func(g *gateway) { g.config.Execution.ResultKeyFile = path })
	e.plant(key, found(e.now())["failed"].record, ttl)
	d := g.deployment()
	var err error
	if d.Seal, err = seal.Load(path, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := d.Resolve(e.Context(), webhook, byHand, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	if r := e.recordOf(); r.State != record.Sealed || r.KeyID != "k7" || r.Token != record.Person {
		t.Errorf("%+v stands", r)
	}
	if a := g.deliver(); a.code != 200 || !strings.Contains(a.body, "AB12") {
		t.Errorf("the next webhook is answered %+v", a)
	}
}

func TestARefusalThatAPersonFoundOutLivesAsLongAsARefusal(t *testing.T) {
	onEach(t, func(e *engine) {
		e.plant(key, found(e.now())["doubtful"].record, ttl)
		refusal := byHand
		refusal.Status = 404
		d := e.deployment()
		d.RejectedTTL = 0
		if err := d.Resolve(e.Context(), webhook, refusal, new(strings.Builder)); err == nil ||
			!strings.Contains(err.Error(), "REJECTED_TTL is 0") {
			t.Errorf("error %v", err)
		}
		d.RejectedTTL = 5 * time.Minute
		if err := d.Resolve(e.Context(), webhook, refusal, new(strings.Builder)); err != nil {
			t.Error(err)
		}
		if r := e.recordOf(); r.Ends.Sub(r.Stored) != 5*time.Minute {
			t.Errorf("%+v stands", r)
		}
	})
}

func TestResolveSaysWhyItDoesNot(t *testing.T) {
	onEach(t, func(e *engine) {
		for name, c := range map[string]struct {
			stands string // of found; "": nothing, "rubbish": a foreign value
			result record.Result
			is     error
			says   string
		}{
			"no record":           {"", byHand, command.ErrNotFound, "no record of dialog d-0001"},
			"a running execution": {"running", byHand, command.ErrRunning, "wait for its end or"},
			"a result":            {"done", byHand, command.ErrHasResult, "of status 201; oncegate forget"},
			"a sealed result":     {"sealed", byHand, command.ErrHasResult, "of status 201"},
			"a refusal":           {"refused", byHand, command.ErrHasResult, "of status 409"},
			"a foreign value":     {"rubbish", byHand, record.ErrForeign, "is not resolved: what stands at its key"},
			"a status that ends nothing": {
				"doubtful", record.Result{Status: 500, ContentType: record.JSON, Body: []byte("{}")}, nil,
				"2xx, or 4xx for a final refusal, but this has 500",
			},
			"no JSON": {"doubtful", record.Result{Status: 200, ContentType: record.JSON, Body: []byte("{")}, nil,
				"declared as application/json but is not valid, 1 bytes"},
			"a type with control characters": {
				"doubtful", record.Result{Status: 200, ContentType: "a\nb"}, nil,
				"content type without control characters",
			},
		} {
			e.do("DEL", key)
			switch c.stands {
			case "":
			case "rubbish":
				e.do("SET", key, "rubbish")
			default:
				e.plant(key, found(e.now())[c.stands].record, ttl)
			}
			stood := e.do("GET", key)
			var out strings.Builder
			err := e.deployment().Resolve(e.Context(), webhook, c.result, &out)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) ||
				out.Len() > 0 || e.do("GET", key) != stood {
				t.Errorf("%s: %v; it says %q", name, err, &out)
			}
		}
	})
}

// TestResolveResolvesNothingElse changes the record while the command waits for Redis to settle.
func TestResolveResolvesNothingElse(t *testing.T) {
	t.Parallel()
	for what, is := range map[string]error{"done": command.ErrChanged, "orphan": nil, "running": command.ErrRunning} {
		e := onReal(t)
		stood := found(e.now())["doubtful"].record
		e.plant(key, stood, ttl)
		d := e.deployment()
		d.Settle = 300 * time.Millisecond
		out := &watched{says: "waiting 300ms", then: func() {
			r := found(e.now())[what].record
			r.Attempt = stood.Attempt
			if what == "orphan" { // the same attempt, its verdict not written yet
				r.Verdict = record.NoVerdict
			}
			e.plant(key, r, ttl)
		}}
		err := d.Resolve(t.Context(), webhook, byHand, out)
		if is == nil && err != nil || is != nil && !errors.Is(err, is) || out.said.Len() == 0 {
			t.Errorf("%s: %v; it says %q", what, err, &out.said)
		}
	}
	e := onReal(t)
	e.plant(key, found(e.now())["doubtful"].record, ttl)
	d := e.deployment()
	d.Settle = 300 * time.Millisecond
	err := d.Resolve(t.Context(), webhook, byHand, &watched{says: "waiting", then: func() {
		r := found(e.now())["doubtful"].record
		r.Attempt++
		e.plant(key, r, ttl)
	}})
	if !errors.Is(err, command.ErrChanged) || e.recordOf().State != record.Failed {
		t.Errorf("a later attempt: %v; %+v stands", err, e.recordOf())
	}
}

// watched calls a function when it is written to.
type watched struct {
	said strings.Builder
	says string
	then func()
}

func (w *watched) Write(text []byte) (int, error) {
	if strings.Contains(string(text), w.says) {
		w.then()
	}
	return w.said.Write(text)
}

// TestALateResultIsRefusedOnceAPersonHasResolvedIt: otherwise deliveries would get two different results.
func TestALateResultIsRefusedOnceAPersonHasResolvedIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	owner, other := e.gateway(server.Addr(), stop), e.gateway(server.Addr(), stop)
	first, release := owner.cutOff()
	if a := other.deliver(); a.status != "doubtful" {
		t.Fatalf("the next delivery gets %+v", a)
	}
	other.resolve(200, `{"by":"hand"}`)
	owner.proxy.Mend()
	release()
	<-first
	e.eventually("the late store is refused", func() bool { return e.do("HGET", keys.Metrics(), "lost_stores") == "1" })
	for _, g := range []*gateway{owner, other} {
		if a := g.deliver(); a.code != 200 || a.attempt != "2" || !strings.Contains(a.body, `"data":{"by":"hand"}`) {
			t.Errorf("a delivery gets %+v", a)
		}
	}
}

// TestAResultThatCameFirstIsNotResolved is the other way round.
func TestAResultThatCameFirstIsNotResolved(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	owner, other := e.gateway(server.Addr(), stop), e.gateway(server.Addr(), stop)
	first, release := owner.cutOff()
	if a := other.deliver(); a.status != "doubtful" {
		t.Fatalf("the next delivery gets %+v", a)
	}
	owner.proxy.Mend()
	release()
	<-first
	e.eventually("its result is stored", func() bool { return e.recordOf().State == record.Done })
	if err := other.deployment().Resolve(t.Context(), webhook, byHand, new(strings.Builder)); !errors.Is(err,
		command.ErrHasResult) {
		t.Errorf("error %v", err)
	}
	if a := other.deliver(); !strings.Contains(a.body, `"data":{"late":true}`) {
		t.Errorf("a delivery gets %+v", a)
	}
}

// keyFile returns the path of a RESULT_KEY_FILE with a key of this name.
func keyFile(t *testing.T, name string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	secret := func(letter string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	if err := os.WriteFile(path, []byte(name+" "+secret("k")+"\ndigest "+secret("d")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAResultFromAPersonIsSealedToo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	e := &engine{T: t, client: redistest.Client(t, server.Addr())}
	g := e.gateway(server.Addr(), func(g *gateway) { g.config.Execution.ResultKeyFile = keyFile(t, "k7") })
	g.does(fails(logic.ErrOutcomeUnknown))
	g.deliver()
	d := g.deployment()
	var err error
	if d.Seal, err = seal.Load(g.config.Execution.ResultKeyFile, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := d.Resolve(t.Context(), webhook, byHand, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	if value := e.do("GET", key); e.recordOf().State != record.Sealed || strings.Contains(value, "AB12") {
		t.Errorf("%q stands", value)
	}
	if a := g.deliver(); a.code != 200 || a.attempt != "2" || !strings.Contains(a.body, `"data":{"booking":"AB12"}`) {
		t.Errorf("a delivery gets %+v", a)
	}
	page := unbroken(g.inspect())
	for _, says := range []string{"state done, as a person found out", "status 201 sealed ",
		"bytes, which the key k7 opens"} {
		if !strings.Contains(page, says) {
			t.Errorf("it does not say %q:\n%s", says, g.inspect())
		}
	}
}

func TestWhatTooFewReplicasAcknowledgeIsNotSaidToBeDone(t *testing.T) {
	t.Parallel()
	e := onReal(t)
	d := e.deployment()
	d.ReplicasAck, d.RedisTimeout = 1, 300*time.Millisecond
	e.plant(key, found(e.now())["doubtful"].record, ttl)
	if err := d.Resolve(t.Context(), webhook, byHand, new(strings.Builder)); err == nil ||
		!strings.Contains(err.Error(), "not certain") || !strings.Contains(err.Error(), "0 of 1 replicas have it") {
		t.Errorf("resolve: %v", err)
	}
	if err := d.Forget(t.Context(), webhook, false, new(strings.Builder)); err == nil ||
		!strings.Contains(err.Error(), "0 of 1 replicas have it") {
		t.Errorf("forget: %v", err)
	}
}

func TestTheDataOfAResultIsReadFromAFileOrStandardInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	if err := os.WriteFile(path, []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{path, "-"} {
		if data, err := command.Data(from, strings.NewReader("12345678"), 8); err != nil || string(data) != "12345678" {
			t.Errorf("%s: %q, %v", from, data, err)
		}
		if _, err := command.Data(from, strings.NewReader("12345678"), 7); err == nil ||
			!strings.Contains(err.Error(), "larger than MAX_RESULT_BYTES, 7 bytes") {
			t.Errorf("%s: %v", from, err)
		}
	}
	if _, err := command.Data(path+".absent", nil, 7); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}
