package handler_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/redistest"
)

// Somebody who can write to Redis may plant values that this program never writes. No caller gets such a value, and it
// stays unchanged.
func TestPlantedRecordsAreForeign(t *testing.T) {
	const foreign = `{"detail":"Cache service unavailable: a value that is not Oncegate's stands at this webhook's key"}`
	h := onReal(t)
	o := options()
	o.RedisTimeout, o.LockTTL = 5*time.Second, 20*time.Second
	r := h.open(o)
	planted := func(status int, headers ...record.Header) string {
		return string(record.Append(nil, record.Record{
			State: record.Done, Attempt: 1, Token: "planted", Stored: time.Now(), Ends: time.Now().Add(time.Minute),
			Result: record.Result{Status: status, ContentType: record.JSON, Headers: headers, Body: []byte(`{"planted":true}`)},
		}))
	}
	for what, value := range map[string]string{
		"no status":              planted(0),
		"a status for no body":   planted(100),
		"a redirect":             planted(301),
		"a status of the server": planted(500),
		"a status of none":       planted(999999),
		"a cookie":               planted(200, record.Header{Name: "Set-Cookie", Value: "a=b"}),
		"a cookie in other case": planted(200, record.Header{Name: "sET-cOOKIE", Value: "a=b"}),
		"a header that frames":   planted(200, record.Header{Name: "Transfer-Encoding", Value: "chunked"}),
		"a header of one hop":    planted(200, record.Header{Name: "Proxy-Authenticate", Value: "Basic"}),
		"a header of ours":       planted(200, record.Header{Name: "Idempotency-Status", Value: "executed"}),
		"a name that is none":    planted(200, record.Header{Name: "X(a)", Value: "b"}),
		"a name that splits":     planted(200, record.Header{Name: "X\r", Value: "b"}),
		"a name beyond ASCII":    planted(200, record.Header{Name: "X-Ä", Value: "b"}),
		"a value that splits":    strings.Replace(planted(200, record.Header{Name: "X-A", Value: "b%0D%0Ac"}), "%25", "%", 2),
	} {
		redistest.Do(t, h.client, "SET", name, value, "PX", "600000")
		for range 2 {
			if got := r.post(webhook); got.status != 503 || got.body != foreign {
				t.Errorf("%s is answered\n%v", what, got)
			}
			if got := r.exchange(request("GET", "/webhook/cognigy/"+name, "")); got.status != 503 || got.body != foreign {
				t.Errorf("%s, asked for, is answered\n%v", what, got)
			}
		}
		if left := redistest.Do(t, h.client, "GET", name); left != value {
			t.Errorf("%s was changed to %q", what, left)
		}
	}

	h.expectExecutions(0)

	allocated := func() (bytes uint64) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	const large = 100 << 20 // a busy Redis may time out on it: then the answer has another sentence
	plantLarge := func() (before uint64) {
		redistest.Do(t, h.client, "SET", name, planted(200), "PX", "600000")
		redistest.Do(t, h.client, "SETRANGE", name, fmt.Sprint(large), "}")
		return allocated()
	}
	unavailable := func(got response) {
		t.Helper()
		if got.status != 503 {
			t.Errorf("100 MiB are answered\n%.1000v", got)
		}
	}
	before := plantLarge()
	for range 3 {
		unavailable(r.post(webhook))
	}
	unavailable(r.exchange(request("GET", "/webhook/cognigy/"+name, "")))
	if took := allocated() - before; took > large/4 {
		t.Errorf("100 MiB take %d MiB", took>>20)
	}

	redistest.Do(t, h.client, "DEL", name)
	for range 3 { // the client-side cache may keep it
		r.post(webhook)
	}
	before = plantLarge()
	h.eventually("it is seen", func() bool { return r.post(webhook).status == 503 })
	for range 5 {
		unavailable(r.post(webhook))
	}
	if took := allocated() - before; took > 2*large {
		t.Errorf("100 MiB in the place of a result take %d MiB", took>>20)
	}
}
