package command

import (
	"fmt"
	"time"

	"github.com/oncegate/oncegate/internal/record"
)

// crashed reports whether the lease of an execution ran out before the execution reported its end.
func crashed(r *record.Record, now time.Time) bool {
	return r.State == record.InProgress && !r.Deadline.After(now)
}

// inDoubt reports whether an attempt, up to the one that the record is about, may have had its effect.
func inDoubt(r *record.Record, now time.Time) bool {
	return crashed(r, now) || r.State == record.Failed && r.Doubt
}

// failures returns how many executions have failed or crashed.
func failures(r *record.Record, now time.Time) int64 {
	if crashed(r, now) {
		return r.Failures + 1
	}
	return r.Failures
}

// due returns the verdict that the next delivery will write down and be told, or NoVerdict if it executes or if there
// is a verdict already. It repeats the rule of the script (verdict in scripts/idempotency.lua) for the gateway's
// settings.
func (d Deployment) due(r *record.Record, now time.Time) record.Verdict {
	switch {
	case r.Verdict != record.NoVerdict, r.State != record.Failed && !crashed(r, now):
		return record.NoVerdict
	case d.MaxAttempts > 0 && failures(r, now) >= int64(d.MaxAttempts):
		return record.Poisoned
	case d.StopInDoubt && !d.Asks && inDoubt(r, now):
		return record.Doubtful
	}
	return record.NoVerdict
}

// next returns in words what becomes of the next delivery.
func (d Deployment) next(r *record.Record, now time.Time) string {
	switch {
	case r.State == record.Done && r.Result.Status >= 400:
		return "gets the same refusal, without an execution"
	case r.State == record.Done:
		return "gets this result, without an execution"
	case r.State == record.Sealed:
		return fmt.Sprintf("gets this result, without an execution, from a replica that has the key %s", plain(r.KeyID))
	case r.State == record.InProgress && !crashed(r, now):
		return "waits for the outcome; after WAIT_TIMEOUT it is told \"processing\""
	case r.Verdict != record.NoVerdict:
		return fmt.Sprintf("500 %q, until a person decides: oncegate forget, or oncegate resolve", r.Verdict)
	}
	attempt := r.Attempt + 1
	switch due := d.due(r, now); {
	case due == record.Poisoned:
		return fmt.Sprintf("500 %q, and each one after it, until a person decides: MAX_ATTEMPTS is %d", due,
			d.MaxAttempts)
	case due == record.Doubtful:
		return fmt.Sprintf("500 %q, and each one after it, until a person decides: IN_DOUBT is stop", due)
	case inDoubt(r, now) && d.Asks:
		return fmt.Sprintf("asks the backend (UPSTREAM_STATUS_URL), and executes it as attempt %d only if the backend "+
			"does not know it", attempt)
	case inDoubt(r, now):
		return fmt.Sprintf("executes it as attempt %d, and so perhaps twice", attempt)
	}
	return fmt.Sprintf("executes it as attempt %d", attempt)
}

// undecided reports whether the fate of the next delivery depends on the gateway's settings.
func undecided(r *record.Record, now time.Time) bool {
	return crashed(r, now) || r.State == record.Failed && r.Verdict == record.NoVerdict && !r.Forgotten()
}

// settings names the settings on which the sentence of next rests.
func (d Deployment) settings() string {
	inDoubt, asks := "execute", "without UPSTREAM_STATUS_URL"
	if d.StopInDoubt {
		inDoubt = "stop"
	}
	if d.Asks {
		asks = "with UPSTREAM_STATUS_URL"
	}
	return fmt.Sprintf("MAX_ATTEMPTS=%d, IN_DOUBT=%s, %s (give the gateway's own)", d.MaxAttempts, inDoubt, asks)
}
