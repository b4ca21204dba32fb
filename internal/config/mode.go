package config

import (
	"slices"
	"strings"
)

// ResponseMode says how a result is answered.
type ResponseMode string

// The response modes.
const (
	Envelope    ResponseMode = "envelope"    // the result stands in the gateway's own JSON
	Passthrough ResponseMode = "passthrough" // the result is the answer
)

// InDoubt says what becomes of a webhook whose last attempt may have had its effect.
type InDoubt string

// What becomes of such a webhook.
const (
	InDoubtExecute InDoubt = "execute" // the next attempt is executed, and told
	InDoubtStop    InDoubt = "stop"    // nothing is executed until a person decides
)

// Mismatch says what a webhook gets whose identity was stored with another body.
type Mismatch string

// What such a webhook gets.
const (
	MismatchServe  Mismatch = "serve"  // the stored answer
	MismatchReject Mismatch = "reject" // 422
)

// Executions says which executions get a line in the log.
type Executions string

// The executions that get one.
const (
	ExecutionsUnusual Executions = "unusual" // those that failed, were rejected or taken over, or were not sure
	ExecutionsAll     Executions = "all"
	ExecutionsNone    Executions = "none"
)

// LogFormat is the form of a line in the log.
type LogFormat string

// The forms of a line.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// KeyFormat is the form of the key that a backend gets.
type KeyFormat string

// The forms of a key.
const (
	KeyHex  KeyFormat = "hex"  // the fingerprint's 64 digits
	KeyUUID KeyFormat = "uuid" // 36 characters, made of it
)

// oneOf says that a mode must be one of those that there are.
func oneOf[M ~string](p *problems, setting string, mode M, modes ...M) {
	var names []string
	for _, m := range modes {
		names = append(names, string(m))
	}
	last := len(names) - 1
	p.unless(slices.Contains(modes, mode), "%s is %q: must be %s or %s",
		setting, mode, strings.Join(names[:last], ", "), names[last])
}
