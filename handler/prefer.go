package handler

import (
	"bytes"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/gate"
)

// preference holds what a request's Prefer header asks for (RFC 7240). The zero value asks for nothing.
type preference struct {
	async bool           // respond-async: 202 while the webhook is processed; without wait it is answered at once
	wait  *time.Duration // longest wait for an execution; nil: the gate's own
}

// preferred reads a request's preferences. A preference that cannot be read is ignored (section 2); if one is given
// several times, the first counts. A wait is cut to most.
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

// parseSeconds reads delta-seconds (RFC 9111, section 1.2.2): digits only. A number that is too large counts as the
// largest that fits.
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

// apply changes an answer to what the caller prefers, and names the preferences that were applied.
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
