package gate

import (
	"container/list"
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
	order         list.List // of *entry; the last one was answered last
	byFingerprint map[fingerprint.Fingerprint]*list.Element
	bytes         int
}

// entry is an outcome, and the last epoch in which Redis is known to have had it.
type entry struct {
	fingerprint fingerprint.Fingerprint
	record      record.Record
	answered    time.Time
	epoch       link.Epoch
}

// entryOverhead is about what an entry takes beside its result.
const entryOverhead = 512

func (e *entry) size() int { return len(e.record.Result.Body) + entryOverhead }

// add notes an outcome before it is answered. It keeps the record's memory. An outcome that is known already stays if
// the new one is of an earlier attempt, or of the same attempt before its end.
func (j *journal) add(f fingerprint.Fingerprint, r record.Record, epoch link.Epoch) {
	e := &entry{f, r, time.Now(), epoch}
	if e.size() > j.room {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if known := j.byFingerprint[f]; known != nil {
		if older(&r, &of(known).record) {
			return
		}
		j.remove(known)
	}
	j.byFingerprint[f] = j.order.PushBack(e)
	j.bytes += e.size()
	for j.bytes > j.room {
		j.remove(j.order.Front())
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
	if known := j.byFingerprint[f]; known != nil && of(known).record.Token == token {
		j.remove(known)
	}
}

func of(element *list.Element) *entry {
	e, _ := element.Value.(*entry) // nothing else is in the list
	return e
}

func (j *journal) remove(element *list.Element) {
	e := of(element)
	j.order.Remove(element)
	delete(j.byFingerprint, e.fingerprint)
	j.bytes -= e.size()
}

// expire forgets what was answered before a moment.
func (j *journal) expire(before time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for front := j.order.Front(); front != nil && of(front).answered.Before(before); front = j.order.Front() {
		j.remove(front)
	}
}

// unconfirmed returns the entries, the newest first, that Redis is not known to have had in an epoch.
func (j *journal) unconfirmed(epoch link.Epoch) (entries []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for element := j.order.Back(); element != nil; element = element.Prev() {
		if e := of(element); e.epoch < epoch {
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
	for element := j.order.Back(); element != nil; element = element.Prev() {
		of(element).epoch = max(of(element).epoch, epoch)
	}
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.order.Len() == 0
}
