package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy before a Redis, for cutting one client off. It is closed with the test.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	passing *sync.Cond
	closed  bool
	down    bool // connections are refused
	mute    bool // what Redis answers is lost
	frozen  bool // nothing gets through, but nothing is lost
	conns   map[net.Conn]struct{}
}

// NewProxy starts a proxy that passes all on.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxy: %v", err)
	}
	p := &Proxy{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	p.passing = sync.NewCond(&p.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		running.Wait()
	})
	return p
}

// URL is what REDIS_URL would be.
func (p *Proxy) URL() string { return "redis://" + p.listener.Addr().String() }

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.set(func() {
		p.down = true
		for c := range p.conns {
			_ = c.Close()
		}
	})
}

// Mute loses all that Redis answers, from now on.
func (p *Proxy) Mute() { p.set(func() { p.mute = true }) }

// Freeze holds all up in both directions.
func (p *Proxy) Freeze() { p.set(func() { p.frozen = true }) }

// Mend passes all on again. What was held up goes through; a connection that lost answers is closed.
func (p *Proxy) Mend() {
	p.set(func() {
		if p.mute {
			for c := range p.conns {
				_ = c.Close()
			}
		}
		p.down, p.mute, p.frozen = false, false, false
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
	server, err := net.Dial("tcp", p.target)
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
	both.Go(func() { p.copy(server, client, func() bool { return false }) })
	both.Go(func() { p.copy(client, server, func() bool { return p.mute }) })
	both.Wait()
}

// copy passes bytes on until either side ends; lost tells whether they are thrown away.
func (p *Proxy) copy(to, from net.Conn, lost func() bool) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(to, buffer[:n], lost) {
			return
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) pass(to io.Writer, bytes []byte, lost func() bool) bool {
	p.mu.Lock()
	for p.frozen && !p.closed && !p.down {
		p.passing.Wait()
	}
	drop := lost()
	p.mu.Unlock()
	if drop {
		return true
	}
	_, err := to.Write(bytes)
	return err == nil
}
