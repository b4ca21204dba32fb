package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/sleep"
	"github.com/oncegate/oncegate/internal/trail"
)

// TrailOptions select the events that Trail prints.
type TrailOptions struct {
	trail.Query

	Since  func(now time.Time) time.Time // earlier events are not printed
	Follow bool                          // also print new events, until the context ends
	JSON   bool                          // print a line of JSON for each event
}

// ErrNoTrail says that the gateways keep no trail.
var ErrNoTrail = errors.New("there is no trail: the gateways keep one only with TRAIL, of what has happened since")

// whichTimes says by which clock a person compares them.
const whichTimes = "Times are those of Redis' clock, in UTC."

// followEvery is how often Trail looks for new events.
const followEvery = 500 * time.Millisecond

// Trail tells what became of webhooks, step by step: the events of each in order, and how often it may have been done.
// If there is nothing to tell, the error is ErrNotFound or ErrNoTrail.
func (d Deployment) Trail(ctx context.Context, o TrailOptions, out io.Writer) error {
	now, err := redis.Clock(d.Client.Do(ctx, d.Client.B().Time().Build()))
	if err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	since := o.Since(now)
	reader := trail.NewReader(d.Client, d.Keys, o.Query)
	t := teller{out: out, json: o.JSON}
	var held Webhooks
	for e, err := range reader.Read(ctx) {
		if err != nil {
			return err
		}
		held.Add(e)
		if !o.Chosen() && held.events > mostHeld {
			t.tell(held.take(), since)
		}
		if t.err != nil {
			return t.err
		}
	}
	webhooks := slices.DeleteFunc(held.All, func(of []trail.Event) bool { // none of its events is new enough
		return of[len(of)-1].At.Before(since)
	})
	switch {
	case len(webhooks) > 0 || t.told || o.Follow:
	case reader.Oldest.IsZero():
		return ErrNoTrail
	case o.Name != "" && !reader.Knows(o.Name):
		return fmt.Errorf("%w with a field %s: the trail knows %s (TRAIL_FIELDS, and the parts of identities)", ErrNotFound,
			plain(o.Name), listed(reader.Names))
	default:
		return fmt.Errorf("%w of such a webhook in the trail, which begins at %s", ErrNotFound, date(reader.Oldest))
	}
	for _, of := range webhooks {
		t.tell(of, since)
	}
	if o.Chosen() && !o.JSON && !o.Follow {
		t.printf("\n%s\n%s\n", strings.Join(Conclusion(webhooks), "\n"), whichTimes)
	}
	for o.Follow && t.err == nil && sleep.For(ctx, followEvery) == nil {
		for e, err := range reader.Read(ctx) {
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				t.tell([]trail.Event{e}, since)
			}
		}
	}
	return t.err
}

// mostHeld bounds how many events are held to sort them by webhook, when all events are printed. An event of a webhook
// that was printed already gets a heading of its own.
const mostHeld = 100_000

// Webhooks groups events by webhook, in the order in which the webhooks began. The zero value has none.
type Webhooks struct {
	All [][]trail.Event

	at     map[fingerprint.Fingerprint]int // index in All plus the webhooks taken before
	taken  int
	events int // in All
}

// Add adds an event, which must be no older than those before.
func (w *Webhooks) Add(e trail.Event) {
	i, met := w.at[e.Fingerprint]
	if !met {
		i = w.taken + len(w.All)
		if w.at == nil {
			w.at = make(map[fingerprint.Fingerprint]int)
		}
		w.at[e.Fingerprint], w.All = i, append(w.All, nil)
	}
	w.All[i-w.taken] = append(w.All[i-w.taken], e)
	w.events++
}

// take removes and returns the events of the webhook that began first.
func (w *Webhooks) take() []trail.Event {
	of := w.All[0]
	w.All[0] = nil
	delete(w.at, of[0].Fingerprint)
	w.All, w.taken, w.events = w.All[1:], w.taken+1, w.events-len(of)
	return of
}

