package link

import (
	"slices"
	"sync"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// abandoned holds the claims that were given up without an answer: Redis may have executed them. They are failed when
// Redis answers again, however late. Only this replica knows that their executions never began; a lease that is left to
// end would leave doubt.
type abandoned struct {
	mu     sync.Mutex
	claims []abandonedClaim
}

type abandonedClaim struct {
	key, token string
	class      *scripts.Class
}

// maxAbandoned bounds their memory to some 20 MB. A claim beyond it is not failed: its lease ends by itself.
const maxAbandoned = 1 << 16

func (a *abandoned) add(claims ...abandonedClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	room := maxAbandoned - len(a.claims)
	a.claims = append(a.claims, claims[:min(room, len(claims))]...)
}

// take removes up to n claims.
func (a *abandoned) take(n int) (taken []abandonedClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken = slices.Clone(a.claims[:min(n, len(a.claims))])
	a.claims = a.claims[len(taken):]
	return taken
}

// Abandon has the token of a claim failed as soon as Redis answers. The claim had no answer.
func (l *Link) Abandon(key, token string, class *scripts.Class) {
	l.abandoned.add(abandonedClaim{key, token, class})
}

// Abandoned returns how many claims are still to be failed.
func (l *Link) Abandoned() int {
	l.abandoned.mu.Lock()
	defer l.abandoned.mu.Unlock()
	return len(l.abandoned.claims)
}

// FailAbandoned fails the claims that were given up, if Redis answers and takes writes.
func (l *Link) FailAbandoned() {
	for !l.health.bad() {
		claims := l.abandoned.take(MaxGroup)
		if len(claims) == 0 {
			return
		}
		ops := make([]scripts.Op, len(claims))
		for i, c := range claims {
			ops[i] = scripts.Fail(c.key, 0, c.token, "unanswered", record.Digest{}, false, 0).In(c.class)
		}
		reply, err := l.send(&scripts.Call{Ops: ops}, l.due())
		if err != nil {
			l.abandoned.add(claims...)
			return
		}
		for i, answer := range reply.Answers {
			if answer.Verdict == scripts.Error {
				l.abandoned.add(claims[i])
			}
		}
	}
}
