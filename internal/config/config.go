// Package config holds everything that a person can set. The settings are read once, before anything is opened, and
// validated as a whole. Each package gets the struct of its own topic and does not see the others.
package config

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/identity"
)

// defaultRedisPort is filled in by Validate. As a default of kong's it would hide that a port was given without a host.
const defaultRedisPort Port = 6379

// DialTimeout bounds one attempt to connect to Redis. It is not a setting, but SETTLE must leave room for it.
const DialTimeout = time.Second

// Config holds the settings by topic. A setting is a flag and an environment variable of the same name (--lock-ttl,
// LOCK_TTL); the flag wins, and an empty variable counts as absent. A Secret may also be in a file that a variable
// names (REDIS_PASSWORD_FILE).
type Config struct {
	File      File      `embed:"" group:"Configuration"`
	HTTP      HTTP      `embed:"" group:"HTTP"`
	Execution Execution `embed:"" group:"Executions"`
	Redis     Redis     `embed:"" group:"Redis (with neither URL nor host: an embedded store, for trying out only)"`
	Upkeep    Upkeep    `embed:"" group:"Upkeep"`
	Trail     Trail     `embed:"" group:"The trail"`
	Admin     Admin     `embed:"" group:"Watching"`
	Log       Log       `embed:"" group:"Logs"`
	Upstream  Upstream  `embed:"" group:"The backend (with UPSTREAM_URL, in place of echo)"`
	Echo      Echo      `embed:"" group:"The built-in logic, echo"`

	// Tenants share the gateway; a file defines them. None: the settings above apply to all webhooks.
	Tenants []Tenant `kong:"-"`
}

// File names the file of settings, a third source besides the command line and the environment.
type File struct {
	// Path is the path of a file of settings in YAML, or empty.
	Path string `name:"config" live:"" placeholder:"FILE" help:"File of settings, in YAML; the environment and flags win over it."`
}

// Default returns the defaults of all settings. A program changes the ones that it wants to, and then calls Validate.
func Default() Config {
	line, err := Parse(nil, func(string) string { return "" }, "")
	if err != nil { // no default breaks a rule: a test says so
		panic(err)
	}
	return line.Config
}

