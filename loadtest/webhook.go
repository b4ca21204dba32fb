package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// webhook is a body that a flow would send or, if it is malformed, one that a flow should not send.
type webhook struct {
	fingerprint fingerprint.Fingerprint // zero if the body is malformed
	body        []byte
	malformed   bool
}

// source makes webhooks: the same ones in the same order for the same scenario and seed. Both are part of the names of
// its dialogs. So a log shows where a webhook comes from, and no scenario sends a webhook of another one.
type source struct {
	prefix  string
	tenant  string // the tenant of the webhooks; "": there are no tenants
	random  *rand.Rand
	dialogs int
}

func newSource(scenario string, seed uint64, tenant string) *source {
	name := fnv.New64a()
	_, _ = name.Write([]byte(scenario))
	return &source{
		prefix: fmt.Sprintf("loadtest-%s-%d-", scenario, seed),
		tenant: tenant,
		random: rand.New(rand.NewPCG(seed, name.Sum64())), //nolint:gosec // it chooses webhooks and protects nothing
	}
}

// dialog begins a new dialog.
func (s *source) dialog() string {
	s.dialogs++
	return fmt.Sprintf("%s%06d", s.prefix, s.dialogs)
}

// webhook returns the first webhook of a new dialog.
func (s *source) webhook() *webhook { return s.webhookOf(s.dialog(), 1) }

var cities = [...]string{"FRA", "LIS", "OSL", "ATH", "DUB", "Zürich"}

const node = "book-flight"

func (s *source) webhookOf(dialog string, sequence int64) *webhook {
	return &webhook{
		fingerprint: s.fingerprint([]byte(dialog), []byte(node), sequence),
		body: fmt.Appendf(nil,
			`{"dialogId":%q,"nodeId":%q,"sequence":%d,"variables":{"origin":%q,"destination":%q,"passengers":%d,"total":%d.50}}`,
			dialog, node, sequence, s.city(), s.city(), 1+s.random.IntN(9), 40+s.random.IntN(2_000)),
	}
}

func (s *source) fingerprint(dialog, node []byte, sequence int64) fingerprint.Fingerprint {
	if s.tenant == "" {
		return fingerprint.Of(dialog, node, sequence)
	}
	return fingerprint.OfTenant(s.tenant, "cognigy", dialog, node, strconv.AppendInt(nil, sequence, 10))
}

func (s *source) city() string { return cities[s.random.IntN(len(cities))] }

// malformations are bodies that are not a webhook. %q stands for the dialog.
var malformations = [...]string{
	"%q",
	`{"dialogId":%q,"nodeId":"book-flight","sequence":1`,
	`{"dialogId":%q,"nodeId":"book-flight","sequence":1}{}`,
	`[{"dialogId":%q,"nodeId":"book-flight","sequence":1}]`,
	`{"dialogId":%q,"nodeId":"book-flight"}`,
	`{"dialogId":%q,"nodeId":"","sequence":1}`,
	`{"dialogId":[%q],"nodeId":"book-flight","sequence":1}`,
	`{"dialogId":%q,"nodeId":"book-flight","sequence":7.5}`,
	`{"dialogId":%q,"nodeId":"book-flight","sequence":"007"}`,
	`{"dialogId":%q,"nodeId":"book-flight","sequence":1,"variables":[]}`,
	`{"dialogId":%q,"nodeId":"book-flight","sequence":1,"sequence":2}`,
	`{"dialogId":%q,"nodeId":"\ud800","sequence":1}`,
	"{\"dialogId\":%q,\"nodeId\":\"\xff\",\"sequence\":1}",
}

func (s *source) malformed() *webhook {
	form := malformations[s.random.IntN(len(malformations))]
	return &webhook{body: fmt.Appendf(nil, form, s.dialog()), malformed: true}
}
