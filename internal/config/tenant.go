package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/internal/identity"
	"github.com/oncegate/oncegate/internal/signature"
)

// Tenant is one of the tenants that share the gateway, with the settings in force for its webhooks: its own, and the
// gateway's for those that it does not set.
type Tenant struct {
	Name string // "": the gateway has no tenants
	Door

	HTTP      HTTP
	Execution Execution
	Upstream  Upstream
}

// Door has the settings by which a tenant's callers come in, and how many of its executions begin. A tenant inherits
// none of them.
type Door struct {
	// Open lets everybody in. A tenant without keys and a signature must say it explicitly.
	Open bool `tenant:"" help:"Everybody is let in, without a key and without a signature."`
	// APIKeys, separated by newlines, are printable ASCII without spaces.
	APIKeys Secret `name:"api-keys" tenant:""`
	// Allow, separated by commas, are addresses or ranges of addresses (CIDR); empty: any.
	Allow     string `tenant:""`
	Signature Signed `embed:"" prefix:"signature-"`
	// ExecutionsPerSecond, 0 (no limit) to 1000000, is how many executions all replicas together begin in a second.
	ExecutionsPerSecond int `tenant:""`
	// Burst, 0 (as many as a second's) to 1000000, is how many begin at once after a rest.
	Burst int `tenant:""`
}

// Signed says how a tenant's requests are signed; without a form they are not signed.
type Signed struct {
	Form    signature.Form `tenant:""`
	Header  string         `tenant:""`
	Secrets Secret         `name:"secret" tenant:""` // separated by newlines; any of them fits
}

// Keys returns the API keys, each in the form in which callers show it.
func (d Door) Keys() []string { return list(string(d.APIKeys), ",\n") }

// Ranges returns the addresses that are let in; nil: all are. It leaves out ranges that Validate refuses.
func (d Door) Ranges() []netip.Prefix { ranges, _ := parseRanges(d.Allow); return ranges }

// Verifier returns the verifier of signatures; nil if requests are not signed, or if Validate refuses the settings.
func (d Door) Verifier() *signature.Verifier {
	if d.Signature == (Signed{}) {
		return nil
	}
	v, _ := signature.New(d.Signature.Form, d.Signature.Header, list(string(d.Signature.Secrets), "\n"))
	return v
}

// Explain adds the tenant's name to an error of the tenant.
func (t *Tenant) Explain(err error) error {
	if t.Name == "" {
		return err
	}
	return fmt.Errorf("tenant %s: %w", t.Name, err)
}

// Of returns the tenant of a name, with its settings; "" is the tenant without a name.
func (c *Config) Of(name string) (Tenant, error) {
	if name == "" {
		return Tenant{HTTP: c.HTTP, Execution: c.Execution, Upstream: c.Upstream}, nil
	}
	for _, t := range c.Tenants {
		if t.Name == name {
			return t, nil
		}
	}
	return Tenant{}, fmt.Errorf("there is no tenant %.40q in the file of settings: give the gateway's own CONFIG", name)
}

// files returns the files that the tenants' settings name.
func (c *Config) files() (all []string) {
	for _, t := range c.All() {
		for _, path := range []string{t.Execution.ResultKeyFile, t.Upstream.TLSCA, t.Upstream.TLSCert, t.Upstream.TLSKey} {
			if path != "" {
				all = append(all, path)
			}
		}
	}
	return all
}

// Restart names the settings that differ in another configuration and that only a restart brings into force: the
// settings that no tenant may have, except keys and trusted proxies.
func (c *Config) Restart(next *Config) (names []string, err error) {
	one, other := CommandLine{Config: *c}, CommandLine{Config: *next}
	before, err := settings(&one)
	if err != nil {
		return nil, err
	}
	after, err := settings(&other)
	if err != nil {
		return nil, err
	}
	for i, flag := range before {
		name, ok := variable(flag)
		live := flag.Tag.Has("tenant") || flag.Tag.Has("live")
		if ok && !live && !reflect.DeepEqual(flag.Target.Interface(), after[i].Target.Interface()) {
			names = append(names, name)
		}
	}
	return names, nil
}

func settings(line *CommandLine) ([]*kong.Flag, error) {
	parser, err := kong.New(line, append(readers(), kong.Vars{"version": ""})...)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return parser.Model.Flags, nil
}

