package gate

import (
	"context"
	"errors"
	"log/slog"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// Report says which executions get a line in the log.
type Report uint8

// The choices (LOG_EXECUTIONS). Unusual executions are those that
//   - failed, or were rejected or overtaken;
//   - took over, or began in doubt;
//   - or had a waiting request with another body.
const (
	ReportUnusual Report = iota
	ReportAll
	ReportNone
)

const causeTakeover = "takeover"

// causeOf returns why an execution began whose claim was won.
func causeOf(won scripts.Answer) string {
	switch {
	case won.Before == reasonForgotten:
		return "forgotten"
	case won.Before == record.Expired:
		return causeTakeover
	case won.Before != "":
		return "retry after " + won.Before
	}
	return "first"
}

// report counts how an execution ended, and writes its line, the only one about its end. lost says that another
// execution had begun before this one ended.
func (b *bucket) report(e *execution, lost bool, v scripts.Verdict) {
	end, err, options := &e.end, e.err, &b.gate.options
	outcome, level := howItEnded(lost, v, end)
	e.webhook.Tenant.use.ended[outcome].Add(1)
	b.gate.meters.took.Observe(e.took.Seconds())
	trace := b.traceEnd(e, outcome, level, v)
	if level == slog.LevelError {
		b.gate.meters.events.add(Event{
			b.link.Now(), e.webhook.Tenant.Name, e.flight.fingerprint, outcome.String(), e.attempt, end.Reason,
		})
	}
	if options.Report == ReportNone {
		return
	}
	another := e.flight.isMixed()
	if level == slog.LevelInfo && (e.cause == causeTakeover || e.inDoubt || another) {
		level = slog.LevelWarn
	}
	if level == slog.LevelInfo && options.Report != ReportAll {
		return
	}
	attributes := append(make([]slog.Attr, 0, 16),
		slog.String("outcome", outcome.String()), slog.Any("", e.webhook.work),
		slog.Any("fingerprint", e.flight.fingerprint),
		slog.Int64("attempt", e.attempt), slog.String("cause", e.cause), slog.Duration("took", e.took))
	if options.Replica != "" {
		attributes = append(attributes, slog.String("replica", options.Replica))
	}
	if trace != "" {
		attributes = append(attributes, slog.String("trace_id", trace))
	}
	if e.inDoubt {
		attributes = append(attributes, slog.Bool("in_doubt", true))
	}
	if another {
		attributes = append(attributes, slog.Bool("another_body", true))
	}
	if err == nil {
		attributes = append(attributes, slog.Int("status", end.Result.Status), slog.Int("bytes", len(end.Result.Body)))
	} else {
		attributes = append(attributes, slog.String("reason", end.Reason), slog.Any("error", err))
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attributes = append(attributes, slog.String("stack", string(p.stack)))
	}
	e.webhook.Tenant.log(b.log).LogAttrs(context.Background(), level, "execution", attributes...)
}

// logOf returns a logger that names a webhook: its tenant, its fingerprint, the attempt unless that is 0, and the trace
// of the request, if there is one.
func (b *bucket) logOf(w *Request, attempt int64) *slog.Logger {
	log := w.Tenant.log(b.log).With("fingerprint", w.Fingerprint)
	if attempt > 0 {
		log = log.With("attempt", attempt)
	}
	if w.Span != nil {
		trace, _ := w.Span.Trace()
		log = log.With("trace_id", trace)
	}
	return log
}

// howItEnded returns how an execution ended, and the log level that fits.
func howItEnded(lost bool, v scripts.Verdict, end *record.Record) (Ending, slog.Level) {
	switch {
	case lost, v == scripts.Refused:
		return EndedOvertaken, slog.LevelError // another execution counts; the work may have been done twice
	case v == scripts.Failed && end.State == record.Done: // told and not kept
		return EndedRejected, slog.LevelWarn
	case v == scripts.Failed:
		return EndedFailed, slog.LevelError
	case v == scripts.Stored, v == scripts.Restored:
		switch {
		case end.Result.Status >= 400:
			return EndedRejected, slog.LevelWarn
		case end.Result.Reconciled:
			return EndedReconciled, slog.LevelInfo
		}
		return EndedStored, slog.LevelInfo
	}
	return EndedNotStored, slog.LevelError // Redis is away while the gate closes, or the key has another program's value
}

// isMixed reports whether requests of two bodies have met in the flight.
func (f *flight) isMixed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mixed
}
