package identity_test

import (
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/identity"
)

func TestWhatAnIdentityMayBe(t *testing.T) {
	for text, want := range map[string]string{
		"cognigy":                       "cognigy",
		"header:Idempotency-Key":        "header:idempotency-key",
		"json:id":                       "json:id",
		"json:call_sid, call_status":    "json:call_sid,call_status",
		"json:data.object.id,data.kind": "json:data.object.id,data.kind",
		"json:a-b.c_d.0":                "json:a-b.c_d.0",
	} {
		id, err := identity.Parse(text)
		if err != nil || id.String() != want {
			t.Errorf("%q is %v, %v; want %s", text, id, err, want)
		}
	}
	if id, _ := identity.Parse("cognigy"); !id.Cognigy() {
		t.Error("cognigy is not Cognigy's")
	}
}

func TestWhatNoIdentityIs(t *testing.T) {
	for _, text := range []string{
		"", "Cognigy", "header:", "header:a b", "header:a:b", "header", "json:", "json", "json:a,", "json:a..b", "json:.a",
		"json:a[0]", "json:*", "json:a.*", "json:#", "json:a|b", "json:@this", "json:a?b", "json:ä", "json:a b", "json:$.a",
		"json:" + strings.Repeat("a", 129), "json:a" + strings.Repeat(".a", 16), "json:a" + strings.Repeat(",a", 16), "xml:a",
	} {
		if id, err := identity.Parse(text); err == nil {
			t.Errorf("%q is %v", text, id)
		}
	}
}

// FuzzParse holds that an identity has one text: a change of the text that means nothing must not make webhooks new.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"cognigy", "header:X-Id", "json:a.b,c", "json: a , b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := identity.Parse(text)
		if err != nil {
			return
		}
		again, err := identity.Parse(id.String())
		if err != nil || again.String() != id.String() {
			t.Errorf("%q is %q, and that is %q, %v", text, id, again, err)
		}
	})
}
