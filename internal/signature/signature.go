// Package signature checks that a request was signed with a known secret: HMAC-SHA-256 over its body and, in two of the
// forms, over the time and an id.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Form is the form of a signature in a request.
type Form string

// The forms.
const (
	Hex         Form = "sha256-hex"        // hex digits, with "sha256=" before them or without it
	Base64      Form = "sha256-base64"     // the same in base64
	Timestamped Form = "timestamped"       // t=<Unix seconds>,v1=<hex>[,v1=…], over "<t>.<body>"
	Standard    Form = "standard-webhooks" // webhook-id, webhook-timestamp, webhook-signature: standardwebhooks.com
)

// Forms are all forms.
var Forms = []Form{Hex, Base64, Timestamped, Standard}

// tolerance is how far a signed time may be from now, in either direction.
const tolerance = 5 * time.Minute

// maxSignatures bounds how many signatures of one request are tried.
const maxSignatures = 16

// ErrBad says that a request has no signature, or none that fits.
var ErrBad = errors.New("the signature is missing or wrong")

// Verifier checks the signatures of one sender. It is safe for use by any number of goroutines.
type Verifier struct {
	form    Form
	header  string
	secrets [][]byte // each is accepted, for rotation
}

// New returns a verifier. header is the header with the signature; standard-webhooks has its own. The secrets of
// standard-webhooks are base64, with or without whsec_ before it; the secrets of the other forms are the bytes of the
// text. An error does not show them.
func New(form Form, header string, secrets []string) (*Verifier, error) {
	v := &Verifier{form: form, header: header}
	if len(secrets) == 0 {
		return nil, errors.New("has no secret")
	}
	for i, text := range secrets {
		secret := []byte(text)
		if form == Standard {
			var err error
			if secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_")); err != nil {
				return nil, fmt.Errorf("secret %d (not shown) must be base64, with or without whsec_ before it", i+1)
			}
		}
		if len(secret) < minSecret {
			return nil, fmt.Errorf("secret %d (not shown) must have at least %d bytes", i+1, minSecret)
		}
		v.secrets = append(v.secrets, secret)
	}
	return v, nil
}

// minSecret is the length from which a secret cannot be guessed, if it was drawn at random.
const minSecret = 16

// Covers reports whether a signature covers a header, so that nobody can change it: only then may the header hold an
// identity.
func (v *Verifier) Covers(header string) bool {
	return v.form == Standard && strings.EqualFold(header, webhooks.HeaderWebhookID)
}

// Verify checks a request's signature, or returns ErrBad. header returns the value of a header, "" if there is none or
// more than one.
func (v *Verifier) Verify(header func(name string) string, body []byte, now time.Time) error {
	if v.form == Standard {
		return v.verifyStandard(header, body)
	}
	given := header(v.header)
	switch v.form {
	case Hex:
		return v.any(body, decode(hex.DecodeString, strings.TrimPrefix(given, "sha256=")))
	case Base64:
		return v.any(body, decode(base64.StdEncoding.DecodeString, strings.TrimPrefix(given, "sha256=")))
	case Timestamped, Standard:
	}
	var signed string
	var macs [][]byte
	for part := range strings.SplitSeq(given, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			if signed != "" {
				return ErrBad
			}
			signed = value
		case "v1":
			macs = append(macs, decode(hex.DecodeString, value)...)
		}
	}
	at, err := strconv.ParseInt(signed, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > tolerance || len(macs) > maxSignatures {
		return ErrBad
	}
	return v.any(append([]byte(signed+"."), body...), macs)
}

// decode returns the decoded text, or nothing if it cannot be decoded.
func decode(decode func(string) ([]byte, error), text string) [][]byte {
	mac, err := decode(text)
	if err != nil {
		return nil
	}
	return [][]byte{mac}
}

// any reports whether one of the codes is that of the text under one of the secrets.
func (v *Verifier) any(text []byte, macs [][]byte) error {
	for _, secret := range v.secrets {
		own := hmac.New(sha256.New, secret)
		own.Write(text)
		want := own.Sum(nil)
		for _, mac := range macs {
			if hmac.Equal(mac, want) {
				return nil
			}
		}
	}
	return ErrBad
}

func (v *Verifier) verifyStandard(header func(name string) string, body []byte) error {
	headers := http.Header{}
	for _, name := range []string{
		webhooks.HeaderWebhookID, webhooks.HeaderWebhookTimestamp, webhooks.HeaderWebhookSignature,
	} {
		headers.Set(name, header(name))
	}
	if strings.Count(headers.Get(webhooks.HeaderWebhookSignature), " ") >= maxSignatures {
		return ErrBad
	}
	for _, secret := range v.secrets {
		if one, err := webhooks.NewWebhookRaw(secret); err == nil && one.Verify(body, headers) == nil {
			return nil
		}
	}
	return ErrBad
}
