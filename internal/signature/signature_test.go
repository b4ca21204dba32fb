package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/oncegate/oncegate/internal/signature"
)

const (
	secret = "0123456789abcdef"
	other  = "fedcba9876543210"
	body   = `{"call_sid":"c-1","call_status":"completed"}`
)

func mac(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// headers are a request's, each once.
type headers map[string]string

func (h headers) get(name string) string { return h[http.CanonicalHeaderKey(name)] }

func TestASignatureFitsItsBodyAlone(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	stamped := func(secret string, at time.Time) string {
		return fmt.Sprintf("t=%d,v1=%x", at.Unix(), mac(secret, fmt.Sprintf("%d.%s", at.Unix(), body)))
	}
	own := hex.EncodeToString(mac(secret, body))
	for _, c := range []struct {
		form  signature.Form
		given string
		fits  bool
	}{
		{signature.Hex, own, true},
		{signature.Hex, "sha256=" + own, true},
		{signature.Hex, strings.ToUpper(own), true},
		{signature.Hex, hex.EncodeToString(mac(other, body)), true}, // the secret before a rotation
		{signature.Hex, hex.EncodeToString(mac("another-secret-…", body)), false},
		{signature.Hex, hex.EncodeToString(mac(secret, body+" ")), false},
		{signature.Hex, own[:62], false},
		{signature.Hex, own + "00", false},
		{signature.Hex, "sha1=" + own, false},
		{signature.Hex, "", false},
		{signature.Hex, base64.StdEncoding.EncodeToString(mac(secret, body)), false},
		{signature.Base64, base64.StdEncoding.EncodeToString(mac(secret, body)), true},
		{signature.Base64, "sha256=" + base64.StdEncoding.EncodeToString(mac(secret, body)), true},
		{signature.Base64, own, false},
		{signature.Base64, "", false},
		{signature.Timestamped, stamped(secret, now), true},
		{signature.Timestamped, stamped(other, now), true},
		{signature.Timestamped, stamped(secret, now.Add(-5*time.Minute)), true},
		{signature.Timestamped, stamped(secret, now.Add(5*time.Minute)), true},
		{signature.Timestamped, stamped(secret, now.Add(-5*time.Minute-time.Second)), false},
		{signature.Timestamped, stamped(secret, now.Add(5*time.Minute+time.Second)), false},
		{signature.Timestamped, stamped("another-secret-…", now) + "," + strings.Split(stamped(secret, now), ",")[1], true},
		{signature.Timestamped, strings.ReplaceAll(stamped(secret, now), ",", " , "), true},
		{signature.Timestamped, "t=1800000001," + strings.Split(stamped(secret, now), ",")[1], false},
		{signature.Timestamped, "t=1800000000," + stamped(secret, now), false}, // two times
		{signature.Timestamped, "v1=" + own, false},
		{signature.Timestamped, "t=1800000000", false},
		{signature.Timestamped, "t=1800000000,v0=" + own, false},
		{signature.Timestamped, "t=-9223372036854775808,v1=" + own, false},
		{signature.Timestamped, stamped(secret, now) + strings.Repeat(",v1=00", 16), false},
		{signature.Timestamped, "", false},
	} {
		v, err := signature.New(c.form, "X-Signature", []string{secret, other})
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Verify(headers{"X-Signature": c.given}.get, []byte(body), now) == nil; got != c.fits {
			t.Errorf("%s %q: fits is %v", c.form, c.given, got)
		}
	}
}

func TestStandardWebhooks(t *testing.T) {
	raw := []byte("0123456789abcdef01234567")
	text := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	sender, err := webhooks.NewWebhook(text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := sender.Sign("msg_1", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	good := headers{"Webhook-Id": "msg_1", "Webhook-Timestamp": fmt.Sprint(now.Unix()), "Webhook-Signature": signed}
	changed := func(name, value string) headers {
		h := maps.Clone(good)
		h[name] = value
		return h
	}
	for _, secrets := range [][]string{{text}, {strings.TrimPrefix(text, "whsec_")}, {
		base64.StdEncoding.EncodeToString([]byte(secret)), text,
	}} {
		v, err := signature.New(signature.Standard, "", secrets)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			headers
			fits bool
		}{
			"as sent":         {good, true},
			"another id":      {changed("Webhook-Id", "msg_2"), false},
			"no id":           {changed("Webhook-Id", ""), false},
			"another time":    {changed("Webhook-Timestamp", fmt.Sprint(now.Unix()+1)), false},
			"an old time":     {changed("Webhook-Timestamp", fmt.Sprint(now.Unix()-301)), false},
			"no signature":    {changed("Webhook-Signature", ""), false},
			"several":         {changed("Webhook-Signature", "v1,AAAA "+signed), true},
			"a storm of them": {changed("Webhook-Signature", strings.Repeat("v1,AAAA ", 20)+signed), false},
		} {
			if got := v.Verify(c.get, []byte(body), now) == nil; got != c.fits {
				t.Errorf("%s: fits is %v", name, got)
			}
		}
		if v.Verify(good.get, []byte(body+" "), now) == nil {
			t.Error("another body fits")
		}
		if !v.Covers("Webhook-Id") || v.Covers("webhook-timestamp") {
			t.Error("it covers the id alone")
		}
	}
}

func TestSecretsThatMakeNoSenseAreRefusedAndNotShown(t *testing.T) {
	for _, c := range []struct {
		form    signature.Form
		secrets []string
	}{
		{signature.Hex, nil}, {signature.Hex, []string{"short-secret"}}, {signature.Hex, []string{secret, "short-secret"}},
		{signature.Standard, []string{"short-secret!"}}, {signature.Standard, []string{"whsec_c2hvcnQ="}},
	} {
		v, err := signature.New(c.form, "X-Signature", c.secrets)
		if err == nil || strings.Contains(err.Error(), "short-secret") || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%s %q: %v, %v", c.form, c.secrets, v, err)
		}
	}
	v, _ := signature.New(signature.Hex, "X-Signature", []string{secret})
	if v.Covers("X-Signature") || v.Covers("webhook-id") {
		t.Error("a signature over the body covers a header")
	}
}
