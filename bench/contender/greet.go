package contender

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/oncegate/oncegate/bench/load"
)

// Answer is the envelope in which every contender answers.
type Answer struct {
	Status      string          `json:"status"`
	Data        json.RawMessage `json:"data"`
	Fingerprint string          `json:"fingerprint"`
}

// Envelope is the answer to a webhook that was executed.
func Envelope(sequence int64) []byte {
	return []byte(`{"status":"success","data":` + string(load.Data(1_795_502_617)) + `,"fingerprint":"cognigy:fp:` +
		load.Fingerprint(sequence) + `"}`)
}

// greet sends a webhook and checks that the answer is what every contender must answer: the same fields, and the same
// number of bytes.
func greet(ctx context.Context, address string, sequence int64, gate bool) error {
	c, err := load.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		c.Until(end)
	}
	status, body, err := c.Post(sequence)
	if err != nil {
		return err
	}
	want := Envelope(sequence)
	var answer Answer
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		return fmt.Errorf("status %d and %q", status, body)
	}
	if len(body) != len(want) || !bytes.HasPrefix(body, want[:bytes.Index(want, []byte(`"timestamp"`))]) ||
		gate && answer.Fingerprint != "cognigy:fp:"+load.Fingerprint(sequence) {
		return fmt.Errorf("it answers %q, and not as the others %q", body, want)
	}
	return nil
}