// teller prints events.
type teller struct {
	out  io.Writer
	json bool
	of   fingerprint.Fingerprint // the webhook whose events were printed last
	told bool                    // something was printed
	err  error
}

func (t *teller) printf(format string, args ...any) {
	t.told = true
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}

// tell prints the events since a moment, with a heading before those of each webhook.
func (t *teller) tell(events []trail.Event, since time.Time) {
	for _, e := range events {
		if e.At.Before(since) {
			continue
		}
		if t.json {
			line, err := json.Marshal(e)
			if err != nil {
				t.err = err
				return
			}
			t.printf("%s\n", line)
			continue
		}
		if e.Fingerprint != t.of {
			if t.told {
				t.printf("\n")
			}
			t.of = e.Fingerprint
			t.printf("%s%s\n", e.Fingerprint, about(e.Fields))
		}
		at := e.At.UTC().Format("2006-01-02 15:04:05.000")
		for _, row := range wrapped(EventWords(&e)) {
			t.printf("  %23s  %s\n", at, row)
			at = ""
		}
	}
}

// listed returns names of fields, joined by commas. Anybody may have chosen them.
func listed(names []string) string {
	var shown []string
	for _, name := range names {
		shown = append(shown, plain(name))
	}
	return strings.Join(shown, ", ")
}

// about returns the words about a request for the end of a line.
func about(fields []trail.Field) string {
	var text strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&text, "  %s=%s", plain(f.Name), plain(f.Value))
	}
	return text.String()
}

// EventWords describes an event in a person's words. They contain nothing of the request.
func EventWords(e *trail.Event) string {
	text := fmt.Sprintf("attempt %d ", e.Attempt)
	after := ""
	if e.Took > 0 {
		after = ", after " + length(e.Took)
	}
	switch e.What {
	case trail.Claimed:
		text += "began" + byReplica(e)
		if e.Cause == "forgotten" {
			text += ", since a person had it forgotten"
		}
	case trail.Takeover:
		text += fmt.Sprintf("began%s: the one before it %s", byReplica(e), endingOf("expired").words)
	case trail.Stored:
		text += fmt.Sprintf("ended with a result (%d)%s", e.Status, after)
	case trail.Rejected:
		text += refused(e) + after
	case trail.Failed:
		text += "ended" + after + ": " + endingOf(e.Cause).words
	case trail.Forgotten:
		text = fmt.Sprintf("a person had it forgotten (which counts as attempt %d): %s", e.Attempt+1, forgotten(e))
	case trail.Resolved:
		text = fmt.Sprintf("a person found out what became of it: %d", e.Status)
	case trail.Poisoned, trail.Doubtful:
		text = fmt.Sprintf("%s after %s: it is not executed again until a person decides", e.What, strings.TrimSpace(text))
	case trail.Restored:
		text = "Redis had lost it, and a replica put it back: " + strings.TrimSpace(text)
	default:
		text += plain(e.What)
	}
	switch {
	case e.Deliveries == 1:
		text += "; 1 other delivery to its replica since the event before"
	case e.Deliveries > 1:
		text += fmt.Sprintf("; %d other deliveries to its replica since the event before", e.Deliveries)
	}
	return text
}

func refused(e *trail.Event) string {
	if e.Status == 0 {
		return "was refused by the backend"
	}
	return fmt.Sprintf("was refused by the backend (%d)", e.Status)
}

func byReplica(e *trail.Event) string {
	if e.Replica == "" {
		return ""
	}
	return ", by replica " + plain(e.Replica)
}

func forgotten(e *trail.Event) string {
	switch e.Cause {
	case "done":
		return fmt.Sprintf("the result of attempt %d", e.Attempt)
	case "dropped":
		return fmt.Sprintf("attempt %d, while it ran", e.Attempt)
	}
	return fmt.Sprintf("that attempt %d had not ended well", e.Attempt)
}

