package handler

import (
	"bytes"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/gate"
)

// preference is how a caller would rather be answered: RFC 7240, Prefer. The zero value prefers nothing.
type preference struct {
	async bool           // respond-async: 202 while it is being processed; without wait that is told at once
	wait  *time.Duration // how long it waits for an execution; nil: as long as it may
}

// preferred reads a request's preferences. What cannot be read is ignored (section 2), and of one that is given several
// times the first counts. Nobody waits longer than most.
func preferred(header *fasthttp.RequestHeader, most time.Duration) (p preference) {
	if len(header.Peek("Prefer")) == 0 {
		return p
	}
	for _, line := range header.PeekAll("Prefer") {
		for one := range bytes.SplitSeq(line, []byte{','}) {
			one, _, _ = bytes.Cut(one, []byte{';'}) // parameters
			name, value, _ := bytes.Cut(one, []byte{'='})
			switch name = bytes.TrimSpace(name); {
			case bytes.EqualFold(name, []byte("respond-async")):
				p.async = true
			case bytes.EqualFold(name, []byte("wait")) && p.wait == nil:
				if seconds, ok := parseSeconds(bytes.Trim(bytes.TrimSpace(value), `"`)); ok {
					wait := min(seconds, most)
					p.wait = &wait
				}
			}
		}
	}
	if p.async && p.wait == nil {
		p.wait = new(time.Duration)
	}
	return p
}

// parseSeconds reads delta-seconds (RFC 9111, section 1.2.2): digits, of which more than we can hold are the most that
// we can.
func parseSeconds(text []byte) (d time.Duration, ok bool) {
	const most = 1 << 31
	var n int64
	for _, c := range text {
		if !isDigit(c) {
			return 0, false
		}
		n = min(10*n+int64(c-'0'), most)
	}
	return time.Duration(n) * time.Second, len(text) > 0
}

// apply makes an answer the preferred one, and says so.
func (p preference) apply(response *fasthttp.Response, outcome gate.Outcome) {
	if p.wait == nil {
		return
	}
	var onStack [64]byte
	applied := onStack[:0]
	if p.async {
		applied = append(applied, "respond-async, "...)
		if outcome == gate.Processing {
			response.SetStatusCode(fasthttp.StatusAccepted)
		}
	}
	applied = strconv.AppendInt(append(applied, "wait="...), int64(*p.wait/time.Second), 10)
	response.Header.SetBytesV("Preference-Applied", applied)
}
