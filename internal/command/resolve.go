package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/scripts"
)

// ErrHasResult says that a webhook was not resolved because it already has a result.
var ErrHasResult = errors.New("it has a result already")

// ErrChanged says that a webhook was not resolved because its record had changed meanwhile.
var ErrChanged = errors.New("it has changed meanwhile")

// Data reads a result from a file, or from in if path is "-". It refuses more than most bytes.
func Data(path string, in io.Reader, most int) ([]byte, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", path, err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("--data %s is larger than MAX_RESULT_BYTES, %d bytes", path, most)
	}
	return data, nil
}

// Resolve gives a webhook the result that a person found out. From then on all its deliveries get it, as if an
// execution had brought it, for RESULT_TTL or REJECTED_TTL. It writes only if the attempt that it found is still the
// last one.
//
// The error is ErrNotFound, ErrRunning, ErrHasResult, ErrChanged, record.ErrForeign, or says what is wrong with the
// result. After any other error it is unknown whether the webhook was resolved; repeating the command does no harm.
func (d Deployment) Resolve(ctx context.Context, w Webhook, result record.Result, out io.Writer) error {
	ttl, err := d.check(result)
	if err != nil {
		return err
	}
	found, err := d.look(ctx, w)
	if err != nil {
		return err
	}
	r := found.record
	switch {
	case found.err != nil:
		return unexpected(scripts.Answer{Verdict: scripts.Foreign}, w, "resolved")
	case r.State == record.Done, r.State == record.Sealed:
		return fmt.Errorf("%v is not resolved: %w, of status %d; oncegate forget makes it execute again", w, ErrHasResult,
			r.Result.Status)
	}
	f := w.fingerprint()
	resolved := d.Seal.Seal(seal.Place{Prefix: d.Keys.Prefix(), Tenant: d.Tenant, Fingerprint: f}, record.Record{
		State: record.Done, Attempt: r.Attempt, Token: record.Person, Digest: r.Digest, Result: result,
	})
	answer, err := d.do(ctx, f, out, scripts.Resolve(d.key(f), resolved))
	if err != nil {
		return fmt.Errorf("resolving %v: %w", w, err)
	}
	switch answer.Verdict {
	case scripts.Resolved:
		_, err := fmt.Fprintf(out, "Resolved: %v.\n"+
			"For %s every delivery gets status %d and these %d bytes, on whichever replica.\n",
			w, length(ttl), result.Status, len(result.Body))
		return err
	case scripts.Missing:
		return d.notFound(ctx, w)
	case scripts.Running:
		return fmt.Errorf("%v is not resolved: %w; wait for its end or, if its replica is gone, for its lease (LOCK_TTL)",
			w, ErrRunning)
	case scripts.Refused:
		return fmt.Errorf("%v is not resolved: %w; oncegate inspect shows what stands there now", w, ErrChanged)
	}
	return unexpected(answer, w, "resolved")
}

// check applies the rules for results of the logic, and returns how long the result is kept.
func (d Deployment) check(r record.Result) (ttl time.Duration, err error) {
	if err := r.Check(); err != nil {
		return 0, err
	}
	if r.ContentType == record.JSON && !json.Valid(r.Body) {
		return 0, fmt.Errorf("the result is declared as %s but is not valid, %d bytes: mend it, or give --content-type",
			record.JSON, len(r.Body))
	}
	if r.Status < 400 {
		return d.ResultTTL, nil
	}
	if d.RejectedTTL == 0 {
		return 0, errors.New("REJECTED_TTL is 0, so that no refusal (4xx) is kept: " +
			"oncegate forget lets the webhook execute again")
	}
	return d.RejectedTTL, nil
}
