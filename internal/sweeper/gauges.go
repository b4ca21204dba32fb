package sweeper

import (
	"context"
	"fmt"
	"strconv"

	"github.com/oncegate/oncegate/internal/redis"
)

// publish computes the detection rate and writes all gauges into the metrics hash, in one command.
func (s *Sweeper) publish(ctx context.Context, r *Report, byTenant map[string]*counts) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	counters, err := redis.Metrics(ctx, s.client, s.Keys)
	if err != nil {
		return err
	}
	r.DetectionRate = share(counters["duplicates"], counters["total_requests"])
	key := s.Keys.Metrics()
	gauges := s.client.B().Hset().Key(key).FieldValue().
		FieldValue("active_fingerprints", strconv.Itoa(r.Active)).
		FieldValue("in_progress", strconv.Itoa(r.InProgress)).
		FieldValue("overdue", strconv.Itoa(r.Overdue)).
		FieldValue("undecided", strconv.Itoa(r.Undecided)).
		FieldValue("detection_rate", rate(r.DetectionRate)).
		FieldValue("swept_at", strconv.FormatInt(r.SweptAt.Unix(), 10))
	for tenant, c := range byTenant {
		if tenant == "" {
			continue
		}
		of := tenant + "/"
		gauges = gauges.FieldValue(of+"active_fingerprints", strconv.Itoa(c.active)).
			FieldValue(of+"in_progress", strconv.Itoa(c.inProgress)).
			FieldValue(of+"overdue", strconv.Itoa(c.overdue)).
			FieldValue(of+"undecided", strconv.Itoa(c.undecided)).
			FieldValue(of+"detection_rate", rate(share(counters[of+"duplicates"], counters[of+"total_requests"])))
	}
	if err := s.client.Do(ctx, gauges.Build()).Error(); err != nil {
		return fmt.Errorf("gauges in %s: %w", key, err)
	}
	return nil
}

// share returns the share of requests that were duplicates, 0 if there were no requests. The script may count a
// duplicate a moment before its request is counted, so the share is cut to 1.
func share(duplicates, requests string) float64 {
	part, _ := strconv.ParseInt(duplicates, 10, 64)
	all, _ := strconv.ParseInt(requests, 10, 64)
	if all <= 0 {
		return 0
	}
	return min(float64(part)/float64(all), 1)
}

// rate formats a share for the metrics hash.
func rate(share float64) string { return strconv.FormatFloat(share, 'f', 4, 64) }
