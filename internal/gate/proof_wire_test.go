package gate

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/rueidis"

	"github.com/oncegate/oncegate/internal/redis"
)

// call is a message of a replica: a call of the script as its number of keys, KEYS and ARGV, or a GET and its key.
type call string

const get = "GET"

func newCall(words ...string) call { return call(strings.Join(words, "\x00")) }

func (c call) split() (keys, args []string) {
	words := strings.Split(string(c), "\x00")
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return words[1:], nil
	}
	return words[1 : 1+n], words[1+n:]
}

func (c call) keys() []string { keys, _ := c.split(); return keys }
func (c call) args() []string { _, args := c.split(); return args }

// operations returns the arguments after the ones that every call begins with, if the call carries no counters.
func (c call) operations() []string {
	args := c.args()
	if args == nil {
		return nil
	}
	classes, _ := strconv.Atoi(args[4])
	return args[5+2*classes:]
}

// operations are the names of operations by their letters.
var operations = map[byte]string{
	'c': "claim", 'l': "look", 'r': "renew", 's': "store", 'p': "restore", 'f': "fail", 'x': "forget",
}

// operation is the name of the only one, as a trace tells it.
func (c call) operation() string {
	asked := c.operations()
	switch {
	case c.args() == nil:
		return "look into the cache"
	case len(asked) == 0:
		return "heartbeat"
	}
	return operations[asked[0][0]]
}

// wire is the connection of a real gate to a Redis that answers what the proof wants.
//
// A step of a flight or of the keeper that makes a call is run twice. The first run shows the call, and where the step
// waits for it. The second run begins in the same state when the reply has come, with the losses that were suspected in
// between. The loops in which it would try again make one try each, because nobody has patience (claims), or because
// the gate's life is over (ends): the proof decides what happens between tries.
type wire struct {
	gate   *Gate
	alive  context.Context
	over   context.Context // a life that has ended
	answer exchange
	sent   call // the first call that has no reply
}

// exchange is a call that Redis has answered.
type exchange struct {
	call    call
	reply   string
	between func() // called before the reply comes
}

func newWire(t testing.TB, of scope) *wire {
	t.Helper()
	w := &wire{gate: New(Options{
		Rules: Rules{
			MaxAttempts: of.maxAttempts, StopInDoubt: of.stop, DoubtTTL: proofTTL, ResultTTL: proofTTL,
			RejectedTTL: proofTTL, MaxResultBytes: 1 << 20,
		},
		LockTTL: proofLease, Settle: proofSettle, MetricsFlush: time.Hour,
		RedisTimeout: time.Minute, JournalBytes: 1 << 20, JournalAge: time.Hour,
		Log: slog.New(slog.DiscardHandler),
	})}
	s := server.NewServerConn()
	for _, command := range []string{"EVALSHA", get} {
		if err := s.Register(command, w.serve); err != nil {
			t.Fatal(err)
		}
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"proof"}, ForceSingleClient: true, AlwaysRESP2: true, DisableCache: true, DisableRetry: true,
		AlwaysPipelining: true,
		DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
			ours, theirs := net.Pipe()
			s.ServeConn(theirs)
			return ours, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); s.Close() })
	w.gate.client, w.gate.keys, w.gate.process, w.gate.tracking = client, redis.NewKeys("cognigy"), "proof", true
	w.gate.drive = func(*flight) { w.gate.running.Done() } // the proof drives the flights
	w.alive = w.gate.life
	var end context.CancelFunc
	w.over, end = context.WithCancel(context.Background())
	end()
	return w
}

func (w *wire) serve(c *server.Peer, command string, args []string) {
	asked := newCall(append([]string{command}, args...)...)
	if command == "EVALSHA" {
		asked = newCall(args[1:]...)
	}
	if w.answer.call != asked {
		if w.sent == "" {
			w.sent = asked
		}
		c.WriteError("ERR it is on its way")
		return
	}
	answer := w.answer
	w.answer = exchange{}
	answer.between()
	c.WriteRaw(answer.reply)
}

// sends runs a function and returns its first call that had no reply.
func (w *wire) sends(run func()) call {
	w.sent = ""
	run()
	w.answer = exchange{}
	return w.sent
}

// shortLease is one that is over when a reply comes that takes its time.
const shortLease = time.Millisecond

// overByOwnClock makes the reply that is about to come take longer than the lease that it brings.
func (w *wire) overByOwnClock(b *bucket) {
	words := strings.Split(string(w.answer.call), "\x00")
	words[len(words)-len(w.answer.call.args())+2] = "1" // LOCK_TTL
	w.answer.call = newCall(words...)
	b.link.LockTTL = shortLease
	between := w.answer.between
	w.answer.between = func() {
		between()
		time.Sleep(3 * shortLease)
	}
}
