package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/fingerprint"
)

// patience is the timeout of the gateways in these tests, in place of 15 s.
const patience = 10 * time.Second

// gateway adds a replica as Open builds it, with the tests' logic. The end of the test closes it.
func (h *testbed) gateway() *replica {
	h.Helper()
	c := handler.DefaultConfig()
	c.Redis.URL, c.Execution.Settle = config.Secret("redis://"+h.addr), 0
	c.Upkeep.MetricsFlush = 50 * time.Millisecond
	c.Redis.Timeout, c.Execution.LockTTL, c.Execution.WaitTimeout = 5*time.Second, 30*time.Second, 30*time.Second
	ctx, stop := context.WithCancel(context.Background())
	g, err := handler.Open(ctx, c, logic.Func(h.execute), slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	s := g.Server()
	s.ReadTimeout, s.WriteTimeout, s.MaxIdleWorkerDuration = patience, patience, 100*time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatalf("a free port: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	h.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			h.Errorf("serve: %v", err)
		}
	})
	return &replica{testbed: h, addr: l.Addr().String(), server: s}
}

// statuses sends text, closes its half of the connection, and returns the statuses of all answers until the connection
// is closed.
func (r *replica) statuses(text string) ([]int, error) {
	c, err := dial(r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, text) // it may be refused in the middle
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}()
	return c.rest()
}

// rest returns the statuses of all answers until the connection is closed.
func (c *connection) rest() (statuses []int, err error) {
	for {
		answer, err := http.ReadResponse(c.read, nil)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return statuses, nil
		}
		if err != nil {
			return statuses, err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return statuses, fmt.Errorf("the body of a %s: %w", answer.Status, err)
		}
		statuses = append(statuses, answer.StatusCode)
	}
}

// slow holds requests that never end: begin is sent at once, then drip again and again.
var slow = []struct {
	what, begin, drip string
	gets              []int
}{
	{"who says nothing", "", "", []int{408}},
	{"a head, line by line", "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\n", "X-A: a\r\n", []int{408}},
	{"a head, byte by byte", "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\nX-A: ", "a", []int{408}},
	{"a body, byte by byte", posted("Content-Length: 100000\r\n", ""), " ", []int{408}},
	{"a body, chunk by chunk", chunked(""), "1\r\n \r\n", []int{408}},
	{"a chunk's extension", chunked("1;"), "a", []int{400}}, // fasthttp hides why it could not be read
	{"trailers", chunked("0\r\n"), "X-A: a\r\n", []int{408}},
	{"a body that he was asked for", posted("Expect: 100-continue\r\nContent-Length: 100\r\n", ""), "", []int{100, 408}},
	{"a second request", next + "GET /heal", "a", []int{200, 408}},
	{"a second request's body", measured(webhook) + posted("Content-Length: 100000\r\n", ""), " ", []int{200, 408}},
}

