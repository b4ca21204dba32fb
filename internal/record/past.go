package record

import (
	"strconv"
	"strings"
	"time"
)

// Attempt is an attempt that ended before the one that the record is about.
type Attempt struct {
	Number  int64
	Began   time.Time // when it was claimed; of a done attempt, when it was stored
	Ended   time.Time // when it ended; if it crashed, when its lease ran out
	How     string    // the reason of its failure, Expired, "done" or "dropped" (forgotten while it ran)
	Replica string    // the replica that executed it; "" if it is not known, or if it was a person
}

// Attempts returns the attempts in a record's past, oldest first, at most the last four. It skips an attempt that
// cannot be read.
func (r *Record) Attempts() (attempts []Attempt) {
	for line := range strings.SplitSeq(r.Past, ";") {
		fields := strings.Split(line, ",")
		if len(fields) != 5 {
			continue
		}
		number, err1 := strconv.ParseInt(fields[0], 10, 64)
		began, err2 := strconv.ParseInt(fields[1], 10, 64)
		ended, err3 := strconv.ParseInt(fields[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			continue
		}
		a := Attempt{Number: number, Began: time.UnixMilli(began), Ended: time.UnixMilli(ended), How: fields[3]}
		if fields[4] != none {
			a.Replica = fields[4]
		}
		attempts = append(attempts, a)
	}
	return attempts
}

// Replica returns the replica that a token names, or "".
func Replica(token string) string {
	replica, _, named := strings.Cut(token, "~")
	if !named {
		return ""
	}
	return replica
}
