package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/identity"
)

const (
	minBytes = KiB
	maxBytes = 64 * MiB
)

var (
	keyPrefix = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)
	database  = regexp.MustCompile(`^(/[0-9]*)?$`) // the path of a URL
	apiKey    = regexp.MustCompile(`^[!-~]+$`)     // printable ASCII without spaces
	hostName  = regexp.MustCompile(`^[a-z0-9._:-]+$`)
)

// Validate returns every broken rule as a sentence on a line of its own, with the setting, its value and the rule. It
// sets Redis' default port if a host was given without one. kong calls it in Parse; a program that fills in a Config by
// hand must call it itself.
func (c *Config) Validate() error {
	if c.Redis.Host != "" {
		c.Redis.Port = cmp.Or(c.Redis.Port, defaultRedisPort)
	}
	p := slices.Concat(c.problems(), c.Upkeep.problems(), c.Trail.problems(), c.Admin.problems(), c.Log.problems(),
		c.Echo.problems())
	if len(p) > 0 {
		return errors.Join(p...) // a tenant's settings begin as a copy of these
	}
	for i := range c.Tenants {
		for _, problem := range c.Tenants[i].problems(c) {
			p = append(p, fmt.Errorf("tenant %s: %w", c.Tenants[i].Name, problem))
		}
	}
	return errors.Join(append(p, c.doors(c.Tenants)...)...)
}

// problems returns the problems of the settings that a tenant may have of its own, or that belong together with these.
func (c *Config) problems() problems {
	return slices.Concat(
		c.HTTP.problems(c.Upstream),
		c.stopProblems(),
		c.Execution.problems(c.Redis.Timeout),
		c.Redis.problems(c.Execution),
		c.Upstream.problems(),
	)
}

// stopProblems checks what IN_DOUBT=stop needs. A shutdown that cuts executions off would leave webhooks in doubt at
// each deploy.
func (c *Config) stopProblems() (p problems) {
	p.unless(c.Execution.InDoubt != InDoubtStop || c.HTTP.ShutdownTimeout >= c.DrainNeeds(),
		"SHUTDOWN_TIMEOUT is %v: with IN_DOUBT=stop it must be at least %v (EXECUTION_TIMEOUT and twice REDIS_TIMEOUT), "+
			"or every deploy leaves webhooks in doubt", c.HTTP.ShutdownTimeout, c.DrainNeeds())
	p.unless(c.Execution.InDoubt != InDoubtStop || c.Execution.Settle > 0,
		"SETTLE is 0: with IN_DOUBT=stop it must be on, or a failover executes again what stood in doubt")
	return p
}

// problems holds one sentence for each broken rule.
type problems []error

