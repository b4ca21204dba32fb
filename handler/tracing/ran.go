package tracing

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// ran keeps the executions that ran here lately, so that duplicates can point to them. It has a fixed number of places,
// and a newer execution takes the place of an older one.
type ran struct{ places [1 << 13]atomic.Pointer[run] }

// run is one such execution.
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

// lag is by how much a result's age may differ from the time since its execution ended here. If it differs by more, the
// result is another execution's: the record ended, the fingerprint came again, and an attempt of the same number ran
// elsewhere.
const lag = 10 * time.Second

// find returns the execution that an answer is about, if it ran here. It is the one if it still runs, or if it ended
// when the result was stored.
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
