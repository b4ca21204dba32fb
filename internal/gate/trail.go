package gate

import "strconv"

// The trail has the transitions, and a duplicate makes none. So each event carries how many deliveries came since the
// last event of its webhook, as far as this replica knows: the deliveries that joined the flight, and those that were
// replayed (slot.untold). If another webhook has taken the slot since, that number is lost.

// noteOfClaim returns the note of a claim for the trail, "" if there is no trail, and how many deliveries are in it.
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

// claimTold notes that the trail has counted a claim. The event itself is the claim's own delivery; untold is how many
// others it counts.
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

// noteOfEnd returns the note of an execution's end for the trail, "" if there is no trail.
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

// leaveUntold leaves to the next event the deliveries that joined a flight and that no event has counted. The flight's
// lock is held.
func (f *flight) leaveUntold() {
	g := f.bucket.gate
	if rest := f.came - f.told; g.options.Trail > 0 && rest > 0 && g.replayCache.has(f.fingerprint) {
		g.replayCache.slot(f.fingerprint).untold.Add(int32(rest))
	}
}
