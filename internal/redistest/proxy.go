package redistest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy before a Redis that can cut off one client. It is closed with the test.
type Proxy struct {
	addr string

	mu      sync.Mutex
	target  string
	passing *sync.Cond
	closed  bool
	down    bool // connections are refused
	mute    bool // replies of Redis are dropped
	stalled bool // commands to Redis are held back
	held    bool // replies of Redis are held back
	snaps   bool // a connection is closed instead of passing a reply on
	slow    time.Duration
	conns   map[net.Conn]struct{}
}

// NewProxy starts a proxy that passes everything on.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{target: target, conns: make(map[net.Conn]struct{})}
	p.passing = sync.NewCond(&p.mu)
	p.addr = listen(t, p.serve, func() {
		p.set(func() { p.closed = true })
		p.Cut()
	})
	return p
}

// URL returns a REDIS_URL for the proxy.
func (p *Proxy) URL() string { return "redis://" + p.addr }

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.set(func() {
		p.down = true
		for c := range p.conns {
			_ = c.Close()
		}
	})
}

// Turn sends new connections to another Redis.
func (p *Proxy) Turn(target string) { p.set(func() { p.target = target }) }

// Mute drops all replies of Redis from now on.
func (p *Proxy) Mute() { p.set(func() { p.mute = true }) }

// Stall holds back all commands to Redis until Mend; then they arrive, however late.
func (p *Proxy) Stall() { p.set(func() { p.stalled = true }) }

// Hold holds back all replies of Redis until Mend.
func (p *Proxy) Hold() { p.set(func() { p.held = true }) }

// Snap closes each connection at the moment when Redis replies: the command was executed, but nobody is told.
func (p *Proxy) Snap() { p.set(func() { p.snaps = true }) }

// Slow delays everything that passes, in either direction, by d.
func (p *Proxy) Slow(d time.Duration) { p.set(func() { p.slow = d }) }

// Mend passes everything on again. Bytes that were held back go through; connections that lost replies are closed.
func (p *Proxy) Mend() {
	p.set(func() {
		if p.mute {
			for c := range p.conns {
				_ = c.Close()
			}
		}
		p.down, p.mute, p.stalled, p.held, p.snaps, p.slow = false, false, false, false, false, 0
	})
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.passing.Broadcast()
}

func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.mu.Lock()
	if p.down || p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })

	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, p.ask) })
	both.Go(func() { p.copy(client, server, p.answer) })
	both.Wait()
}

// copy passes bytes on until either side ends.
func (p *Proxy) copy(to, from net.Conn, pass func(to io.Writer, bytes []byte) error) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && pass(to, buffer[:n]) != nil || err != nil {
			return
		}
	}
}

func (p *Proxy) ask(to io.Writer, bytes []byte) error {
	p.mu.Lock()
	for p.stalled && !p.closed && !p.down {
		p.passing.Wait()
	}
	p.mu.Unlock()
	return p.write(to, bytes)
}

var errSnapped = errors.New("snapped")

func (p *Proxy) answer(to io.Writer, bytes []byte) error {
	p.mu.Lock()
	for p.held && !p.closed && !p.down {
		p.passing.Wait()
	}
	lost, snaps := p.mute, p.snaps
	p.mu.Unlock()
	if snaps {
		return errSnapped
	}
	if lost {
		return nil
	}
	return p.write(to, bytes)
}

func (p *Proxy) write(to io.Writer, bytes []byte) error {
	p.mu.Lock()
	slow := p.slow
	p.mu.Unlock()
	time.Sleep(slow)
	_, err := to.Write(bytes)
	return err
}
