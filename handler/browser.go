package handler

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// sandbox keeps a browser from treating an answer as anything but data. A result comes from a backend, and in
// passthrough mode it may be a web page: opened here, it could act with the credentials that the browser holds for this
// origin.
func sandbox(header *fasthttp.ResponseHeader) {
	header.SetCanonical(headerNoSniff, noSniff)
	header.SetCanonical(headerPolicy, policy)
}

var (
	headerNoSniff, noSniff = []byte("X-Content-Type-Options"), []byte("nosniff")
	headerPolicy           = []byte("Content-Security-Policy")
	policy                 = []byte(csp)
)

const csp = "default-src 'none'; frame-ancestors 'none'; sandbox"

// sameOrigin reports whether a browser may send this request. If it comes from a web page of another origin, sameOrigin
// answers 403: such a page needs no key to do harm if the browser holds one (Basic), or if only the browser can reach
// the gateway.
//
// The rule is that of net/http's CrossOriginProtection: Sec-Fetch-Site decides, and Origin if the former is missing,
// since browsers send Sec-Fetch-Site only to https and localhost. Another host of the same site (same-site) is another
// origin. Callers other than browsers send neither header.
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
