package gate

import "strconv"

// The trail tells of transitions, and duplicates make none. So each event carries how many deliveries came since the
// last one of its webhook, as far as this replica knows: those that joined the flight, and those that were replayed
// (slot.untold). A slot that another webhook has taken since has lost its number.

// noteOfClaim returns what the trail is to tell of a claim, "" if there is no trail, and how many deliveries are in it.
func (f *flight) noteOfClaim(w *Request) (note string, untold int32) {
	g := f.bucket.gate
	if g.options.Trail == 0 {
		return "", 0
	}
	if g.replayCache.has(f.fingerprint) {
		untold = g.replayCache.slot(f.fingerprint).untold.Load()
	}
	return noteOf(int(untold), w.about), untold
}

// claimTold notes that the trail has told of a claim, whose own delivery is the event itself, with so many others.
func (f *flight) claimTold(untold int32) {
	g := f.bucket.gate
	if g.options.Trail == 0 {
		return
	}
	if g.replayCache.has(f.fingerprint) {
		g.replayCache.slot(f.fingerprint).untold.Add(-untold)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told++
}

// noteOfEnd returns what the trail is to tell of the end of an execution, "" if there is no trail.
func (f *flight) noteOfEnd() string {
	if f.bucket.gate.options.Trail == 0 {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.came - f.told
	f.told = f.came
	return noteOf(n, "")
}

func noteOf(deliveries int, about string) string {
	if about == "" {
		about = "-"
	}
	return strconv.Itoa(max(deliveries, 0)) + " " + about
}

// leaveUntold leaves the deliveries that joined a flight and were told of by no event to the next event. The flight's
// lock is held.
func (f *flight) leaveUntold() {
	g := f.bucket.gate
	if rest := f.came - f.told; g.options.Trail > 0 && rest > 0 && g.replayCache.has(f.fingerprint) {
		g.replayCache.slot(f.fingerprint).untold.Add(int32(rest))
	}
}
