package config

import (
	"slices"
	"strings"
)

// ResponseMode says in which form a result is answered.
type ResponseMode string

// The response modes.
const (
	Envelope    ResponseMode = "envelope"    // the result is inside the gateway's own JSON
	Passthrough ResponseMode = "passthrough" // the result is the answer
)

// InDoubt says what happens to a webhook whose last attempt may have had its effect.
type InDoubt string

// The values of InDoubt.
const (
	InDoubtExecute InDoubt = "execute" // the next attempt is executed, and the logic is told
	InDoubtStop    InDoubt = "stop"    // nothing is executed until a person decides
)

// Mismatch says what answer a webhook gets whose identity was stored with another body.
type Mismatch string

// The values of Mismatch.
const (
	MismatchServe  Mismatch = "serve"  // the stored answer
	MismatchReject Mismatch = "reject" // 422
)

// Executions says which executions get a line in the log.
type Executions string

// The values of Executions.
const (
	ExecutionsUnusual Executions = "unusual" // failed, rejected, taken over, in doubt, or with another body
	ExecutionsAll     Executions = "all"
	ExecutionsNone    Executions = "none"
)

// LogFormat is the form of a line in the log.
type LogFormat string

// The values of LogFormat.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// KeyFormat is the form of the idempotency key that a backend gets.
type KeyFormat string

// The values of KeyFormat.
const (
	KeyHex  KeyFormat = "hex"  // the fingerprint's 64 hex digits
	KeyUUID KeyFormat = "uuid" // a UUID derived from the fingerprint
)

// oneOf checks that a mode is one of the known ones.
func oneOf[M ~string](p *problems, setting string, mode M, modes ...M) {
	var names []string
	for _, m := range modes {
		names = append(names, string(m))
	}
	last := len(names) - 1
	p.unless(slices.Contains(modes, mode), "%s is %q: must be %s or %s",
		setting, mode, strings.Join(names[:last], ", "), names[last])
}