// Conclusion answers in sentences whether webhooks were done more than once: for each webhook from its attempts, and
// for several that they are different webhooks. It names fields and no values.
func Conclusion(webhooks [][]trail.Event) (sentences []string) {
	say := func(format string, args ...any) { sentences = append(sentences, fmt.Sprintf(format, args...)) }
	again := false // some attempt was another one's repetition
	for _, events := range webhooks {
		name, done := events[0].Fingerprint.Hex()[:12]+"…", effects(events)
		may := "may have been"
		if !slices.ContainsFunc(done, func(of string) bool { return !strings.HasSuffix(of, hasResult) }) {
			may = "was"
		}
		switch len(done) {
		case 0:
			if last := events[len(events)-1]; last.What == trail.Rejected {
				say("%s was not done: attempt %d %s.", name, last.Attempt, refused(&last))
			} else {
				say("%s was not done, as far as this tells.", name)
			}
		case 1:
			say("%s %s done once: %s.", name, may, done[0])
		default:
			say("%s %s done %d times: %s.", name, may, len(done), strings.Join(done, ", "))
			again = true
		}
		if last := events[len(events)-1]; last.What == trail.Resolved {
			sentences[len(sentences)-1] += fmt.Sprintf(" Then %s.", EventWords(&last))
		}
	}
	if again {
		say("All attempts of a webhook carry one idempotency key: the backend can tell whether it did more than one.")
	}
	if names := differing(webhooks); len(names) > 0 {
		say("These are %d webhooks to Oncegate, since they differ in %s: each is executed.", len(webhooks),
			strings.Join(names, ", "))
	}
	return sentences
}

// The words for an attempt that had its effect, or may have had it.
const (
	hasResult   = "(it has a result)"
	nobodyKnows = "(nobody knows)"
)

// effects returns the attempts of a webhook that had their effect, or may have had it.
func effects(events []trail.Event) (done []string) {
	had := func(attempt int64, how string) { // the last event of an attempt counts
		name := fmt.Sprintf("attempt %d ", attempt)
		done = slices.DeleteFunc(done, func(of string) bool { return strings.HasPrefix(of, name) })
		done = append(done, name+how)
	}
	var last int64 // attempt that began and has not ended
	for _, e := range events {
		switch e.What {
		case trail.Takeover:
			had(e.Attempt-1, nobodyKnows)
			last = e.Attempt
		case trail.Claimed:
			last = e.Attempt
		case trail.Restored:
			switch {
			case e.Status >= 400:
			case e.Status > 0:
				had(e.Attempt, hasResult)
			case e.Cause == "":
				last = e.Attempt
			case !endingOf(e.Cause).certain:
				had(e.Attempt, nobodyKnows)
			}
		case trail.Stored:
			had(e.Attempt, hasResult)
			last = 0
		case trail.Failed:
			if !endingOf(e.Cause).certain {
				had(e.Attempt, nobodyKnows)
			}
			last = 0
		case trail.Rejected, trail.Poisoned, trail.Doubtful:
			if e.Cause == "expired" {
				had(e.Attempt, nobodyKnows)
			}
			last = 0
		case trail.Forgotten:
			if e.Cause == "dropped" {
				had(e.Attempt, nobodyKnows)
			}
			last = 0
		}
	}
	if last > 0 {
		had(last, "(it runs, or it crashed)")
	}
	return done
}

// differing returns the names of the fields in which webhooks differ.
func differing(webhooks [][]trail.Event) (names []string) {
	values := make(map[string]string)
	for _, events := range webhooks {
		for _, f := range events[len(events)-1].Fields {
			name := plain(f.Name) // anybody may have chosen the name
			if value, met := values[f.Name]; met && value != f.Value && !slices.Contains(names, name) {
				names = append(names, name)
			}
			values[f.Name] = f.Value
		}
	}
	return names
}
