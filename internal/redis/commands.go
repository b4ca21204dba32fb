package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// tryCommands returns an error if Redis permanently refuses a command that serving webhooks needs.
func (s *Store) tryCommands(ctx context.Context, key string) error {
	return s.try(ctx, [][]string{
		{"EVAL", "return 1", "1", key},
		{"EVALSHA", "nothing", "1", key},
		{"TIME"},
		{"GET", key},
		{"SET", key, "", "XX", "PX", "1"}, // XX: does nothing, since the key does not exist
		{"HGET", key, "f"},
		{"HSET", key, "f", "v", "no value"},
		{"HINCRBY", key, "f", "no number"},
	})
}

// TryTrail returns an error if Redis permanently refuses a command that a trail needs, to be written and to be read.
func (s *Store) TryTrail(ctx context.Context) error {
	key := s.Keys.Unused()
	return s.try(ctx, [][]string{
		{"XADD", key, "no id", "e", ""}, {"XRANGE", key, "-", "+", "COUNT", "1"},
	})
}

// try returns an error if Redis permanently refuses one of these commands: because of an ACL, because it is another
// engine, or because it is a replica. Each is in a form that changes nothing, even if its answer is an error. A
// temporary error (memory full, still loading) counts as accepted.
func (s *Store) try(ctx context.Context, tries [][]string) error {
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

// isPermanent reports whether an error says that Redis will never accept the command.
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
