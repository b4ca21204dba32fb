// Nethttp is the first version that a Go team would write: net/http and go-redis, with SET NX to claim, GET to replay
// and SET to store. A duplicate of a running webhook is told to come again.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oncegate/oncegate/bench/peers/webhook"
)

const (
	lease      = time.Minute
	resultTTL  = time.Hour
	processing = "processing"
)

type handler struct {
	store *redis.Client
	delay time.Duration
}

func main() {
	delay, err := time.ParseDuration(os.Getenv("DELAY"))
	if err != nil {
		log.Fatal(err)
	}
	h := handler{store: redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDRESS")}), delay: delay}
	http.Handle("POST /webhook/cognigy", h)
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	hook, ok := webhook.Read(body)
	if err != nil || !ok {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	key := "cognigy:fp:" + hook.Digits()
	claimed, err := h.store.SetNX(r.Context(), key, processing, lease).Result()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if !claimed {
		stored, err := h.store.Get(r.Context(), key).Result()
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case stored == processing:
			respond(w, http.StatusConflict, "processing", "null", key)
		default:
			respond(w, http.StatusOK, "cached", stored, key)
		}
		return
	}
	data, err := hook.Execute(h.delay)
	if err == nil {
		err = h.store.Set(r.Context(), key, data, resultTTL).Err()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	respond(w, http.StatusOK, "success", string(data), key)
}

func respond(w http.ResponseWriter, code int, status, data, key string) {
	body := `{"status":"` + status + `","data":` + data + `,"fingerprint":"` + key + `"}`
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}
