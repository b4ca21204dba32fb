package verdict

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

// requestsTotal is a line of a scrape: how many requests of a tenant became what, in one replica.
var requestsTotal = regexp.MustCompile(
	`^oncegate_requests_total\{outcome="(\w+)",tenant="([a-z0-9-]*)"\} ([0-9.e+]+)$`,
)

// scrape adds up what all replicas tell Prometheus: by outcome, and by tenant and outcome with a slash between them. It
// returns nil if no replica was named.
func (b Book) scrape(ctx context.Context) (map[string]int64, error) {
	if len(b.Scrapes) == 0 {
		return nil, nil
	}
	sums := make(map[string]int64)
	for _, url := range b.Scrapes {
		if err := add(ctx, url, sums); err != nil {
			return nil, fmt.Errorf("%s: %w", url, err)
		}
	}
	return sums, nil
}

func add(ctx context.Context, url string, sums map[string]int64) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", reply.Status)
	}
	lines := bufio.NewScanner(reply.Body)
	for lines.Scan() {
		if found := requestsTotal.FindStringSubmatch(lines.Text()); found != nil {
			n, err := strconv.ParseFloat(found[3], 64)
			if err != nil {
				return err
			}
			sums[found[1]] += int64(n)
			if found[2] != "" {
				sums[found[2]+"/"+found[1]] += int64(n)
			}
		}
	}
	return lines.Err()
}