func (p *problems) unless(holds bool, format string, args ...any) {
	if !holds {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// setting is a setting that must be given together with another one, or not at all.
type setting struct {
	name  string
	given bool
}

// given returns the names of the settings that were given.
func given(settings ...setting) (names []string) {
	for _, s := range settings {
		if s.given {
			names = append(names, s.name)
		}
	}
	return names
}

func (h HTTP) problems(u Upstream) (p problems) {
	p.unless(isAddress(h.Listen), "LISTEN is %q: must be host:port or :port, such as :8000", h.Listen)
	p.unless(0 <= h.MaxConnections && h.MaxConnections <= 1<<18,
		"MAX_CONNECTIONS is %d: must be 0 (as many as descriptors allow) to %d",
		h.MaxConnections, 1<<18)
	p.unless(fits(h.MaxBodyBytes), "MAX_BODY_BYTES is %v: must be from %v to %v", h.MaxBodyBytes, minBytes, maxBytes)
	p.unless(h.MaxBodyBytes <= h.BodyMemory && h.BodyMemory <= 64*1024*MiB,
		"BODY_MEMORY is %v: must be from MAX_BODY_BYTES (%v) to %v", h.BodyMemory, h.MaxBodyBytes, 64*1024*MiB)
	p.unless(slices.Contains([]int{409, 202, 425, 503}, h.ProcessingStatus),
		"PROCESSING_STATUS is %d: must be 409, 202, 425 or 503", h.ProcessingStatus)
	oneOf(&p, "RESPONSE_MODE", h.ResponseMode, Envelope, Passthrough)
	if _, err := identity.Parse(h.Identity); err != nil {
		p.unless(false, "IDENTITY is %.200q: %w", h.Identity, err)
	}
	_, err := parseRanges(h.TrustedProxies)
	p.unless(err == nil, "TRUSTED_PROXIES is %q: must be addresses or ranges such as 10.0.0.0/8 (%v)", h.TrustedProxies,
		err)
	p.unless((h.TLSCert == "") == (h.TLSKey == ""), "TLS_CERT and TLS_KEY belong together: only one is given")
	keys := h.APIKeys()
	p.unless(h.InboundAPIKeys == "" || len(keys) > 0, "INBOUND_API_KEYS holds no key: leave it empty to let everybody in")
	for i, key := range keys {
		p.unless(apiKey.MatchString(key), "INBOUND_API_KEYS, key %d (not shown): must be printable ASCII without spaces", i+1)
	}
	p.names("FORWARD_HEADERS", h.Forwarded(), u.writes, writtenHere)
	p.unless(0 <= h.DrainDelay && h.DrainDelay <= 10*time.Minute, "DRAIN_DELAY is %v: must be 0 to 10m", h.DrainDelay)
	p.unless(h.ShutdownTimeout > 0, "SHUTDOWN_TIMEOUT is %v: must be above 0", h.ShutdownTimeout)
	return p
}

func (e Execution) problems(redisTimeout time.Duration) (p problems) {
	p.unless(100*time.Millisecond <= e.LockTTL && e.LockTTL <= 24*time.Hour,
		"LOCK_TTL is %v: must be from 100ms to 24h", e.LockTTL)
	p.unless(e.ResultTTL/2 >= e.LockTTL,
		"RESULT_TTL is %v: must be at least twice LOCK_TTL (%v), so that no record ends before its lease", e.ResultTTL,
		e.LockTTL)
	p.unless(e.RejectedTTL == 0 || e.RejectedTTL/2 >= e.LockTTL,
		"REJECTED_TTL is %v: must be 0 (refusals are told and not kept) or at least twice LOCK_TTL (%v), so that no record "+
			"ends before its lease",
		e.RejectedTTL, e.LockTTL)
	oneOf(&p, "IN_DOUBT", e.InDoubt, InDoubtExecute, InDoubtStop)
	p.unless(e.DoubtTTL >= e.ResultTTL,
		"DOUBT_TTL is %v: must be at least RESULT_TTL (%v), so that no doubt is forgotten before a result would be",
		e.DoubtTTL, e.ResultTTL)
	oneOf(&p, "MISMATCH", e.Mismatch, MismatchServe, MismatchReject)
	p.unless(0 < e.WaitTimeout && e.WaitTimeout <= 10*time.Minute,
		"WAIT_TIMEOUT is %v: must be above 0 and at most 10m", e.WaitTimeout)
	p.unless(e.Timeout > 0, "EXECUTION_TIMEOUT is %v: must be above 0", e.Timeout)
	p.unless(fits(e.MaxResultBytes), "MAX_RESULT_BYTES is %v: must be from %v to %v", e.MaxResultBytes, minBytes, maxBytes)
	p.unless(e.JournalBytes >= 0 && e.JournalBytes <= 64*1024*MiB, "JOURNAL_BYTES is %v: must be 0 (none) to %v",
		e.JournalBytes, 64*1024*MiB)
	p.unless(e.MaxAttempts >= 0, "MAX_ATTEMPTS is %d: must be 0 (no limit) or more", e.MaxAttempts)
	p.unless(e.MaxExecutions >= 0, "MAX_EXECUTIONS is %d: must be 0 (no limit) or more", e.MaxExecutions)
	p.unless(e.MaxWaiters >= 0, "MAX_WAITERS is %d: must be 0 (no limit) or more", e.MaxWaiters)
	p.unless(e.JournalAge > 0, "JOURNAL_AGE is %v: must be above 0", e.JournalAge)
	p.unless(e.JournalAge <= e.ResultTTL,
		"JOURNAL_AGE is %v: must be at most RESULT_TTL (%v), so that no outcome is put back after its end: set both",
		e.JournalAge, e.ResultTTL)
	p.unless(e.RejectedTTL == 0 || e.JournalAge <= e.RejectedTTL,
		"JOURNAL_AGE is %v: must be at most REJECTED_TTL (%v), so that no refusal is put back after its end: set both",
		e.JournalAge, e.RejectedTTL)
	p.unless(e.Settle == 0 || e.Settle >= e.Settle/4+redisTimeout+DialTimeout,
		"SETTLE is %v: must be 0 (off) or at least %v, which is 4/3 of %v (to connect) and REDIS_TIMEOUT (%v): a quarter "+
			"of it may pass until a replica notices",
		e.Settle, ((DialTimeout + redisTimeout) * 4 / 3).Round(time.Millisecond), DialTimeout, redisTimeout)
	return p
}

func (r Redis) problems(e Execution) (p problems) {
	p.unless(r.URL == "" || r.Host == "", "REDIS_URL and REDIS_HOST are both given: keep one")
	u, known := redisURL(string(r.URL))
	p.unless(r.URL == "" || known,
		"REDIS_URL is not one that we know (and not shown, since it may hold a password): must be redis://host:port, "+
			"rediss://host:port or unix:///path, with special characters of a password percent-encoded, and no "+
			"parameters but %s",
		strings.Join(redisParameters, ", "))
	p.unless(r.Host == "" || isHost(r.Host),
		"REDIS_HOST is not a host alone (and not shown, since it may hold a password): the port belongs in REDIS_PORT, a "+
			"URL in REDIS_URL")
	parts := strings.Join(r.partsOfHost(), ", ")
	p.unless(r.Host != "" || parts == "", "%s given without REDIS_HOST: name the host, or put all into REDIS_URL", parts)
	sentinels := strings.Join(given(
		setting{"REDIS_SENTINEL_USERNAME", r.SentinelUsername != ""},
		setting{"REDIS_SENTINEL_PASSWORD", r.SentinelPassword != ""},
	), ", ")
	p.unless(sentinels == "" || u.Query().Get("master_set") != "", "%s given without Sentinels: needs a REDIS_URL with "+
		"master_set=NAME", sentinels)
	files := strings.Join(given(
		setting{"REDIS_TLS_CA", r.TLSCA != ""},
		setting{"REDIS_TLS_CERT", r.TLSCert != ""},
		setting{"REDIS_TLS_KEY", r.TLSKey != ""},
	), ", ")
	p.unless(files == "" || u.Scheme == "rediss", "%s given without TLS: needs a REDIS_URL that begins with rediss://",
		files)
	p.unless((r.TLSCert == "") == (r.TLSKey == ""), "REDIS_TLS_CERT and REDIS_TLS_KEY belong together: only one is given")
	p.unless(r.DB >= 0, "REDIS_DB is %d: must be 0 or more", r.DB)
	p.unless(keyPrefix.MatchString(r.KeyPrefix), "KEY_PREFIX is %q: must be 1 to 64 of A-Z a-z 0-9 _ . : -", r.KeyPrefix)
	p.unless(!strings.Contains(r.KeyPrefix+":", ":t:"), "KEY_PREFIX is %q: must not have :t: in it or :t at its end, "+
		"which stand before a tenant's name", r.KeyPrefix)
	p.unless(r.ReplicasAck >= 0 && (r.ReplicasAck == 0 || !r.Embedded()),
		"REPLICAS_ACK is %d: must be 0 or more, and 0 for the embedded store", r.ReplicasAck)
	p.unless(r.Buckets >= 1 && r.Buckets <= 256, "BUCKETS is %d: must be 1 to 256", r.Buckets)
	p.unless(0 < r.Timeout && r.Timeout < e.LockTTL/3,
		"REDIS_TIMEOUT is %v: must be above 0 and below a third of LOCK_TTL (%v), so that a lease can be renewed in time",
		r.Timeout, e.LockTTL)
	p.unless(0 <= r.Retries && r.Retries <= 10, "REDIS_RETRIES is %d: must be 0 to 10", r.Retries)
	p.unless(0 <= r.Patience && r.Patience < e.WaitTimeout,
		"REDIS_PATIENCE is %v: must be 0 or more and below WAIT_TIMEOUT (%v)", r.Patience, e.WaitTimeout)
	return p
}

// partsOfHost returns the names of the given settings that have no meaning without a host.
func (r Redis) partsOfHost() []string {
	return given(
		setting{"REDIS_PORT", r.Port != 0},
		setting{"REDIS_DB", r.DB != 0},
		setting{"REDIS_USERNAME", r.Username != ""},
		setting{"REDIS_PASSWORD", r.Password != ""},
	)
}

func (t Trail) problems() (p problems) {
	p.unless(0 <= t.Keep && t.Keep <= MostTrail, "TRAIL is %d: must be 0 (none) to %d", t.Keep, MostTrail)
	p.unless(t.Fields == "" || len(t.Paths()) > 0,
		"TRAIL_FIELDS is %.200q: must be at most 16 paths, separated by commas, each of member names with dots between them",
		t.Fields)
	p.unless(t.Fields == "" || t.Keep > 0, "TRAIL_FIELDS needs TRAIL: without a trail they stand nowhere")
	return p
}

func (u Upkeep) problems() (p problems) {
	p.unless(0 < u.MetricsFlush && u.MetricsFlush <= time.Minute, "METRICS_FLUSH is %v: must be above 0 and at most 1m",
		u.MetricsFlush)
	p.unless(u.SweepInterval >= time.Second, "SWEEP_INTERVAL is %v: must be at least 1s", u.SweepInterval)
	return p
}

// minAdminToken is how long an ADMIN_TOKEN must be, so that it cannot be found by trying.
const minAdminToken = 16

func (a Admin) problems() (p problems) {
	address, _ := a.Address()
	p.unless(address == "" || isAddress(address),
		"ADMIN_LISTEN is %q: must be host:port or :port, such as %s, or off", a.Listen, DefaultAdminListen)
	p.unless(address == "" || !isAddress(address) || isLoopback(address) || a.Token != "",
		"ADMIN_LISTEN is %q, which others can reach: set ADMIN_TOKEN, or listen on loopback (%s)", a.Listen,
		DefaultAdminListen)
	p.unless(a.Token == "" || len(a.Token) >= minAdminToken && apiKey.MatchString(string(a.Token)),
		"ADMIN_TOKEN is not one that we take (and not shown): must be at least %d characters of printable ASCII without "+
			"spaces", minAdminToken)
	for _, name := range a.Names() {
		p.unless(hostName.MatchString(name),
			"ADMIN_HOSTS has %q: must be names or addresses without a port, separated by commas", name)
	}
	return p
}

// isLoopback reports whether an address can be reached only from this machine. Names are not looked up: localhost is
// the only name that counts as loopback.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (l Log) problems() (p problems) {
	oneOf(&p, "LOG_FORMAT", l.Format, LogText, LogJSON)
	oneOf(&p, "LOG_EXECUTIONS", l.Executions, ExecutionsUnusual, ExecutionsAll, ExecutionsNone)
	return p
}

func (e Echo) problems() (p problems) {
	p.unless(e.Delay >= 0, "ECHO_DELAY is %v: must be 0 or more", e.Delay)
	return p
}

func fits(b Bytes) bool { return minBytes <= b && b <= maxBytes }

func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func isHost(text string) bool {
	_, err := netip.ParseAddr(text) // an IPv6 address contains colons
	return err == nil || !strings.ContainsAny(text, ":/@ ")
}

// redisParameters are the query parameters that a URL may have. Any other is refused, because the Redis client would
// ignore it silently.
var redisParameters = []string{"addr", "master_set", "db", "protocol"}

// redisURL parses REDIS_URL. ok is false if it is not a URL that we can use.
func redisURL(text string) (u *url.URL, ok bool) {
	u, err := url.Parse(text)
	if err != nil {
		return new(url.URL), false
	}
	for name := range u.Query() {
		if !slices.Contains(redisParameters, name) {
			return u, false
		}
	}
	switch u.Scheme {
	case "redis", "rediss":
		ok = u.Host != "" && !strings.Contains(u.Host, ",") && database.MatchString(u.Path)
	case "unix":
		ok = u.Path != ""
	}
	return u, ok && u.Fragment == "" // an unencoded # in a password
}
