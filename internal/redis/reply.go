package redis

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// WrongType reports whether Redis refused a command because the value at its key has another type.
func WrongType(err error) bool {
	said, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(said.Error(), "WRONGTYPE")
}

// Clock parses the reply to TIME. Records are judged by Redis' clock, never by this machine's.
func Clock(reply rueidis.RedisResult) (time.Time, error) {
	parts, err := reply.AsIntSlice()
	if err == nil && len(parts) != 2 {
		err = fmt.Errorf("%d values in its reply", len(parts))
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("redis' clock: %w", err)
	}
	return time.Unix(parts[0], parts[1]*1000), nil
}
