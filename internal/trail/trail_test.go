package trail

import (
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/redis"
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

// FuzzParse: whatever stands in a stream spoils no reader.
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
