package handler_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// presets are the tenants that docs/tenants.md has under that heading, with their secrets in files.
func presets(t *testing.T, secrets map[string]string) (file string) {
	t.Helper()
	page, err := os.ReadFile("../docs/tenants.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Presets\n")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != len(secrets) {
		t.Fatalf("the page has %d presets, and %d are tested", len(blocks), len(secrets))
	}
	dir := t.TempDir()
	for name, secret := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file = "tenants:\n"
	for _, block := range blocks {
		file += strings.ReplaceAll(block[1], "/run/secrets", dir)
	}
	return file
}

// TestThePresetsOfThePageHold sends webhooks as such senders do: the first one is executed, a repeat gets that result,
// and one with another identity is another webhook.
func TestThePresetsOfThePageHold(t *testing.T) {
	t.Parallel()
	const callsSecret, hooksKey = "0123456789abcdef0123456789abcdef", "a key of more than 24 bytes"
	h := onReal(t)
	r := h.shared(presets(t, map[string]string{
		"flows": "flows-key", "calls": callsSecret, "shop": "shop-key",
		"hooks": "whsec_" + base64.StdEncoding.EncodeToString([]byte(hooksKey)),
	}))
	mac := func(key, text string) []byte {
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	type sign func(body string, at time.Time) []string
	flow := func(string, time.Time) []string {
		return []string{"X-API-Key: flows-key", "Content-Type: application/json"}
	}
	call := func(body string, at time.Time) []string {
		seconds := strconv.FormatInt(at.Unix(), 10)
		return []string{
			fmt.Sprintf("Jambonz-Signature: t=%s,v1=%x", seconds, mac(callsSecret, seconds+"."+body)),
			"Content-Type: application/json",
		}
	}
	hook := func(id string) sign {
		return func(body string, at time.Time) []string {
			seconds := strconv.FormatInt(at.Unix(), 10)
			code := base64.StdEncoding.EncodeToString(mac(hooksKey, id+"."+seconds+"."+body))
			return []string{
				"webhook-id: " + id, "webhook-timestamp: " + seconds, "webhook-signature: v1," + code,
				"Content-Type: application/json",
			}
		}
	}
	payment := func(key string) sign {
		return func(string, time.Time) []string {
			return []string{
				"Authorization: Bearer shop-key", "Idempotency-Key: " + key,
				"Content-Type: application/x-www-form-urlencoded",
			}
		}
	}
	executions := int64(0)
	for _, c := range []struct {
		name, tenant, payload string
		headers               sign
		old, other            string // text of the payload, and the text that makes another webhook of it
		otherHeaders          sign
		status                int    // of the payload without its identity
		lacks                 string // the part that it lacks
		withoutHeaders        sign
	}{
		{
			name: "a flow of Cognigy", tenant: "flows", payload: "flow.json", headers: flow,
			old: `"sequence": 14`, other: `"sequence": 15`, otherHeaders: flow,
			status: 400, lacks: `"sequence": 14,`, withoutHeaders: flow,
		},
		{
			name: "a branch of an AI agent's tool", tenant: "flows", payload: "tool.json", headers: flow,
			old: "call_Qm7tZr2LxW", other: "call_Qm7tZr2LxX", otherHeaders: flow,
			status: 400, lacks: "call_Qm7tZr2LxW", withoutHeaders: flow,
		},
		{
			name: "a call that rings", tenant: "calls", payload: "ringing.json", headers: call,
			old: "0c1f7a52", other: "0c1f7a53", otherHeaders: call,
			status: 400, lacks: `"call_status": "ringing",`, withoutHeaders: call,
		},
		{
			name: "the same call, completed", tenant: "calls", payload: "completed.json", headers: call,
			old: `"completed"`, other: `"failed"`, otherHeaders: call,
			status: 401, withoutHeaders: flow,
		},
		{
			name: "a Standard Webhook", tenant: "hooks", payload: "order.json", headers: hook("msg_2ZrQ"),
			otherHeaders: hook("msg_2ZrR"), // the same event, sent to another subscription
			status:       401, withoutHeaders: flow,
		},
		{
			name: "a client with an Idempotency-Key", tenant: "shop", payload: "payment.form", headers: payment("8e03978e"),
			otherHeaders: payment("8e03978f"),
			status:       400, withoutHeaders: func(string, time.Time) []string { return []string{"X-API-Key: shop-key"} },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata/presets", c.payload))
			if err != nil {
				t.Fatal(err)
			}
			bring := func(body string, headers sign, at time.Time) response {
				return r.exchange(request("POST", "/t/"+c.tenant, body, headers(body, at)...))
			}
			body, now := string(text), time.Now()
			executions++
			want := fmt.Sprintf(`"data":{"execution":%d}`, executions)
			first := bring(body, c.headers, now)
			if first.status != 200 || !strings.Contains(first.body, `"success",`+want) {
				t.Fatalf("at first: %v", first)
			}
			for _, at := range []time.Time{now, now.Add(-time.Minute)} { // a repeat is signed anew, or as it was
				if got := bring(body, c.headers, at); got.status != 200 || !strings.Contains(got.body, `"cached",`+want) {
					t.Errorf("again: %v", got)
				}
			}
			executions++
			other := bring(strings.Replace(body, c.old, c.other, 1), c.otherHeaders, now)
			want = fmt.Sprintf(`"data":{"execution":%d}`, executions)
			if other.status != 200 || !strings.Contains(other.body, `"success",`+want) {
				t.Errorf("another one: %v", other)
			}
			if got := bring(strings.Replace(body, c.lacks, "", 1), c.withoutHeaders, now); got.status != c.status {
				t.Errorf("without its identity: %v", got)
			}
		})
	}
	h.expectExecutions(executions)
}
