package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/gate"
	"github.com/oncegate/oncegate/internal/link"
)

// tenant is the owner of a request: its rules here, in the gate and for the logic. It is found once, at the door, and
// handed down. It does not change: a reload replaces it.
type tenant struct {
	Options
	gate     *gate.Tenant
	logic    logic.Logic
	identity string // its canonical text

	settings Tenant            // the settings it was made of
	stamp    [sha256.Size]byte // of the files that the settings name
}

func newTenant(o Options, g *gate.Tenant, l logic.Logic) *tenant {
	return &tenant{Options: o, gate: g, logic: l, identity: o.Identity.String()}
}

// keyed reports whether callers must show a key.
func (t *tenant) keyed() bool { return len(t.APIKeys) > 0 }

// door decides who comes in, and which tenant a request belongs to. It does not change either.
type door struct {
	nameless *tenant // if there are no tenants
	byName   map[string]*tenant
	byKey    map[[sha256.Size]byte]*tenant // by the key's digest: the time that a look takes shows nothing of a key
	proxies  []netip.Prefix
}

func newDoor(proxies []netip.Prefix, tenants ...*tenant) *door {
	d := &door{byName: map[string]*tenant{}, byKey: map[[sha256.Size]byte]*tenant{}, proxies: proxies}
	for _, t := range tenants {
		if t.Tenant == "" {
			d.nameless = t
		} else {
			d.byName[t.Tenant] = t
		}
		for _, key := range t.APIKeys {
			d.byKey[sha256.Sum256([]byte(key))] = t
		}
	}
	return d
}

// route is what a path means.
type route struct {
	known  bool
	tenant []byte // its name; nil: the key shows the tenant
	named  []byte // a fingerprint that the request asks about; nil: it brings a webhook
}

const (
	webhookPath = "/webhook/cognigy"
	tenantPath  = "/t/"
)

// routeOf parses a path: /webhook/cognigy, /t/TENANT, and both with a fingerprint behind them.
func routeOf(path []byte) (r route) {
	rest, ok := bytes.CutPrefix(path, []byte(webhookPath))
	if !ok {
		if rest, ok = bytes.CutPrefix(path, []byte(tenantPath)); !ok {
			return r
		}
		end := bytes.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		r.tenant, rest = rest[:end], rest[end:]
	}
	if len(rest) == 0 {
		r.known = r.tenant == nil || len(r.tenant) > 0
		return r
	}
	r.named = rest[1:]
	r.known = rest[0] == '/' && len(r.named) > 0 && bytes.IndexByte(r.named, '/') < 0
	return r
}

// refusal says why a request does not come in; admitted means that it does.
type refusal uint8

const (
	admitted     refusal = iota
	unknown              // there is no such tenant, or it has nothing at this path
	unauthorized         // the key is missing or wrong
	elsewhere            // the key is that of a tenant whose webhooks go to another path
)

// enter returns the tenant that a request belongs to, by its path and its keys. Nothing else of the request is used.
func (d *door) enter(r route, header *fasthttp.RequestHeader) (t *tenant, why refusal) {
	if len(d.byKey) == 0 && r.tenant == nil && d.nameless != nil {
		return d.nameless, admitted
	}
	shown, one := d.shown(header)
	switch {
	case r.tenant != nil:
		t = d.byName[string(r.tenant)]
	case d.nameless != nil:
		t = d.nameless
	default:
		if t = shown; t == nil || !one {
			return nil, unauthorized
		}
		if !t.Identity.Cognigy() {
			return t, elsewhere
		}
	}
	switch {
	case t == nil:
		return nil, unknown
	case !one, t.keyed() && shown != t:
		return t, unauthorized
	case r.named != nil && !t.keyed() && t.Tenant != "":
		return t, unknown
	}
	return t, admitted
}

