package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// limited returns a script that runs the program with this limit of descriptors.
func limited(t *testing.T, descriptors int) (script string) {
	t.Helper()
	script = filepath.Join(t.TempDir(), "limited")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", descriptors, program)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// Strangers that open connections and send nothing must not end the program, however few descriptors it has.
func TestIdleConnectionsEndNothing(t *testing.T) {
	for descriptors, idle := range map[int]int{1024: 1100, 64: 300, 24: 300} {
		t.Run(fmt.Sprint(descriptors, " descriptors"), func(t *testing.T) {
			t.Parallel()
			r := startBuilt(t, limited(t, descriptors))
			if log := r.logs(); !strings.Contains(log, "FEWER CALLERS CAN BE CONNECTED THAN MAY WAIT") {
				t.Errorf("it does not warn:\n%s", log)
			}
			var open []net.Conn
			for range idle {
				c, err := net.DialTimeout("tcp", strings.TrimPrefix(r.url, "http://"), 5*time.Second)
				if err != nil {
					break // the listener's queue is full
				}
				defer c.Close()
				open = append(open, c)
			}
			eventuallyIn(t, 30*time.Second, "it says that it takes no more", func() bool {
				log := r.logs()
				return strings.Contains(log, "the bound of connections is reached") ||
					strings.Contains(log, "no connection can be accepted")
			})
			for _, c := range open {
				_ = c.Close()
			}
			eventuallyIn(t, 30*time.Second, "it serves again", func() bool {
				client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
				answer, err := client.Post(r.url+"/webhook/cognigy", "application/json",
					strings.NewReader(`{"dialogId":"d","nodeId":"n","sequence":1}`))
				if err != nil {
					return false
				}
				defer answer.Body.Close()
				_, _ = io.Copy(io.Discard, answer.Body)
				return answer.StatusCode == 200
			})
		})
	}
}
