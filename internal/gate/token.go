package gate

import (
	"regexp"
	"strconv"
	"sync/atomic"
)

// Bounds of a token's parts. 8 characters of base32 have 40 bits, which tell two processes of one name apart.
const (
	tokenReplica = 40
	tokenRandom  = 8
)

// tokens makes the names of executions, unique over all processes. Each is the replica's name, for people
// (record.Replica), a random text of the process, and a number.
type tokens struct {
	prefix string
	last   atomic.Uint64
}

// notInToken matches a character that separates the fields of a record, or that is not plain.
var notInToken = regexp.MustCompile(`[^A-Za-z0-9._/-]`)

func tokenPrefix(replica, process string) string {
	replica = notInToken.ReplaceAllString(replica, "-")
	return replica[:min(len(replica), tokenReplica)] + "~" + process[:tokenRandom] + "~"
}

func (t *tokens) next() string { return string(t.append(nil)) }

// append appends the next token.
func (t *tokens) append(dst []byte) []byte {
	return strconv.AppendUint(append(dst, t.prefix...), t.last.Add(1), 36)
}
