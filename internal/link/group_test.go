package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/scripts"
)

// crowd lets n operations, each of so many bytes, wait in a group.
func crowd(g *group, n, bytes int) {
	for range n {
		g.waiting = append(g.waiting, &ticket{
			op: scripts.Restore("k", make([]byte, bytes)), turn: make(chan *batch, 1), reply: Reply{Sent: time.Now()},
		})
	}
}

// goes is how many operations the next call has, after one that was answered or not.
func (g *group) goes(answered bool) int {
	under := g.inFlight
	first := g.waiting[0]
	g.next(under, answered, time.Hour)
	select {
	case b := <-first.turn:
		return len(b.tickets)
	default:
		return 0
	}
}

func TestAGroupIsBounded(t *testing.T) {
	g := group{eager: eager}
	crowd(&g, 2000, 1)
	var sizes []int
	for range 9 {
		sizes = append(sizes, g.goes(true))
	}
	for range 3 {
		sizes = append(sizes, g.goes(false))
	}
	for range 10 {
		if g.goes(false) == 1 {
			break
		}
	}
	sizes = append(sizes, g.goes(false), g.goes(true))
	if want := "[1 2 4 8 16 32 64 128 128 64 32 16 1 2]"; fmt.Sprint(sizes) != want {
		t.Errorf("groups of %v, want %s", sizes, want)
	}

	const large = 300 << 10
	g = group{eager: eager, limit: MaxGroup}
	crowd(&g, 10, large)
	if n := g.goes(true); n != MaxGroupBytes/large {
		t.Errorf("%d operations of %d bytes go together", n, large)
	}
	g = group{eager: eager, limit: MaxGroup}
	crowd(&g, 2, 2*MaxGroupBytes)
	if n := g.goes(true); n != 1 {
		t.Errorf("of operations that are too large by themselves %d go together", n)
	}
}

func TestWhatWaitedTooLongBehindASilentRedisIsTold(t *testing.T) {
	g := group{eager: eager, inFlight: 1}
	crowd(&g, 5, 1)
	for _, early := range g.waiting[:3] {
		early.reply.Sent = early.reply.Sent.Add(-time.Hour)
	}
	if late := g.next(1, true, time.Minute); len(late) != 0 {
		t.Errorf("Redis answers, and %d are told that it does not", len(late))
	}
	if late := g.next(1, false, time.Minute); len(late) != 2 || len(g.waiting) != 1 {
		t.Errorf("%d of 2 are told, %d still wait", len(late), len(g.waiting))
	}
}

func TestASecondOperationGathers(t *testing.T) {
	g := group{eager: eager}
	for n := range 2 {
		if mine := g.begin(&ticket{}); (mine != nil) != (n == 0) {
			t.Errorf("operation %d goes out at once: %v", n+1, mine != nil)
		}
	}
	if len(g.waiting) != 1 {
		t.Errorf("%d wait", len(g.waiting))
	}
}

func TestEachOperationOfAGroupGetsItsOwnAnswer(t *testing.T) {
	l := dial(t, nil)
	var tickets []*ticket
	for _, op := range []scripts.Op{claimOf("a", "t"), scripts.Look("b", scripts.Question{}), claimOf("a", "u")} {
		tickets = append(tickets, &ticket{op: op, turn: make(chan *batch, 1)})
	}
	l.commit(batchOf(tickets...))
	var got []string
	for _, ticket := range tickets {
		got = append(got, string(ticket.reply.value.Verdict))
	}
	if want := "claimed free progress"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	for i, ticket := range tickets[1:] {
		select {
		case <-ticket.turn:
		default:
			t.Errorf("ticket %d is not told", i+1)
		}
	}
}
