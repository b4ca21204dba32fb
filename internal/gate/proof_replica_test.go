package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// replica is all that one replica knows of the fingerprint and of its Redis: the contents of bucket, link, journal,
// executions and flight, written down. Of an epoch it has only whether it is current.
type replica struct {
	history scripts.History // the last one told
	open    bool            // a signal is open: the cache is not trusted
	healing bool            // the keeper has not healed since the last signal
	paused  bool

	journal string // the record noted, tidy; "": none
	behind  bool   // it was noted before the last signal

	stands  position
	phase   phase // of its flight
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

// position is how far a replica is with the fingerprint.
type position uint8

const (
	idle       position = iota
	inFlight            // its flight is in a phase
	abandoning          // the caller was answered; the claim without a reply is failed
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

// tokenOf reads a token; ok is false if it is not an execution's.
func tokenOf(text string) (t token, ok bool) {
	if text == "" || text[0] < 'a' {
		return 0, false
	}
	return token(int(text[0]-'a')*mostFlights + len(text) - 1), true
}

// in reports whether its flight is in a phase.
func (r *replica) in(p phase) bool { return r.stands == inFlight && r.phase == p }

func (r *replica) holdsLease() bool { return r.in(executing) || r.in(storing) || r.stands == answering }

// signal does what a lost connection or a FLUSHALL does.
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

// budget is how often each fault may happen.
type budget struct {
	failovers, hidden, flushes, pauses, crashes, fails, unsure, drops, forgets uint8
}

func (b budget) less(cost budget) (left budget, ok bool) {
	left = budget{
		b.failovers - cost.failovers, b.hidden - cost.hidden, b.flushes - cost.flushes, b.pauses - cost.pauses,
		b.crashes - cost.crashes, b.fails - cost.fails, b.unsure - cost.unsure, b.drops - cost.drops,
		b.forgets - cost.forgets,
	}
	ok = b.failovers >= cost.failovers && b.hidden >= cost.hidden && b.flushes >= cost.flushes &&
		b.pauses >= cost.pauses &&
		b.crashes >= cost.crashes && b.fails >= cost.fails && b.unsure >= cost.unsure && b.drops >= cost.drops &&
		b.forgets >= cost.forgets
	return left, ok
}

// when keeps moves out that would change nothing.
type when uint8

const (
	always    when = iota
	onNews         // Redis has something that this replica's last call did not see
	onChange       // the record that it waits for may have ended
	onOutcome      // the record is done or failed
	settled        // Redis does not settle
)

// rules are those of the replica that a mutant breaks.
type rules struct {
	answerBeforeJournal, judgeBeforeJournal, cacheWhileOpen, renewLast, noHeartbeat bool
}

// driver makes a real bucket of a replica, lets the gate's own code act, and writes down the outcome.
type driver struct {
	*wire
	rules
	name fingerprint.Fingerprint
	key  string
}

func newDriver(t testing.TB, s scope, broken rules) *driver {
	d := &driver{wire: newWire(t, s), rules: broken}
	d.key = d.gate.keys.Record(d.name)
	d.gate.replayCache.add(d.name)
	return d
}

var proofDigest = record.Digest{1}

// proofEpoch is the one in which a move is made.
const proofEpoch link.Epoch = 10

// wake returns the bucket of a replica, as it was when it sent a message whose reply, if any, is about to come.
func (d *driver) wake(r replica, m message) *bucket {
	b := newBucket(d.gate, d.gate.keys.Buckets()[0])
	sent := proofEpoch
	if m.stale {
		sent--
	}
	b.link.Believe(link.Beliefs{Epoch: sent, CacheTrusted: !r.open, History: r.history})
	if r.journal != "" {
		noted := proofEpoch
		if r.behind {
			noted -= 2
		}
		known, _ := record.Parse([]byte(r.journal))
		b.journal.add(b.nameless(), d.name, &known, noted)
	}
	d.answer = exchange{}
	if m.reply != "" {
		d.answer = exchange{m.call, m.reply, func() {
			if m.stale {
				b.link.Believe(link.Beliefs{Epoch: proofEpoch, CacheTrusted: false, History: r.history})
			}
		}}
	}
	return b
}

// flight gives a bucket the flight of its replica, with a caller and, if it has one, its execution.
func (d *driver) flight(b *bucket, r replica) *flight {
	f := newFlight(b, b.asks(d.name, proofDigest))
	f.token, f.phase, f.looked = r.token.String(), r.phase, true
	webhook := Request{Tenant: b.nameless(), Fingerprint: d.name, Digest: proofDigest, Source: proofLogic{r, f.token}}
	f.callers = []*caller{{waiting: waiting{webhook: webhook}}}
	b.flights.byFingerprint[d.name] = f
	if !r.holdsLease() {
		return f
	}
	webhook.work = webhook.Source.Detach()
	e := &execution{
		flight: f, webhook: webhook, token: f.token, attempt: r.attempt, inDoubt: r.doubt, failures: r.failed,
		lease: link.NewLease(time.Now(), proofLease),
	}
	e.lifetime.gate, e.lifetime.deadline = context.Background(), time.Now().Add(time.Hour)
	f.execution = e
	e.fate.Store(fateRuns)
	b.executions.add(e)
	if r.in(storing) || r.stands == answering {
		e.run()
		e.fate.Store(fateReturned)
		e.conclude(b)
	}
	return f
}

// proofLogic is the logic of a replica's execution: its result is its token.
type proofLogic struct {
	replica replica
	token   string
}

// Detach returns it as it is.
func (l proofLogic) Detach() Work { return l }

// Run returns at once: when it does is a move of the proof's.
func (l proofLogic) Run(context.Context, int64, bool) (record.Result, error) {
	switch {
	case l.replica.unsure:
		return record.Result{}, record.ErrOutcomeUnknown
	case l.replica.fails:
		return record.Result{}, errProof
	}
	return record.Result{Status: 200, ContentType: record.JSON, Body: []byte(l.token)}, nil
}

// LogValue is its token.
func (l proofLogic) LogValue() slog.Value { return slog.StringValue(l.token) }

var errProof = errors.New("the logic fails")

// step moves a flight on, in a life that is over if it ends an execution.
func (d *driver) step(f *flight) {
	d.gate.life = d.alive
	if f.phase == storing || f.phase == executing {
		d.gate.life = d.over
	}
	f.step()
}

// forget is the call of a person who wants a fingerprint executed again.
func (d *driver) forget() call {
	b := d.wake(replica{}, message{})
	return d.sends(func() { b.link.Do(scripts.Forget(d.key, false)) })
}

// note writes down the bucket's new beliefs.
func (d *driver) note(b *bucket, r *replica) {
	d.gate.running.Wait()
	beliefs := b.link.Beliefs()
	r.history, r.open = beliefs.History, !beliefs.CacheTrusted
	if beliefs.Epoch > proofEpoch {
		r.flight.stale, r.keeper.stale = r.flight.call != "", r.keeper.call != ""
	}
	select {
	case <-b.link.Losses():
		r.healing = true
	default:
	}
	r.journal, r.behind = "", false
	if known := b.journal.byFingerprint[d.name]; known != nil {
		r.journal = tidyRecord(known.record, proofTime)
		r.behind = known.epoch < beliefs.Epoch
	}
}

// moves returns everything that a replica may do in its position.
func (d *driver) moves(r replica) (all []move) {
	if r.paused {
		r.paused = false
		r.flight.over = r.in(claiming) && r.flight.call != ""
		return []move{{name: "goes on after its pause", next: r}}
	}
	all = append(all, d.flightMoves(r)...)
	all = append(all, d.keeperMoves(r)...)
	return append(all, faults(r)...)
}

// arrive brings a webhook to an idle replica.
func (d *driver) arrive(r replica, webhook int) move {
	r.token = token(webhook * mostFlights)
	return move{name: "gets webhook " + r.token.String(), next: d.claims(r)}
}

// claims sends a claim.
func (d *driver) claims(r replica) replica {
	r.stands, r.phase, r.attempt, r.doubt, r.failed, r.fails = inFlight, claiming, 0, false, 0, false
	r.unsure = false
	b := d.wake(r, message{})
	f := d.flight(b, r)
	r.flight = message{call: d.sends(func() { d.step(f) })}
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
	case r.in(claiming) && lost:
		gone := r
		gone.stands = abandoning
		return []move{
			{name: "claims again", next: d.claims(r), when: settled},
			{name: "gives its claim up, 503", next: d.abandons(gone), leaves: true},
		}
	case r.in(claiming):
		return []move{d.claimed(r)}
	case r.in(settling):
		return []move{
			{name: "claims again", next: d.claims(r), when: settled},
			{name: "lets its caller go, 409", next: idleOf(r), leaves: true},
		}
	case r.in(watching) && lost:
		return []move{
			{name: "claims again", next: d.claims(r), when: onChange},
			d.looks(r),
			{name: "lets its caller go, 409", next: idleOf(r), leaves: true},
		}
	case r.in(watching):
		return []move{d.looked(r)}
	case r.in(executing):
		done, failed, unsure := r, r, r
		failed.fails = true
		unsure.fails, unsure.unsure = true, true
		return []move{
			{name: "its logic returns", next: d.returns(done), stops: true},
			{name: "its logic fails", next: d.returns(failed), stops: true, fails: true, costs: budget{fails: 1}},
			{name: "its logic fails, and may have had its effect", next: d.returns(unsure), stops: true,
				costs: budget{unsure: 1}},
		}
	case r.in(storing) && lost:
		again := move{name: "ends again", next: d.ends(r), when: settled}
		if r.fails { // a failure is taken while Redis settles
			again.when = always
		}
		return []move{again}
	case r.in(storing):
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

// idleOf returns a replica whose flight has landed.
func idleOf(r replica) replica {
	r.stands, r.phase, r.flight = idle, claiming, message{}
	r.token, r.attempt, r.doubt, r.failed, r.fails, r.unsure = 0, 0, false, 0, false, false
	return r
}

// claimed gives a flight the reply to its claim.
func (d *driver) claimed(r replica) (m move) {
	sent := r.flight
	r.flight = message{}
	b := d.wake(r, sent)
	f := d.flight(b, r)
	if sent.over {
		d.overByOwnClock(b)
	}
	d.step(f)
	m = move{name: "does not believe the reply to its claim", next: r}
	switch next := &m.next; f.phase {
	case executing:
		m.name, m.runs = "runs its logic", true
		next.phase, next.attempt, next.doubt, next.failed = executing, f.execution.attempt, f.execution.inDoubt,
			f.execution.failures
		b.executions.remove(f.execution)
	case watching, settling:
		m.name = "waits"
		next.phase = f.phase
	case landed:
		if b.link.Abandoned() == 0 { // otherwise it had no answer that it accepted
			d.landed(&m, f, b)
		}
	}
	d.note(b, &m.next)
	return m
}

// landed returns the answer to a flight's callers.
func (d *driver) landed(m *move, f *flight, b *bucket) {
	m.next = idleOf(m.next)
	switch l := f.landing; l.outcome {
	case Replayed, Waited:
		m.name = "answers with the result that stands"
		m.answers, m.answered = tokenOf(string(l.record.Result.Body))
	case Poisoned, Doubtful:
		m.name, m.judged = "tells a verdict", true
		if d.judgeBeforeJournal {
			b.journal.drop(d.name, b.journal.byFingerprint[d.name].record.Token)
		}
	case Processing:
		m.name, m.leaves = "tells that it was forgotten, 409", true
	case Unavailable:
		m.name, m.leaves = "was given up, 503", true
	default:
		panic(fmt.Sprintf("a flight landed with %+v", l))
	}
}

// looks sends a look into the client-side cache. The cache does not have this record, so the look goes on to Redis.
func (d *driver) looks(r replica) move {
	b := d.wake(r, message{})
	f := d.flight(b, r)
	r.flight = message{call: d.sends(func() { d.step(f) })}
	return move{name: "looks into the cache", next: r, when: onOutcome}
}

func (d *driver) looked(r replica) move {
	sent := r.flight
	r.flight = message{}
	if d.cacheWhileOpen {
		r.open = false
	}
	b := d.wake(r, sent)
	f := d.flight(b, r)
	m := move{name: "goes on waiting", next: r}
	if d.step(f); f.phase == landed {
		d.landed(&m, f, b)
	}
	open := r.open
	d.note(b, &m.next)
	m.next.open = open
	return m
}

// end is the record with which an execution ends.
func (d *driver) end(r replica) record.Record {
	return d.flight(d.wake(r, message{}), r).execution.end
}

// returns lets an execution's logic return: its flight goes on to store the end.
func (d *driver) returns(r replica) replica {
	b := d.wake(r, message{})
	f := d.flight(b, r)
	f.execution.fate.Store(fateWon)
	d.step(f)
	r.phase = f.phase
	return d.ends(r)
}

// ends sends the store or the fail of an execution.
func (d *driver) ends(r replica) replica {
	b := d.wake(r, message{})
	f := d.flight(b, r)
	r.flight = message{call: d.sends(func() { d.step(f) })}
	return r
}

// ended gives an execution the reply to its store or its fail.
func (d *driver) ended(r replica) (m move) {
	sent, before := r.flight, r
	r.flight = message{}
	b := d.wake(r, sent)
	f := d.flight(b, r)
	d.step(f)
	m = move{name: "does not believe the reply to its end", next: r}
	switch {
	case f.phase == claiming:
		m.name = "has lost its lease and goes on as a duplicate"
	case f.landing.outcome == Executed:
		m.name, m.answers, m.answered = "answers", r.token, true
		m.next = idleOf(r)
	case f.landing.outcome == Failed:
		m.name = "answers that it failed"
		m.next = idleOf(r)
	case f.landing.outcome == Processing:
		d.landed(&m, f, b)
	case f.landing.outcome == Unavailable: // it keeps trying
	default:
		panic(fmt.Sprintf("an end landed with %+v", f.landing))
	}
	d.note(b, &m.next)
	switch {
	case f.phase == claiming:
		m.next = d.goesOn(m.next)
	case m.answered && d.answerBeforeJournal:
		m.name, m.answered = "believes that its result is stored", false
		m.next.stands, m.next.phase, m.next.token, m.next.attempt = answering, storing, r.token, r.attempt
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
	r.flight = message{call: d.sends(b.link.FailAbandoned)}
	return r
}

func (d *driver) abandon(b *bucket, r replica) { b.link.Abandon(d.key, r.token.String(), nil) }

func (d *driver) abandoned(r replica) move {
	b := d.wake(r, r.flight)
	r.flight = message{}
	d.abandon(b, r)
	b.link.FailAbandoned()
	m := move{name: "has failed its claim", next: idleOf(r)}
	if b.link.Abandoned() > 0 {
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

// beats returns the heartbeat that a replica sends if nothing else calls; "": none.
func (d *driver) beats(r replica) call {
	if d.noHeartbeat {
		return ""
	}
	b := d.wake(r, message{})
	d.flight(b, r)
	return d.sends(func() { b.heartbeat(0) })
}

func (d *driver) renews(r replica) replica {
	b := d.wake(r, message{})
	d.flight(b, r)
	r.keeper = message{call: d.sends(func() { b.renew(0) })}
	return r
}

// heal sends the next call of a healing: first for the executions (renewed: that is done), then for the journal.
func (d *driver) heal(r replica, begins bool) replica {
	b := d.wake(r, message{})
	d.flight(b, r)
	renew := func() call { return d.sends(func() { b.renew(0) }) }
	putBack := func() call { return d.sends(func() { b.putBack(proofEpoch) }) }
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

// kept gives the keeper a reply.
func (d *driver) kept(r replica) move {
	sent, heals := r.keeper, r.heals
	r.keeper, r.heals = message{}, false
	b := d.wake(r, sent)
	f := d.flight(b, r)
	e := f.execution
	var ok bool
	renews := sent.call.operation() == "renew"
	switch operation := sent.call.operation(); operation {
	case "renew":
		ok = b.renew(0)
	case "restore":
		epoch := proofEpoch
		if sent.stale {
			epoch--
		}
		ok = b.putBack(epoch)
	default:
		b.heartbeat(0)
	}
	if d.answer.call != "" { // the execution that it was sent for has changed since
		d.answer, ok = exchange{}, false
	}
	m := move{name: "takes the reply to its " + sent.call.operation(), next: r}
	raised := b.link.Epoch() > proofEpoch
	d.note(b, &m.next)
	if e != nil && (e.fate.Load() == fateLost || e.fate.Load() == fateOvertaken) {
		m.name = "learns that it has lost its lease, and goes on as a duplicate"
		m.stops = r.in(executing)
		if r.flight.call != "" && r.flight.reply == "" {
			m.late = append(m.late, r.flight.call)
		}
		m.late = append(m.late, d.sends(func() {
			d.step(f) // the new driver's step, if the logic still runs
			if r.in(executing) {
				e.run()
				b.seeOff(e)
			}
			d.gate.running.Wait()
		}))
		if f.phase == landed {
			d.landed(&m, f, b)
		} else {
			m.next = d.goesOn(m.next)
		}
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

// faults are the faults that may hit a replica.
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
		m := move{name: "crashes and starts anew", costs: budget{crashes: 1}, stops: r.in(executing)}
		for _, sent := range []message{r.flight, r.keeper} {
			if sent.call != "" && sent.reply == "" && r.stands != answering {
				m.late = append(m.late, sent.call)
			}
		}
		all = append(all, m)
	}
	return all
}
