package faults_test

import (
	"slices"
	"testing"
	"time"

	"github.com/oncegate/oncegate/internal/redistest"
)

// alone is a store of one Redis, with a proxy before it for each replica.
type alone struct {
	t       *testing.T
	keeps   bool // acknowledged writes survive a crash (AOF)
	redis   *redistest.Server
	proxies []*redistest.Proxy
}

func startAlone(t *testing.T, keeps bool) *alone {
	s := &alone{t: t, keeps: keeps}
	if keeps {
		s.redis = redistest.Start(t, "--appendonly", "yes")
	} else {
		s.redis = redistest.Start(t)
	}
	for range 3 {
		s.proxies = append(s.proxies, redistest.NewProxy(t, s.redis.Addr()))
	}
	return s
}

func (s *alone) url(replica int) string       { return s.proxies[replica].URL() }
func (s *alone) admin() string                { return s.redis.URL() }
func (s *alone) servers() []*redistest.Server { return []*redistest.Server{s.redis} }

// Kinds of faults that mutants name.
const (
	withoutData    = "Redis killed, back without data"
	requestsHeldUp = "requests held up"
	oneCutOff      = "one replica cut off"
)

func (s *alone) faults() []fault {
	proxied := func(change func(p *redistest.Proxy)) func(*world, int) {
		return func(_ *world, replica int) {
			for i, p := range s.proxies {
				if replica == i || replica == everybody {
					change(p)
				}
			}
		}
	}
	mend := proxied((*redistest.Proxy).Mend)
	slow := func(p *redistest.Proxy) { p.Slow(60 * time.Millisecond) }
	killed := fault{kind: withoutData, part: redis, effect: forgetful, lasts: between(50, 4000),
		begin: func(*world, int) { s.redis.Kill() }, end: func(*world, int) { s.redis.Restart() }}
	leftOut := dead // a dead replica puts nothing back, so that most losses would be excused
	if s.keeps {
		killed.kind, killed.effect = "Redis killed, back with its data", apart
		leftOut = forgetful
	}
	common := slices.DeleteFunc(append(faultsOfAll(), faultsOfServers()...),
		func(f fault) bool { return f.effect == leftOut })
	return append(common,
		killed,
		fault{kind: "Redis paused", part: redis, effect: apart, lasts: between(100, 5000),
			begin: func(*world, int) { s.redis.Pause() }, end: func(*world, int) { s.redis.Resume() }},
		fault{kind: "Redis read-only", part: redis, effect: apart, lasts: between(300, 4000),
			begin: func(*world, int) { s.redis.Config("min-replicas-to-write", "1") },
			end:   func(*world, int) { s.redis.Config("min-replicas-to-write", "0") }},
		fault{kind: oneCutOff, part: network, effect: apart, one: true, lasts: between(200, 6000),
			begin: proxied((*redistest.Proxy).Cut), end: mend},
		fault{kind: "all replicas cut off", part: network, effect: apart, lasts: between(200, 5000),
			begin: proxied((*redistest.Proxy).Cut), end: mend},
		fault{kind: "answers lost", part: network, effect: apart, one: true, lasts: between(200, 5000),
			begin: proxied((*redistest.Proxy).Mute), end: mend},
		fault{kind: requestsHeldUp, part: network, effect: apart, one: true, lasts: between(200, 6000),
			begin: proxied((*redistest.Proxy).Stall), end: mend},
		fault{kind: "answers held up", part: network, effect: apart, one: true, lasts: between(200, 5000),
			begin: proxied((*redistest.Proxy).Hold), end: mend},
		fault{kind: "cut before the answer", part: network, effect: apart, one: true, lasts: between(100, 3000),
			begin: proxied((*redistest.Proxy).Snap), end: mend},
		fault{kind: "slow network", part: network, effect: apart, lasts: between(500, 3000), begin: proxied(slow), end: mend},
	)
}
