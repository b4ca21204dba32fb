package gate

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/record"
)

const mostReplicas = 3

// state is the world: a Redis, its replica, our replicas, and what was seen of them.
type state struct {
	data     int32 // of Redis
	copy     int32 // of its asynchronous replica, whose link was cut before some writes; -1: it has all
	replicas [mostReplicas]member
	late     [4]int32 // calls on the wire that their sender has given up; 0: none
	webhooks uint8    // that came
	left     budget

	answered uint16 // executions whose result a client has got
	live     uint16 // executions whose logic runs
	slept    uint16 // executions that were paused
	failed   uint16 // tokens of which Redis has said that they are failed
	undone   uint16 // executions that have begun and may have had their effect: their logic has not failed for certain
	judged   bool   // a caller has been told a verdict
}

// member is a replica's number, and its remaining work in the time of SETTLE.
type member int32

const (
	// it has not called to heal since the last loss, or since the end of settling was last moved
	due     member = 1 << iota
	early          // its keeper's call on the way was sent before it knew of the last loss
	unaware        // a proxy hides the last loss from it
	marks   = iota
)

func (k member) replica() int32 { return int32(k >> marks) }

func (k member) with(replica int32) member { return member(replica<<marks) | k&(due|early|unaware) }

// names gives values numbers.
type names[T comparable] struct {
	numbers map[T]int32
	all     []T
}

func (n *names[T]) number(value T) int32 {
	if k, ok := n.numbers[value]; ok {
		return k
	}
	if n.numbers == nil {
		n.numbers = make(map[T]int32)
	}
	k := int32(len(n.all))
	n.numbers[value] = k
	n.all = append(n.all, value)
	return k
}

// scope bounds the exploration.
type scope struct {
	name     string
	replicas int
	webhooks uint8
	left     budget
	deep     bool

	maxAttempts int
	stop        bool // IN_DOUBT
}

// model knows which states follow a state. The script and the gate's code run once for each of the few things that they
// can meet; the states are made of the numbers of these.
type model struct {
	scope
	interpreter *interpreter
	driver      *driver

	forget   int32 // a person's call
	datasets names[dataset]
	replicas names[replica]
	calls    names[call]
	facts    []*facts // of each replica
	views    []*view  // of each dataset
	done     map[[2]int32]done
	told     map[told]int32
	came     map[[2]int32]next
}

// facts are the answers about a replica that the exploration needs over and over.
type facts struct {
	replica
	name    string // its token, as a record has it
	history string // as a view has it
	moves   []next
	flight  int32 // its calls that Redis has not done; 0: none
	keeper  int32
	beats   bool
	knows   uint16 // results that it could put back
	runs    uint16 // the execution that it could put back, running or ended
	judges  bool   // it could put a verdict back
	lost    int32  // itself after its connection was lost, together with the calls under way
	flushed int32  // itself after FLUSHALL
}

// view is the part of a dataset that a replica asks for.
type view struct {
	dataset
	standing  record.Record
	leaseRuns bool
	settling  bool
	known     string // the replica's view of this history; "": it is not met yet
}

// next is a move, in numbers.
type next struct {
	*move
	to   int32
	late []int32
}

// done is the outcome of a call in Redis.
type done struct {
	data    int32
	reply   string
	settles bool
	fails   uint16 // the token that it says is failed
	revives uint16 // the token that was nothing and is in progress now
}

type told struct {
	replica int32
	keeper  bool
	reply   string
}

func newModel(t testing.TB, s scope, broken rules) *model {
	m := &model{
		scope: s, interpreter: newInterpreter(t), driver: newDriver(t, s, broken),
		done: make(map[[2]int32]done), told: make(map[told]int32), came: make(map[[2]int32]next),
	}
	m.calls.number("") // 0: none
	m.forget = m.calls.number(m.driver.forget())
	return m
}

func (m *model) first() state {
	d := dataset{server: replicationID(0), noted: noted{replicationID(0), over, over}}
	s := state{data: m.datasets.number(d), copy: -1, left: m.left}
	r := replica{}
	r.history.ID, r.history.Met = replicationID(0), proofTime.UnixMilli()
	for i := range m.scope.replicas {
		s.replicas[i] = s.replicas[i].with(m.replicas.number(r))
	}
	return s
}

