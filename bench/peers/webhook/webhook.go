// Package webhook holds what the contenders in Go share: the identity in a body, and the logic that all contenders run.
package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"time"
)

// Webhook is a decoded body.
type Webhook struct {
	DialogID  string          `json:"dialogId"`
	NodeID    string          `json:"nodeId"`
	Sequence  json.Number     `json:"sequence"`
	Variables json.RawMessage `json:"variables"`
}

// Read decodes a body; ok is false if a part of its identity is missing.
func Read(body []byte) (w Webhook, ok bool) {
	err := json.Unmarshal(body, &w)
	return w, err == nil && w.DialogID != "" && w.NodeID != "" && w.Sequence != ""
}

// Digits returns the 64 hex digits of its fingerprint.
func (w Webhook) Digits() string {
	sum := sha256.Sum256([]byte(w.DialogID + ":" + w.NodeID + ":" + w.Sequence.String()))
	return hex.EncodeToString(sum[:])
}

type result struct {
	Processed bool            `json:"processed"`
	DialogID  string          `json:"dialogId"`
	NodeID    string          `json:"nodeId"`
	Timestamp int64           `json:"timestamp"` // a random number instead, so that executions differ
	Updated   json.RawMessage `json:"variables_updated"`
}

// Execute runs the logic, which takes as long as delay. It returns JSON.
func (w Webhook) Execute(delay time.Duration) ([]byte, error) {
	time.Sleep(delay)
	return json.Marshal(result{true, w.DialogID, w.NodeID, 1e9 + rand.Int64N(9e9), w.Variables})
}
