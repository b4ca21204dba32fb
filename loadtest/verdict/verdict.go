package verdict

import (
	"errors"
	"fmt"
	"strings"
)

// Case is the input of a verdict.
type Case struct {
	*Ledger
	Tenant        string // the tenant of the webhooks; "": there are no tenants
	Before, After Counters

	// Repeated is set if a proxy repeats deliveries and replicas are killed: then it is how many deliveries reached
	// replicas. A killed replica loses its last counts, and its executions are executed again. 0: there is neither.
	Repeated int64
}

// Finding says whether one rule held.
type Finding struct {
	Rule string
	Held bool
	Text string // what was found, with an example if the rule did not hold
}

// ErrUnreached says that no verdict can be reached: the promise was neither kept nor broken.
var ErrUnreached = errors.New("no verdict")

// Judge applies all rules.
func (c *Case) Judge() ([]Finding, error) {
	switch {
	case c.sent+c.malformed == 0:
		return nil, fmt.Errorf("%w: nothing was sent", ErrUnreached)
	case c.Before.history != c.After.history && c.Before.history != "":
		return nil, fmt.Errorf("%w: Redis lost its history meanwhile, and the counters with it", ErrUnreached)
	}
	grown := c.After.Of(c.Tenant).since(c.Before.Of(c.Tenant))
	if l := c.Ledger; l.sent > l.unanswered.count && grown.of("total_requests") == 0 && grown.of("executed") == 0 {
		return nil, fmt.Errorf("%w: nothing was counted: are REDIS_URL and KEY_PREFIX those of the replicas?", ErrUnreached)
	}
	findings := []Finding{c.executions(grown), c.sameData(), c.sums(grown), c.served(), c.refused()}
	if grown.scraped != nil && c.Repeated == 0 { // a killed replica counts from 0 again
		findings = append(findings, c.metrics(grown))
	}
	return findings, nil
}

func finding(rule, held string, faults ...string) Finding {
	var found []string
	for _, fault := range faults {
		if fault != "" {
			found = append(found, fault)
		}
	}
	if len(found) > 0 {
		return Finding{Rule: rule, Text: strings.Join(found, "; ")}
	}
	return Finding{Rule: rule, Held: true, Text: held}
}

// executions checks that each fingerprint was executed once, and if replicas are killed, once more for each takeover.
func (c *Case) executions(grown Counters) Finding {
	distinct, executed, takeovers := int64(len(c.webhooks)), grown.of("executed"), grown.of("takeovers")
	allowed, besides := distinct, ""
	if c.Repeated > 0 {
		allowed += takeovers
		besides = fmt.Sprintf(", and %d taken over from killed replicas", takeovers)
	}
	var faults []string
	if executed != allowed {
		faults = append(faults, fmt.Sprintf("%d executions of %d webhooks%s", executed, distinct, besides))
	}
	if takeovers > 0 && c.Repeated == 0 {
		faults = append(faults, fmt.Sprintf("%d takeovers, although no replica was killed", takeovers))
	}
	if stored := grown.of("stored"); stored != distinct {
		faults = append(faults, fmt.Sprintf("%d results stored for %d webhooks", stored, distinct))
	}
	faults = append(faults, c.twice.say("executed twice"))
	return finding("executions", fmt.Sprintf("%d for %d fingerprints%s", executed, distinct, besides), faults...)
}

func (c *Case) sameData() Finding {
	return finding("same data", "every answer for a fingerprint carries the same data",
		c.differing.say("with other data"), c.misnamed.say("for another webhook"))
}

// sums checks that the counters add up among themselves, and fit what was sent and answered.
func (c *Case) sums(grown Counters) Finding {
	of := grown.of
	var faults []string
	same := func(what string, counted, want int64) {
		if counted != want {
			faults = append(faults, fmt.Sprintf("%s is %d, want %d", what, counted, want))
		}
	}
	same("replayed + waited + still_processing", of("replayed")+of("waited")+of("still_processing"), of("duplicates"))
	same("mismatches", of("mismatches"), 0)
	if c.Repeated > 0 {
		if of("total_requests") > c.Repeated {
			faults = append(faults, fmt.Sprintf("total_requests is %d, but only %d were sent on", of("total_requests"),
				c.Repeated))
		}
		return finding("counters", fmt.Sprintf("total_requests %d of the %d that were sent on; the killed took the "+
			"rest with them",
			of("total_requests"), c.Repeated), faults...)
	}
	same("stored + failed + lost_stores", grown.ended()-of("takeovers"), of("executed"))
	same("executed + duplicates + unavailable", of("executed")+of("duplicates")+of("unavailable"), of("total_requests"))
	same("total_requests", of("total_requests"), c.sent)
	same("replayed", of("replayed"), c.outcomes["replayed"])
	same("waited", of("waited"), c.outcomes["waited"])
	same("still_processing + late_answers", of("still_processing")+of("late_answers"), c.outcomes["processing"])
	same("malformed", of("malformed"), c.malformed)
	same("executed - late_answers", of("executed")-of("late_answers"), c.outcomes["executed"])
	return finding("counters", fmt.Sprintf("total_requests %d, as many as were sent: %d executed, %d replayed, %d "+
		"waited, %d still_processing",
		c.sent, of("executed"), of("replayed"), of("waited"), of("still_processing")), faults...)
}

// metrics checks that the replicas' numbers for Prometheus, added up, equal those in the hash and those of the answers.
func (c *Case) metrics(grown Counters) Finding {
	faults := grown.strayed(ofTenants)
	same := func(series string, want int64) {
		if n := grown.scraped[series]; n != want {
			faults = append(faults, fmt.Sprintf("%s is %d, and %d were answered so", series, n, want))
		}
	}
	same("requests_total/replayed", c.outcomes["replayed"])
	same("requests_total/waited", c.outcomes["waited"])
	same("requests_total/malformed", c.malformed)
	if c.Tenant == "" { // these are totals of all tenants
		faults = append(append(faults, grown.strayed(ofAll)...), grown.strayedFromHash()...)
		for _, outcome := range []string{"executed", "replayed", "waited"} {
			same("request_duration_seconds_count/"+outcome, c.outcomes[outcome])
		}
		same("request_duration_seconds_count/still_processing", c.outcomes["processing"])
	}
	return finding("metrics", fmt.Sprintf("Prometheus is told the same %d requests, and the same of %d counters",
		grown.of("total_requests"), len(counted)), faults...)
}

func (c *Case) served() Finding {
	text := fmt.Sprintf("%d webhooks answered without one", c.sent)
	if later := c.outcomes["processing"]; later > 0 {
		text += fmt.Sprintf(", %d of them told to ask again", later)
	}
	return finding("no 5xx", text, c.unexpected.say("answered otherwise than promised"),
		c.unanswered.say("without an answer"))
}

func (c *Case) refused() Finding {
	return finding("bad bodies", fmt.Sprintf("%d, all answered 400", c.malformed), c.taken.say("not answered 400"))
}
