package gate

import (
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// journal keeps the outcomes that this replica answered with last: results and failures, its own and those that it
// fetched. If Redis forgot them, they are put back (healer.go). The journal is bounded in bytes and, while nothing is
// to be put back, in age.
type journal struct {
	mu            sync.Mutex
	room          int // bytes; 0: there is no journal
	all           chain
	byFingerprint map[fingerprint.Fingerprint]*entry
	bytes         int
	shares        shares
}

// entry is an outcome, with the last epoch in which Redis is known to have had it.
type entry struct {
	tenant      *Tenant
	fingerprint fingerprint.Fingerprint
	record      record.Record
	answered    time.Time
	epoch       link.Epoch

	share *share
	links [2]struct{ earlier, later *entry } // in the chain of all entries, and in that of its share
}

// entryOverhead is about how many bytes an entry takes besides its result.
const entryOverhead = 512

func (e *entry) size() int { return len(e.record.Result.Body) + entryOverhead }

// fit makes sure that the journal, if there is one, has room for a result of so many bytes in Redis.
func (j *journal) fit(bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.room > 0 {
		j.room = max(j.room, bytes+entryOverhead)
	}
}

// add notes an outcome before it is answered. It keeps the record's memory. If the journal has an outcome already, that
// one stays if the new one is of an earlier attempt, or of the same attempt before its end.
func (j *journal) add(t *Tenant, f fingerprint.Fingerprint, r *record.Record, epoch link.Epoch) {
	e := &entry{tenant: t, fingerprint: f, record: *r, answered: time.Now(), epoch: epoch}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.size() > j.room {
		return
	}
	if known := j.byFingerprint[f]; known != nil {
		if older(r, &known.record) {
			return
		}
		j.remove(known)
	}
	j.byFingerprint[f] = e
	e.share = j.shares.of(t)
	j.all.push(e)
	e.share.entries.push(e)
	j.grow(e.share, e.size())
	for j.bytes > j.room { // the tenant with most bytes loses its oldest entry: a noisy one takes no room from the others
		j.remove(j.shares.largest().entries.first)
	}
}

// grow adds bytes to a share. The lock is held.
func (j *journal) grow(s *share, bytes int) {
	j.bytes += bytes
	j.shares.grow(s, bytes)
}

// older reports whether a known record has overtaken r. Within one attempt the failure comes first, then the verdict on
// it, then the result. Attempts begin anew at 1 after a result has ended.
func older(r, known *record.Record) bool {
	if known.State != record.Failed && !written(r).Before(known.Ends) {
		return false
	}
	if r.Attempt != known.Attempt {
		return r.Attempt < known.Attempt
	}
	return finality(r) < finality(known)
}

// written returns when a record that ended an attempt was written, by Redis' clock.
func written(r *record.Record) time.Time {
	if r.State == record.Failed {
		return r.FailedAt
	}
	return r.Stored
}

func finality(r *record.Record) int {
	switch {
	case r.State != record.Failed:
		return 2
	case r.Verdict != record.NoVerdict:
		return 1
	}
	return 0
}

// drop removes an execution's outcome, because another attempt has overtaken it.
func (j *journal) drop(f fingerprint.Fingerprint, token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if known := j.byFingerprint[f]; known != nil && known.record.Token == token {
		j.remove(known)
	}
}

// remove takes an entry out. The lock is held.
func (j *journal) remove(e *entry) {
	j.all.cut(e)
	e.share.entries.cut(e)
	delete(j.byFingerprint, e.fingerprint)
	j.grow(e.share, -e.size())
}

// expire removes the outcomes that were answered before a moment.
func (j *journal) expire(before time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.all.first != nil && j.all.first.answered.Before(before) {
		j.remove(j.all.first)
	}
}

// unconfirmed returns the entries that Redis is not known to have had in an epoch, the newest first.
func (j *journal) unconfirmed(epoch link.Epoch) (entries []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for e := j.all.last; e != nil; e = e.links[j.all.in].earlier {
		if e.epoch < epoch {
			entries = append(entries, e)
		}
	}
	return entries
}

// confirm notes that Redis had an entry in an epoch.
func (j *journal) confirm(e *entry, epoch link.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.epoch = max(e.epoch, epoch)
}

// confirmAll notes that Redis had all entries in an epoch.
func (j *journal) confirmAll(epoch link.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for e := j.all.first; e != nil; e = e.links[j.all.in].later {
		e.epoch = max(e.epoch, epoch)
	}
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.first == nil
}
