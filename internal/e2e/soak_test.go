package e2e_test

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/redistest"
)

// soakTime is how long the soak takes in ./test.sh; SOAK=2m (make soak) sets another length. Memory must be flat only
// in a soak of enoughToJudge or longer: in a shorter one caches and pools are still filling.
const (
	soakTime      = 4 * time.Second
	enoughToJudge = time.Minute
)

// TestMemoryAndGoroutinesStayFlat shows hours of a replica's life in minutes. Results live for seconds, so that
// everything that is made for a webhook is made and dropped hundreds of thousands of times.
func TestMemoryAndGoroutinesStayFlat(t *testing.T) {
	t.Parallel()
	lasts := soakTime
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	built := plain(t)
	redis := redistest.Start(t).URL()
	env := []string{
		"REDIS_URL=" + redis, "SETTLE=0", "REDIS_TIMEOUT=1500ms", "LOCK_TTL=5s", "RESULT_TTL=10s", "JOURNAL_AGE=5s",
		"SWEEP_INTERVAL=5s",
		"GODEBUG=schedtrace=500,scheddetail=1", "GOMEMLIMIT=" + os.Getenv("GOMEMLIMIT"), "GOGC=" + os.Getenv("GOGC"),
	}
	replicas := []*soaked{{replica: startBuilt(t, built, env...)}, {replica: startBuilt(t, built, env...)}}
	eventually(t, "their goroutines are counted", func() bool {
		return replicas[0].goroutines() > 0 &&
			replicas[1].goroutines() > 0
	})
	var before [2]sample
	for i, r := range replicas {
		before[i] = r.sample()
	}

	stop := make(chan struct{})
	var all sync.WaitGroup
	var sent atomic.Int64
	const crowd = 64
	for n := range crowd {
		all.Go(func() { customer(t, n, replicas, &sent, stop) })
	}
	var taken [2][]sample
	for begin := time.Now(); time.Since(begin) < lasts; {
		time.Sleep(max(500*time.Millisecond, lasts/60))
		for i, r := range replicas {
			taken[i] = append(taken[i], r.sample())
		}
		if n := len(taken[0]); n%6 == 0 {
			t.Logf("%4.0f s, %8d requests: %v, %v", time.Since(begin).Seconds(), sent.Load(), taken[0][n-1], taken[1][n-1])
		}
	}
	close(stop)
	all.Wait()
	for i, samples := range taken {
		third := len(samples) / 3
		if lasts < enoughToJudge || third == 0 {
			continue
		}
		middle, last := medians(samples[third:2*third]), medians(samples[2*third:])
		t.Logf("replica %d: at first %v; medians of the second third %v, of the last %v", i, before[i], middle, last)
		if float64(last.memory) > 1.1*float64(middle.memory)+4 ||
			float64(last.goroutines) > 1.1*float64(middle.goroutines)+10 {
			t.Errorf("replica %d grows", i)
		}
	}
	eventuallyIn(t, time.Minute, "goroutines and descriptors are as many as before", func() bool {
		for i, r := range replicas {
			// A replica keeps resources that it opens once, such as further connections to Redis.
			if now := r.sample(); now.goroutines > before[i].goroutines+5 || now.descriptors > before[i].descriptors+5 {
				return false
			}
		}
		return true
	})
	t.Logf("%d requests; when all is quiet again %v, %v", sent.Load(), replicas[0].sample(), replicas[1].sample())
}

// customer sends webhooks until stop is closed, each once to one replica and once to the other, which replays it. Some
// of them are large, some are cut short, some are sent at once, and now and then one uses a new connection.
func customer(t *testing.T, n int, replicas []*soaked, sent *atomic.Int64, stop <-chan struct{}) {
	large := strings.Repeat("x", 200<<10)
	var clients []*fasthttp.HostClient
	for _, r := range replicas {
		clients = append(clients, &fasthttp.HostClient{Addr: r.address(), MaxConnDuration: 5 * time.Second})
	}
	defer func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}()
	request, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		fill := ""
		if i%100 == 0 {
			fill = large
		}
		for turn := range replicas {
			request.Reset()
			request.Header.SetMethod(fasthttp.MethodPost)
			request.SetRequestURI("http://" + clients[0].Addr + "/webhook/cognigy")
			request.SetBodyString(fmt.Sprintf(`{"dialogId":"d-%d","nodeId":"n","sequence":%d,"variables":{"fill":"%s"}}`, n, i,
				fill))
			if err := clients[(i+turn)%2].Do(request, answer); err != nil || answer.StatusCode() != 200 {
				t.Errorf("webhook %d.%d: %v %.200s", n, i, err, answer)
				return
			}
			sent.Add(1)
		}
		if i%50 == 0 {
			if c, err := net.Dial("tcp", clients[0].Addr); err == nil {
				_, _ = io.WriteString(c, "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{")
				_ = c.Close()
			}
		}
	}
}

// soaked is a replica whose process is measured.
type soaked struct{ *replica }

// sample has the resources of a process at one moment.
type sample struct {
	memory      int // resident, MiB
	goroutines  int
	descriptors int
}

func (s sample) String() string {
	return fmt.Sprintf("%d MiB, %d goroutines, %d descriptors", s.memory, s.goroutines, s.descriptors)
}

func medians(of []sample) sample {
	median := func(field func(sample) int) int {
		slices.SortFunc(of, func(a, b sample) int { return cmp.Compare(field(a), field(b)) })
		return field(of[len(of)/2])
	}
	return sample{
		median(func(s sample) int { return s.memory }),
		median(func(s sample) int { return s.goroutines }),
		median(func(s sample) int { return s.descriptors }),
	}
}

func (r *soaked) sample() sample {
	r.t.Helper()
	memory, err := r.process.Memory()
	open, openErr := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.process.Pid()))
	if err != nil || openErr != nil {
		r.t.Fatalf("what it takes: %v, %v", err, openErr)
	}
	return sample{int(memory >> 20), r.goroutines(), len(open)}
}

// living matches a goroutine in the runtime's own report (GODEBUG=schedtrace), except those that have ended and wait to
// be reused.
var living = regexp.MustCompile(`(?m)^  G\d+: status=[^6]`)

// goroutines counts them in the last complete report; it returns 0 if there is none yet.
func (r *soaked) goroutines() int {
	reports := strings.Split(r.logs(), "\nSCHED ")
	if len(reports) < 3 {
		return 0
	}
	return len(living.FindAllString(reports[len(reports)-2], -1))
}

func (r *soaked) address() string { return strings.TrimPrefix(r.url, "http://") }
