package stage

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// The two tenants of neighbours, and their API keys.
const (
	Quiet    = "quiet"
	Noisy    = "noisy"
	QuietKey = "quiet-key"
	NoisyKey = "noisy-key"
)

// Neighbours are the backends of two tenants that share a gateway: the quiet tenant's backend answers, the noisy one's
// hangs.
type Neighbours struct{ quiet, noisy *http.Server }

// OpenNeighbours starts the backends, on loopback.
func OpenNeighbours() (*Neighbours, error) {
	const takes = 250 * time.Millisecond // so that a hiccup of this machine is not twice as much
	n := new(Neighbours)
	for server, answer := range map[**http.Server]http.HandlerFunc{
		&n.quiet: func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(takes):
				_, _ = fmt.Fprintf(w, `{"booked":%q}`, r.Header.Get("Idempotency-Key"))
			case <-r.Context().Done():
			}
		},
		&n.noisy: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			n.Close()
			return nil, err
		}
		*server = &http.Server{Addr: listener.Addr().String(), Handler: answer, ReadHeaderTimeout: time.Minute}
		go func() { _ = (*server).Serve(listener) }()
	}
	return n, nil
}

// file returns the file of settings of the gateway that they share.
func (n *Neighbours) file() string {
	return fmt.Sprintf(`max_executions: 200
max_waiters: 1000
tenants:
  %s:
    api_keys: [%s]
    upstream: {url: "http://%s/"}
  %s:
    api_keys: [%s]
    upstream: {url: "http://%s/"}
    execution_timeout: 4s
`, Quiet, QuietKey, n.quiet.Addr, Noisy, NoisyKey, n.noisy.Addr)
}

// Close ends the backends.
func (n *Neighbours) Close() {
	for _, server := range []*http.Server{n.quiet, n.noisy} {
		if server != nil {
			_ = server.Close()
		}
	}
}