func (m *model) of(k member) *facts {
	id := k.replica()
	for int(id) >= len(m.facts) {
		m.facts = append(m.facts, nil)
	}
	if f := m.facts[id]; f != nil {
		return f
	}
	r := m.replicas.all[id]
	f := &facts{replica: r, name: r.token.String(), history: fmt.Sprint(r.history.ID, " ", r.history.Met)}
	for _, mv := range m.driver.moves(r) {
		f.moves = append(f.moves, m.numbered(mv))
	}
	if r.flight.call != "" && r.flight.reply == "" {
		f.flight = m.calls.number(r.flight.call)
	}
	if r.keeper.call != "" && r.keeper.reply == "" {
		f.keeper = m.calls.number(r.keeper.call)
	}
	f.beats = m.driver.beats(r) != ""
	if known, err := record.Parse([]byte(r.journal)); err == nil {
		t, _ := tokenOf(known.Token)
		f.runs |= t.bit()
		if known.State == record.Done {
			f.knows |= t.bit()
		}
		f.judges = known.Verdict != record.NoVerdict
	}
	if r.holdsLease() {
		f.runs |= r.token.bit()
	}
	if (r.in(storing) || r.stands == answering) && !r.fails {
		f.knows |= r.token.bit()
	}
	flushed := r
	flushed.signal()
	f.flushed = m.replicas.number(flushed)
	lost := flushed
	lost.keeper, lost.heals = message{}, false
	if r.stands != answering {
		lost.flight = message{}
	}
	f.lost = m.replicas.number(lost)
	m.facts[id] = f
	return f
}

func (m *model) view(data int32) *view {
	for int(data) >= len(m.views) {
		m.views = append(m.views, nil)
	}
	if v := m.views[data]; v != nil {
		return v
	}
	d := m.datasets.all[data]
	v := &view{dataset: d}
	v.standing, _ = record.Parse([]byte(d.record)) // the zero record if there is none
	v.leaseRuns = v.standing.State == record.InProgress && v.standing.Deadline.After(proofTime)
	if d.noted.history == d.server {
		v.known = d.noted.history + " " + d.noted.met
		v.settling = d.noted.settled == runs
	}
	m.views[data] = v
	return v
}

func (m *model) numbered(mv move) next {
	n := next{move: &mv, to: m.replicas.number(mv.next)}
	for _, c := range mv.late {
		n.late = append(n.late, m.calls.number(c))
	}
	return n
}

// apply does a call in Redis.
func (m *model) apply(data, c int32) done {
	key := [2]int32{data, c}
	if a, ok := m.done[key]; ok {
		return a
	}
	before, asked := m.datasets.all[data], m.calls.all[c]
	var a done
	if asked.args() == nil {
		a = done{data: data, reply: fmt.Sprintf("$%d\r\n%s\r\n", len(before.record), before.record)}
		if before.record == "" {
			a.reply = "$-1\r\n"
		}
	} else {
		after, reply, settles := m.interpreter.run(before, asked)
		a = done{data: m.datasets.number(after), reply: reply, settles: settles}
		if asked.operation() == "fail" && strings.Contains(reply, "\r\nfailed\r\n") {
			t, _ := tokenOf(strings.Fields(asked.operations()[0])[2])
			a.fails = t.bit()
		}
		if r := m.view(a.data).standing; before.record == "" && r.State == record.InProgress {
			t, _ := tokenOf(r.Token)
			a.revives = t.bit()
		}
	}
	m.done[key] = a
	return a
}

func (m *model) tell(k member, keeper bool, reply string) int32 {
	key := told{k.replica(), keeper, reply}
	if to, ok := m.told[key]; ok {
		return to
	}
	r := m.replicas.all[key.replica]
	if keeper {
		r.keeper.reply = reply
	} else {
		r.flight.reply = reply
	}
	to := m.replicas.number(r)
	m.told[key] = to
	return to
}

func (m *model) arrive(k member, webhook uint8) next {
	key := [2]int32{k.replica(), int32(webhook)}
	n, ok := m.came[key]
	if !ok {
		n = m.numbered(m.driver.arrive(m.replicas.all[key[0]], int(webhook)))
		m.came[key] = n
	}
	return n
}

// event leads from one state to the next.
type event struct {
	what    string
	replica int // -1: none
	call    int32
	fault   bool // or somebody gives up: no webhook must need it to be answered
	runs    uint16
	revives uint16
}

