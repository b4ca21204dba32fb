package faults_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// step is an event of the trail.
type step struct {
	Event       string
	Fingerprint string
	Attempt     int64
	Cause       string
}

// trail reads the trail of all buckets through the program's own command.
func (w *world) trail() (events []step, err error) {
	command := exec.Command(w.replicas[0].program, "trail", "--json", "--redis-url", w.store.admin())
	command.Env = os.Environ()
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("trail: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var e step
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("trail: %w", err)
		}
		events = append(events, e)
	}
	return events, nil
}

// tellsOfEach compares the trail with the counters, which are written in the same call that makes a transition: no
// event is missing, and none is written twice. If Redis forgot, it forgot both. It returns every rule that does not
// hold.
func tellsOfEach(events []step, m map[string]int64) (wrong []string) {
	times := make(map[string]int64)
	of := make(map[step]int)
	for _, e := range events {
		switch {
		case e.Event == "rejected" && e.Cause != "": // it is told and not kept, and counts as failed
			times["failed"]++
		case e.Event == "rejected":
			times["stored"]++
		default:
			times[e.Event]++
		}
		if e.Cause = ""; e.Event != "restored" {
			of[e]++
		}
	}
	for e, n := range of {
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("told %d times: attempt %d of %s was %s", n, e.Attempt, e.Fingerprint, e.Event))
		}
	}
	hold := func(field string, told int64) {
		if m[field] != told {
			wrong = append(wrong, fmt.Sprintf("%s is %d, and the trail tells %d", field, m[field], told))
		}
	}
	hold("executed", times["claimed"]+times["takeover"])
	hold("takeovers", times["takeover"])
	hold("stored", times["stored"])
	return wrong
}
