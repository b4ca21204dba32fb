package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// ErrRunning says that nothing was changed because the webhook is being executed.
var ErrRunning = errors.New("it is being executed")

// ErrUnconfirmed says that a person did not answer yes.
var ErrUnconfirmed = errors.New("nothing was forgotten: the answer was not yes (--yes asks nothing)")

const (
	whatForceMeans = "--force forgets it all the same: this execution may finish its work, but its result is " +
		"dropped, its callers are told to ask again, and the next webhook executes"
	wasForced = "An execution that was running may finish its work, but its result is dropped.\n"
)

// Forget makes the next delivery of a webhook execute again, on every replica. With force it does so even while the
// webhook is being executed. While Redis settles it waits, until ctx ends.
//
// The error is ErrNotFound, ErrRunning, or record.ErrForeign if the key has another program's value, which is left as
// it is. After any other error it is unknown whether the webhook was forgotten; repeating the command does no harm.
func (d Deployment) Forget(ctx context.Context, w Webhook, force bool, out io.Writer) error {
	f := w.fingerprint()
	answer, err := d.do(ctx, f, out, scripts.Forget(d.key(f), force), d.announce(f))
	if err != nil {
		return fmt.Errorf("forgetting %v: %w", w, err)
	}
	switch answer.Verdict {
	case scripts.Forgotten:
		text := fmt.Sprintf("Forgotten: %v.\nThe next such webhook executes again, on whichever replica.\n", w)
		if force {
			text += wasForced
		}
		_, err := io.WriteString(out, text)
		return err
	case scripts.Missing:
		return d.notFound(ctx, w)
	case scripts.Running:
		return fmt.Errorf("%v is not forgotten: %w; %s", w, ErrRunning, whatForceMeans)
	}
	return unexpected(answer, w, "forgotten")
}

// announce returns the operation that tells replicas to look again: a record in the fingerprint's bucket was forgotten.
func (d Deployment) announce(f fingerprint.Fingerprint) scripts.Op {
	return scripts.Announce(d.Keys.Of(f).Forgets())
}

// unexpected returns the error for an answer that any operation may get.
func unexpected(answer scripts.Answer, w Webhook, done string) error {
	switch answer.Verdict {
	case scripts.Foreign:
		return fmt.Errorf("%v is not %s: what stands at its key is %w", w, done, record.ErrForeign)
	case scripts.Error:
		return fmt.Errorf("it is not certain that %v is %s: redis says %s; to try again does no harm", w, done,
			answer.Text)
	}
	return fmt.Errorf("%v is not %s: the script says %q", w, done, answer.Verdict)
}

// ForgetDoubtful makes the next delivery of each doubtful webhook execute again whose last attempt ended before a time.
// The function before returns that time, given the time by Redis' clock. ForgetDoubtful first says how many such
// webhooks there are, and asks unless yes is set. A webhook that changes meanwhile is left as it is.
func (d Deployment) ForgetDoubtful(
	ctx context.Context, before func(now time.Time) time.Time, yes bool, in io.Reader, out io.Writer,
) error {
	var limit time.Time
	found, err := d.walk(ctx, func(m met) bool {
		limit = before(m.now)
		return m.Verdict == record.Doubtful && m.FailedAt.Before(limit)
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if err := d.known(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "No doubtful webhook has ended before that time.")
		return err
	}
	_, _ = fmt.Fprintf(out, "%s ended before %s, the first one at %s, the last one at %s.\n"+
		"Nobody knows whether they were done. "+
		"Once forgotten, each is executed by its next delivery, and so perhaps twice.\n",
		many(len(found), "doubtful webhook"), date(limit), date(found[0].ended()), date(found[len(found)-1].ended()))
	if !yes && !confirmed(ctx, "Forget them? [y/N] ", in, out) {
		return ErrUnconfirmed
	}
	forgotten := 0
	for _, m := range found {
		w := Webhook{Fingerprint: &m.name}
		answer, err := d.do(ctx, m.name, out, scripts.ForgetVerdict(d.key(m.name), m.Attempt), d.announce(m.name))
		switch {
		case err != nil:
			return fmt.Errorf("after %d of %d were forgotten: %v: %w", forgotten, len(found), w, err)
		case answer.Verdict == scripts.Forgotten:
			forgotten++
		case answer.Verdict == scripts.Refused, answer.Verdict == scripts.Missing:
		default:
			err := unexpected(answer, w, "forgotten")
			return fmt.Errorf("after %d of %d were forgotten: %w", forgotten, len(found), err)
		}
	}
	text := fmt.Sprintf("Forgotten: %s.\n", many(forgotten, "webhook"))
	if changed := len(found) - forgotten; changed > 0 {
		text += fmt.Sprintf("%s had changed meanwhile, and were left as they are.\n", many(changed, "other"))
	}
	_, err = io.WriteString(out, text)
	return err
}