// follow yields each event that may happen next, with the state after it.
func (m *model) follow(s state, yield func(state, event)) {
	d := m.view(s.data)
	owner := -1
	for i := range m.scope.replicas {
		k := s.replicas[i]
		f := m.of(k)
		if f.stands != idle && f.name == d.standing.Token {
			owner = i
		}
		for _, c := range [...]int32{f.flight, f.keeper} {
			if c == 0 {
				continue
			}
			t, e := m.execute(s, c)
			e.replica = i
			done, keeps := m.apply(s.data, c), c == f.keeper
			to := t.replicas[i].with(m.tell(k, keeps, done.reply))
			if keeps && f.heals && k&(early|unaware) == 0 && !done.settles {
				to &^= due
			}
			if keeps {
				to &^= early
			}
			t.replicas[i] = to
			yield(t, e)
		}
		for j := range f.moves {
			n := &f.moves[j]
			left, ok := s.left.less(n.costs)
			if !ok || !worth(n.when, f, d) {
				continue
			}
			yield(m.moved(s, i, n, left))
		}
		if f.stands == idle && !f.paused && s.webhooks < m.webhooks {
			n := m.arrive(k, s.webhooks)
			t, e := m.moved(s, i, &n, s.left)
			t.webhooks++
			yield(t, e)
		}
	}
	for i, c := range s.late {
		if c == 0 {
			continue
		}
		t, e := m.execute(s, c)
		t.late[i] = 0
		yield(t, e)
	}
	if s.left.forgets > 0 && d.standing.State == record.Done && m.quiet(s) {
		t, e := m.execute(s, m.forget)
		e.what, e.fault = "a person has it forgotten: redis does", true
		t.answered, t.undone, t.judged = 0, 0, false
		t.left.forgets--
		yield(t, e)
	}
	m.passTime(s, d, owner, yield)
	m.losses(s, d, yield)
}

// quiet reports whether every flight has landed.
func (m *model) quiet(s state) bool {
	return !slices.ContainsFunc(s.replicas[:m.scope.replicas], func(k member) bool { return m.of(k).stands != idle })
}

func (m *model) execute(s state, c int32) (state, event) {
	a := m.apply(s.data, c)
	e := event{what: "redis does", replica: -1, call: c, revives: a.revives & s.failed}
	s.data = a.data
	s.failed |= a.fails
	if a.settles {
		for j := range m.scope.replicas {
			s.replicas[j] |= due
		}
	}
	return s, e
}

func (m *model) moved(s state, i int, n *next, left budget) (state, event) {
	k := s.replicas[i]
	f := m.of(k)
	e := event{what: n.name, replica: i, fault: n.leaves || n.costs != budget{}}
	s.left = left
	s.replicas[i] = m.aware(k.with(n.to), m.view(s.data))
	if n.runs {
		e.runs = f.token.bit()
		s.live |= e.runs
		s.undone |= e.runs
	}
	if n.fails {
		s.undone &^= f.token.bit()
	}
	s.judged = s.judged || n.judged
	if n.stops {
		s.live &^= f.token.bit()
	}
	if n.answered {
		s.answered |= n.answers.bit()
	}
	if n.costs.pauses > 0 && f.holdsLease() {
		s.slept |= f.token.bit()
	}
	for _, c := range n.late {
		free := slices.Index(s.late[:], 0)
		if free < 0 {
			panic("too many calls are late")
		}
		s.late[free] = c
	}
	return s, e
}

// aware takes marks off that do not hold any more.
func (m *model) aware(k member, d *view) member {
	f := m.of(k)
	if k&unaware != 0 && f.history == d.known {
		k = k&^unaware | early
	}
	if f.replica.keeper.call == "" {
		k &^= early
	}
	return k
}

// worth reports whether a move would change anything. A question that is asked again and again is asked only when there
// is news.
func worth(w when, f *facts, d *view) bool {
	switch w {
	case onNews:
		return f.history != d.known || f.holdsLease() && (d.standing.Token != f.name || !d.leaseRuns)
	case onChange:
		return d.known == "" || !d.settling && !d.leaseRuns
	case onOutcome:
		return d.standing.State == record.Done
	case settled:
		return !d.settling
	}
	return true
}

// passTime ends leases and settling.
func (m *model) passTime(s state, d *view, owner int, yield func(state, event)) {
	if d.leaseRuns && (owner < 0 || m.letsLeaseEnd(s.replicas[owner])) {
		t := s
		after, standing := d.dataset, d.standing
		standing.Deadline = proofTime
		after.record = string(record.Append(nil, standing))
		t.data = m.datasets.number(after)
		yield(t, event{what: "the lease ends", replica: -1})
	}
	if d.settling && !m.needTime(s, d, false) {
		t := s
		t.late = [len(t.late)]int32{} // a call that is on the wire for longer is lost
		after := d.dataset
		after.noted.settled = over
		t.data = m.datasets.number(after)
		yield(t, event{what: "settling ends", replica: -1})
	}
}

// letsLeaseEnd reports whether an owner neither renews its lease nor waits for the reply to its claim, which comes much
// earlier than a lease ends.
func (m *model) letsLeaseEnd(k member) bool {
	f := m.of(k)
	return f.paused || !f.holdsLease() && f.replica.flight.call == ""
}

// needTime reports whether a replica has to call before settling ends: SETTLE is longer than a heartbeat, a round trip
// and the first call of a healing; and a call that was sent before the loss has come by then.
func (m *model) needTime(s state, d *view, paused bool) bool {
	for _, k := range s.replicas[:m.scope.replicas] {
		f := m.of(k)
		if f.paused != paused {
			continue
		}
		late := f.flight != 0 && f.replica.flight.stale
		if late || k&due != 0 && f.healing || f.history != d.known && (f.beats || f.replica.flight.call != "") {
			return true
		}
	}
	return false
}

