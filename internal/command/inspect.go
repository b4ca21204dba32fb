package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// Inspect puts a webhook's record into words. The result is payload: its size is told, not its content. Where there is
// no record, the error is ErrNotFound.
func Inspect(ctx context.Context, client rueidis.Client, keys redis.Keys, w Webhook, out io.Writer) error {
	key := keys.Record(w.fingerprint())
	found, err := look(ctx, client, key)
	if rueidis.IsRedisNil(err) {
		return w.notFound()
	}
	if err != nil {
		return fmt.Errorf("record at %s: %w", key, err)
	}

	page := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(page, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // Flush has the error
	}
	line("webhook", "%v", w)
	line("fingerprint", "%v", w.fingerprint())
	if key != w.fingerprint().String() {
		line("key", "%s", key)
	}
	found.describe(line)
	return page.Flush()
}

// finding is what stands at a key.
type finding struct {
	kind  string // Redis' name for its type
	value []byte // of a string
	ttl   time.Duration
	now   time.Time // by Redis' clock
}

// What PTTL says where there is no time to tell.
const (
	endless = -1 * time.Millisecond
	gone    = -2 * time.Millisecond
)

func look(ctx context.Context, client rueidis.Client, key string) (f finding, err error) {
	replies := client.DoMulti(ctx, client.B().Type().Key(key).Build(), client.B().Get().Key(key).Build(),
		client.B().Pttl().Key(key).Build(), client.B().Time().Build())
	if f.kind, err = replies[0].ToString(); err != nil {
		return f, err
	}
	if f.value, err = replies[1].AsBytes(); err != nil && !wrongType(err) {
		return f, err
	}
	ttl, err := replies[2].AsInt64()
	if err != nil {
		return f, err
	}
	f.ttl = time.Duration(ttl) * time.Millisecond
	clock, err := replies[3].AsIntSlice()
	if err != nil {
		return f, err
	}
	f.now = time.Unix(clock[0], clock[1]*1000)
	return f, nil
}

func wrongType(err error) bool {
	said, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(said.Error(), "WRONGTYPE")
}

// describe writes a line for each thing that there is to say.
func (f finding) describe(line func(label, format string, args ...any)) {
	r, err := record.Parse(f.value)
	switch {
	case f.kind != "string":
		line("state", "foreign: a %s, which no version of oncegate wrote; it is left as it is", plain(f.kind))
	case err != nil:
		line("state", "foreign: a string of %d bytes, which no version of oncegate wrote; it is left as it is", len(f.value))
	case r.State == record.InProgress:
		line("state", "in progress")
		line("attempt", "%d", r.Attempt)
		line("started", "%s", moment(r.Started, f.now))
		line("lease", "%s", f.lease(r))
		line("token", "%s", plain(r.Token))
	case r.State == record.Done:
		line("state", "done")
		line("attempt", "%d", r.Attempt)
		line("stored", "%s", moment(r.Stored, f.now))
		line("status", "%d", r.Result.Status)
		line("content type", "%s", plain(r.Result.ContentType))
		line("result", "%d bytes", len(r.Result.Body))
		line("digest", "%s, of the body that was executed", r.Digest.Hex())
		line("token", "%s", plain(r.Token))
	case r.Forgotten():
		line("state", "forgotten: the next webhook executes")
		line("attempt", "%d", r.Attempt)
		line("forgotten", "%s", moment(r.FailedAt, f.now))
	default:
		line("state", "failed: the next webhook executes")
		line("attempt", "%d", r.Attempt)
		line("failed", "%s", moment(r.FailedAt, f.now))
		line("reason", "%s", plain(r.Reason))
		line("token", "%s", plain(r.Token))
	}
	line("ends", "%s", f.ends(err == nil))
}

// lease tells how long it holds: no longer than its length, whatever a clock that was stepped back makes of it.
func (f finding) lease(r record.Record) string {
	left := min(r.Deadline.Sub(f.now), r.Lease)
	if left <= 0 {
		return fmt.Sprintf("of %s, ran out %s ago: the next webhook takes over", length(r.Lease), length(-left))
	}
	return fmt.Sprintf("of %s, %s left", length(r.Lease), length(left))
}

func (f finding) ends(ours bool) string {
	switch {
	case f.ttl == gone:
		return "just now"
	case f.ttl == endless && ours:
		return "never: it has no TTL, and the next sweep gives it one"
	case f.ttl == endless:
		return "never"
	default:
		return moment(f.now.Add(f.ttl), f.now)
	}
}
