package handler_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/internal/identity"
)

// TestTheTrailTellsWhatARequestIsAbout: its identity and the chosen fields, and nothing else of it.
func TestTheTrailTellsWhatARequestIsAbout(t *testing.T) {
	fields := identityOf(t, "json:variables.orderId,variables.paid,variables.deep.er,id").Paths
	long := strings.Repeat("é", 300)
	for _, test := range []struct{ name, identity, body, want string }{
		{"Cognigy's, with a text", "cognigy",
			`{"dialogId":"d:1 \u00e9","nodeId":"n","sequence":"7","variables":{"orderId":"A&B=\"1\"","name":"planted"}}`,
			`dialogId=d:1 é nodeId=n sequence=7 variables.orderId=A&B="1"`},
		{"numbers and booleans as they stand", "cognigy",
			`{"dialogId":"d","nodeId":"n","sequence":7,"variables":{"orderId":4711.50,"paid":true}}`,
			`dialogId=d nodeId=n sequence=7 variables.orderId=4711.50 variables.paid=true`},
		{"what is no plain value is left out", "cognigy",
			`{"dialogId":"d","nodeId":"n","sequence":7,"variables":{"orderId":{"planted":1},"paid":null,"deep":[1]},"id":[2]}`,
			`dialogId=d nodeId=n sequence=7`},
		{"one inside the other, and of two the last", "cognigy",
			`{"id":"first","dialogId":"d","nodeId":"n","sequence":7,"variables":{"deep":{"er":"x"}},"id":"last"}`,
			`dialogId=d nodeId=n sequence=7 variables.deep.er=x id=last`},
		{"what is long is cut", "cognigy",
			`{"dialogId":"d","nodeId":"n","sequence":7,"variables":{"orderId":"` + long + `"}}`,
			`dialogId=d nodeId=n sequence=7 variables.orderId=` + long[:256] + `…`},
		{"of JSON", "json:call.sid,n", `{"call":{"sid":"s-1"},"n":12,"variables":{"orderId":1}}`,
			`call.sid=s-1 n=12 variables.orderId=1`},
		{"of a header, whose body may be of any type", "header:X-Id", `not JSON {"variables":{"orderId":"planted"}}`,
			`x-id=key-1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *testbed) {
				o := options()
				o.Trail = 100
				r := h.openWith(o, handler.Options{
					Identity: identityOf(t, test.identity), TrailFields: fields, MaxBodyBytes: 1 << 16,
				}, func(*handler.Server) {})
				if answer := r.bring("/webhook/cognigy", test.body, "X-Id: key-1"); answer.status != 200 {
					t.Fatalf("it is answered %s", answer)
				}
				if got := h.about(0); got != test.want {
					t.Errorf("the trail tells %q, want %q", got, test.want)
				}
				if got := h.about(1); got != "-" {
					t.Errorf("of the end it tells %q", got)
				}
			})
		})
	}
}

func identityOf(t *testing.T, text string) identity.Identity {
	t.Helper()
	id, err := identity.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// about returns the part about the request in the n-th event of the trail, with "&" as a space and nothing escaped.
func (h *testbed) about(n int) string {
	h.Helper()
	all := h.client.B().Xrange().Key("cognigy:trail").Start("-").End("+").Build()
	entries, err := h.client.Do(h.Context(), all).AsXRange()
	if err != nil || len(entries) != 2 {
		h.Fatalf("the trail has %v, %v", entries, err)
	}
	parts := strings.Fields(entries[n].FieldValues["e"])
	pairs := strings.Split(parts[9], "&")
	for i := range pairs {
		if pairs[i], err = url.QueryUnescape(pairs[i]); err != nil {
			h.Fatal(err)
		}
	}
	return strings.Join(pairs, " ")
}
