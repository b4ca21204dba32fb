package replicas

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Bounds on what is read about others: values in Redis are not trusted to be small.
const (
	mostReplicas = 1000
	mostBytes    = 160 << 10 // of one line or detail
	remembered   = 10 * time.Minute
)

// talk writes this replica's line and reads those of the others.
func (r *Replicas) talk(ctx context.Context) {
	warned := false
	for {
		r.mu.Lock()
		pace, wrote := r.pace(), r.line.Wrote > 0
		r.mu.Unlock()
		if wrote {
			err := r.exchange(ctx, pace)
			if err != nil && ctx.Err() == nil && !warned {
				r.Log.Warn("replicas cannot tell each other what they do: each shows itself alone; "+
					"if Redis answers, its user needs +zadd +zrange +zremrangebyscore +zrem", "error", err)
			}
			warned = err != nil
		}
		timer := time.NewTimer(pace)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.leave()
			return
		case <-timer.C:
		}
	}
}

// exchange writes and reads once. It also removes replicas that have been silent for long.
func (r *Replicas) exchange(ctx context.Context, pace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	ready := r.Ready == nil || r.Ready() == nil
	r.mu.Lock()
	r.line.Ready = ready
	line, detail, now := r.line, r.detail, r.line.Wrote
	r.mu.Unlock()
	lineText, err := json.Marshal(line)
	if err != nil {
		return err
	}
	detailText, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	c, keys := r.Store.Client, r.Store.Keys
	past := strconv.FormatInt(now-remembered.Milliseconds(), 10)
	replies := c.DoMulti(ctx,
		c.B().Set().Key(keys.Replica(r.id)).Value(string(lineText)).Px(remembered).Build(),
		c.B().Set().Key(keys.ReplicaDetail(r.id)).Value(string(detailText)).Px(silent*pace).Build(),
		c.B().Zadd().Key(keys.Replicas()).ScoreMember().ScoreMember(float64(now), r.id).Build(),
		c.B().Zremrangebyscore().Key(keys.Replicas()).Min("-inf").Max("("+past).Build(),
		c.B().Zrange().Key(keys.Replicas()).Min("0").Max(strconv.Itoa(mostReplicas-1)).Build())
	for _, reply := range replies {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	ids, err := replies[len(replies)-1].AsStrSlice()
	if err != nil {
		return err
	}
	return r.read(ctx, ids)
}

// read processes the lines of the others.
func (r *Replicas) read(ctx context.Context, ids []string) error {
	var lines []Line
	for _, text := range r.get(ctx, ids, r.Store.Keys.Replica) {
		var l Line
		if json.Unmarshal(text, &l) == nil {
			lines = append(lines, l)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	present := make(map[string]bool)
	for _, l := range lines {
		present[l.ID] = true
		r.take(l)
	}
	for id := range r.others {
		if !present[id] {
			delete(r.others, id) // it has left, or was silent for long
		}
	}
	return nil
}

// take processes another replica's line. Each of its seconds counts once. The lock is held.
func (r *Replicas) take(l Line) {
	o := r.others[l.ID]
	if o == nil {
		o = &other{seen: time.Now().Add(-time.Duration(max(r.line.Wrote-l.Wrote, 0)) * time.Millisecond)}
		r.others[l.ID] = o
	}
	if o.line.Wrote < l.Wrote && o.line.Wrote > 0 {
		o.seen = time.Now()
	}
	o.line = l
	if len(l.Seconds) == 0 {
		return
	}
	// The newest second may still grow.
	newest := len(l.Seconds) - 1
	r.tenants.take(l.Tenants, o.last, min(l.Seconds[newest][At], r.line.Wrote/1000+told+1))
	for _, s := range l.Seconds[:newest] {
		if s[At] > o.last && s[At] > 0 && s[At] <= r.line.Wrote/1000+told { // no second of the far future
			o.last = s[At]
			r.whole.add(s)
		}
	}
}

// get reads keys of others, and skips those that do not exist.
func (r *Replicas) get(ctx context.Context, ids []string, key func(id string) string) (texts [][]byte) {
	c := r.Store.Client
	gets := make(rueidis.Commands, 0, len(ids))
	for _, id := range ids {
		if id != r.id {
			gets = append(gets, c.B().Getrange().Key(key(id)).Start(0).End(mostBytes-1).Build())
		}
	}
	for _, reply := range c.DoMulti(ctx, gets...) {
		if text, err := reply.AsBytes(); err == nil && len(text) > 0 && len(text) < mostBytes {
			texts = append(texts, text)
		}
	}
	return texts
}

func (r *Replicas) readDetails(ctx context.Context, ids []string) (details []Detail) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	for _, text := range r.get(ctx, ids, r.Store.Keys.ReplicaDetail) {
		var d Detail
		if json.Unmarshal(text, &d) == nil {
			details = append(details, d)
		}
	}
	return details
}

// leave tells the others that this replica has ended, and is not gone.
func (r *Replicas) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	c, keys := r.Store.Client, r.Store.Keys
	c.Do(ctx, c.B().Zrem().Key(keys.Replicas()).Member(r.id).Build())
}