func (r *replica) drip(begin, drip string) ([]int, error) {
	c, err := dial(r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	go func() {
		_, err := io.WriteString(c, begin)
		for err == nil && drip != "" {
			time.Sleep(20 * time.Millisecond)
			_, err = io.WriteString(c, drip)
		}
	}()
	return c.rest()
}

// deaf sends requests and reads no answer until it is cut off.
func (r *replica) deaf() error {
	c, err := dial(r.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	many := strings.Repeat(next, 1000)
	for err == nil {
		_, err = io.WriteString(c, many)
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("it was not cut off: %w", err)
	}
	return nil
}

// hangUp sends a part of a request and cuts the connection.
func (r *replica) hangUp(part string) error {
	c, err := dial(r.addr)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(c, part) // it may be refused in the middle
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	return c.Close()
}

// neighbour sends valid webhooks, each twice, on one kept connection until stop is closed. It returns the number of
// webhooks and the longest wait for an answer.
func (r *replica) neighbour(name string, stop <-chan struct{}) (webhooks int64, longest time.Duration, err error) {
	c, err := dial(r.addr)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	for ; ; webhooks++ {
		select {
		case <-stop:
			return webhooks, longest, nil
		default:
		}
		body := fmt.Sprintf(`{"dialogId":"%s","nodeId":"n","sequence":%d}`, name, webhooks)
		for _, becomes := range []string{"executed", "replayed"} {
			start := time.Now()
			answer := c.exchange(request("POST", "/webhook/cognigy", body))
			longest = max(longest, time.Since(start))
			if answer.status != 200 || answer.header("Idempotency-Status") != becomes {
				return webhooks, longest, fmt.Errorf("%s is to be %s, but got\n%v", body, becomes, answer)
			}
		}
	}
}

// neighbours runs four of them at each replica while f runs. Every webhook of theirs must be answered.
func (h *testbed) neighbours(name string, replicas []*replica, f func()) (webhooks int64, longest time.Duration) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range 4 * len(replicas) {
		all.Go(func() {
			n, waited, err := replicas[i%len(replicas)].neighbour(fmt.Sprint(name, i), stop)
			if err != nil {
				h.Errorf("a neighbour: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			webhooks, longest = webhooks+n, max(longest, waited)
		})
	}
	f()
	close(stop)
	all.Wait()
	return webhooks, longest
}

// count returns the numbers of goroutines and descriptors of this process.
func (h *testbed) count() (goroutines, descriptors int) {
	h.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		h.Fatal(err)
	}
	return runtime.NumGoroutine(), len(open)
}

func TestHostileInputHarmsNobody(t *testing.T) {
	h := onReal(t)
	replicas := []*replica{h.gateway(), h.gateway(), h.gateway()}
	calm, usual := h.neighbours("calm-", replicas, func() { time.Sleep(time.Second) })
	var goroutines, descriptors int
	h.eventually("it is quiet", func() bool {
		before, _ := h.count()
		time.Sleep(500 * time.Millisecond) // longer than workers are kept
		goroutines, descriptors = h.count()
		return goroutines == before
	})

	all := strangers()
	hostile, longest := h.neighbours("hostile-", replicas, func() { play(t, replicas, all) })
	t.Logf("%d strangers and %d slow ones at each of %d replicas; a neighbour's slowest answer took %v (%d webhooks), "+
		"without them %v (%d)",
		2*len(all), len(slow)+1, len(replicas), longest, hostile, usual, calm)
	if longest > patience/2 { // no neighbour waits for a slow sender
		t.Errorf("a neighbour waited for %v", longest)
	}

	h.eventually("goroutines and descriptors are as many as before", func() bool {
		now, open := h.count()
		return now <= goroutines && open <= descriptors
	})
	for _, r := range replicas {
		if got := r.post(webhook); got.header("Idempotency-Status") != "replayed" {
			t.Errorf("the webhook that came in so many ways got\n%v", got)
		}
	}
	executed := calm + hostile + 1
	h.expectExecutions(executed)
	h.expectCounts(map[string]int64{"executed": executed, "stored": executed, "unavailable": 0})
}

// play sends everything that strangers send to each replica, one after the other, without waiting for answers. Each
// stranger also hangs up in the middle. The slow ones take as long as they can.
func play(t *testing.T, replicas []*replica, all []stranger) {
	var sending sync.WaitGroup
	come := func(what string, gets []int, f func() ([]int, error)) {
		sending.Go(func() {
			if got, err := f(); err != nil || !slices.Equal(got, gets) {
				t.Errorf("%s: answers %v (%v), want %v", what, got, err, gets)
			}
		})
	}
	for _, r := range replicas {
		for _, s := range slow {
			come("slow: "+s.what, s.gets, func() ([]int, error) { return r.drip(s.begin, s.drip) })
		}
		come("deaf", nil, func() ([]int, error) { return nil, r.deaf() })
		sending.Go(func() {
			for _, s := range all {
				come(s.what, s.gets, func() ([]int, error) { return r.statuses(s.sends) })
				come("cut: "+s.what, nil, func() ([]int, error) { return nil, r.hangUp(s.sends[:len(s.sends)/2]) })
				time.Sleep(10 * time.Millisecond) // so that they take about as long as the slow ones
			}
		})
	}
	sending.Wait()
}

func TestEveryTextOfAWebhookHasItsFingerprintOnEveryReplica(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	replicas := []*replica{h.gateway(), h.gateway(), h.gateway()}
	for what, text := range texts {
		for i, r := range replicas {
			if got := r.exchange(text); got.status != 200 || got.header("Idempotency-Fingerprint") != name {
				t.Errorf("%s, on replica %d\n%v", what, i, got)
			}
		}
	}
	h.expectExecutions(1)
}

// spelling is a JSON text and its meaning; the meaning is "" if the text must be refused.
type spelling struct{ text, means string }

var (
	ids = []spelling{
		{`"d"`, "d"}, {`"\u0064"`, "d"}, {`"e"`, "e"}, {`"D"`, "D"}, {`"d\\"`, `d\`}, {`"\u0064\u005C"`, `d\`},
		{`"d:7"`, "d:7"}, {`"d\u003a7"`, "d:7"},
		{`"😀"`, "😀"}, {`"\ud83d\uDE00"`, "😀"}, {`"\ufffd"`, "\ufffd"}, {"\"\ufffd\"", "\ufffd"}, {`"é"`, "é"},
		{`"e\u0301"`, "e\u0301"}, {`"\u0000"`, "\x00"},
		{`"\ud83d"`, ""}, {`"\ude00\ud83d"`, ""}, {"\"\xff\"", ""}, {`"\x64"`, ""}, {`7`, ""}, {`""`, ""}, {`null`, ""},
	}
	numbers = []spelling{
		{`7`, "7"}, {`7.0`, "7"}, {`70e-1`, "7"}, {`"7"`, "7"}, {`"\u0037"`, "7"}, {`-0`, "0"}, {`0e9`, "0"}, {`"0"`, "0"},
		{`9007199254740992`, "9007199254740992"}, {`9007199254740993`, "9007199254740993"},
		{`9007199254740993e0`, "9007199254740993"},
		{`"07"`, ""}, {`"-0"`, ""}, {`07`, ""}, {`7.5`, ""}, {`1e400`, ""}, {`9223372036854775808`, ""}, {`true`, ""},
	}
	others = []spelling{
		{`"DialogId":"x"`, "more"}, {`"a":1e999`, "more"}, {`"a":"\ud83d"`, "more"},
		{`"variables":{"dialogId":"x","sequence":9}`, "more"}, {`"a":[{"nodeId":"x"}]`, "more"},
		{`"dialogId":"d"`, ""}, {`"\u006eodeId":"d"`, ""}, {`"variables":[]`, ""}, {"\"\xff\":1", ""}, {`"a":+1`, ""},
		{`"a":1,`, ""},
	}
)

// TestReplicasReadEveryBodyAlike spells bodies at random and sends each to all replicas. All of them must give it the
// fingerprint of its meaning, or refuse it in the same words, whatever each of them has read before.
func TestReplicasReadEveryBodyAlike(t *testing.T) {
	t.Parallel()
	h := onReal(t)
	var connections []*connection
	for range 3 {
		c, err := dial(h.gateway().addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		connections = append(connections, c)
	}
	random := rand.New(rand.NewPCG(13, 0))
	pick := func(of []spelling) spelling { return of[random.IntN(len(of))] }
	accepted := 0
	for range 3000 {
		dialog, node, number, other := pick(ids), pick(ids), pick(numbers), pick(others)
		members := []string{`"dialogId" : ` + dialog.text, `"node\u0049d":` + node.text, `"sequence":` + number.text,
			other.text}
		random.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		body := "{" + strings.Join(members, ",") + strings.Repeat(" ", random.IntN(3)) + "}"
		want := ""
		if dialog.means != "" && node.means != "" && number.means != "" && other.means != "" {
			sequence, _ := strconv.ParseInt(number.means, 10, 64)
			want = fingerprint.Of([]byte(dialog.means), []byte(node.means), sequence).String()
			accepted++
		}
		refusal := ""
		for n, i := range random.Perm(len(connections)) {
			got := connections[i].exchange(request("POST", "/webhook/cognigy", body))
			if named := got.header("Idempotency-Fingerprint"); named != want || (want == "") != (got.status == 400) {
				t.Fatalf("%q is to be %q, but is\n%v", body, want, got)
			}
			if want == "" && n > 0 && got.body != refusal {
				t.Fatalf("%q is refused in other words than %s:\n%v", body, refusal, got)
			}
			refusal = got.body
		}
	}
	if accepted < 300 {
		t.Errorf("only %d were accepted", accepted)
	}
}
