package trail

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/redis"
)

// Query says whose events are wanted: those of a webhook, or of all webhooks that a field of a request names. The zero
// Query means all.
type Query struct {
	Tenant      string // "": of no tenant
	AnyTenant   bool   // whosever they are
	Fingerprint *fingerprint.Fingerprint
	Name, Value string // of a field; Name "": none
}

// Reader reads the events of a query, from the beginning and then what has come since. One goroutine at a time may use
// it.
type Reader struct {
	client rueidis.Client
	keys   redis.Keys
	query  Query
	next   map[redis.Bucket]string // where a bucket is read on
	named  map[fingerprint.Fingerprint][]Field

	// Oldest is when the oldest event happened that was read, whether or not it was wanted; zero: there is none.
	Oldest time.Time
}

// NewReader returns a reader that has read nothing.
func NewReader(client rueidis.Client, keys redis.Keys, q Query) *Reader {
	return &Reader{client: client, keys: keys, query: q, next: make(map[redis.Bucket]string),
		named: make(map[fingerprint.Fingerprint][]Field)}
}

// page is how many entries are read at once.
const page = 1000

// Read returns the events that have come since it was last called, the oldest first. All events of a webhook carry what
// its latest request was about.
func (r *Reader) Read(ctx context.Context) (events []Event, err error) {
	buckets := r.keys.Buckets()
	if f := r.query.Fingerprint; f != nil {
		buckets = []redis.Bucket{r.keys.Of(*f)}
	}
	for _, b := range buckets {
		if events, err = r.readBucket(ctx, b, events); err != nil {
			return nil, fmt.Errorf("trail at %s: %w", b.Trail(), err)
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()) })
	return events, nil
}

// readBucket appends those of a bucket. A webhook's first event in it is a claim, whose fields tell whether the webhook
// is wanted; where older ones have been dropped, it is found from its next claim on.
func (r *Reader) readBucket(ctx context.Context, b redis.Bucket, events []Event) ([]Event, error) {
	for {
		from := cmp.Or(r.next[b], "-")
		entries, err := r.client.Do(ctx,
			r.client.B().Xrange().Key(b.Trail()).Start(from).End("+").Count(page).Build()).AsXRange()
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			r.next[b] = after(entry.ID)
			e, err := parse(r.keys, entry.ID, entry.FieldValues["e"])
			if err != nil {
				continue
			}
			if r.Oldest.IsZero() || e.At.Before(r.Oldest) {
				r.Oldest = e.At
			}
			if r.wants(&e) {
				events = append(events, e)
			}
		}
		if len(entries) < page {
			return events, nil
		}
	}
}

// wants tells whether the query means an event, and completes it.
func (r *Reader) wants(e *Event) bool {
	q := &r.query
	if e.Tenant != q.Tenant && !q.AnyTenant || q.Fingerprint != nil && e.Fingerprint != *q.Fingerprint {
		return false
	}
	known, wanted := r.named[e.Fingerprint]
	is := func(f Field) bool { return f.Is(q.Name, q.Value) }
	if e.Fields == nil {
		e.Fields = known
	} else if q.Name == "" || wanted || slices.ContainsFunc(e.Fields, is) {
		r.named[e.Fingerprint], wanted = e.Fields, true
	}
	return wanted || q.Name == ""
}

// after is the first id behind one (XRANGE has no exclusive ranges before Redis 6.2).
func after(id string) string {
	ms, sequence, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseUint(sequence, 10, 64)
	return ms + "-" + strconv.FormatUint(n+1, 10)
}
