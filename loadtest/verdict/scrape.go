package verdict

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// A series of a scrape, and its labels.
var (
	series      = regexp.MustCompile(`^oncegate_(\w+)(?:\{(.*)\})? ([0-9.e+]+)$`)
	ofTenant    = regexp.MustCompile(`\btenant="([a-z0-9-]+)"`)
	byOneOfThem = regexp.MustCompile(`\b(?:outcome|result)="(\w+)"`)
)

// scrape adds up the replicas' numbers for Prometheus: by name, or by name and label (outcome or result) with a slash
// between them, and by tenant before that. Of the numbers from the metrics hash it takes the largest. It returns nil if
// no replica is named.
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
		found := series.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		v, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			return err
		}
		name, n := found[1], int64(v)
		if strings.HasPrefix(name, "cluster_") {
			sums[name] = max(sums[name], n)
			continue
		}
		if label := byOneOfThem.FindStringSubmatch(found[2]); label != nil {
			name += "/" + label[1]
		}
		sums[name] += n
		if tenant := ofTenant.FindStringSubmatch(found[2]); tenant != nil {
			sums[tenant[1]+"/"+name] += n
		}
	}
	return lines.Err()
}
