package redistest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Engine stands in front of a real Redis and answers chosen commands in its own words, as proxies and other engines do.
// Every other command is passed on. It is closed with the test.
type Engine struct {
	addr   string
	target string

	mu     sync.Mutex
	rules  []rule
	heard  func(command string)
	conns  map[net.Conn]struct{}
	closed bool
}

type rule struct {
	command string
	says    string
	first   bool // Redis executes the command, and then its reply is replaced
}

// HangUp is the reply of a rule that closes the connection instead.
const HangUp = ""

// NewEngine starts an engine that passes everything on to the Redis at target.
func NewEngine(t testing.TB, target string) *Engine {
	t.Helper()
	e := &Engine{target: target, conns: make(map[net.Conn]struct{})}
	e.addr = listen(t, e.serve, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.closed = true
		for c := range e.conns {
			_ = c.Close()
		}
	})
	return e
}

// Addr returns host:port.
func (e *Engine) Addr() string { return e.addr }

// URL returns a REDIS_URL for the engine.
func (e *Engine) URL() string { return "redis://" + e.Addr() }

// Says answers each command that begins with these words (upper case) with this reply, such as "-ERR unknown" or "+OK";
// Redis does not see the command. A later rule for the same words replaces an earlier one.
func (e *Engine) Says(command, reply string) *Engine {
	return e.rule(rule{command: command, says: reply})
}

// Twists lets Redis execute the command, and replaces its reply by this one.
func (e *Engine) Twists(command, reply string) *Engine {
	return e.rule(rule{command: command, says: reply, first: true})
}

func (e *Engine) rule(r rule) *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules = append([]rule{r}, e.rules...)
	return e
}

// Passes removes all rules.
func (e *Engine) Passes() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules = nil
}

// Hears calls f with the words of each command, in upper case.
func (e *Engine) Hears(f func(command string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = f
}

// find returns the rule for a command, or nil.
func (e *Engine) find(command string) *rule {
	e.mu.Lock()
	heard, rules := e.heard, e.rules
	e.mu.Unlock()
	if heard != nil {
		heard(command)
	}
	for i, r := range rules {
		if command == r.command || strings.HasPrefix(command, r.command+" ") {
			return &rules[i]
		}
	}
	return nil
}

func (e *Engine) hold(conns ...net.Conn) (ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range conns {
		e.conns[c] = struct{}{}
	}
	return !e.closed
}

func (e *Engine) serve(client net.Conn) {
	server, err := net.Dial("tcp", e.target)
	if err != nil {
		_ = client.Close()
		return
	}
	defer func() {
		_, _ = client.Close(), server.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, client)
		delete(e.conns, server)
	}()
	if !e.hold(client, server) {
		return
	}
	// Replies are written in the order of the commands, because each command waits for its reply. Pushes of Redis are
	// passed on at once.
	var writing sync.Mutex
	write := func(bytes []byte) error {
		writing.Lock()
		defer writing.Unlock()
		_, err := client.Write(bytes)
		return err
	}
	replies := make(chan []byte)
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		defer close(replies)
		for from := bufio.NewReader(server); ; {
			var frame bytes.Buffer
			if readFrame(from, &frame) != nil {
				_ = client.Close()
				return
			}
			if frame.Bytes()[0] == '>' {
				_ = write(frame.Bytes())
				continue
			}
			select {
			case replies <- frame.Bytes():
			case <-gone:
				return
			}
		}
	}()
	for from := bufio.NewReader(client); ; {
		var frame bytes.Buffer
		if readFrame(from, &frame) != nil {
			return
		}
		r := e.find(strings.ToUpper(words(frame.Bytes())))
		reply := []byte(nil)
		if r == nil || r.first {
			if _, err := server.Write(frame.Bytes()); err != nil {
				return
			}
			reply = <-replies
		}
		if r != nil {
			if r.says == HangUp {
				return
			}
			reply = []byte(r.says + "\r\n")
		}
		if reply == nil || write(reply) != nil {
			return
		}
	}
}

// readFrame copies one value of RESP, such as a command, with everything that it contains.
func readFrame(from *bufio.Reader, to *bytes.Buffer) error {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return err
	}
	to.Write(line)
	n, _ := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	switch line[0] {
	case '$', '!', '=':
		if n >= 0 {
			_, err = io.CopyN(to, from, int64(n)+2)
		}
		return err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return nil
	}
	for ; n > 0; n-- {
		if err := readFrame(from, to); err != nil {
			return err
		}
	}
	if line[0] == '|' { // attributes come before the value that they describe
		return readFrame(from, to)
	}
	return nil
}

// words returns the first words of a command, at most six.
func words(frame []byte) string {
	lines := bytes.Split(frame, []byte("\r\n"))
	var words []string
	for i := 2; i < len(lines) && len(words) < 6; i += 2 {
		words = append(words, string(lines[i]))
	}
	return strings.Join(words, " ")
}