// losses are a failover to a replica that lags or not, seen by ours or hidden by a proxy, and FLUSHALL.
func (m *model) losses(s state, d *view, yield func(state, event)) {
	if s.left.failovers+s.left.hidden > 0 {
		if s.copy < 0 {
			t := s
			t.copy = s.data
			yield(t, event{what: "the link to redis' replica is cut", replica: -1, fault: true})
		}
		promoted := d.dataset
		if s.copy >= 0 {
			promoted = m.datasets.all[s.copy]
		}
		promoted.losses = d.losses + 1
		promoted.server = replicationID(promoted.losses)
		t := s
		t.copy, t.failed = -1, 0
		t.data = m.datasets.number(promoted)
		if t.left.hidden > 0 {
			t.left.hidden--
			for i, k := range s.replicas[:m.scope.replicas] {
				t.replicas[i] = k | due | unaware
			}
			yield(t, event{what: "redis fails over, and a proxy hides it", replica: -1, fault: true})
			t.left.hidden++
		}
		if t.left.failovers > 0 {
			t.left.failovers--
			t.late = [len(t.late)]int32{}
			for i, k := range s.replicas[:m.scope.replicas] {
				t.replicas[i] = m.signalled(k, m.of(k).lost)
			}
			yield(t, event{what: "redis fails over", replica: -1, fault: true})
		}
	}
	if s.left.flushes > 0 {
		t := s
		t.left.flushes--
		t.copy, t.failed = -1, 0 // it reaches redis' replica too
		t.data = m.datasets.number(dataset{server: d.server, losses: d.losses + 1})
		for i, k := range s.replicas[:m.scope.replicas] {
			t.replicas[i] = m.signalled(k, m.of(k).flushed)
		}
		yield(t, event{what: "FLUSHALL", replica: -1, fault: true})
	}
}

// signalled is a replica that has seen a loss.
func (m *model) signalled(k member, becomes int32) member {
	k = k.with(becomes)&^unaware | due | early
	if m.of(k).replica.keeper.call == "" {
		k &^= early
	}
	return k
}

// waived reports whether an event is outside of the promise.
func (m *model) waived(from state, e event) bool {
	switch {
	case e.what == "settling ends": // and a paused replica has not called
		return m.needTime(from, m.view(from.data), true)
	case strings.HasPrefix(e.what, "redis fails over"), e.what == "FLUSHALL": // and no replica is left that knows a result
		known, runs, judges := uint16(0), uint16(0), false
		for _, k := range from.replicas[:m.scope.replicas] {
			f := m.of(k)
			known, runs, judges = known|f.knows, runs|f.runs, judges || f.judges
		}
		return from.answered&^known != 0 || from.judged && !judges || m.atMostOne() && from.undone&^runs != 0
	case e.replica >= 0 && strings.HasPrefix(e.what, "crashes"): // before it has healed
		f := m.of(from.replicas[e.replica])
		return f.healing || f.history != m.view(from.data).known
	}
	return false
}

// atMostOne reports whether no execution may follow one that may have had its effect.
func (m *model) atMostOne() bool { return m.stop || m.maxAttempts == 1 }

// violation is the promise that a state breaks; "": none.
func (m *model) violation(from, to state, e event) string {
	switch {
	case e.runs != 0 && from.judged:
		return "an execution begins after a verdict was told"
	case e.runs != 0 && m.atMostOne() && from.undone != 0:
		return "an execution begins while nobody knows what became of an earlier one"
	case bits.OnesCount16(to.answered) > 1:
		return "clients have got different answers"
	case e.runs != 0 && from.answered != 0:
		return "an execution begins after a success was answered"
	case bits.OnesCount16(to.live) > 1 && bits.OnesCount16(to.live&^to.slept) > 1:
		return "two executions are live, and none of them was paused"
	case e.revives != 0:
		return "a claim that was failed has come to life"
	}
	return ""
}

// sorted is the state with its replicas, and its late calls, in one order of those that mean the same. order is sorted
// along with the replicas.
func (m *model) sorted(s state, order []int) state {
	r := s.replicas[:m.scope.replicas]
	for i := 1; i < len(r); i++ {
		for j := i; j > 0 && r[j] < r[j-1]; j-- {
			r[j], r[j-1] = r[j-1], r[j]
			if order != nil {
				order[j], order[j-1] = order[j-1], order[j]
			}
		}
	}
	l := &s.late
	for i := 1; i < len(l); i++ {
		for j := i; j > 0 && l[j] < l[j-1]; j-- {
			l[j], l[j-1] = l[j-1], l[j]
		}
	}
	return s
}
