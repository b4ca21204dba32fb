package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// replica is all that one knows of the fingerprint and of its Redis: what bucket, signals, journal, leases and the flight
// hold, written down. Numbers of signals are only told as "since the last one" or not.
type replica struct {
	history scripts.History // the last one told
	open    bool            // a signal is open: the cache is not trusted
	healing bool            // the keeper has not healed since the last signal
	paused  bool

	journal string // the record noted, tidy; "": none
	behind  bool   // it was noted before the last signal

	stands  position
	token   token // of its flight
	attempt int64
	doubt   bool // as its claim was told
	failed  int64
	fails   bool // the logic has failed
	unsure  bool // and may have had its effect
	flight  message
	keeper  message
	heals   bool // the keeper's call is one of a healing
}

// position is where a flight stands.
type position uint8

const (
	idle       position = iota
	claiming            // its claim is on the way, or had no answer
	waiting             // another one executes, or Redis settles
	executing           // the logic runs
	ending              // its store or its fail is on the way, or had no answer
	abandoning          // the caller was let go; the claim that had no answer is failed
	answering           // only in a mutant: the answer goes out before the journal has it
)

// message is a call that is under way.
type message struct {
	call  call
	reply string // "": Redis has not done it
	stale bool   // a signal has come since it was sent
	over  bool   // the lease that it won is over by the replica's own clock
}

// token names a flight: the webhook that began it, and how often it went on after a lost lease.
type token uint8

const mostFlights = 4 // of a webhook, at most

func (t token) String() string {
	return string(rune('a'+t/mostFlights)) + strings.Repeat("'", int(t%mostFlights))
}

func (t token) bit() uint16 { return 1 << t }

// tokenOf reads a token back; ok is false where it is none of an execution.
func tokenOf(text string) (t token, ok bool) {
	if text == "" || text[0] < 'a' {
		return 0, false
	}
	return token(int(text[0]-'a')*mostFlights + len(text) - 1), true
}

func (r *replica) holdsLease() bool {
	return r.stands == executing || r.stands == ending || r.stands == answering
}

// signal is what a lost connection or a FLUSHALL does.
func (r *replica) signal() {
	r.open, r.healing, r.behind = true, true, r.journal != ""
	r.flight.stale, r.keeper.stale = r.flight.call != "", r.keeper.call != ""
}

// move is one thing that a replica may do by itself, and what the world sees of it.
type move struct {
	name string
	next replica
	when when

	runs     bool  // its logic begins
	stops    bool  // its logic has ended, or is cancelled
	answers  token // a caller has got this execution's result
	answered bool
	judged   bool // a caller has been told a verdict
	fails    bool // its logic has failed for certain
	leaves   bool // a caller has gone without an outcome
	costs    budget
	late     []call // left on the wire
}

// budget is how often what may befall.
type budget struct{ failovers, hidden, flushes, pauses, crashes, fails, unsure, drops, forgets uint8 }

func (b budget) less(cost budget) (left budget, ok bool) {
	left = budget{
		b.failovers - cost.failovers, b.hidden - cost.hidden, b.flushes - cost.flushes, b.pauses - cost.pauses,
		b.crashes - cost.crashes, b.fails - cost.fails, b.unsure - cost.unsure, b.drops - cost.drops, b.forgets - cost.forgets,
	}
	ok = b.failovers >= cost.failovers && b.hidden >= cost.hidden && b.flushes >= cost.flushes && b.pauses >= cost.pauses &&
		b.crashes >= cost.crashes && b.fails >= cost.fails && b.unsure >= cost.unsure && b.drops >= cost.drops && b.forgets >= cost.forgets
	return left, ok
}

// when keeps moves out that would change nothing.
type when uint8

const (
	always    when = iota
	onNews         // Redis has what this replica's last call did not see
	onChange       // what it waits for may have ended
	onOutcome      // the record is done or failed
	settled        // Redis does not settle
)

// rules are those of the replica that a mutant breaks.
type rules struct {
	answerBeforeJournal, judgeBeforeJournal, cacheWhileOpen, renewLast, noHeartbeat bool
}

// driver makes a real bucket of a replica, lets the gate's own code act, and writes down what became of it.
type driver struct {
	*wire
	rules
	name fingerprint.Fingerprint
	key  string
}

func newDriver(t testing.TB, s scope, broken rules) *driver {
	d := &driver{wire: newWire(t, s), rules: broken}
	d.key = d.gate.keys.Record(d.name)
	d.gate.seen.add(d.name)
	return d
}

