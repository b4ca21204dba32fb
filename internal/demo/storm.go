package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// The storms: a flow that repeats one webhook so often, spread over a while.
const (
	firstStorm  = 1 * time.Second // after the start
	stormEvery  = 10 * time.Second
	stormLasts  = 3 * time.Second
	stormSize   = 500
	calmEvery   = 2 * time.Second // a webhook that comes once to three times
	mostAtOnce  = 600
	answeredFor = 10 * time.Second
)

// callers are flows that send webhooks.
type callers struct {
	url    string
	client http.Client
	places chan struct{}
	under  sync.WaitGroup
}

// storm sends webhooks until ctx ends, and returns when all are answered.
func storm(ctx context.Context, url string) {
	c := &callers{url: url, places: make(chan struct{}, mostAtOnce), client: http.Client{
		Timeout: answeredFor, Transport: &http.Transport{MaxIdleConnsPerHost: mostAtOnce, IdleConnTimeout: time.Minute},
	}}
	defer c.client.CloseIdleConnections()
	defer c.under.Wait()
	calm := time.NewTicker(calmEvery)
	defer calm.Stop()
	next := time.NewTimer(firstStorm)
	defer next.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-calm.C:
			for range 1 + rand.IntN(3) { //nolint:gosec // how often a flow repeats itself need not be a secret
				c.send(ctx, "calm", n, rand.N(2*time.Second)) //nolint:gosec // nor when
			}
		case <-next.C:
			next.Reset(stormEvery)
			for range stormSize {
				c.send(ctx, "storm", n, rand.N(stormLasts)) //nolint:gosec // nor when
			}
		}
	}
}

// send sends a webhook after a while, unless too many are under way.
func (c *callers) send(ctx context.Context, node string, sequence int, after time.Duration) {
	body := fmt.Appendf(nil, `{"dialogId":"demo","nodeId":%q,"sequence":%d,"variables":{"seats":2}}`, node, sequence)
	c.under.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case c.places <- struct{}{}:
			defer func() { <-c.places }()
		default:
			return
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		if reply, err := c.client.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, reply.Body)
			_ = reply.Body.Close()
		}
	})
}
