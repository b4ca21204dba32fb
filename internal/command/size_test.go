package command_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

func TestSizes(t *testing.T) {
	for name, l := range map[string]command.Load{
		"size-small.txt": {Rate: 1000, Duplicates: 0.02, Bytes: 500, ResultTTL: time.Hour, Cores: 2},
		"size-large.txt": {Rate: 1_000_000, Duplicates: 0.9, Bytes: 2000, ResultTTL: time.Hour, Cores: 8},
		"size-slow.txt":  {Rate: 300, Bytes: 1000, ResultTTL: time.Hour, Cores: 2, BackendTime: 45 * time.Second},
		"size-none.txt":  {Rate: 0, Duplicates: 0, Bytes: 0, ResultTTL: time.Hour, Cores: 1},
	} {
		var out strings.Builder
		l.WaitTimeout, l.ExecutionTimeout, l.MaxExecutions, l.MaxWaiters = 7*time.Second, 80*time.Second, 5000, 1000
		if err := command.PrintSize(l, &out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

func TestMoreOfAnythingTakesNoLess(t *testing.T) {
	least := command.Load{
		Rate: 10_000, Duplicates: 0.5, Bytes: 500, ResultTTL: time.Hour, Cores: 200,
		BackendTime: time.Second, WaitTimeout: 7 * time.Second, ExecutionTimeout: time.Minute,
	}
	a := command.SizeOf(least)
	for what, change := range map[string]func(*command.Load){
		"time":   func(l *command.Load) { l.BackendTime *= 10 },
		"rate":   func(l *command.Load) { l.Rate *= 10 },
		"bytes":  func(l *command.Load) { l.Bytes *= 10 },
		"ttl":    func(l *command.Load) { l.ResultTTL *= 10 },
		"firsts": func(l *command.Load) { l.Duplicates = 0 },
	} {
		more := least
		change(&more)
		b := command.SizeOf(more)
		if b.Replicas < a.Replicas || b.Primaries < a.Primaries || b.RecordBytes < a.RecordBytes ||
			b.Executions < a.Executions || b.Waiters < a.Waiters || b.NetworkPerSec < a.NetworkPerSec {
			t.Errorf("more %s: %+v after %+v", what, b, a)
		}
	}
}

// The calculated memory is compared with records that the script stored in a real Redis, and the traffic with what
// Redis itself counted. CPU times differ between machines; bench/ measures them.
func TestTheCalculatorAgreesWithARun(t *testing.T) {
	t.Parallel()
	const webhooks, group = 12_800, 64
	const token = "oncegate-7d9f8c6b5-x2k4z~DFJRGK2H~1a"
	for _, bytes := range []int{100, 1000, 4000} {
		e := onReal(t)
		result := record.Result{Status: 200, ContentType: record.JSON, Body: []byte(`"` + strings.Repeat("x", bytes-2) + `"`)}
		call := scripts.Call{Metrics: keys.Metrics(), Flushed: keys.Buckets()[0].Flush("test"), Settle: 1, Lease: lease,
			Classes: []scripts.Class{{TTL: ttl}}}
		run := func(ops []scripts.Op) {
			call.Ops = ops
			if _, err := call.Run(t.Context(), e.client); err != nil {
				t.Fatal(err)
			}
		}
		run(nil)
		time.Sleep(5 * time.Millisecond) // it settles
		memory, wire := e.info("used_memory"), e.info("total_net_input_bytes")+e.info("total_net_output_bytes")
		claims, stores := make([]scripts.Op, group), make([]scripts.Op, group)
		for n := 0; n < webhooks; n += group {
			for i := range group {
				key := fmt.Sprintf("cognigy:fp:%064x", n+i)
				claims[i] = scripts.Claim(key, token, scripts.Question{First: true})
				stores[i] = scripts.Store(key, record.Record{State: record.Done, Attempt: 1, Token: token, Result: result})
			}
			run(claims)
			run(stores)
		}
		memory = e.info("used_memory") - memory
		wire = e.info("total_net_input_bytes") + e.info("total_net_output_bytes") - wire
		s := command.SizeOf(command.Load{Rate: webhooks, Bytes: bytes, ResultTTL: time.Second, Cores: 1})
		within(t, fmt.Sprintf("memory for results of %d bytes", bytes), memory/webhooks, s.RecordBytes/webhooks, 0.2)
		within(t, fmt.Sprintf("traffic for results of %d bytes", bytes), wire/webhooks, s.NetworkPerSec/webhooks, 0.2)
	}
}

func within(t *testing.T, what string, measured, told, share float64) {
	t.Helper()
	t.Logf("%s: %.0f, the calculator says %.0f", what, measured, told)
	if told < measured*(1-share) || told > measured*(1+share) {
		t.Errorf("%s: %.0f, but the calculator says %.0f", what, measured, told)
	}
}

func (e *engine) info(field string) float64 {
	e.Helper()
	text, err := e.client.Do(e.Context(), e.client.B().Info().Build()).ToString()
	if err != nil {
		e.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	e.Fatalf("INFO has no %s", field)
	return 0
}