var proofDigest = record.Digest{1}

// signalsNow is how many signals a replica has seen when a move has been made, if it raised none.
const signalsNow = 10

// wake returns the bucket of a replica, as it was when a message was sent whose reply, if any, is about to come.
func (d *driver) wake(r replica, m message) *bucket {
	b := newBucket(d.gate, d.gate.keys.Buckets()[0])
	b.signals.history = r.history
	b.signals.raised.Store(signalsNow)
	b.signals.answered.Store(signalsNow)
	if r.open {
		b.signals.answered.Store(signalsNow - 1)
	}
	if r.journal != "" {
		signals := uint64(signalsNow)
		if r.behind {
			signals -= 2
		}
		known, _ := record.Parse([]byte(r.journal))
		b.journal.add(d.name, known, signals)
	}
	if m.stale {
		b.signals.raised.Store(signalsNow - 1)
	}
	d.answer = exchange{}
	if m.reply != "" {
		d.answer = exchange{m.call, m.reply, func() { b.signals.raised.Store(signalsNow) }}
	}
	return b
}

// execute gives a bucket the execution that its replica runs.
func (d *driver) execute(b *bucket, r replica) *execution {
	e := &execution{
		flight: d.fly(), webhook: Webhook{Fingerprint: d.name, Digest: proofDigest},
		token: r.token.String(), attempt: r.attempt, inDoubt: r.doubt, failures: r.failed, lease: newLease(proofLease),
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	if r.holdsLease() {
		b.leases.add(e)
	}
	return e
}

// forget is the call of a person who wants a fingerprint executed again.
func (d *driver) forget() call {
	b := d.wake(replica{}, message{})
	return d.sends(func() { _, _ = b.call([]scripts.Op{scripts.Forget(d.key, false)}) })
}

func (d *driver) fly() *flight {
	return &flight{
		fingerprint: d.name, key: d.key, wake: make(chan struct{}, 1), done: make(chan struct{}),
		named: make(chan struct{}), stalled: make(chan struct{}),
	}
}

// note writes down what became of the bucket's beliefs.
func (d *driver) note(b *bucket, r *replica) {
	b.running.Wait()
	raised := b.signals.raised.Load()
	r.history, r.open = b.signals.history, b.signals.open()
	if raised > signalsNow {
		r.flight.stale, r.keeper.stale = r.flight.call != "", r.keeper.call != ""
	}
	select {
	case <-b.signals.poke:
		r.healing = true
	default:
	}
	r.journal, r.behind = "", false
	if known := b.journal.byKey[d.name]; known != nil {
		r.journal = tidyRecord(of(known).record, proofTime)
		r.behind = of(known).signals < raised
	}
}

// moves are all that a replica may do where it stands.
func (d *driver) moves(r replica) (all []move) {
	if r.paused {
		r.paused = false
		r.flight.over = r.stands == claiming && r.flight.call != ""
		return []move{{name: "goes on after its pause", next: r}}
	}
	all = append(all, d.flightMoves(r)...)
	all = append(all, d.keeperMoves(r)...)
	return append(all, faults(r)...)
}

// arrive is a webhook that comes to an idle replica.
func (d *driver) arrive(r replica, webhook int) move {
	r.token = token(webhook * mostFlights)
	return move{name: "gets webhook " + r.token.String(), next: d.claims(r)}
}

// claims sends a claim.
func (d *driver) claims(r replica) replica {
	b := d.wake(r, message{})
	r.stands, r.attempt, r.doubt, r.failed, r.fails, r.unsure = claiming, 0, false, 0, false, false
	r.flight = message{call: d.sends(func() { b.ask(d.key, proofDigest, r.token.String(), false, true) })}
	return r
}

// goesOn claims for the callers of an execution that has lost its lease.
func (d *driver) goesOn(r replica) replica {
	r.token++
	if r.token%mostFlights == 0 {
		panic("a webhook went on too often for its tokens")
	}
	return d.claims(r)
}

func (d *driver) flightMoves(r replica) []move {
	lost := r.flight.call == ""
	switch {
	case !lost && r.flight.reply == "":
		return nil
	case r.stands == claiming && lost:
		gone := r
		gone.stands = abandoning
		return []move{
			{name: "claims again", next: d.claims(r), when: settled},
			{name: "gives its claim up, 503", next: d.abandons(gone), leaves: true},
		}
	case r.stands == claiming:
		return []move{d.claimed(r)}
	case r.stands == waiting && lost:
		return []move{
			{name: "claims again", next: d.claims(r), when: onChange},
			d.looks(r),
			{name: "lets its caller go, 409", next: idleOf(r), leaves: true},
		}
	case r.stands == waiting:
		return []move{d.looked(r)}
	case r.stands == executing:
		done, failed, unsure := r, r, r
		failed.fails = true
		unsure.fails, unsure.unsure = true, true
		return []move{
			{name: "its logic returns", next: d.ends(done), stops: true},
			{name: "its logic fails", next: d.ends(failed), stops: true, fails: true, costs: budget{fails: 1}},
			{name: "its logic fails, and may have had its effect", next: d.ends(unsure), stops: true, costs: budget{unsure: 1}},
		}
	case r.stands == ending && lost:
		again := move{name: "ends again", next: d.ends(r), when: settled}
		if r.fails { // a failure is taken while Redis settles
			again.when = always
		}
		return []move{again}
	case r.stands == ending:
		return []move{d.ended(r)}
	case r.stands == abandoning && lost:
		return []move{{name: "fails its claim again", next: d.abandons(r)}}
	case r.stands == abandoning:
		return []move{d.abandoned(r)}
	case r.stands == answering:
		next := r
		next.journal, next.behind = tidyRecord(d.end(r), proofTime), r.flight.stale
		return []move{{name: "answers, then notes it", next: idleOf(next), answers: r.token, answered: true}}
	}
	return nil
}

// idleOf is a replica whose flight has landed.
func idleOf(r replica) replica {
	r.stands, r.token, r.attempt, r.doubt, r.failed, r.fails, r.unsure, r.flight = idle, 0, 0, false, 0, false, false, message{}
	return r
}

// claimed is what a flight does with the reply to its claim.
func (d *driver) claimed(r replica) (m move) {
	sent := r.flight
	r.flight = message{}
	b := d.wake(r, sent)
	var c claim
	var ok bool
	ask := func(expected call) {
		d.answer.call = expected
		c, _, _, ok = b.ask(d.key, proofDigest, r.token.String(), false, true)
	}
	if sent.over {
		d.overByOwnClock(sent.call, ask)
	} else {
		ask(sent.call)
	}
	m = move{name: "does not believe the reply to its claim", next: r}
	switch next := &m.next; {
	case !ok:
	case c.Verdict == scripts.Claimed:
		m.name, m.runs = "runs its logic", true
		next.stands, next.attempt, next.doubt, next.failed = executing, c.Attempt, c.Doubt, c.Failures
	case c.Verdict == scripts.Done:
		m.name = "does not believe a result"
		f := d.fly()
		if b.landOn(f, c.Record, c.signals) {
			m.name = "answers with the result found"
			m.answers, m.answered = landed(f)
			*next = idleOf(*next)
		}
	case c.Verdict == scripts.Poisoned, c.Verdict == scripts.Doubtful:
		m.name = "does not believe a verdict"
		if f := d.fly(); b.landOn(f, c.Record, c.signals) {
			if f.landing.outcome != Poisoned && f.landing.outcome != Doubtful {
				panic(fmt.Sprintf("a flight landed with %+v on a verdict", f.landing))
			}
			m.name, m.judged = "tells a verdict", true
			*next = idleOf(*next)
			if d.judgeBeforeJournal {
				b.journal.drop(d.name, of(b.journal.byKey[d.name]).record.Token)
			}
		}
	case c.Verdict == scripts.InProgress, c.Verdict == scripts.Settling:
		m.name = "waits"
		next.stands = waiting
	case c.Verdict == scripts.Cancelled:
		m.name, m.leaves = "was given up, 503", true
		*next = idleOf(*next)
	default:
		panic(fmt.Sprintf("a claim was answered %q", c.Verdict))
	}
	d.note(b, &m.next)
	return m
}

// landed is whose result a flight has landed with.
func landed(f *flight) (t token, ok bool) {
	if f.landing.record.State != record.Done {
		panic(fmt.Sprintf("a flight landed with %+v", f.landing))
	}
	return tokenOf(string(f.landing.record.Result.Body))
}

// looks sends a look into the client-side cache, which has nothing of this record, so that it goes on to Redis.
func (d *driver) looks(r replica) move {
	b := d.wake(r, message{})
	d.trustCache(b)
	r.flight = message{call: d.sends(func() { b.watch(d.fly(), time.Minute) })}
	return move{name: "looks into the cache", next: r, when: onOutcome}
}

func (d *driver) trustCache(b *bucket) {
	if d.cacheWhileOpen {
		b.signals.answered.Store(b.signals.raised.Load())
	}
}

func (d *driver) looked(r replica) move {
	sent := r.flight
	r.flight = message{}
	b := d.wake(r, sent)
	d.trustCache(b)
	m := move{name: "goes on waiting", next: r}
	f := d.fly()
	if found, signals, ended := b.watch(f, time.Minute); ended && b.landOnRecord(f, found, signals) {
		m.next = idleOf(r)
		if found.Forgotten() {
			m.name, m.leaves = "tells that it was forgotten, 409", true
		} else {
			m.name = "answers with the result in the cache"
			m.answers, m.answered = landed(f)
		}
	}
	d.note(b, &m.next)
	m.next.open = r.open
	return m
}

// end is the record with which an execution ends.
func (d *driver) end(r replica) record.Record {
	end := record.Record{
		State: record.Done, Attempt: r.attempt, Token: r.token.String(), Digest: proofDigest,
		Result: record.Result{Status: 200, ContentType: record.JSON, Body: []byte(r.token.String())},
	}
	if r.fails {
		end.State, end.Result, end.Reason = record.Failed, record.Result{}, reasonError
	}
	if r.unsure {
		end.Reason = "unknown"
	}
	return end
}

// ends sends the store or the fail of an execution.
func (d *driver) ends(r replica) replica {
	r.stands = ending
	b := d.wake(r, message{})
	e, end := d.execute(b, r), d.end(r)
	r.flight = message{call: d.sends(func() { b.finish(e, &end) })}
	return r
}

// ended is what an execution does with the reply to its store or its fail.
func (d *driver) ended(r replica) (m move) {
	sent, before := r.flight, r
	r.flight = message{}
	b := d.wake(r, sent)
	e, end := d.execute(b, r), d.end(r)
	answer := b.finish(e, &end)
	m = move{name: "does not believe the reply to its end", next: r}
	switch answer.Verdict {
	case scripts.Stored, scripts.Restored:
		m.name, m.answers, m.answered = "answers", r.token, true
		m.next = idleOf(r)
	case scripts.Failed:
		m.name = "answers that it failed"
		m.next = idleOf(r)
	case scripts.Refused:
		m.name = "has lost its lease and goes on as a duplicate"
	case scripts.Error:
	default:
		panic(fmt.Sprintf("an end was answered %q", answer.Verdict))
	}
	d.note(b, &m.next)
	switch {
	case answer.Verdict == scripts.Refused:
		m.next = d.goesOn(m.next)
	case m.answered && d.answerBeforeJournal:
		m.name, m.answered = "believes that its result is stored", false
		m.next.stands, m.next.token, m.next.attempt = answering, r.token, r.attempt
		m.next.doubt, m.next.failed = r.doubt, r.failed
		m.next.flight = message{call: sent.call, reply: sent.reply}
		m.next.journal, m.next.behind = before.journal, before.behind
	}
	return m
}

// abandons sends the fail of a claim that had no answer.
func (d *driver) abandons(r replica) replica {
	b := d.wake(r, message{})
	d.abandon(b, r)
	r.flight = message{call: d.sends(b.failAbandoned)}
	return r
}

func (d *driver) abandon(b *bucket, r replica) {
	b.abandoned.add(abandonedClaim{key: d.key, token: r.token.String()})
}

func (d *driver) abandoned(r replica) move {
	b := d.wake(r, r.flight)
	r.flight = message{}
	d.abandon(b, r)
	b.failAbandoned()
	m := move{name: "has failed its claim", next: idleOf(r)}
	if len(b.abandoned.claims) > 0 {
		m = move{name: "could not fail its claim", next: r}
	}
	d.note(b, &m.next)
	return m
}

// keeperMoves are those of the goroutine that heals, renews and keeps in touch.
func (d *driver) keeperMoves(r replica) []move {
	switch {
	case r.keeper.reply != "":
		return []move{d.kept(r)}
	case r.keeper.call != "":
		return nil
	case r.healing:
		return []move{{name: "heals", next: d.heal(r, true)}}
	}
	var all []move
	if r.holdsLease() {
		all = append(all, move{name: "renews", next: d.renews(r), when: onNews})
	} else if d.beats(r) != "" {
		next := r
		next.keeper = message{call: d.beats(r)}
		all = append(all, move{name: "shows that it lives", next: next, when: onNews})
	}
	return all
}

// beats is the heartbeat that a replica sends when nothing else calls; "": none.
func (d *driver) beats(r replica) call {
	if d.noHeartbeat {
		return ""
	}
	b := d.wake(r, message{})
	d.execute(b, r)
	return d.sends(b.touch)
}

func (d *driver) renews(r replica) replica {
	b := d.wake(r, message{})
	d.execute(b, r)
	r.keeper = message{call: d.sends(func() { b.renew(0) })}
	return r
}

// heal sends the next call of a healing: first for the executions (renewed: that is done), then for the journal.
func (d *driver) heal(r replica, begins bool) replica {
	b := d.wake(r, message{})
	d.execute(b, r)
	renew := func() call { return d.sends(func() { b.renew(0) }) }
	putBack := func() call { return d.sends(func() { b.putBack(signalsNow) }) }
	first, second := renew, putBack
	if d.renewLast {
		first, second = putBack, renew
	}
	r.heals, r.keeper = true, message{}
	if begins {
		r.keeper.call = first()
	}
	if r.keeper.call == "" {
		r.keeper.call = second()
	}
	if r.keeper.call == "" {
		r.heals, r.healing = false, false
	}
	return r
}

// kept is what the keeper does with a reply.
func (d *driver) kept(r replica) move {
	sent, heals := r.keeper, r.heals
	r.keeper, r.heals = message{}, false
	b := d.wake(r, sent)
	e := d.execute(b, r)
	var ok bool
	renews := sent.call.operation() == "renew"
	switch operation := sent.call.operation(); operation {
	case "renew":
		ok = b.renew(0)
	case "restore":
		signals := uint64(signalsNow)
		if sent.stale {
			signals--
		}
		ok = b.putBack(signals)
	default:
		b.touch()
	}
	if d.answer.call != "" { // what it was sent for has changed since
		d.answer, ok = exchange{}, false
	}
	m := move{name: "takes the reply to its " + sent.call.operation(), next: r}
	raised := b.signals.raised.Load() > signalsNow
	d.note(b, &m.next)
	if e.ended.Load() {
		m.name = "learns that it has lost its lease, and goes on as a duplicate"
		m.stops = r.stands == executing
		if r.flight.call != "" && r.flight.reply == "" {
			m.late = append(m.late, r.flight.call)
		}
		end := d.end(r)
		m.late = append(m.late, d.sends(func() { b.finish(e, &end) }))
		m.next = d.goesOn(m.next)
	}
	if heals && ok && !sent.stale && !raised {
		if renews == d.renewLast {
			m.next.healing = false
		} else {
			m.next = d.heal(m.next, false)
		}
	}
	return m
}

// faults are what may befall a replica.
func faults(r replica) (all []move) {
	if r.flight.call != "" && r.stands != answering {
		next := r
		next.flight = message{}
		m := move{name: "loses the reply to its " + r.flight.call.operation(), next: next, costs: budget{drops: 1}}
		if r.flight.reply == "" {
			m.name = "has no reply in time to its " + r.flight.call.operation() + ", which is still on the wire"
			m.late = []call{r.flight.call}
		}
		all = append(all, m)
	}
	if r.keeper.call != "" {
		next := r
		next.keeper, next.heals = message{}, false
		m := move{name: "loses the reply to its " + r.keeper.call.operation(), next: next, costs: budget{drops: 1}}
		if r.keeper.reply == "" {
			m.name = "has no reply in time to its " + r.keeper.call.operation() + ", which is still on the wire"
			m.late = []call{r.keeper.call}
		}
		all = append(all, m)
	}
	if r.stands != idle {
		next := r
		next.paused = true
		all = append(all, move{name: "is paused", next: next, costs: budget{pauses: 1}})
	}
	if r.stands != idle || r.journal != "" {
		m := move{name: "crashes and starts anew", costs: budget{crashes: 1}, stops: r.stands == executing}
		for _, sent := range []message{r.flight, r.keeper} {
			if sent.call != "" && sent.reply == "" && r.stands != answering {
				m.late = append(m.late, sent.call)
			}
		}
		all = append(all, m)
	}
	return all
}
