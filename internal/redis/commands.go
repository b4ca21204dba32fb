package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// tryCommands refuses a Redis that will never take a command without which no webhook can be served: an ACL, another
// engine or a replica says no to it. Each is tried in a form that changes nothing, also where its answer is an error.
// An error that may pass (full, loading) is not looked at.
func (s *Store) tryCommands(ctx context.Context, key string) error {
	tries := [][]string{
		{"EVAL", "return 1", "1", key},
		{"EVALSHA", "nothing", "1", key},
		{"TIME"},
		{"GET", key},
		{"SET", key, "", "XX", "PX", "1"}, // XX: only where it is
		{"HMGET", key, "f"},
		{"HSET", key, "f", "v", "no value"},
		{"HINCRBY", key, "f", "no number"},
	}
	commands := make(rueidis.Commands, len(tries))
	for i, try := range tries {
		commands[i] = s.Client.B().Arbitrary(try...).Build()
	}
	var refused []string
	var reason error
	for i, reply := range s.Client.DoMulti(ctx, commands...) {
		if err := reply.Error(); isPermanent(err) {
			refused, reason = append(refused, tries[i][0]), err
		}
	}
	if reason == nil {
		return nil
	}
	return fmt.Errorf("can't serve: it refuses %s (%w); docs/redis.md has the commands that a user needs",
		strings.Join(refused, ", "), reason)
}

// isPermanent reports whether Redis says that it will not take a command, however often it is asked.
func isPermanent(err error) bool {
	said, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	text := said.Error()
	return strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "READONLY") ||
		strings.Contains(strings.ToLower(text), "unknown command") || strings.Contains(strings.ToLower(text),
		"unknown subcommand")
}
