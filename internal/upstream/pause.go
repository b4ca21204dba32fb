package upstream

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oncegate/oncegate/handler/logic"
)

// maxPauses bounds how long a Retry-After of the backend stops all webhooks, in units of the breaker's pause: one
// answer must not stop them for longer, whatever it says.
const maxPauses = 6

// pause is the time for which no request is sent, because the backend answered 429 or 503 with a Retry-After.
type pause struct {
	most   time.Duration
	until  atomic.Int64 // nanoseconds since began, by this process' monotonic clock
	began  time.Time
	log    *slog.Logger
	onHold func(until time.Time)
}

// hold begins or extends the pause.
func (p *pause) hold(after time.Duration) {
	if after = min(after, p.most); after <= 0 {
		return
	}
	until := time.Since(p.began) + after
	for {
		old := p.until.Load()
		if int64(until) <= old {
			return
		}
		if p.until.CompareAndSwap(old, int64(until)) {
			if time.Duration(old) < time.Since(p.began) {
				p.log.Warn("the backend asks for a pause (Retry-After): nothing is sent until it is over",
					"until", p.began.Add(until))
			}
			p.onHold(p.began.Add(until))
			return
		}
	}
}

// left returns how long the pause still lasts. The pause is over if that is 0 or less.
func (p *pause) left() time.Duration { return time.Duration(p.until.Load()) - time.Since(p.began) }

// leftAlone is the failure of an execution that was not tried, for the reason why. If left is above 0, callers are told
// to come back after it.
func leftAlone(why string, left time.Duration) error {
	err := fmt.Errorf("%s, nothing was sent: %w", why, logic.ErrRefused)
	if left > 0 {
		return logic.RetryAfter(err, left)
	}
	return err
}

// retryAfter returns the wait that an answer's Retry-After asks for, at most an hour. It is 0 if there is none in a
// form of RFC 9110, section 10.2.3. A date is counted from the answer's own Date, since clocks differ.
func retryAfter(response *http.Response) time.Duration {
	const most = time.Hour
	text := response.Header.Get("Retry-After")
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > math.MaxInt64/int64(time.Second) {
			return most
		}
		return min(time.Duration(seconds)*time.Second, most)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, min(at.Sub(now), most))
}