// All returns the tenants, in the order of their names. Without tenants it returns one that has no name and all
// settings.
func (c *Config) All() []Tenant {
	if len(c.Tenants) > 0 {
		return c.Tenants
	}
	door := Door{APIKeys: c.HTTP.InboundAPIKeys, Open: len(c.HTTP.APIKeys()) == 0}
	return []Tenant{{Door: door, HTTP: c.HTTP, Execution: c.Execution, Upstream: c.Upstream}}
}

// tenantLine is a command line that a tenant's settings are read into.
type tenantLine struct {
	Config
	Door
}

// flags returns the settings that a tenant may have. Their values go into the line.
func (line *tenantLine) flags() (flags []*kong.Flag, err error) {
	parser, err := kong.New(line, readers()...)
	if err != nil {
		return nil, fmt.Errorf("settings of a tenant: %w", err)
	}
	for _, flag := range parser.Model.Flags {
		if flag.Tag.Has("tenant") {
			flags = append(flags, flag)
		}
	}
	return flags, nil
}

// Setting is a setting as a person reads it, under its name in a file. A secret is hidden.
type Setting struct{ Name, Value string }

// Settings returns the settings in force for a tenant.
func (t *Tenant) Settings() (all []Setting, err error) {
	line := tenantLine{Config{HTTP: t.HTTP, Execution: t.Execution, Upstream: t.Upstream}, t.Door}
	flags, err := line.flags()
	for _, flag := range flags {
		all = append(all, settingOf(flag))
	}
	return all, err
}

// Settings returns the settings in force for the whole gateway: those that no tenant may have.
func (c *Config) Settings() (all []Setting, err error) {
	flags, err := settings(&CommandLine{Config: *c})
	for _, flag := range flags {
		if _, ok := variable(flag); ok && !flag.Tag.Has("tenant") {
			all = append(all, settingOf(flag))
		}
	}
	return all, err
}

func settingOf(flag *kong.Flag) Setting {
	value := fmt.Sprint(flag.Target.Interface())
	if u, err := url.Parse(value); err == nil && u.RawQuery != "" {
		u.RawQuery = "" // the query may contain a key
		value = u.String() + "?" + hidden
	}
	return Setting{inFile(flag), value}
}

// tenantsUnder reads the tenants of a file. Each begins as a copy of the gateway's settings.
func (f *file) tenantsUnder(c *Config) (all []Tenant, err error) {
	var line tenantLine
	settings, err := line.flags()
	if err != nil {
		return nil, err
	}
	flags := map[string]*kong.Flag{}
	for _, flag := range settings {
		flags[inFile(flag)] = flag
	}
	noBackend := Default().Upstream
	var p problems
	for i := range f.tenants {
		s := &f.tenants[i]
		line.Config, line.Door = *c, Door{}
		if slices.ContainsFunc(s.entries, func(e entry) bool { return strings.HasPrefix(e.name, "upstream_") }) {
			line.Upstream = noBackend // the gateway's secrets must not reach a tenant's server, nor its status URL answer for it
		}
		if problems := f.apply(s, flags); problems != nil {
			p = append(p, problems...)
			continue
		}
		t := Tenant{Name: s.name, Door: line.Door, HTTP: line.HTTP, Execution: line.Execution, Upstream: line.Upstream}
		if err := errors.Join(t.problems(c)...); err != nil {
			p = append(p, f.place(s, s.names(), err))
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Tenant) int { return cmp.Compare(a.Name, b.Name) })
	return all, errors.Join(append(p, c.doors(all)...)...)
}

// apply reads a section's values into the flags' targets.
func (f *file) apply(s *section, flags map[string]*kong.Flag) (p problems) {
	for _, e := range s.entries {
		flag := flags[e.name]
		if of, isFile := strings.CutSuffix(e.name, inFileSuffix); flag == nil && isFile {
			flag = flags[of]
		}
		value, err := s.valueOf(flag)
		if err == nil {
			err = flag.Parse(kong.Scan().PushTyped(value.text(flag), kong.FlagValueToken), flag.Target)
		}
		if bad, ok := errors.AsType[badValue](err); ok {
			err = bad
		}
		if err != nil {
			p = append(p, f.place(s, s.names(), err))
		}
	}
	return p
}

