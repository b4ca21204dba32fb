package replicas

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
	"github.com/oncegate/oncegate/internal/meter"
	"github.com/oncegate/oncegate/internal/upstream"
)

// TestALineOfManyBusyTenantsIsReadByOthers: readers refuse a longer line.
func TestALineOfManyBusyTenantsIsReadByOthers(t *testing.T) {
	r := New(Options{})
	shares, backends := make(map[string]gate.Share), make(map[string]upstream.Snapshot)
	r.Observe = func() (o Observation) {
		o.Gate.Tenants, o.Backends = shares, backends
		o.Now = 1_795_502_617_000 + int64(len(r.own))*1000
		return o
	}
	for second := range int64(told + 5) {
		for n := range int64(2 * mostTenants) {
			name := fmt.Sprintf("%060d", n)
			s := gate.Share{Begun: second * 100_000, Waiting: 100_000, Executing: 100_000, Oldest: 1e15}
			s.Counts[link.Executed] = second * (100_000 + n)
			shares[name] = s
			u := upstream.Snapshot{Codes: make(map[int]int64), BreakerOpen: true}
			for code := 200; code < 210; code++ {
				u.Codes[code] = second * 10_000
			}
			for cell := range 80 { // ten octaves
				u.Lasted.Cells[cell+100] = uint64(second * 1000)
			}
			u.Lasted.Count = uint64(second * 80_000)
			backends[name] = u
		}
		r.look()
	}
	text, err := json.Marshal(r.line)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it has %d bytes", len(text))
	if len(text) >= mostBytes || len(r.line.Tenants) != mostTenants {
		t.Errorf("a line of %d tenants has %d bytes, and %d are read", len(r.line.Tenants), len(text), mostBytes)
	}
	for name, share := range r.line.Tenants {
		if len(share.Seconds) != told || len(share.Backend.Codes) != 10 {
			t.Fatalf("%s is told as %+v", name, share)
		}
	}
}

// TestWhatABackendAnsweredIsForgottenAfterAMinute, and if a reload puts another backend in its place, that one's
// answers count from then on.
func TestWhatABackendAnsweredIsForgottenAfterAMinute(t *testing.T) {
	var m marks
	answers := func(total int64) *upstream.Snapshot {
		s := &upstream.Snapshot{Codes: map[int]int64{200: total}}
		s.Lasted.Cells[meter.Cells/2], s.Lasted.Count = uint64(total), uint64(total)
		return s
	}
	total := int64(0)
	for second := range int64(200) {
		if second < 100 {
			total++
		}
		e := m.look(answers(total), second)
		n := int64(e.Lasted[meter.Cells/2])
		least, most := min(second+1, 50), min(second+1, 60)
		if second >= 100 {
			least, most = max(149-second, 0), max(158-second, 0)
		}
		if e.Codes[200] != n || n < least || n > most {
			t.Fatalf("after %d s there are %d (%d by code), want %d to %d", second, n, e.Codes[200], least, most)
		}
	}
	if e := m.look(answers(7), 201); e.Codes[200] != 7 || e.Lasted[meter.Cells/2] != 7 {
		t.Errorf("of another backend in its place it tells %+v", e)
	}
}
