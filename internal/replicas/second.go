package replicas

// Second has the counts of one second, which began at At (Unix, by Redis' clock).
type Second [Fields]int64

// The fields of a second. All but At are counts, which are added up over replicas.
const (
	At          = iota
	Deliveries  // webhooks that arrived
	Executions  // executions that began
	Ended       // executions that ended
	Failed      // of these: without a result
	Unavailable // webhooks answered so: Redis does not answer or takes no writes
	Refused     // webhooks answered that nothing is executed at the moment: the backend rests
	Overloaded  // webhooks beyond MAX_EXECUTIONS or MAX_WAITERS
	Limited     // webhooks beyond their tenant's rate
	Judged      // webhooks answered that they are poisoned or doubtful
	LeasesLost  // executions that were overtaken
	Losses      // losses of Redis that were suspected
	Restored    // records that were put back
	Fields
)

// Window is how many seconds are kept.
const Window = 15 * 60

// window keeps the last seconds, added up over replicas.
type window struct {
	seconds [Window]Second
	first   int64 // the first second that was ever reported; 0: none was
}

// add adds a second of one replica. A second that is older than the window is dropped.
func (w *window) add(s Second) {
	if w.first == 0 || s[At] < w.first {
		w.first = s[At]
	}
	slot := &w.seconds[s[At]%Window]
	switch {
	case slot[At] > s[At]:
		return
	case slot[At] < s[At]:
		*slot = Second{At: s[At]}
	}
	for i := At + 1; i < Fields; i++ {
		slot[i] += s[i]
	}
}

// since returns the seconds from one to another, in order, including those in which nothing happened. Nothing is known
// from before the first one.
func (w *window) since(from, to int64) []Second {
	from = max(from, to-Window+1, w.first)
	seconds := make([]Second, 0, max(to-from+1, 0))
	for at := from; at <= to; at++ {
		s := w.seconds[at%Window]
		if s[At] != at {
			s = Second{At: at}
		}
		seconds = append(seconds, s)
	}
	return seconds
}

// Sum adds seconds up. The sum has the At of the last one.
func Sum(seconds []Second) (sum Second) {
	for _, s := range seconds {
		for i := At + 1; i < Fields; i++ {
			sum[i] += s[i]
		}
		sum[At] = s[At]
	}
	return sum
}
