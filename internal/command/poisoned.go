package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redis"
)

// ErrNoLimit says that nothing is ever poisoned.
var ErrNoLimit = errors.New("MAX_ATTEMPTS is 0, so that every webhook is executed again: give the gateway's own MAX_ATTEMPTS")

// scanned is how many keys one SCAN walks over.
const scanned = 250

// Poisoned lists the webhooks whose executions failed or crashed limit times or more, which are not executed any more.
// It walks over all records, in small steps.
func Poisoned(ctx context.Context, client rueidis.Client, keys redis.Keys, limit int, out io.Writer) error {
	if limit == 0 {
		return ErrNoLimit
	}
	servers, err := redis.Primaries(ctx, client)
	if err != nil {
		return err
	}
	found := make(map[string]record.Record) // SCAN may name a key twice
	for address, server := range servers {
		if err := poisonedAt(ctx, client, server, keys.Records(), limit, found); err != nil {
			return fmt.Errorf("looking for poisoned webhooks in redis at %s: %w", address, err)
		}
	}
	return list(found, keys, limit, out)
}

func poisonedAt(ctx context.Context, client, server rueidis.Client, pattern string, limit int, found map[string]record.Record) error {
	for cursor := uint64(0); ; {
		entry, err := server.Do(ctx, server.B().Scan().Cursor(cursor).Match(pattern).Count(scanned).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		heads := make(rueidis.Commands, len(entry.Elements))
		for i, key := range entry.Elements { // those of failures have no body
			heads[i] = client.B().Getrange().Key(key).Start(0).End(1023).Build()
		}
		for i, reply := range client.DoMulti(ctx, heads...) {
			head, err := reply.ToString()
			if err != nil && !wrongType(err) {
				return err
			}
			if r, err := record.Parse([]byte(head)); err == nil && failures(r, time.Now()) >= int64(limit) {
				found[entry.Elements[i]] = r
			}
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

// failures counts what the script counts; a run whose lease is over has crashed.
func failures(r record.Record, now time.Time) int64 {
	if r.State == record.InProgress && now.After(r.Deadline) {
		return r.Failures + 1
	}
	if r.State == record.Failed {
		return r.Failures
	}
	return 0
}

func list(found map[string]record.Record, keys redis.Keys, limit int, out io.Writer) error {
	if len(found) == 0 {
		_, err := fmt.Fprintf(out, "No webhook has failed %d times.\n", limit)
		return err
	}
	names := make([]string, 0, len(found))
	for key := range found {
		names = append(names, key)
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(a[strings.LastIndexByte(a, ':'):], b[strings.LastIndexByte(b, ':'):])
	})
	page := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(page, "FINGERPRINT\tFAILURES\tATTEMPT\tLAST\tREASON") // Flush has the error
	for _, key := range names {
		f, ok := keys.Fingerprint(key)
		if !ok {
			continue
		}
		r := found[key]
		at, reason := r.FailedAt, r.Reason
		if r.State == record.InProgress {
			at, reason = r.Deadline, "crashed"
		}
		_, _ = fmt.Fprintf(page, "%v\t%d\t%d\t%s\t%s\n", f, failures(r, time.Now()), r.Attempt, date(at), plain(reason))
	}
	if err := page.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\nOne is executed again after: oncegate forget --fingerprint FINGERPRINT\n")
	return err
}