var tenantName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// problems returns the problems of a tenant. Each begins with the name of its setting, if it has one.
func (t *Tenant) problems(c *Config) (p problems) {
	p.unless(tenantName.MatchString(t.Name), "a tenant is called %.40q: must be 1 to 32 of a-z 0-9 -", t.Name)
	p = append(p, t.Door.problems()...)
	id, err := identity.Parse(t.HTTP.Identity)
	if v := t.Verifier(); err == nil && id.Header != "" && len(t.Keys()) == 0 {
		p.unless(v != nil && v.Covers(id.Header), "IDENTITY is %q: an identity from a header needs api_keys, or a signature "+
			"that covers this header (standard-webhooks covers webhook-id)", t.HTTP.Identity)
	}
	of := *c
	of.HTTP, of.Execution, of.Upstream = t.HTTP, t.Execution, t.Upstream
	return slices.Concat(p, of.problems())
}

func (d Door) problems() (p problems) {
	keys := d.Keys()
	p.unless(d.APIKeys == "" || len(keys) > 0, "API_KEYS holds no key")
	for i, key := range keys {
		p.unless(apiKey.MatchString(key), "API_KEYS, key %d (not shown): must be printable ASCII without spaces", i+1)
	}
	_, err := parseRanges(d.Allow)
	p.unless(err == nil, "ALLOW is %q: must be addresses or ranges such as 203.0.113.0/24 (%v)", d.Allow, err)
	signed := d.Signature != (Signed{})
	if signed {
		p.unless(slices.Contains(signature.Forms, d.Signature.Form), "SIGNATURE_FORM is %q: must be one of %v",
			d.Signature.Form, signature.Forms)
		own := d.Signature.Form == signature.Standard
		p.unless(!own || d.Signature.Header == "", "SIGNATURE_HEADER is %q: standard-webhooks has headers of its own",
			d.Signature.Header)
		p.unless(own || headerToken.MatchString(d.Signature.Header), "SIGNATURE_HEADER is %q: must be the name of the "+
			"header that has the signature", d.Signature.Header)
		_, err := signature.New(d.Signature.Form, d.Signature.Header, list(string(d.Signature.Secrets), "\n"))
		p.unless(err == nil, "SIGNATURE_SECRET %v", err)
	}
	p.unless(d.Open || len(keys) > 0 || signed, "it has neither api_keys nor a signature: everybody could send its "+
		"webhooks; if that is meant, say open: true")
	p.unless(!d.Open || len(keys) == 0 && !signed, "OPEN is true, and it has api_keys or a signature: keep one")
	p.unless(0 <= d.ExecutionsPerSecond && d.ExecutionsPerSecond <= maxRate,
		"EXECUTIONS_PER_SECOND is %d: must be 0 (no limit) to %d", d.ExecutionsPerSecond, maxRate)
	p.unless(0 <= d.Burst && d.Burst <= maxRate, "BURST is %d: must be 0 (as many as in a second) to %d", d.Burst, maxRate)
	p.unless(d.Burst == 0 || d.ExecutionsPerSecond > 0, "BURST is %d without executions_per_second: needs it", d.Burst)
	return p
}

const maxRate = 1_000_000

// parseRanges reads addresses, and ranges of them in CIDR notation.
func parseRanges(text string) (ranges []netip.Prefix, err error) {
	for _, item := range list(text, ",") {
		r, err := netip.ParsePrefix(item)
		if err != nil {
			var address netip.Addr
			if address, err = netip.ParseAddr(item); err != nil || address.Zone() != "" {
				return nil, fmt.Errorf("%.60q is none", item)
			}
			r = netip.PrefixFrom(address, address.BitLen())
		}
		if r.Masked() != r {
			return nil, fmt.Errorf("%v has bits behind its mask: %v", r, r.Masked())
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// doors returns the problems of the tenants' keys when compared with each other.
func (c *Config) doors(tenants []Tenant) (p problems) {
	p.unless(len(tenants) == 0 || c.HTTP.InboundAPIKeys == "", "INBOUND_API_KEYS is given beside tenants: each of them "+
		"has api_keys of its own")
	has := map[string]string{}
	for _, t := range tenants {
		for _, key := range t.Keys() {
			first, taken := has[key]
			p.unless(!taken || first == t.Name, "tenants %s and %s have one API key (not shown): each needs its own", first,
				t.Name)
			has[key] = t.Name
		}
	}
	return p
}