// HTTP says how webhooks come in and answers go out.
type HTTP struct {
	// Listen is host:port; no host means all addresses, port 0 any free one.
	Listen string `default:":8000" help:"Address to listen on, host:port."`
	// MaxConnections is at most 262144; 0 means as many as the limit of descriptors allows.
	MaxConnections int `default:"25000" help:"Connections at once; beyond, 503. Never more than the limit of descriptors leaves; 0: as many."`
	// MaxBodyBytes bounds a webhook's body, 1 KiB to 64 MiB; a larger one is answered 413.
	MaxBodyBytes Bytes `default:"1MiB" tenant:"" help:"Largest webhook body: bytes, or with KiB or MiB."`
	// BodyMemory, at least MaxBodyBytes and at most 64 GiB, bounds the memory of all bodies that are being read or whose
	// callers wait.
	BodyMemory Bytes `default:"256MiB" help:"Memory for all webhook bodies under way, beyond 8 KiB of each; beyond, 503."`
	// ProcessingStatus is the status of the answer "still processing": 409, 202, 425 or 503.
	ProcessingStatus int `default:"409" tenant:"" help:"Status of the answer \"still processing\": 409, 202, 425 or 503."`
	// ResponseMode is envelope (the result is inside the gateway's own JSON) or passthrough (the result is the answer).
	ResponseMode ResponseMode `default:"envelope" tenant:"" help:"envelope: the result is data in the gateway's JSON; passthrough: it is the answer itself."`
	// Identity is cognigy, header:NAME or json:PATH,PATH,…
	Identity string `default:"cognigy" tenant:"" help:"What tells webhooks apart: cognigy (dialogId, nodeId and sequence), header:NAME, or json:PATH,PATH,… of the body."`
	// TLSCert and TLSKey are paths of PEM files, given together or not at all.
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"PEM file of the certificate that is shown to callers, with those that it depends on; it is read again when it changes. Without it callers use plain HTTP."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"PEM file of that certificate's key."`
	// TrustedProxies, separated by commas, are addresses or ranges of addresses (CIDR).
	TrustedProxies string `live:"" placeholder:"RANGES" help:"Addresses of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8, separated by commas."`
	// InboundAPIKeys, separated by commas or newlines, are printable ASCII without spaces. If it is empty, no key is asked
	// for.
	InboundAPIKeys Secret `live:"" placeholder:"SECRET" help:"Keys of which callers must show one, separated by commas or newlines."`
	// ForwardHeaders, separated by commas, are names of request headers that the logic gets. A header that Upstream writes
	// itself is refused.
	ForwardHeaders string `default:"traceparent,tracestate" tenant:"" help:"Request headers that are handed on to the logic, separated by commas; a comma alone: none."`
	// DrainDelay, 0 to 10m, is how long the gateway goes on serving after a signal before it stops listening.
	DrainDelay time.Duration `default:"0s" help:"At a signal, how long /readyz says no while webhooks are still served, so that a load balancer can go elsewhere."`
	// ShutdownTimeout, above 0, is how long running executions have to finish and store. DrainNeeds returns how long they
	// may need.
	ShutdownTimeout time.Duration `default:"35s" help:"How long a shutdown waits for running executions: EXECUTION_TIMEOUT and twice REDIS_TIMEOUT, or it cuts them off."`
}

// APIKeys returns the keys, each in the form in which callers show it.
func (h HTTP) APIKeys() []string { return list(string(h.InboundAPIKeys), ",\n") }

// Proxies returns the addresses whose X-Forwarded-For is believed. It leaves out what Validate refuses.
func (h HTTP) Proxies() []netip.Prefix { proxies, _ := parseRanges(h.TrustedProxies); return proxies }

// Forwarded returns the names of the headers that are handed on, as they were written.
func (h HTTP) Forwarded() []string { return list(h.ForwardHeaders, ",") }

// DrainNeeds returns how long a shutdown must wait to cut off no execution: until the last one has ended and is stored.
func (c *Config) DrainNeeds() time.Duration {
	longest := c.Execution.Timeout
	for _, t := range c.Tenants {
		longest = max(longest, t.Execution.Timeout)
	}
	return longest + 2*c.Redis.Timeout
}

// Execution says how often the logic runs, for how long, and how long callers wait for it.
type Execution struct {
	// LockTTL, 100ms to 24h, is the lease: how long a claim holds without renewal. It is renewed at a third of it.
	LockTTL time.Duration `default:"20s" help:"Lease of an execution, renewed while it runs. If a replica crashes, a webhook that it was running stays blocked this long."`
	// ResultTTL, at least twice LockTTL, is how long a record lives after its last write.
	ResultTTL time.Duration `default:"1h" tenant:"" help:"How long a result answers duplicates; at least twice LOCK_TTL."`
	// RejectedTTL, 0 or at least twice LockTTL, is how long the record of a final refusal lives.
	RejectedTTL time.Duration `default:"5m" tenant:"" help:"How long a final refusal (4xx) of the backend answers duplicates; at least twice LOCK_TTL, or 0: callers that wait get it and it is not kept."`
	// InDoubt is execute or stop: what happens to a webhook whose last attempt may have had its effect.
	InDoubt InDoubt `default:"execute" tenant:"" help:"An attempt whose predecessor may have had its effect: execute, or stop until a person decides (500, doubtful)."`
	// DoubtTTL, at least ResultTTL, is how long verdicts live and, with InDoubt stop, every record in progress or in
	// doubt.
	DoubtTTL time.Duration `default:"720h" tenant:"" help:"How long poisoned and doubtful webhooks are remembered, from their last delivery on; at least RESULT_TTL."`
	// Mismatch is serve or reject: the answer to a webhook whose identity was stored with another body.
	Mismatch Mismatch `default:"serve" tenant:"" help:"The same identity with another body: serve the stored answer, or reject with 422."`
	// WaitTimeout, above 0 and at most 10m, is the time within which every caller gets an answer.
	WaitTimeout time.Duration `default:"7s" tenant:"" help:"Every caller is answered within it; keep it below the caller's own timeout (Cognigy: 8s)."`
	// Timeout, above 0, is the deadline of the logic's context.
	Timeout time.Duration `name:"execution-timeout" default:"30s" tenant:"" help:"Deadline of the logic."`
	// MaxResultBytes bounds what the logic returns, 1 KiB to 64 MiB; more is a failure.
	MaxResultBytes Bytes `default:"1MiB" tenant:"" help:"Largest result: bytes, or with KiB or MiB."`
	// ResultKeyFile is the path of a file of keys (docs/sealing.md), or empty.
	ResultKeyFile string `placeholder:"FILE" tenant:"" help:"File of the keys under which results are sealed in Redis (docs/sealing.md); none: they are stored readable."`
	// Settle is how long nothing new is decided after Redis lost its history; 0 switches settling off. Otherwise it is
	// at least Settle/4 + Redis.Timeout + DialTimeout, what a living replica needs to notice, reconnect and put back.
	Settle time.Duration `default:"3s" help:"After a failover, how long replicas put back what Redis lost before anything new is decided; 0: off."`
	// MaxAttempts is 0, for no limit, or more.
	MaxAttempts int `default:"0" tenant:"" help:"How often a webhook's executions may fail or crash before it is executed no more (500, poisoned); 0: no limit."`
	// MaxExecutions is 0, for no limit, or more.
	MaxExecutions int `default:"5000" tenant:"" help:"Executions at once in this process; beyond, 503. 0: no limit."`
	// MaxWaiters is 0, for no limit, or more.
	MaxWaiters int `default:"20000" tenant:"" help:"Requests at once in this process that wait for an execution; beyond, 503. 0: no limit."`
	// JournalBytes is 0, for no journal, to 64 GiB.
	JournalBytes Bytes `default:"64MiB" help:"Memory for the outcomes answered last, which are put back if Redis forgot them; 0: none."`
	// JournalAge is above 0, at most ResultTTL, and at most RejectedTTL unless that is 0: the record of an older outcome
	// may have ended in Redis already.
	JournalAge time.Duration `default:"3m" help:"How long they are kept there."`
}

// Redis says where the records are stored, and how long the gateway waits for that store.
type Redis struct {
	// URL is redis://, rediss:// or unix://, and excludes all fields that belong to Host. If it holds master_set, its
	// addresses are those of Sentinels, which name the Redis.
	URL Secret `name:"redis-url" placeholder:"URL" help:"redis://user:password@host:port/db; rediss:// for TLS, unix:// for a socket; ?master_set=NAME&addr=HOST:PORT&addr=… if these are Sentinels."`
	// Host is a name or an address, without a port.
	Host string `name:"redis-host" placeholder:"HOST" help:"Host, in place of a URL."`
	// Port is 1 to 65535. Validate fills in 6379 if only Host is given; 0 stays if neither is.
	Port Port `name:"redis-port" placeholder:"6379" help:"Port of that host."`
	// DB is the database's number, 0 or more.
	DB int `name:"redis-db" placeholder:"0" help:"Database number on that host."`
	// Username is the ACL user; empty means Redis' default user.
	Username string `name:"redis-username" placeholder:"NAME" help:"ACL user on that host."`
	// Password belongs to Username.
	Password Secret `name:"redis-password" placeholder:"SECRET" help:"Password on that host; better given in the environment, where ps does not show it."`
	// SentinelUsername and SentinelPassword are for the Sentinels alone; those of Redis itself are part of the URL.
	SentinelUsername string `name:"redis-sentinel-username" placeholder:"NAME" help:"ACL user on the Sentinels."`
	SentinelPassword Secret `name:"redis-sentinel-password" placeholder:"SECRET" help:"Password on the Sentinels."`
	// TLSCA is the path of a PEM file, as are TLSCert and TLSKey, which are given together or not at all.
	TLSCA   string `name:"redis-tls-ca" placeholder:"FILE" help:"PEM file of the authorities that Redis' certificate may come from, in place of the system's."`
	TLSCert string `name:"redis-tls-cert" placeholder:"FILE" help:"PEM file of the certificate that is shown to Redis."`
	TLSKey  string `name:"redis-tls-key" placeholder:"FILE" help:"PEM file of that certificate's key."`
	// KeyPrefix is 1 to 64 of A-Z a-z 0-9 _ . : -
	KeyPrefix string `default:"cognigy" help:"First part of every key, so that several deployments share a Redis."`
	// ReplicasAck is 0 or more.
	ReplicasAck int `name:"replicas-ack" default:"0" help:"Replicas of Redis that must have a claim before its logic runs, and a result before it is answered (WAIT)."`
	// Buckets is 1 to 256.
	Buckets int `default:"64" help:"In Redis Cluster: over how many hash slots the records are spread, 1 to 256; the same for all replicas, for ever."`
	// Timeout, above 0 and below a third of Execution.LockTTL, bounds one round trip.
	Timeout time.Duration `name:"redis-timeout" default:"1s" help:"Longest wait for one answer of Redis; below a third of LOCK_TTL."`
	// Retries, 0 to 10, is how often a failed first connection is tried again: after 1 s, 2 s, 4 s, … on average.
	Retries int `name:"redis-retries" default:"3" help:"How often a first connection that fails is tried again, after 1s, 2s, 4s, … on average"`
	// Patience, 0 or more and below Execution.WaitTimeout, is how long a caller is kept while Redis does not answer.
	Patience time.Duration `name:"redis-patience" default:"5s" help:"How long a caller is kept while Redis is away, before a 503; below WAIT_TIMEOUT, 0: not at all."`
}

// Embedded reports whether no Redis is named. Then the store is in this process and ends with it.
func (r Redis) Embedded() bool { return r.URL == "" && r.Host == "" }

// Upkeep says how often background work is done.
type Upkeep struct {
	// MetricsFlush, above 0 and at most 1m, is the longest time that a counter waits in memory.
	MetricsFlush time.Duration `default:"1s" help:"Longest time that counters wait in memory for a call to Redis."`
	// SweepInterval, at least 1s, is the pause between two sweeps.
	SweepInterval time.Duration `default:"60s" help:"Pause between two sweeps for gauges and orphaned records."`
}

// Trail is the record of what became of webhooks that Redis keeps for people.
type Trail struct {
	// Keep, 0 to MostTrail, is how many transitions are kept, over all buckets; 0: none.
	Keep int `name:"trail" default:"0" help:"Transitions of webhooks (claimed, stored, failed, …) that Redis keeps for oncegate trail and the dashboard; 0: none."`
	// Fields, separated by commas, are at most 16 paths of members of a JSON body.
	Fields string `name:"trail-fields" placeholder:"PATHS" help:"Fields of bodies by which the trail is searched, such as variables.orderId, separated by commas. Their values are in Redis: mind private data."`
}

// MostTrail bounds Trail.Keep: some 2 GB of Redis.
const MostTrail = 10_000_000

// Paths returns the fields, each as the names of members, one inside the other. It leaves out fields that Validate
// refuses.
func (t Trail) Paths() [][]string {
	if t.Fields == "" {
		return nil
	}
	of, _ := identity.Parse("json:" + t.Fields)
	return of.Paths
}

// Admin is the listener for people and programs that watch the gateway: metrics, and the dashboard.
type Admin struct {
	// Listen is host:port, AdminOff, or empty for DefaultAdminListen. Another program may be at that default.
	Listen string `name:"admin-listen" placeholder:"127.0.0.1:8001" help:"Address of the dashboard and of /metrics, host:port, or off; beyond loopback it needs ADMIN_TOKEN."`
	// Token is printable ASCII without spaces, at least minAdminToken characters, or empty.
	Token Secret `name:"admin-token" placeholder:"SECRET" help:"What a person or a program must show to see more than metrics and health there."`
	// Hosts, separated by commas, are names under which browsers and scrapers may call the listener.
	Hosts string `name:"admin-hosts" placeholder:"HOST" help:"Names, separated by commas, under which that listener is called, beside localhost and its own address."`
}

// AdminOff is the Admin.Listen of a gateway without that listener.
const AdminOff = "off"

// DefaultAdminListen is the address of the admin listener if none is given.
const DefaultAdminListen = "127.0.0.1:8001"

// Address returns the address for the listener: "" for none. given says that a person named it: then it must be free.
func (a Admin) Address() (address string, given bool) {
	switch a.Listen {
	case AdminOff:
		return "", true
	case "":
		return DefaultAdminListen, false
	}
	return a.Listen, true
}

// Names returns the names of ADMIN_HOSTS, in lower case.
func (a Admin) Names() []string { return list(strings.ToLower(a.Hosts), ",") }

// Log says what is logged, and in which form.
type Log struct {
	// Format is text or json.
	Format LogFormat `name:"log-format" default:"text" help:"text or json, one line an event."`
	// Level is the lowest level that is written.
	Level slog.Level `name:"log-level" default:"info" help:"debug, info, warn or error."`
	// Executions is unusual, all or none.
	Executions Executions `name:"log-executions" default:"unusual" help:"Executions that get a line: unusual (failed, rejected, taken over, in doubt, another body), all or none."`
}

// Echo sets up the built-in logic, which runs if UPSTREAM_URL is not set.
type Echo struct {
	// Delay, 0 or more, passes before it answers.
	Delay time.Duration `name:"echo-delay" default:"0s" help:"Pause before it answers, to play slow logic."`
}
