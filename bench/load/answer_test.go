package load

import "testing"

func TestParseAnswer(t *testing.T) {
	const whole = "HTTP/1.1 409 Conflict\r\nContent-Type: a\r\nCache: x\r\ncontent-length:  12 \r\nAge: " +
		"3\r\n\r\nhello, world"
	for _, c := range []struct {
		name, got          string
		status, head, body int
		broken             bool
	}{
		{name: "nothing yet"},
		{name: "half a head", got: whole[:40]},
		{name: "a head and half a body", got: whole[:len(whole)-5], status: 409, head: len(whole) - 12, body: 12},
		{name: "a whole one", got: whole, status: 409, head: len(whole) - 12, body: 12},
		{name: "an empty body", got: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, head: 38},
		{name: "no length", got: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", broken: true},
		{name: "a length that is none", got: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", broken: true},
		{name: "a status that is none", got: "HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\n", broken: true},
		{name: "no HTTP", got: "-ERR unknown command\r\n\r\n", broken: true},
		{name: "hardly anything", got: "\r\n\r\n", broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, head, body, err := parseAnswer([]byte(c.got))
			if status != c.status || head != c.head || body != c.body || (err != nil) != c.broken {
				t.Errorf("got status %d, head %d, body %d, error %v", status, head, body, err)
			}
		})
	}
}
