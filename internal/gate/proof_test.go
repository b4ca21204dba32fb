package gate

import (
	"flag"
	"testing"
	"time"
)

var deep = flag.Bool("deep", false, "let TestEveryInterleaving explore more (2 minutes and 5 GB, without -race)")

// TestEveryInterleaving uses the true script and the gate's own code, and goes through all that can happen to one
// fingerprint. docs/design.md describes the model, and what it leaves out.
func TestEveryInterleaving(t *testing.T) {
	for _, s := range []scope{
		{name: "replies are lost and a run fails", replicas: 3, webhooks: 3, left: budget{drops: 1, fails: 1}},
		{name: "a crash and a failed run", replicas: 2, webhooks: 3, left: budget{crashes: 1, fails: 1}},
		{name: "a pause and a failed run", replicas: 2, webhooks: 3, left: budget{pauses: 1, fails: 1}},
		{name: "a pause and a lost reply", replicas: 2, webhooks: 2, left: budget{pauses: 1, drops: 1}},
		{name: "a pause and a crash", replicas: 3, webhooks: 2, left: budget{pauses: 1, crashes: 1}},
		{name: "two pauses", replicas: 2, webhooks: 2, left: budget{pauses: 2}},
		{name: "a failover", replicas: 2, webhooks: 3, left: budget{failovers: 1}},
		{name: "a hidden failover", replicas: 2, webhooks: 3, left: budget{hidden: 1}},
		{name: "FLUSHALL", replicas: 2, webhooks: 3, left: budget{flushes: 1}},
		{name: "a failover and a lost reply", replicas: 2, webhooks: 2, left: budget{failovers: 1, drops: 1}},
		{name: "a failover and a pause", replicas: 2, webhooks: 2, left: budget{failovers: 1, pauses: 1}},
		{name: "a failover and a crash", replicas: 2, webhooks: 2, left: budget{failovers: 1, crashes: 1}},
		{name: "a hidden failover and a crash", replicas: 2, webhooks: 2, left: budget{hidden: 1, crashes: 1}},
		{name: "FLUSHALL and a crash", replicas: 2, webhooks: 2, left: budget{flushes: 1, crashes: 1}},
		{name: "two failovers", replicas: 2, webhooks: 2, left: budget{failovers: 2}},

		{name: "one attempt, a pause and a failed run", replicas: 2, webhooks: 3, left: budget{pauses: 1, fails: 1},
			maxAttempts: 1},
		{name: "one attempt, a pause and a lost reply", replicas: 2, webhooks: 3, left: budget{pauses: 1, drops: 1},
			maxAttempts: 1},
		{name: "one attempt, a pause and FLUSHALL", replicas: 2, webhooks: 2, left: budget{pauses: 1, flushes: 1},
			maxAttempts: 1},
		{name: "one attempt, a pause and a failover", replicas: 2, webhooks: 2, left: budget{pauses: 1, failovers: 1},
			maxAttempts: 1},
		{name: "one attempt and two pauses", replicas: 2, webhooks: 2, left: budget{pauses: 2}, maxAttempts: 1},
		{name: "stop, a pause and a failed run", replicas: 2, webhooks: 3, left: budget{pauses: 1, fails: 1}, stop: true},
		{name: "stop, a pause and a lost reply", replicas: 2, webhooks: 3, left: budget{pauses: 1, drops: 1}, stop: true},
		{name: "stop, a crash and a failed run", replicas: 2, webhooks: 3, left: budget{crashes: 1, fails: 1}, stop: true},
		{name: "stop, a pause and a failover", replicas: 2, webhooks: 2, left: budget{pauses: 1, failovers: 1}, stop: true},
		{name: "stop, a pause and FLUSHALL", replicas: 2, webhooks: 2, left: budget{pauses: 1, flushes: 1}, stop: true},

		{name: "stop, an unsure run and a crash", replicas: 2, webhooks: 2, left: budget{unsure: 1, crashes: 1}, stop: true},
		{deep: true, name: "stop, a failed run, an unsure one and a failover", replicas: 2, webhooks: 2,
			left: budget{fails: 1, unsure: 1, failovers: 1}, stop: true},
		{name: "stop, an unsure run and FLUSHALL", replicas: 2, webhooks: 2, left: budget{unsure: 1, flushes: 1}, stop: true},
		{name: "stop, an unsure run and a hidden failover", replicas: 2, webhooks: 2, left: budget{unsure: 1, hidden: 1},
			stop: true},
		{name: "one attempt, an unsure run and a failover", replicas: 2, webhooks: 2, left: budget{unsure: 1, failovers: 1},
			maxAttempts: 1},
		{name: "one attempt, an unsure run and FLUSHALL", replicas: 2, webhooks: 2, left: budget{unsure: 1, flushes: 1},
			maxAttempts: 1},

		{name: "one attempt, a failed run, a crash and a hidden failover", replicas: 2, webhooks: 2,
			left: budget{fails: 1, crashes: 1, hidden: 1}, maxAttempts: 1},
		{
			deep: true, name: "one attempt, a failed run, a crash and a hidden failover, three webhooks", replicas: 2,
			webhooks: 3, left: budget{fails: 1, crashes: 1, hidden: 1}, maxAttempts: 1,
		},
		{deep: true, name: "one attempt, a pause and a hidden failover", replicas: 2, webhooks: 3,
			left: budget{pauses: 1, hidden: 1}, maxAttempts: 1},
		{deep: true, name: "one attempt, a pause, FLUSHALL, a lost reply", replicas: 2, webhooks: 2,
			left: budget{pauses: 1, flushes: 1, drops: 1}, maxAttempts: 1},
		{deep: true, name: "one attempt, a pause, a failover, a forget", replicas: 2, webhooks: 2,
			left: budget{pauses: 1, failovers: 1, forgets: 1}, maxAttempts: 1},
		{deep: true, name: "stop, a pause and a hidden failover", replicas: 2, webhooks: 3,
			left: budget{pauses: 1, hidden: 1}, stop: true},
		{deep: true, name: "stop, a pause, a failover, a lost reply", replicas: 2, webhooks: 2,
			left: budget{pauses: 1, failovers: 1, drops: 1}, stop: true},
		{deep: true, name: "stop, two pauses and a failed run", replicas: 2, webhooks: 3, left: budget{pauses: 2, fails: 1},
			stop: true},
		{deep: true, name: "a failover, three replicas", replicas: 3, webhooks: 3, left: budget{failovers: 1}},
		{deep: true, name: "a hidden failover, three replicas", replicas: 3, webhooks: 3, left: budget{hidden: 1}},
		{deep: true, name: "FLUSHALL, three replicas", replicas: 3, webhooks: 3, left: budget{flushes: 1}},
		{deep: true, name: "a failover, lost replies, a failed run", replicas: 2, webhooks: 2,
			left: budget{failovers: 1, drops: 1, fails: 1}},
		{deep: true, name: "a hidden failover, lost replies, a failed run", replicas: 2, webhooks: 2,
			left: budget{hidden: 1, drops: 1, fails: 1}},
		{deep: true, name: "FLUSHALL, lost replies, a failed run", replicas: 2, webhooks: 2,
			left: budget{flushes: 1, drops: 1, fails: 1}},
		{deep: true, name: "a failover, a failed run, three webhooks", replicas: 2, webhooks: 3,
			left: budget{failovers: 1, fails: 1}},
		{deep: true, name: "a failover, a pause, a lost reply", replicas: 2, webhooks: 2,
			left: budget{failovers: 1, pauses: 1, drops: 1}},
		{deep: true, name: "a hidden failover, a pause, a lost reply", replicas: 2, webhooks: 2,
			left: budget{hidden: 1, pauses: 1, drops: 1}},
		{deep: true, name: "FLUSHALL, a pause, a lost reply", replicas: 2, webhooks: 2, left: budget{flushes: 1, pauses: 1,
			drops: 1}},
		{deep: true, name: "a hidden failover, a crash, a lost reply", replicas: 2, webhooks: 2,
			left: budget{hidden: 1, crashes: 1, drops: 1}},
		{deep: true, name: "a pause, a lost reply, a failed run", replicas: 2, webhooks: 3,
			left: budget{pauses: 1, drops: 1, fails: 1}},
		{deep: true, name: "a crash, a lost reply, a failed run", replicas: 2, webhooks: 3, left: budget{crashes: 1, drops: 1,
			fails: 1}},
		{deep: true, name: "a failover and a hidden one", replicas: 2, webhooks: 2, left: budget{failovers: 1, hidden: 1}},
		{deep: true, name: "two hidden failovers", replicas: 2, webhooks: 2, left: budget{hidden: 2}},
		{deep: true, name: "a failover and FLUSHALL", replicas: 2, webhooks: 2, left: budget{failovers: 1, flushes: 1}},
		{deep: true, name: "a hidden failover and FLUSHALL", replicas: 2, webhooks: 2, left: budget{hidden: 1, flushes: 1}},
		{deep: true, name: "FLUSHALL twice", replicas: 2, webhooks: 2, left: budget{flushes: 2}},
		{deep: true, name: "a person's forget and a failover", replicas: 2, webhooks: 3,
			left: budget{failovers: 1, forgets: 1}},
	} {
		if s.deep && !*deep {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			f := newModel(t, s, rules{}).explore()
			f.report(t, began)
			if f.violation != "" {
				t.Error("a promise is broken")
			}
		})
	}
}

