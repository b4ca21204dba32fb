package handler_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/record"
)

func TestWhatAProxyMayReadOtherwiseIsRefusedOnAClosedConnection(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for what, sends := range illFramed {
			if got, err := r.statuses(sends + next); err != nil || !slices.Equal(got, []int{400}) {
				t.Errorf("%s: answers %v, error %v", what, got, err)
			}
		}
		for what, sends := range map[string]string{
			"trailers that are announced": "GET /healthz HTTP/1.1\r\nHost: h\r\nTrailer: X-A\r\n\r\n",
			"an encoding of no body":      "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
			"trailers that are not":       chunked(chunk + "0\r\nX-A: a\r\n\r\n"),
		} {
			if got, err := r.statuses(sends + next); err != nil || !slices.Equal(got, []int{400}) {
				t.Errorf("%s: answers %v, error %v", what, got, err)
			}
		}
		// Chunks are read, but bytes behind them are not.
		if got, err := r.statuses(chunked(chunk+last) + next); err != nil || !slices.Equal(got, []int{200}) {
			t.Errorf("chunks: answers %v, error %v", got, err)
		}
		h.expectExecutions(1)
	})
}

func TestOnlyTheCanonicalPathIsServed(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		for _, path := range otherPaths {
			sends := strings.Replace(measured(webhook), "/webhook/cognigy", path, 1) + next
			if got, err := r.statuses(sends); err != nil || !slices.Equal(got, []int{404, 200}) {
				t.Errorf("%s: answers %v, error %v", path, got, err)
			}
		}
		h.expectExecutions(0)
	})
}

func TestTheNameOfBasicIsNoKey(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.openWith(options(), handler.Options{APIKeys: []string{"the-key"}}, func(*handler.Server) {})
		for pair, status := range map[string]int{"the-key:other": 401, "the-key:": 401, "other:the-key": 200} {
			header := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
			if got := r.exchange(request("POST", "/webhook/cognigy", webhook, header)); got.status != status {
				t.Errorf("%s: %d", pair, got.status)
			}
		}
		h.expectExecutions(1)
	})
}

func TestAResultThatIsDeclaredAsJSONAndIsNoneIsNoSuccess(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(options())
		h.setLogic(func(context.Context, logic.Webhook) (logic.Result, error) {
			return logic.Result{Status: 200, ContentType: record.JSON, Body: []byte(`{"booked":`)}, nil
		})
		h.expect(r.post(webhook), 500, failed, "Idempotency-Status: failed", named, first)
		if kept := h.recordOf(); kept.State != record.Failed || kept.Reason != "unknown" {
			t.Errorf("%+v stands", fmt.Sprint(kept.State, kept.Reason))
		}
	})
}

func TestWaitTimeoutCountsFromWhenTheRequestCame(t *testing.T) {
	onEach(t, func(t *testing.T, h *testbed) {
		r := h.open(shortWait())
		_, release := h.blocked()
		defer close(release)
		began := time.Now()
		if got := r.post(webhook); got.status != 409 {
			t.Errorf("answer\n%v", got)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("it came after %v", took)
		}
	})
}
