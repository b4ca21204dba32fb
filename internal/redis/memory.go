package redis

import (
	"context"

	"github.com/redis/rueidis"
)

// Memory tells how much memory Redis uses, in its words, and its maxmemory-policy. Both are "" where it does not tell.
func Memory(ctx context.Context, client rueidis.Client) (used, policy string) {
	info, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return "", ""
	}
	return field(info, "used_memory_human"), field(info, "maxmemory_policy")
}
