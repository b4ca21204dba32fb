package redis

import (
	"context"

	"github.com/redis/rueidis"
)

// Memory returns how much memory Redis uses, in its own words, and its maxmemory-policy. Both are "" if Redis does not
// say.
func Memory(ctx context.Context, client rueidis.Client) (used, policy string) {
	info, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return "", ""
	}
	return field(info, "used_memory_human"), field(info, "maxmemory_policy")
}
