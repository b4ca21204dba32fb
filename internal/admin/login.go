package admin

import (
	_ "embed"
	"net/http"
)

const loginPath = "/login"

//go:embed login.html
var loginPage []byte

// maxLogin bounds the form with the token.
const maxLogin = 4 << 10

// login shows the form for the token, and receives it.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(loginPage)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if g.token == "" || !g.isToken(r.PostFormValue("token")) {
		http.Error(w, "that is not ADMIN_TOKEN", http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, g.cookie(r.TLS != nil))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
