package handler

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// sandbox keeps a browser from taking an answer for anything but data. A result is a backend's, and in passthrough mode
// it may be a web page: opened here, it could act with what the browser knows of this origin.
func sandbox(header *fasthttp.ResponseHeader) {
	header.SetCanonical([]byte("X-Content-Type-Options"), []byte("nosniff"))
	header.SetCanonical([]byte("Content-Security-Policy"), []byte(csp))
}

const csp = "default-src 'none'; frame-ancestors 'none'; sandbox"

// sameOrigin answers 403 to a request that a browser sends for a web page of another origin: it needs no key to do harm
// where the browser has one (Basic), or is the only one that reaches the gateway. Callers other than browsers send
// neither header. The rule is that of net/http's CrossOriginProtection: Sec-Fetch-Site decides. Browsers send that to
// https and localhost only; Origin decides where it is missing. Another host of the same site (same-site) is another
// origin.
func sameOrigin(ctx *fasthttp.RequestCtx) bool {
	header := &ctx.Request.Header
	switch site := header.Peek("Sec-Fetch-Site"); {
	case len(site) == 0:
		origin := header.Peek(fasthttp.HeaderOrigin)
		_, host, found := bytes.Cut(origin, []byte("://"))
		if len(origin) == 0 || found && bytes.EqualFold(host, header.Host()) {
			return true
		}
	case string(site) == "same-origin", string(site) == "none": // none: a person opened the address
		return true
	}
	respondDetail(ctx, fasthttp.StatusForbidden,
		"A web page of another origin may not call this gateway: its browser says so in Sec-Fetch-Site or Origin")
	return false
}
