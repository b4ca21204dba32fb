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
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/redis"
)

// Booking is a team's own logic: it must book once, however often its webhook comes.
type Booking struct {
	free atomic.Int64 // stands for a backend; a real one is given w.Fingerprint as its idempotency key
}

func (b *Booking) Execute(_ context.Context, w handler.Webhook) (handler.Result, error) {
	var wanted struct {
		Seats int64 `json:"seats"`
	}
	if err := json.Unmarshal(w.Variables, &wanted); err != nil {
		return handler.Result{}, fmt.Errorf("variables: %w", err)
	}
	free := b.free.Add(-wanted.Seats)
	if free < 0 {
		b.free.Add(wanted.Seats)
		return handler.Result{}, errors.New("sold out") // the next delivery tries again
	}
	return handler.JSON(map[string]int64{"booked": wanted.Seats, "free": free})
}

// The logic takes the place of handler.Echo in main.go. Whoever sends a webhook twice gets the same booking twice.
func Example() {
	booking := &Booking{}
	booking.free.Store(10)
	send, stop := serving(booking)
	defer stop()

	fmt.Println(send(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}`))
	fmt.Println(send(`{"dialogId":"d-0001","nodeId":"n-0001","sequence":7,"variables":{"seats":2}}`))
	// Output:
	// {"status":"success","data":{"booked":2,"free":8},"fingerprint":"cognigy:fp:9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5"}
	// {"status":"cached","data":{"booked":2,"free":8},"fingerprint":"cognigy:fp:9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5"}
}

// serving does what main.go does, in short: a gate on the embedded store, and HTTP before it.
func serving(logic handler.Logic) (send func(body string) string, stop func()) {
	log := slog.New(slog.DiscardHandler)
	o := options()
	o.Log = log
	g := gate.New(o)
	ctx := context.Background()
	store, err := redis.Open(ctx, config.Redis{Timeout: o.RedisTimeout}, g.Invalidated, log)
	if err != nil {
		panic(err)
	}
	if err := g.Start(ctx, store.Client, store.Tracking); err != nil {
		panic(err)
	}
	server := handler.NewServer(handler.New(g, logic, http.StatusConflict, log), 1<<20, log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = server.Serve(listener) }()

	send = func(body string) string {
		answer, err := http.Post("http://"+listener.Addr().String()+"/webhook/cognigy", "application/json", strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	stop = func() {
		_ = server.Shutdown()
		_ = g.Close(ctx)
		store.Close()
	}
	return send, stop
}
