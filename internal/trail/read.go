package trail

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
)

// Query selects events: those of one webhook, or of all webhooks that a field of a request names. The zero Query
// selects all.
type Query struct {
	Tenant      string // "": of no tenant
	AnyTenant   bool   // of every tenant, and of none
	Fingerprint *fingerprint.Fingerprint
	Name, Value string // of a field; Name "": none
}

// Chosen reports whether the query selects some webhooks, and not all.
func (q *Query) Chosen() bool { return q.Name != "" || q.Fingerprint != nil }

// Reader reads the events of a query: first from the beginning, then those that have come since. One goroutine at a
// time may use it.
type Reader struct {
	client rueidis.Client
	keys   redis.Keys
	query  Query
	next   map[redis.Bucket]string // the id at which reading a bucket continues
	named  memory                  // of the webhooks that the query selects

	// Oldest is the time of the oldest event that was read, whether or not the query selects it; zero: there is none.
	Oldest time.Time

	// Names are the names of the fields in requests of the query's tenant; at most mostNames.
	Names []string
}

// mostNames is more names than TRAIL_FIELDS and identities have, unless they are changed again and again.
const mostNames = 64

// NewReader returns a reader that has read nothing.
func NewReader(client rueidis.Client, keys redis.Keys, q Query) *Reader {
	return &Reader{client: client, keys: keys, query: q, next: make(map[redis.Bucket]string)}
}

// How many entries are read at once: of all buckets together, and at least of each one.
const (
	page      = 1000
	leastPage = 100
)

// source has the events that were read of a bucket and not yet returned.
type source struct {
	bucket redis.Bucket
	events []Event // including events that the query does not select
	ended  bool
}

// Read returns the events that have come since it was last called, the oldest first. It holds one page of each bucket
// in memory. Each event carries the fields of its webhook's latest request, as far as they are remembered. An error is
// the last item.
func (r *Reader) Read(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		buckets := r.keys.Buckets()
		if f := r.query.Fingerprint; f != nil {
			buckets = []redis.Bucket{r.keys.Of(*f)}
		}
		sources := make([]source, len(buckets))
		for i, b := range buckets {
			sources[i].bucket = b
		}
		size := max(page/len(buckets), leastPage)
		for {
			var oldest *source
			for i := range sources {
				s := &sources[i]
				if err := r.fill(ctx, s, size); err != nil {
					yield(Event{}, fmt.Errorf("trail at %s: %w", s.bucket.Trail(), err))
					return
				}
				if len(s.events) > 0 && (oldest == nil || s.events[0].At.Before(oldest.events[0].At)) {
					oldest = s
				}
			}
			if oldest == nil {
				break
			}
			e := oldest.events[0]
			oldest.events = oldest.events[1:]
			if r.wants(&e) && !yield(e, nil) {
				return
			}
			if !r.query.Chosen() {
				r.named.age()
			}
		}
		r.named.age() // not before: events of the webhooks that it forgets would be missed
	}
}

// fill reads the next page of a bucket if all events of the page before were returned.
func (r *Reader) fill(ctx context.Context, s *source, size int) error {
	for len(s.events) == 0 && !s.ended {
		from := cmp.Or(r.next[s.bucket], "-")
		entries, err := r.client.Do(ctx,
			r.client.B().Xrange().Key(s.bucket.Trail()).Start(from).End("+").Count(int64(size)).Build()).AsXRange()
		if err != nil {
			return err
		}
		for _, entry := range entries {
			r.next[s.bucket] = after(entry.ID)
			e, err := parse(r.keys, entry.ID, entry.FieldValues["e"])
			if err != nil {
				continue
			}
			if r.Oldest.IsZero() || e.At.Before(r.Oldest) {
				r.Oldest = e.At
			}
			s.events = append(s.events, e)
		}
		s.ended = len(entries) < size
	}
	return nil
}

// wants reports whether the query selects an event, and completes the event. A webhook's first event is a claim, whose
// fields show whether the webhook is selected; if older events have been dropped, it is found from its next claim on.
func (r *Reader) wants(e *Event) bool {
	q := &r.query
	if e.Tenant != q.Tenant && !q.AnyTenant || q.Fingerprint != nil && e.Fingerprint != *q.Fingerprint {
		return false
	}
	for _, f := range e.Fields {
		if len(r.Names) < mostNames && !slices.Contains(r.Names, f.Name) {
			r.Names = append(r.Names, f.Name)
		}
	}
	known, wanted := r.named.of(e.Fingerprint)
	is := func(f Field) bool { return f.Is(q.Name, q.Value) }
	if e.Fields == nil {
		e.Fields = known
	} else if q.Name == "" || wanted || slices.ContainsFunc(e.Fields, is) {
		wanted = true
		r.named.keep(e.Fingerprint, e.Fields)
	}
	return wanted || q.Name == ""
}

// Knows reports whether a request had a field of this name.
func (r *Reader) Knows(name string) bool {
	return slices.ContainsFunc(r.Names, func(known string) bool { return Field{Name: known}.Is(name, "") })
}

// after returns the first id after one (XRANGE has no exclusive ranges before Redis 6.2).
func after(id string) string {
	ms, sequence, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseUint(sequence, 10, 64)
	return ms + "-" + strconv.FormatUint(n+1, 10)
}
