package handler_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestARequestWhoseEndIsNotCertainIsRefusedWithItsConnection: a second request hides in the body of each.
func TestARequestWhoseEndIsNotCertainIsRefusedWithItsConnection(t *testing.T) {
	const hidden = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
	for what, header := range map[string]string{
		"an identity encoding":      "Transfer-Encoding: identity\r\n",
		"an unknown encoding":       "Transfer-Encoding: gzip\r\n",
		"a folded header":           "X-A: a\r\n b\r\nContent-Length: 2\r\n",
		"a header folded by a tab":  "X-A: a\r\n\tb\r\nContent-Length: 2\r\n",
		"a folded content length":   "Content-Length:\r\n 2\r\n",
		"an encoding over a length": "Content-Length: 2\r\nTransfer-Encoding: identity\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			h := onReal(t)
			conn, err := net.Dial("tcp", h.open(options()).addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := fmt.Fprintf(conn, "POST /webhook/cognigy HTTP/1.1\r\nHost: h\r\n%s\r\n{}%s", header, hidden); err != nil {
				t.Fatal(err)
			}
			all := bufio.NewReader(conn)
			answer, err := http.ReadResponse(all, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != http.StatusBadRequest || !strings.HasPrefix(string(body), `{"detail":`) {
				t.Errorf("answer %d %s", answer.StatusCode, body)
			}
			if rest, _ := io.ReadAll(all); len(rest) > 0 {
				t.Errorf("what hides in it was answered: %.80q", rest)
			}
		})
	}
}
