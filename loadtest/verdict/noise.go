package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Noise is what a noisy tenant did beside the quiet tenant of a case.
type Noise struct {
	*Ledger        // of the noisy tenant
	Tenant  string // its name

	// Alone and Beside are the quiet tenant's p99 without the noise, and beside it; 0: it was not measured.
	Alone, Beside time.Duration
}

// Judge applies the rules on two tenants. Nobody else may have used the gateway meanwhile.
func (n *Noise) Judge(quiet *Case) ([]Finding, error) {
	if n.Alone == 0 || n.Beside == 0 {
		return nil, fmt.Errorf("%w: it ended before there was any noise", ErrUnreached)
	}
	return []Finding{n.latency(), n.counters(quiet)}, nil
}

// latency checks that the quiet tenant's callers do not feel the noise.
func (n *Noise) latency() Finding {
	told := fmt.Sprintf("%v alone, %v beside the noise", n.Alone, n.Beside)
	if n.Beside > 2*n.Alone {
		return finding("p99", "", told+", which is more than twice as much")
	}
	return finding("p99", told)
}

// counters checks that each tenant's counters add up, and that both together equal the totals.
func (n *Noise) counters(quiet *Case) Finding {
	all := quiet.After.since(quiet.Before)
	one, other := all.Of(quiet.Tenant), all.Of(n.Tenant)
	var faults []string
	same := func(what string, counted, want int64) {
		if counted != want {
			faults = append(faults, fmt.Sprintf("%s is %d, want %d", what, counted, want))
		}
	}
	of := other.of
	same(n.Tenant+"/total_requests", of("total_requests"), n.sent)
	same("its executed + duplicates + unavailable", of("executed")+of("duplicates")+of("unavailable"), n.sent)
	same("its replayed + waited + still_processing", of("replayed")+of("waited")+of("still_processing"),
		of("duplicates"))
	same("its stored + failed + lost_stores", other.ended()-of("takeovers"), of("executed"))
	for _, name := range counted {
		same(name+" of all", all.of(name), one.of(name)+other.of(name))
	}
	if all.scraped != nil {
		faults = slices.Concat(faults, other.strayed(ofTenants), all.strayed(ofTenants), all.strayed(ofAll),
			all.strayedFromHash())
	}
	return finding("tenants", fmt.Sprintf("%d + %d requests, counted for each and for both", one.of("total_requests"),
		n.sent), faults...)
}

// String says what became of the noisy tenant's deliveries.
func (n *Noise) String() string {
	var told []string
	for _, outcome := range slices.Sorted(maps.Keys(n.outcomes)) {
		told = append(told, fmt.Sprintf("%d %s", n.outcomes[outcome], outcome))
	}
	return fmt.Sprintf("%s sent %d: %s", n.Tenant, n.sent, strings.Join(told, ", "))
}
