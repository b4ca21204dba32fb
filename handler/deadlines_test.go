package handler

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// caller is the other end of a connection as the server sees it. Time passes only while all wait.
type caller struct {
	*testing.T
	net.Conn           // the caller's end
	served    net.Conn // the server's end
	connected time.Time
}

// withCaller runs a test with a caller that has just connected.
func withCaller(t *testing.T, test func(c *caller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		defer theirs.Close()
		l := &timedListener{&handsOut{conn: ours}, NewServer(&Handler{}, nil)}
		served, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		test(&caller{t, theirs, served, time.Now()})
	})
}

// handsOut is a listener that accepts one connection.
type handsOut struct {
	net.Listener
	conn net.Conn
}

func (h *handsOut) Accept() (net.Conn, error) { return h.conn, nil }

// sends lets a part of a request come, and the server read it.
func (c *caller) sends(part string) {
	c.Helper()
	go func() { _, _ = c.Write([]byte(part)) }()
	read := make([]byte, len(part))
	if n, err := c.served.Read(read); err != nil || string(read[:n]) != part {
		c.Fatalf("the server read %q, %v, want %q", read[:n], err, part)
	}
	turned(c.served, fasthttp.StateActive)
}

// isTold lets the server write, and the caller read it.
func (c *caller) isTold(text string) {
	c.Helper()
	go func() { _, _ = c.Read(make([]byte, len(text))) }()
	if _, err := c.served.Write([]byte(text)); err != nil {
		c.Fatalf("writing %q: %v", text, err)
	}
	synctest.Wait()
}

// isAnswered is told something that ends a request.
func (c *caller) isAnswered(answer string) {
	c.Helper()
	c.isTold(answer)
	turned(c.served, fasthttp.StateIdle)
}

// expectTimeout waits in a call until it times out, which must be within these bounds.
func (c *caller) expectTimeout(call func([]byte) (int, error), least, most time.Duration) {
	c.Helper()
	began := time.Now()
	_, err := call(make([]byte, 1))
	if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took < least || took > most {
		c.Errorf("after %v: %v, want a timeout after %v to %v", took, err, least, most)
	}
}

func TestWhoConnectsAndSendsNothingIsBounded(t *testing.T) {
	withCaller(t, func(c *caller) { c.expectTimeout(c.served.Read, readTimeout, readTimeout) })
}

func TestAFirstRequestIsBoundedFromTheConnectionOn(t *testing.T) {
	withCaller(t, func(c *caller) {
		time.Sleep(4 * time.Second) // as for a handshake
		for range 10 {
			c.sends("x")
			time.Sleep(time.Second)
		}
		c.expectTimeout(c.served.Read, readTimeout-14*time.Second, readTimeout-14*time.Second)
	})
}

func TestALaterRequestIsBoundedHoweverItDrips(t *testing.T) {
	withCaller(t, func(c *caller) {
		c.sends("request")
		c.isAnswered("answer")
		time.Sleep(time.Minute)
		c.sends("re")
		for range 10 {
			c.sends("q")
			time.Sleep(time.Second)
		}
		c.expectTimeout(c.served.Read, readTimeout-10*time.Second, readTimeout-10*time.Second)
	})
}

func TestAConnectionMayBeIdle(t *testing.T) {
	withCaller(t, func(c *caller) {
		c.sends("request")
		c.isAnswered("answer")
		c.expectTimeout(c.served.Read, idleTimeout, idleTimeout)
	})
}

func TestAConnectionThatIsUsedIsKept(t *testing.T) {
	withCaller(t, func(c *caller) {
		for range 200 {
			c.sends("request")
			c.isAnswered("answer")
			time.Sleep(10 * time.Second)
		}
		c.sends("request")
		c.isAnswered("answer")
		c.expectTimeout(c.served.Read, idleTimeout-idleTimeout/early, idleTimeout)
	})
}

func TestABodyThatWasAskedForIsPartOfItsRequest(t *testing.T) {
	withCaller(t, func(c *caller) {
		c.sends("request")
		c.isAnswered("answer")
		c.sends("head")
		c.isTold("go on")
		c.expectTimeout(c.served.Read, readTimeout, readTimeout)
	})
}

func TestABodyThatNobodyWantsIsPartOfItsRequest(t *testing.T) {
	withCaller(t, func(c *caller) {
		for range 2 {
			c.sends("head")
			c.isTold("answer")
		}
		c.expectTimeout(c.served.Read, readTimeout, readTimeout)
	})
}

func TestTheRestOfAPipelinedRequestIsPartOfIt(t *testing.T) {
	withCaller(t, func(c *caller) {
		c.sends("request and the next one's he")
		c.isAnswered("answer")
		turned(c.served, fasthttp.StateActive)
		c.expectTimeout(c.served.Read, readTimeout, readTimeout)
	})
}

func TestALaterRequestIsDrainedAsQuicklyAsAFirstOne(t *testing.T) {
	withCaller(t, func(c *caller) {
		for range 2 {
			c.sends("request")
			c.isAnswered("answer")
		}
		c.sends("head")
		began := time.Now()
		drain(c.served)
		if took := time.Since(began); took != drainPause {
			t.Errorf("it took %v, want %v", took, drainPause)
		}
	})
}

func TestAnAnswerThatNobodyReadsIsBounded(t *testing.T) {
	withCaller(t, func(c *caller) {
		for range 20 { // the deadline of an earlier answer leaves enough
			c.sends("request")
			c.isAnswered("answer")
			time.Sleep(time.Second)
		}
		c.sends("request")
		c.expectTimeout(c.served.Write, writeTimeout-writeTimeout/early, writeTimeout)
	})
}

func TestAHandshakeThatDoesNotEndIsBounded(t *testing.T) {
	withCaller(t, func(c *caller) {
		l := &timedListener{&handsOut{conn: tls.Server(c.served, &tls.Config{})}, NewServer(&Handler{}, nil)}
		served, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		secured, ok := served.(interface{ Handshake() error })
		if !ok {
			t.Fatalf("%T: fasthttp would not shake hands", served)
		}
		began := time.Now()
		if err := secured.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != readTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
