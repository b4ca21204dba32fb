package demo

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// takes is how long the backend needs for a booking.
const takes = 2 * time.Second

// backend books, slowly.
type backend struct {
	url    string
	server *http.Server
	booked atomic.Int64
}

func startBackend() (*backend, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the demo's backend: %w", err)
	}
	b := &backend{url: "http://" + listener.Addr().String() + "/bookings"}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: takes}
	go func() { _ = b.server.Serve(listener) }()
	return b, nil
}

// ServeHTTP is part of http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"booking":%d}`, b.booked.Add(1))
}

func (b *backend) close() { _ = b.server.Close() }
