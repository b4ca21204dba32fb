package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/goccy/go-json"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
)

// Booking is a team's own logic: it must book once, however often its webhook is delivered.
type Booking struct {
	free atomic.Int64 // takes the place of a backend, which would get w.Fingerprint as its idempotency key
}

func (b *Booking) Execute(_ context.Context, w logic.Webhook) (logic.Result, error) {
	var wanted struct {
		Seats int64 `json:"seats"`
	}
	if err := json.Unmarshal(w.Variables, &wanted); err != nil {
		return logic.Result{}, fmt.Errorf("variables: %w", err)
	}
	free := b.free.Add(-wanted.Seats)
	if free < 0 {
		b.free.Add(wanted.Seats)
		return logic.Result{}, errors.New("sold out") // the next delivery tries again
	}
	return logic.JSON(map[string]int64{"booked": wanted.Seats, "free": free})
}

// This program runs its own logic in place of echo and forwarding; everything else follows the settings. A caller that
// sends a webhook twice gets the same booking twice.
func Example() {
	ctx, stop := context.WithCancel(context.Background()) // a real one ends at a signal: signal.NotifyContext
	defer stop()
	booking := &Booking{}
	booking.free.Store(10)

	config := handler.DefaultConfig() // docs/configuration.md lists its settings: config.Redis.URL = "redis://…"
	gateway, err := handler.Open(ctx, config, booking, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- gateway.Serve(ctx, listener) }()

	for range 2 {
		answer, err := http.Post("http://"+listener.Addr().String()+"/webhook/cognigy", "application/json",
			strings.NewReader(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		status, _, _ := strings.Cut(string(body), `,"fingerprint"`)
		fmt.Println(status)
	}
	stop()
	fmt.Println(<-served)
	// Output:
	// {"status":"success","data":{"booked":2,"free":8}
	// {"status":"cached","data":{"booked":2,"free":8}
	// <nil>
}
