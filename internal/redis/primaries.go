package redis

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// Primaries returns the servers that share the keys, by their addresses. Outside of Redis Cluster that is one server.
func Primaries(ctx context.Context, client rueidis.Client) (map[string]rueidis.Client, error) {
	nodes := client.Nodes()
	if client.Mode() != rueidis.ClientModeCluster {
		return nodes, nil
	}
	for address, node := range nodes {
		info, err := node.Do(ctx, node.B().Info().Section("replication").Build()).ToString()
		if err != nil {
			return nil, fmt.Errorf("role of redis at %s: %w", address, err)
		}
		if field(info, "role") != "master" {
			delete(nodes, address)
		}
	}
	return nodes, nil
}