// TestEveryInterleavingFindsWhatIsBroken leaves out one rule after the other: each is missed.
func TestEveryInterleavingFindsWhatIsBroken(t *testing.T) {
	two := func(left budget) scope { return scope{replicas: 2, webhooks: 2, left: left} }
	three := func(left budget) scope { return scope{replicas: 2, webhooks: 3, left: left} }
	for _, mutant := range []struct {
		name          string
		scope         scope
		broken        rules
		text, becomes string // of the script
	}{
		{name: "a store does not look at the attempt", scope: two(budget{pauses: 1}),
			text: "if not may_end(r, tonumber(attempt), token) then", becomes: "if false then"},
		{name: "a claim ignores the lease", scope: two(budget{}),
			text: "if r.deadline <= now then", becomes: "if true then"},
		{name: "a lease never ends", scope: two(budget{crashes: 1}),
			text: "if r.deadline <= now then", becomes: "if false then"},
		{name: "a repeated claim does not renew", scope: two(budget{drops: 1}),
			text:    "return write_lease(key, r.attempt, token, r) or claimed(r.attempt, r, '')",
			becomes: "return claimed(r.attempt, r, '')"},
		{name: "nothing is restored", scope: two(budget{failovers: 1}),
			text: "local known = parse(value)", becomes: "if true then return { 'stored' } end local known = parse(value)"},
		{name: "settling is ignored", scope: two(budget{failovers: 1}),
			text: "decides = history ~= '' and left == 0", becomes: "decides = history ~= ''"},
		{name: "a claim of what stands ignores settling", scope: two(budget{failovers: 1, crashes: 1}),
			text: "if settled > now then return { 'settling', settled - now } end", becomes: ""},
		{name: "a claim that was given up leaves no tombstone", scope: two(budget{drops: 1}),
			text: "local running = r.state == 'P' and r.token == token",
			becomes: "local running = r.state == 'P' and r.token == token if r.state == 'nothing' then return { " +
				"'failed', '' } end"},
		{name: "a lease that ran out leaves no doubt", scope: scope{replicas: 2, webhooks: 2, left: budget{pauses: 1},
			stop: true},
			text: "elseif STOP and (crashed or r.doubt == '1')", becomes: "elseif STOP and (r.doubt == '1')"},
		{name: "a lease that ran out is no failure", scope: scope{replicas: 2, webhooks: 2, left: budget{pauses: 1},
			maxAttempts: 1},
			text: "local failures = r.failures + (crashed and 1 or 0)", becomes: "local failures = r.failures"},
		{name: "a verdict is not put back", scope: scope{replicas: 2, webhooks: 2, left: budget{pauses: 1, flushes: 1},
			maxAttempts: 1},
			text: "local may = done and", becomes: "if known.verdict then return STORED end local may = done and"},
		{name: "a fail does not put back", scope: scope{replicas: 2, webhooks: 2, left: budget{unsure: 1, flushes: 1},
			stop: true},
			text: "r.token ~= token and r.attempt < attempt", becomes: "false"},
		{name: "a fail that finds nothing counts none", scope: scope{replicas: 2, webhooks: 2,
			left: budget{unsure: 1, flushes: 1}, maxAttempts: 1},
			text: "known.failures + (BLAMELESS[reason] and 0 or 1)", becomes: "known.failures + (running and 1 or 0)"},
		{name: "a renewal takes an earlier attempt for its own", scope: scope{deep: true, replicas: 2, webhooks: 2,
			left: budget{failovers: 1, pauses: 1, drops: 1}},
			text: "math.max(r.attempt, attempt)", becomes: "r.attempt"},
		{name: "a store ends a later attempt as an earlier one", scope: scope{deep: true, replicas: 2, webhooks: 3,
			left: budget{pauses: 1, drops: 1, fails: 1}},
			text: "if ours and r.attempt > tonumber(attempt) then", becomes: "if false then"},

		{name: "a result is answered before the journal has it", scope: two(budget{hidden: 1}),
			broken: rules{answerBeforeJournal: true}},
		{name: "a verdict is told before the journal has it", scope: scope{replicas: 2, webhooks: 3,
			left: budget{fails: 1, crashes: 1, hidden: 1}, maxAttempts: 1},
			broken: rules{judgeBeforeJournal: true}},
		{name: "the cache replays while a signal is open", scope: three(budget{failovers: 1, forgets: 1}),
			broken: rules{cacheWhileOpen: true}},
		{name: "executions are renewed after the journal", scope: three(budget{failovers: 1, fails: 1}),
			broken: rules{renewLast: true}},
		{name: "no heartbeat", scope: two(budget{hidden: 1}), broken: rules{noHeartbeat: true}},
	} {
		if mutant.scope.deep && !*deep {
			continue
		}
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			m := newModel(t, mutant.scope, mutant.broken)
			if mutant.text != "" {
				m.interpreter = newInterpreter(t, mutant.text, mutant.becomes)
			}
			f := m.explore()
			f.report(t, began)
			if f.violation == "" {
				t.Error("nothing was found")
			}
		})
	}
}
