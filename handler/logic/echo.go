package logic

import (
	"context"
	"time"

	"github.com/goccy/go-json"
)

// Echo is the built-in logic: it answers with what it was sent, after Delay. It runs if no other logic is chosen.
type Echo struct {
	Delay time.Duration
}

type echoed struct {
	Processed bool            `json:"processed"`
	DialogID  string          `json:"dialogId"`
	NodeID    string          `json:"nodeId"`
	Timestamp int64           `json:"timestamp"` // Unix seconds
	Updated   json.RawMessage `json:"variables_updated"`
}

// Execute returns the webhook that it was sent.
func (e Echo) Execute(ctx context.Context, w Webhook) (Result, error) {
	if e.Delay > 0 {
		select {
		case <-time.After(e.Delay):
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
	return JSON(echoed{
		Processed: true, DialogID: w.DialogID, NodeID: w.NodeID,
		Timestamp: time.Now().Unix(), Updated: w.Variables,
	})
}
