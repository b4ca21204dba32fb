package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/rueidis"
)

// likely adds the probable reason to the error of a first connection, and what to do, if that is known.
func likely(err error, option rueidis.ClientOption) error {
	if hint := hint(err, option.TLSConfig != nil); hint != "" {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

func hint(err error, secured bool) string {
	var plain tls.RecordHeaderError
	var dial *net.OpError // there was no connection, so TLS cannot be the reason
	if said := Likely(err); said != "" {
		return said
	}
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return ""
	case errors.As(err, &plain), secured && errors.Is(err, context.DeadlineExceeded):
		return "what listens there does not seem to speak TLS: name Redis' port for TLS, or begin the URL with redis://"
	case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET):
		return ""
	case secured:
		return "the other side closed the connection: it may want a client certificate, REDIS_TLS_CERT and REDIS_TLS_KEY; " +
			"its log has the reason"
	}
	return "the other side closed the connection: it may want TLS, rediss://; or it is a proxy that does not know " +
		"HELLO, and wants ?protocol=2 in REDIS_URL"
}

// Likely returns the probable reason why Redis refused a call, and what to do. It is "" if that is not known.
func Likely(err error) string {
	if said, ok := errors.AsType[*rueidis.RedisError](err); ok {
		return hintAt(said.Error())
	}
	return ""
}

// hintAt returns the hint for an error that Redis, its proxies or other engines send at the beginning of a connection.
func hintAt(said string) string {
	switch code, _, _ := strings.Cut(said, " "); {
	case code == "WRONGPASS":
		return "the user or its password is not what this Redis knows; a user that ACL SETUSER made is gone after " +
			"a restart of Redis unless it was saved: docs/redis.md"
	case code == "NOAUTH":
		return "it wants a user or a password: REDIS_URL or REDIS_PASSWORD"
	case code == "NOPERM":
		return ""
	case code == "NOPROTO", strings.Contains(strings.ToLower(said), "hello"):
		return "what answers does not speak RESP3: if it is a proxy or another engine, add ?protocol=2 to REDIS_URL"
	}
	return ""
}

// elsewhere returns the error for a cluster of which one server answered and another did not.
func elsewhere(client rueidis.Client, err error) error {
	var announced []string
	for address := range client.Nodes() {
		announced = append(announced, address)
	}
	slices.Sort(announced)
	return fmt.Errorf("a server of it does not answer: %w (the cluster announces %s: if this machine can't reach these, "+
		"set cluster-announce-ip or cluster-announce-hostname, and cluster-announce-port, on each server)",
		err, strings.Join(announced, ", "))
}
