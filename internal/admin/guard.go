package admin

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// guard decides who may look. Each of its checks closes one known way in: a page of another site that sends requests
// from a person's browser; a name of another site that leads to our address (DNS rebinding); a proxy on this machine
// that makes strangers look like neighbours.
type guard struct {
	token string   // "": whoever reaches the listener may look; the listener is on loopback then
	names []string // ADMIN_HOSTS
	cross *http.CrossOriginProtection
	now   func() time.Time
}

// protect puts the checks that apply to every path before a handler.
func (g *guard) protect(next http.Handler) http.Handler {
	next = g.cross.Handler(next) // of requests that change something
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		switch {
		case !g.knowsHost(r):
			http.Error(w, "this name is none of this listener's: call it by its address, or name it in ADMIN_HOSTS",
				http.StatusMisdirectedRequest)
		case fromAnotherSite(r):
			http.Error(w, "another site may not ask this one", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// admit puts the check of the person who asks before a handler.
func (g *guard) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case g.token == "" && forwarded(r):
			http.Error(w, "this came through a proxy, which makes anybody look like this machine: set ADMIN_TOKEN",
				http.StatusForbidden)
		case g.token == "" || g.bears(r) || g.loggedIn(r):
			next.ServeHTTP(w, r)
		case r.Header.Get("Authorization") == "" && r.Method == http.MethodGet && r.URL.Path == "/":
			http.Redirect(w, r, loginPath, http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="oncegate"`)
			http.Error(w, "ADMIN_TOKEN is missing or wrong", http.StatusUnauthorized)
		}
	})
}

// harden forbids a browser everything that the page does not need: it runs only our scripts, and talks only to us.
func harden(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// knowsHost reports whether a request calls us by a name of ours: loopback, the address that it came in at, or one of
// ADMIN_HOSTS. A name of another site for our address is none of these.
func (g *guard) knowsHost(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || slices.Contains(g.names, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	at, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ip.IsLoopback() || at != nil && at.AddrPort().Addr().Unmap() == ip.Unmap()
}

// fromAnotherSite reports whether a browser says that another site's page makes this request. A person who follows a
// link to the page may come in.
func fromAnotherSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if site == "cross-site" || site == "same-site" {
		return !(r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
			r.Header.Get("Sec-Fetch-Dest") == "document")
	}
	origin := r.Header.Get("Origin")
	return site == "" && origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host
}

// forwarded reports whether a proxy says that it hands on somebody else's request.
func forwarded(r *http.Request) bool {
	return slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"},
		func(name string) bool { return r.Header.Get(name) != "" })
}

// bears reports whether a request shows the token.
func (g *guard) bears(r *http.Request) bool {
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && g.isToken(shown)
}

func (g *guard) isToken(shown string) bool {
	given, wanted := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(g.token)) // as hashes, they have one length
	return subtle.ConstantTimeCompare(given[:], wanted[:]) == 1
}

// The cookie of a person who logged in holds when the login ends, and proves that somebody with the token wrote it: no
// replica keeps a list of sessions, and one login is good for all replicas of one name.
const (
	cookieName = "oncegate"
	session    = 12 * time.Hour
)

// cookie returns a cookie that lets its bearer in for a while.
func (g *guard) cookie(secure bool) *http.Cookie {
	ends := strconv.FormatInt(g.now().Add(session).Unix(), 10)
	return &http.Cookie{
		Name: cookieName, Value: ends + "." + g.proof(ends), Path: "/", MaxAge: int(session.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure,
	}
}

func (g *guard) loggedIn(r *http.Request) bool {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	ends, proof, _ := strings.Cut(c.Value, ".")
	if !hmac.Equal([]byte(proof), []byte(g.proof(ends))) {
		return false
	}
	at, err := strconv.ParseInt(ends, 10, 64)
	return err == nil && g.now().Unix() < at
}

func (g *guard) proof(ends string) string {
	mac := hmac.New(sha256.New, []byte(g.token))
	mac.Write([]byte("oncegate admin session until " + ends))
	return hex.EncodeToString(mac.Sum(nil))
}
