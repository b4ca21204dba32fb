package gate

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// does returns a request whose logic is a function.
type does func(ctx context.Context) (record.Result, error)

func (d does) Detach() Work { return d }

func (d does) Run(ctx context.Context, _ int64, _ bool) (record.Result, error) { return d(ctx) }

func (does) LogValue() slog.Value { return slog.StringValue("does") }

// forgotten returns the record after a person had attempt 1 forgotten by force.
var forgotten = record.Append(nil, record.Record{
	State: record.Failed, Attempt: 2, Token: record.Person, FailedAt: time.UnixMilli(1), Reason: reasonForgotten,
})

// TestLogicThatEndsItsGoroutineAfterItsLeaseWasLostIsSeenOff: the flight has another driver by then, and maybe another
// execution, which the first driver must not touch.
func TestLogicThatEndsItsGoroutineAfterItsLeaseWasLostIsSeenOff(t *testing.T) {
	a := newAlone(t, nil)
	var e *execution
	got := a.do(Request{Tenant: a.nameless(), Fingerprint: named(1), Arrived: time.Now(), Source: does(
		func(context.Context) (record.Result, error) {
			a.executions.mu.Lock()
			e = a.executions.first
			a.executions.mu.Unlock()
			redisForgets(a)
			a.leaseLost(e, forgotten)
			for landed := false; !landed; time.Sleep(time.Millisecond) {
				e.flight.mu.Lock()
				landed = e.flight.over
				e.flight.mu.Unlock()
			}
			runtime.Goexit()
			return record.Result{}, nil
		})})
	a.gate.running.Wait()
	if got.Outcome != Processing || a.executions.count() != 0 || a.nameless().use.executing.Load() != 0 {
		t.Errorf("outcome %d, %d executions are left, %d are counted", got.Outcome, a.executions.count(),
			a.nameless().use.executing.Load())
	}
}

// redisForgets replaces the record of a person's forget by the execution's.
func redisForgets(a *alone) {
	a.Helper()
	r, err := record.Parse(forgotten)
	if err != nil {
		a.Fatal(err)
	}
	a.put(named(1), r)
}

// TestALeaseThatIsLostBeforeTheLogicRunsLeavesTheFlightItsDriver: two drivers of one flight would claim twice for one
// caller.
func TestALeaseThatIsLostBeforeTheLogicRunsLeavesTheFlightItsDriver(t *testing.T) {
	a := newAlone(t, nil)
	drivers, ran := 0, false
	a.gate.drive = func(*flight) { drivers++; a.gate.running.Done() }
	f := newFlight(a.bucket, a.asks(named(1), record.Digest{}))
	f.callers = []*caller{{wake: make(chan struct{}, 1)}}
	a.nameless().use.executing.Add(1)
	won := link.Won{Reply: link.Reply{Fact: link.Told(a.link, scripts.Answer{}), Sent: time.Now()}}
	a.begin(f, Request{Tenant: a.nameless(), work: does(func(context.Context) (record.Result, error) {
		ran = true
		return record.Result{}, nil
	})}, won, scripts.Answer{Attempt: 1})
	redisForgets(a)
	a.leaseLost(f.execution, forgotten)
	f.phase = executing
	f.drive()
	a.gate.running.Wait()
	if drivers != 0 || ran || f.landing.outcome != Processing {
		t.Errorf("%d other drivers, its logic ran: %v, outcome %d", drivers, ran, f.landing.outcome)
	}
	if a.executions.count() != 0 || a.nameless().use.executing.Load() != 0 {
		t.Error("it counts as running still")
	}
}

// TestALeaseThatIsLostAfterTheEndCountsNoDriver: the gate may be closed by then, and nobody waits for a driver twice.
func TestALeaseThatIsLostAfterTheEndCountsNoDriver(t *testing.T) {
	a := newAlone(t, nil)
	e := a.executes(named(1), 0)
	e.fate.Store(fateEnded)
	a.executions.remove(e)
	for range 1000 { // WaitGroup panics if it is counted up again before Wait has returned
		var group sync.WaitGroup
		a.gate.running.Add(1)
		group.Go(a.gate.running.Wait)
		group.Go(a.gate.running.Done)
		group.Go(func() { a.leaseLost(e, nil) })
		group.Wait()
	}
}
