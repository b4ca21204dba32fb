package redis

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// WrongType reports whether Redis refused a command since a value of another type stands at its key.
func WrongType(err error) bool {
	said, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(said.Error(), "WRONGTYPE")
}

// Clock reads the reply to TIME: by Redis' own clock records are judged, never by this machine's.
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
