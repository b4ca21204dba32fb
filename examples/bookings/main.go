// This is the backend that docs/backend.md explains. It books once for each Idempotency-Key, even if it is killed at
// any moment, and can tell what it booked.
package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "localhost:9000", "`address` to listen on")
	dir := flag.String("dir", filepath.Join(os.TempDir(), "oncegate-bookings"), "`directory` of the bookings")
	flag.Parse()
	fmt.Fprintln(os.Stderr, "listening on", *listen, "and keeping bookings in", *dir)
	server := http.Server{Addr: *listen, Handler: newBackend(*dir), ReadTimeout: 10 * time.Second}
	err := errors.Join(os.MkdirAll(*dir, 0o700), server.ListenAndServe())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func newBackend(dir string) http.Handler {
	var booking sync.Mutex // one booking at a time; a file has its key's name once it is complete
	file := func(key string) string { return filepath.Join(dir, filepath.Base(key)+".json") }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bookings", func(w http.ResponseWriter, r *http.Request) {
		var webhook struct{ Variables struct{ Seats int } }
		if json.NewDecoder(r.Body).Decode(&webhook) != nil || webhook.Variables.Seats < 1 {
			answer(w, http.StatusUnprocessableEntity, []byte(`{"error":"variables.seats must be 1 or more"}`))
			return
		}
		booking.Lock()
		defer booking.Unlock()
		key := file(r.Header.Get("Idempotency-Key"))
		booked, err := os.ReadFile(key)
		if errors.Is(err, os.ErrNotExist) {
			booked = fmt.Appendf(nil, `{"booking":%q,"seats":%d}`, rand.Text(), webhook.Variables.Seats)
			err = errors.Join(os.WriteFile(key+".new", booked, 0o600), os.Rename(key+".new", key))
		}
		if err != nil {
			answer(w, http.StatusInternalServerError, []byte(`{"error":"the booking may have been made, or not"}`))
			return
		}
		answer(w, http.StatusCreated, booked)
	})
	mux.HandleFunc("GET /bookings/{key}", func(w http.ResponseWriter, r *http.Request) {
		if !booking.TryLock() {
			answer(w, http.StatusConflict, []byte(`{"status":"processing"}`)) // perhaps this key's own: ask again
			return
		}
		defer booking.Unlock()
		booked, err := os.ReadFile(file(r.PathValue("key")))
		switch {
		case errors.Is(err, os.ErrNotExist):
			answer(w, http.StatusNotFound, []byte(`{"error":"no such booking"}`))
		case err != nil:
			answer(w, http.StatusInternalServerError, []byte(`{"error":"the bookings can't be read"}`))
		default:
			answer(w, http.StatusOK, booked)
		}
	})
	return mux
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