// shown returns the tenant whose key a request shows. Cognigy's HTTP node and other callers put the key into X-API-Key,
// or into Authorization as ApiKey, Bearer or Basic. With Basic the key is the password, whatever the name is, or name
// and password with the colon between them. one is false if there are keys of several tenants.
func (d *door) shown(header *fasthttp.RequestHeader) (t *tenant, one bool) {
	one = true
	show := func(key []byte) {
		if len(key) == 0 {
			return
		}
		owner := d.byKey[sha256.Sum256(key)]
		one = one && (t == nil || owner == nil || owner == t)
		if t == nil {
			t = owner
		}
	}
	for _, key := range header.PeekAll("X-API-Key") {
		show(key)
	}
	for _, value := range header.PeekAll(fasthttp.HeaderAuthorization) {
		scheme, key, _ := bytes.Cut(value, []byte{' '})
		key = bytes.TrimSpace(key)
		switch {
		case bytes.EqualFold(scheme, []byte("ApiKey")), bytes.EqualFold(scheme, []byte("Bearer")):
			show(key)
		case bytes.EqualFold(scheme, []byte("Basic")):
			if pair, err := base64.StdEncoding.AppendDecode(nil, key); err == nil {
				_, password, _ := bytes.Cut(pair, []byte{':'})
				show(password)
				show(pair)
			}
		}
	}
	return t, one
}

// allows reports whether a tenant lets in requests from the caller's address.
func (d *door) allows(t *tenant, ctx *fasthttp.RequestCtx) bool {
	if len(t.Allow) == 0 {
		return true
	}
	caller, ok := d.caller(ctx.RemoteAddr(), &ctx.Request.Header)
	return ok && within(caller, t.Allow)
}

// caller returns the address that a request comes from. If a trusted proxy sent it, the last item of X-Forwarded-For is
// the caller's address; if that is a trusted proxy too, the item before it is, and so on. Items before the first
// untrusted address could have been written by anybody, and are ignored.
func (d *door) caller(remote net.Addr, header *fasthttp.RequestHeader) (caller netip.Addr, ok bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return caller, false
	}
	caller = tcp.AddrPort().Addr().Unmap()
	forwarded := bytes.Join(header.PeekAll(fasthttp.HeaderXForwardedFor), []byte{','})
	for within(caller, d.proxies) {
		at := bytes.LastIndexByte(forwarded, ',')
		item := string(bytes.TrimSpace(forwarded[at+1:]))
		if item == "" {
			return caller, true
		}
		next, err := netip.ParseAddr(item)
		if err != nil { // some write the port too
			with, err := netip.ParseAddrPort(item)
			if err != nil {
				return caller, false
			}
			next = with.Addr()
		}
		if caller = next.Unmap(); at < 0 {
			return caller, true
		}
		forwarded = forwarded[:at]
	}
	return caller, true
}

func within(a netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(a) })
}

// comesIn lets a request in, or answers it. Nothing of its body is read before.
func (h *Handler) comesIn(ctx *fasthttp.RequestCtx, r route) (t *tenant, ok bool) {
	d := h.door.Load()
	t, why := d.enter(r, &ctx.Request.Header)
	switch {
	case why == unauthorized:
		h.count(t, link.Unauthorized)
		respondUnauthorized(ctx)
	case why == unknown:
		h.count(nil, link.Unknown)
		respondDetail(ctx, fasthttp.StatusNotFound, "Not found: no such tenant, or nothing of it to be asked for")
	case why == elsewhere:
		h.count(t, link.Unknown)
		respondDetail(ctx, fasthttp.StatusNotFound, "Not found: the webhooks of this key's tenant go to /t/ and its name")
	case !d.allows(t, ctx):
		h.count(t, link.Forbidden)
		respondDetail(ctx, fasthttp.StatusForbidden, "Callers from this address are not let in")
	default:
		return t, true
	}
	return nil, false
}

// count counts a request that became no webhook; t is nil if its tenant is not known.
func (h *Handler) count(t *tenant, k link.Kind) {
	if t == nil {
		h.gate.CountOutside(nil, k)
	} else {
		h.gate.CountOutside(t.gate, k)
	}
}

func respondUnauthorized(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, `Bearer realm="oncegate", Basic realm="oncegate"`)
	respondDetail(ctx, fasthttp.StatusUnauthorized, "An API key is missing or wrong")
}
