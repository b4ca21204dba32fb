package tracing

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// ran are executions that ran here lately, so that duplicates can point to them. It has a place for each of so many
// fingerprints, and a newer execution takes the place of an older one.
type ran struct{ places [1 << 13]atomic.Pointer[run] }

// run is one of them.
type run struct {
	of      [32]byte
	attempt int64
	span    trace.SpanContext
	parent  trace.SpanID // of the request that it was won for
	ended   atomic.Int64 // Unix ns; 0: it runs
}

func (r *ran) place(of [32]byte) *atomic.Pointer[run] {
	return &r.places[int(binary.BigEndian.Uint16(of[:]))%len(r.places)]
}

func (r *ran) add(e *run) { r.place(e.of).Store(e) }

// lag is by how much the age of a result may differ from when its execution has ended here. A record may have ended and
// its fingerprint have come again, so that an attempt of the same number was executed elsewhere: that one's result was
// stored at another time.
const lag = 10 * time.Second

// find returns the execution that an answer tells of, if it ran here: it goes on, or has ended when the result was
// stored.
func (r *ran) find(of [32]byte, attempt int64, age time.Duration) *run {
	e := r.place(of).Load()
	if e == nil || e.of != of || e.attempt != attempt {
		return nil
	}
	if ended := e.ended.Load(); ended != 0 {
		if apart := time.Since(time.Unix(0, ended)) - age; apart > lag || apart < -lag {
			return nil
		}
	}
	return e
}
