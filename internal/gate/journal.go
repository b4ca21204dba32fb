package gate

import (
	"sync"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
)

// journal keeps the outcomes that this replica answered with last: results and failures, its own and those that it
// fetched. A Redis that forgot them gets them back (healer.go). The journal is bounded in bytes and, while nothing is
// to be put back, in age.
type journal struct {
	room int // bytes

	mu            sync.Mutex
	last, first   *entry // answered; the list is linked from one to the next that was answered later
	byFingerprint map[fingerprint.Fingerprint]*entry
	bytes         int
}

// entry is an outcome, and the last epoch in which Redis is known to have had it.
type entry struct {
	tenant      *Tenant
	fingerprint fingerprint.Fingerprint
	record      record.Record
	answered    time.Time
	epoch       link.Epoch

	earlier, later *entry
}

// entryOverhead is about what an entry takes beside its result.
const entryOverhead = 512

func (e *entry) size() int { return len(e.record.Result.Body) + entryOverhead }

// add notes an outcome before it is answered. It keeps the record's memory. An outcome that is known already stays if
// the new one is of an earlier attempt, or of the same attempt before its end.
func (j *journal) add(t *Tenant, f fingerprint.Fingerprint, r *record.Record, epoch link.Epoch) {
	e := &entry{tenant: t, fingerprint: f, record: *r, answered: time.Now(), epoch: epoch}
	if e.size() > j.room {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if known := j.byFingerprint[f]; known != nil {
		if older(r, &known.record) {
			return
		}
		j.remove(known)
	}
	j.byFingerprint[f] = e
	if e.earlier = j.last; e.earlier == nil {
		j.first = e
	} else {
		e.earlier.later = e
	}
	j.last = e
	j.bytes += e.size()
	for j.bytes > j.room {
		j.remove(j.first)
	}
}

// older reports whether a record was overtaken by one that is known. Of one attempt a failure comes before the verdict
// on it, and that before the result. Attempts begin anew at 1 after a result has ended.
func older(r, known *record.Record) bool {
	if known.State != record.Failed && !written(r).Before(known.Ends) {
		return false
	}
	if r.Attempt != known.Attempt {
		return r.Attempt < known.Attempt
	}
	return finality(r) < finality(known)
}

// written is when a record that ended an attempt was written, by Redis' clock.
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

// drop forgets an execution's outcome, which was overtaken.
func (j *journal) drop(f fingerprint.Fingerprint, token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if known := j.byFingerprint[f]; known != nil && known.record.Token == token {
		j.remove(known)
	}
}

// remove takes an entry out. The lock is held.
func (j *journal) remove(e *entry) {
	if e.earlier == nil {
		j.first = e.later
	} else {
		e.earlier.later = e.later
	}
	if e.later == nil {
		j.last = e.earlier
	} else {
		e.later.earlier = e.earlier
	}
	e.earlier, e.later = nil, nil
	delete(j.byFingerprint, e.fingerprint)
	j.bytes -= e.size()
}

// expire forgets what was answered before a moment.
func (j *journal) expire(before time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.first != nil && j.first.answered.Before(before) {
		j.remove(j.first)
	}
}

// unconfirmed returns the entries, the newest first, that Redis is not known to have had in an epoch.
func (j *journal) unconfirmed(epoch link.Epoch) (entries []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for e := j.last; e != nil; e = e.earlier {
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

// confirmAll notes that Redis had all of it in an epoch.
func (j *journal) confirmAll(epoch link.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for e := j.first; e != nil; e = e.later {
		e.epoch = max(e.epoch, epoch)
	}
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first == nil
}
