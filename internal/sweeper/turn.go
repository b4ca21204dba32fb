package sweeper

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// turn is the right to sweep: a key with a TTL, which belongs to the sweep whose token is its value. It is never given
// back but left to expire, so that one replica sweeps in an interval, however many try.
//
// A turn protects no data: two sweeps at once would only waste time. So checking it and prolonging it need not be
// atomic.
type turn struct {
	*Sweeper
	token string
	won   time.Time // when the turn was won or last prolonged
}

func (s *Sweeper) newTurn() *turn { return &turn{Sweeper: s, token: rand.Text()} }

// length returns the TTL of the turn, a little shorter than the interval: a lone replica must find its last turn
// expired when it comes again, even if its clock runs faster than Redis'.
func (t *turn) length() time.Duration { return t.Interval - t.Interval/50 }

// hold takes the turn, or prolongs it once a third of it has passed; before that it costs nothing. If the turn belongs
// to another sweep, the error is ErrNotOurTurn.
func (t *turn) hold(ctx context.Context) error {
	if time.Since(t.won) < t.length()/3 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	asked := time.Now()
	if err := t.take(ctx); err != nil {
		return fmt.Errorf("turn at %s: %w", t.Keys.Sweeper(), err)
	}
	t.won = asked
	return nil
}

func (t *turn) take(ctx context.Context) error {
	key, milliseconds := t.Keys.Sweeper(), t.length().Milliseconds()
	err := t.client.Do(ctx, t.client.B().Set().Key(key).Value(t.token).Nx().PxMilliseconds(milliseconds).Build()).Error()
	if !rueidis.IsRedisNil(err) {
		return err // nil: the turn was free, and is ours now
	}
	holder, err := t.client.Do(ctx, t.client.B().Get().Key(key).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	if holder != t.token {
		return ErrNotOurTurn
	}
	return t.client.Do(ctx, t.client.B().Pexpire().Key(key).Milliseconds(milliseconds).Build()).Error()
}
