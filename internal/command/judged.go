package command

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/oncegate/oncegate/internal/record"
)

// Poisoned lists the webhooks that are not executed again because their executions failed or crashed too often. If
// MAX_ATTEMPTS is given, it also lists those whose next delivery will get that verdict.
func (d Deployment) Poisoned(ctx context.Context, out io.Writer) error {
	found, err := d.walk(ctx, func(m met) bool {
		return m.Verdict == record.Poisoned || d.due(&m.Record, m.now) == record.Poisoned
	})
	if err != nil {
		return err
	}
	hint := ""
	if d.MaxAttempts == 0 {
		hint = "MAX_ATTEMPTS is 0 here." + listedToo
	}
	return d.list(ctx, found, record.Poisoned, hint, out)
}

// Doubtful lists the webhooks that are not executed again because nobody knows whether an attempt had its effect. With
// IN_DOUBT=stop it also lists those whose next delivery will get that verdict, or will ask the backend.
func (d Deployment) Doubtful(ctx context.Context, out io.Writer) error {
	found, err := d.walk(ctx, func(m met) bool {
		return m.Verdict == record.Doubtful || d.due(&m.Record, m.now) == record.Doubtful || d.asks(m)
	})
	if err != nil {
		return err
	}
	hint := ""
	if !d.StopInDoubt {
		hint = "IN_DOUBT is execute here." + listedToo
	}
	return d.list(ctx, found, record.Doubtful, hint, out)
}

// asks reports whether the next delivery asks the backend. If no clear answer comes, that delivery is told "doubtful".
func (d Deployment) asks(m met) bool {
	return d.StopInDoubt && d.Asks && inDoubt(&m.Record, m.now) && m.Verdict == record.NoVerdict &&
		d.due(&m.Record, m.now) == record.NoVerdict
}

const listedToo = " With the gateway's own, those that no delivery was told of yet are listed too.\n"

const howToGoOn = "To have one executed again:  oncegate forget --fingerprint FINGERPRINT\n" +
	"If you know what came of it: oncegate resolve FINGERPRINT --status STATUS --data FILE\n"

func (d Deployment) list(
	ctx context.Context, found []met, verdict record.Verdict, hint string, out io.Writer,
) error {
	if len(found) == 0 {
		if err := d.known(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "No webhook is %s.\n%s", verdict, hint)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	// Flush returns the errors of these writes.
	_, _ = fmt.Fprintln(table, "FINGERPRINT\tFAILURES\tATTEMPT\tENDED\tREPLICA\tREASON\tNEXT DELIVERY")
	for _, m := range found {
		reason, replica := m.Reason, record.Replica(m.Token)
		if m.State == record.InProgress {
			reason = record.Expired
		}
		if replica == "" {
			replica = "-"
		}
		_, _ = fmt.Fprintf(table, "%v\t%d\t%d\t%s\t%s\t%s\t%s\n", m.name, failures(&m.Record, m.now), m.Attempt,
			date(m.ended()), plain(replica), plain(reason), d.told(m))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s%s", howToGoOn, hint)
	return err
}

// told returns the answer to the next delivery of a listed webhook, in words.
func (d Deployment) told(m met) string {
	switch {
	case m.Verdict != record.NoVerdict:
		return string(m.Verdict)
	case d.asks(m):
		return "asks the backend"
	}
	return string(d.due(&m.Record, m.now)) + ", as the first one"
}
