package trail

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/redis"
	"github.com/oncegate/oncegate/internal/redistest"
)

func TestAnAboutIsBounded(t *testing.T) {
	var a About
	for range 100 {
		a.Add(strings.Repeat("n", 500), strings.Repeat("ä", 1000))
	}
	if len(a) > maxAbout || len(a) < maxAbout/2 {
		t.Errorf("it has %d bytes", len(a))
	}
	a = nil
	a.Add("name", "value\n with = & and \x00")
	if strings.ContainsAny(string(a), " \n\x00") {
		t.Errorf("it is %q", a)
	}
}

func TestAValueThatWasCutIsFound(t *testing.T) {
	var a About
	long := strings.Repeat("ä", 300)
	a.Add("variables.id", long)
	if f := fields(string(a))[0]; !f.Is("id", long) || !f.Is("variables.id", long) || f.Is("ariables.id", long) ||
		f.Is("id", long[:256]) {
		t.Errorf("it is %v", f)
	}
}

func TestWhatIsNoTextIsCutToo(t *testing.T) {
	if got := cut(strings.Repeat("\x80", 300)); len(got) > maxValue+len("…") {
		t.Errorf("it has %d bytes", len(got))
	}
}

// fill appends so many webhooks to a trail, from a number on. Each has a claim, of an order of that number.
const fill = `
	for i = ARGV[1], ARGV[2] do
		redis.call('XADD', KEYS[1], '*', 'e', 'claimed - 0 1 1 gw~A~1 AQIDAAAAAAAAAAAAAAAAAA ' ..
			'cognigy:fp:' .. string.format('%064x', i) .. ' 0 of=all&order=' .. i)
	end`

// TestAReaderRemembersTheWebhooksThatCameLast, so that its memory does not grow with the trail; but if webhooks are
// asked for, all their events are found.
func TestAReaderRemembersTheWebhooksThatCameLast(t *testing.T) {
	client := redistest.Client(t, redistest.Start(t).Addr())
	keys := redis.NewKeys("cognigy")
	add := func(from, to int) {
		redistest.Do(t, client, "EVAL", fill, "1", "cognigy:trail", fmt.Sprint(from), fmt.Sprint(to))
	}
	end := func(of int) {
		redistest.Do(t, client, "XADD", "cognigy:trail", "*", "e", fmt.Sprintf(
			"stored - 200 1 1 gw~A~1 AQIDAAAAAAAAAAAAAAAAAA cognigy:fp:%064x 0 -", of))
	}
	read := func(r *Reader) (last Event, n int) {
		for e, err := range r.Read(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			last, n = e, n+1
		}
		return last, n
	}
	all, asked := NewReader(client, keys, Query{}), NewReader(client, keys, Query{Name: "of", Value: "all"})
	add(1, 2*remembered+remembered/2)
	end(1)
	if last, n := read(all); last.Fields != nil || n != 2*remembered+remembered/2+1 {
		t.Errorf("the last of %d is %v: the first webhook of a long trail is still remembered", n, last)
	}
	if last, n := read(asked); last.Fields == nil || n != 2*remembered+remembered/2+1 {
		t.Errorf("the last of %d is %v: a step of a webhook that was asked for has nothing of its request", n, last)
	}
	for round := range 2 { // the last webhook of the round before continues
		const of = 2*remembered + remembered/2
		add(1+of+round*remembered, of+(round+1)*remembered)
		end(of)
		for what, r := range map[string]*Reader{"all": all, "those asked for": asked} {
			last, _ := read(r)
			if held := len(r.named.young) + len(r.named.old); held > 2*remembered && round > 0 {
				t.Errorf("of %s it remembers %d webhooks", what, held)
			}
			if len(last.Fields) != 2 {
				t.Errorf("of %s the last is %v: what goes on is not remembered", what, last)
			}
		}
	}
}

// FuzzParse: no entry of a stream harms a reader.
func FuzzParse(f *testing.F) {
	keys := redis.NewKeys("cognigy")
	f.Add("1795688572934-0", "stored - 200 1795688572900 1 gw~A~1 AQIDAAAAAAAAAAAAAAAAAA cognigy:t:acme:fp:"+
		strings.Repeat("0", 64)+" 3 dialogId=d&nodeId=%zz")
	f.Add("1-1", "x")
	f.Fuzz(func(t *testing.T, id, line string) {
		e, err := parse(keys, id, line)
		if err != nil {
			return
		}
		if e.Took < 0 || e.What == "" && !strings.HasPrefix(line, " ") {
			t.Errorf("%q is %+v", line, e)
		}
	})
}
