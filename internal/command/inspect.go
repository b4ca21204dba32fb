package command

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

// Line is one fact about a record: a label and a text. The label is "" if it is the same as in the line before.
type Line struct{ Label, Text string }

// Inspect describes a webhook's record in words, and what its next delivery gets under the gateway's settings. Results
// are private: it prints their size and not their content. If there is no record, the error is ErrNotFound.
func (d Deployment) Inspect(ctx context.Context, w Webhook, out io.Writer) error {
	lines, err := d.Lines(ctx, w)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		for _, row := range wrapped(line.Text) {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", line.Label, row) // Flush returns the error
			line.Label = ""
		}
	}
	return table.Flush()
}

// Lines returns the lines that Inspect prints.
func (d Deployment) Lines(ctx context.Context, w Webhook) (lines []Line, err error) {
	found, err := d.look(ctx, w)
	if err != nil {
		return nil, err
	}
	line := func(label, format string, args ...any) {
		lines = append(lines, Line{label, fmt.Sprintf(format, args...)})
	}
	if w.Fingerprint == nil {
		line("webhook", "%s", w.identity())
	}
	line("fingerprint", "%v", w.fingerprint())
	if key := d.key(w.fingerprint()); key != w.fingerprint().String() {
		line("key", "%s", key)
	}
	switch {
	case found.kind != "string":
		line("state", "foreign: a %s, which no version of oncegate wrote; it is left as it is", plain(found.kind))
	case found.err != nil:
		line("state", "foreign: a string of %d bytes, which no version of oncegate wrote; it is left as it is",
			found.size)
	default:
		d.describe(found, line)
	}
	line("ends", "%s", found.ends())
	return lines, nil
}

// describe writes a line for each fact about a record.
func (d Deployment) describe(f finding, line func(label, format string, args ...any)) {
	r := f.record
	line("state", "%s", state(&r, f.now))
	line("next delivery", "%s", d.next(&r, f.now))
	if undecided(&r, f.now) {
		line("", "under %s", d.settings())
	}
	line("attempt", "%d%s", r.Attempt, by(r.Token))
	switch r.State {
	case record.InProgress:
		line("began", "%s", moment(r.Started, f.now))
		line("lease", "%s", f.lease())
		if r.Doubt {
			line("doubt", "an attempt before it may have had its effect")
		}
	case record.Done, record.Sealed:
		line("stored", "%s", moment(r.Stored, f.now))
		line("status", "%d", r.Result.Status)
		if r.State == record.Sealed {
			line("sealed", "%d bytes, which the key %s opens", f.body, plain(r.KeyID))
			break
		}
		line("content type", "%s", plain(r.Result.ContentType))
		line("result", "%d bytes", f.body)
	case record.Failed:
		if !r.Forgotten() && r.Started.UnixMilli() > 0 {
			line("began", "%s", moment(r.Started, f.now))
		}
		line("ended", "%s", moment(r.FailedAt, f.now))
		if r.Verdict != record.NoVerdict {
			line("", "%s", failed(&r))
		}
	}
	for _, a := range r.Attempts() {
		line("before it", "%s", past(a))
	}
	if n := failures(&r, f.now); n > 0 {
		line("failures", "%d failed or crashed, which MAX_ATTEMPTS counts", n)
	}
	if r.Digest != (record.Digest{}) {
		line("digest", "%s, of the body that was executed", r.Digest.Hex())
	}
	if r.Token != record.Person {
		line("token", "%s", plain(r.Token))
	}
}

// state describes the state of a record in a person's words.
func state(r *record.Record, now time.Time) string {
	switch {
	case crashed(r, now):
		return endingOf(record.Expired).words
	case r.State == record.InProgress:
		return "running"
	case r.Verdict == record.Poisoned:
		return fmt.Sprintf("poisoned: %s failed or crashed, and it is not executed again",
			many(int(r.Failures), "execution"))
	case r.Verdict == record.Doubtful:
		return "doubtful: nobody knows whether it was done, and it is not executed again"
	case r.State == record.Failed:
		return failed(r)
	}
	text := "done"
	if r.Result.Status >= 400 {
		text = fmt.Sprintf("refused by the backend (%d)", r.Result.Status)
	}
	if r.Token == record.Person {
		text += ", as a person found out (oncegate resolve)"
	}
	return text
}

// failed describes how the attempt of a failed record ended.
func failed(r *record.Record) string {
	end := endingOf(r.Reason)
	if r.Doubt && end.certain {
		return end.words + "; an attempt before it may have been done"
	}
	return end.words
}

// by names the replica in a token, for the end of a sentence.
func by(token string) string {
	if replica := record.Replica(token); replica != "" {
		return ", by replica " + plain(replica)
	}
	return ""
}

// past describes an attempt before the one that the record is about.
func past(a record.Attempt) string {
	text, words := fmt.Sprintf("attempt %d", a.Number), endingOf(a.How).words
	if a.Replica != "" {
		text += ", by replica " + plain(a.Replica)
	}
	switch {
	case a.How == "done" && a.Replica == "":
		text += ","
		words = "had a result from a person (oncegate resolve), until a person forgot it"
	case a.How == "done", a.How == "forgotten": // the times are one point in time
		text += ","
	default:
		text += ", began"
	}
	text += " " + date(a.Began)
	if took := a.Ended.Sub(a.Began); took > 0 {
		text += ", ended " + length(took) + " later"
	}
	return text + ": " + words
}

// lease says how long the lease still holds: at most its length, even if Redis' clock was stepped back.
func (f finding) lease() string {
	r := f.record
	left := min(r.Deadline.Sub(f.now), r.Lease)
	if left <= 0 {
		return fmt.Sprintf("of %s, ran out %s ago", length(r.Lease), length(-left))
	}
	return fmt.Sprintf("of %s, %s left; its replica renews it while it lives", length(r.Lease), length(left))
}

func (f finding) ends() string {
	switch {
	case f.ttl == gone:
		return "just now"
	case f.ttl == endless && f.err == nil:
		return "never: it has no TTL, and the next sweep gives it one"
	case f.ttl == endless:
		return "never"
	default:
		return moment(f.now.Add(f.ttl), f.now)
	}
}
