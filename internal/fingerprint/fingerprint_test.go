package fingerprint_test

import (
	"bytes"
	"crypto/sha256"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// These values are a promise: other programs compute them too, and replicas of two versions must agree on them.
func TestKnownValues(t *testing.T) {
	for _, c := range []struct {
		dialogID, nodeID string
		sequence         int64
		want             string
	}{
		{"d-0001", "n-0001", 7, "9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5"},
		{"a:b", "c", 1, "c8ad8c238d23e6b21152f767f8ed8f7a9cecf05cb6299bc28c8276d36d9ae34b"},
		{"a", "b:c", 1, "f0e936888d549d620f33a06693fce770e37a927df97ebe36b02867eef92dbd09"},
		{`a\`, "b", 0, "0d5d8fb21f9b0a28df436eb924b47828511933578cd287d7259a44c34c4c38ec"},
		{"ünïcode", "節点", math.MinInt64, "c04dcb2ec126b9d42e8f30d3eebf43363d6f61bb7dadb813c7765dca0c7bcdce"},
	} {
		f := fingerprint.Of([]byte(c.dialogID), []byte(c.nodeID), c.sequence)
		if f.Hex() != c.want || string(f.AppendHex([]byte("x"))) != "x"+c.want || f.String() != "cognigy:fp:"+c.want {
			t.Errorf("%q %q %d is %s, want %s", c.dialogID, c.nodeID, c.sequence, f, c.want)
		}
	}
}

// These values are a promise too: backends remember their work by them.
func TestKnownUUIDs(t *testing.T) {
	for hex, want := range map[string]string{
		"9443ee322c40418bfa7ef17b52766d02d4845f338545d08261d02319a3d397a5": "9443ee32-2c40-818b-ba7e-f17b52766d02",
		strings.Repeat("f", 64): "ffffffff-ffff-8fff-bfff-ffffffffffff",
		strings.Repeat("0", 64): "00000000-0000-8000-8000-000000000000",
	} {
		f, err := fingerprint.Parse(hex)
		if err != nil || f.UUID() != want {
			t.Errorf("%s is %s, want %s (%v)", hex, f.UUID(), want, err)
		}
	}
}

func TestLongIDsCountToTheirLastByte(t *testing.T) {
	long := bytes.Repeat([]byte{':'}, 512) // the longest that a payload may have, and all of it escaped
	f := fingerprint.Of(long, long, 1)
	for _, i := range []int{0, 255, 256, 511} {
		other := bytes.Clone(long)
		other[i] = 'x'
		if fingerprint.Of(other, long, 1) == f || fingerprint.Of(long, other, 1) == f {
			t.Errorf("byte %d does not count", i)
		}
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	dialogID, nodeID := []byte("b3f1c2d4-5a6e-4f70-8192-a3b4c5d6e7f8"), []byte("7e2a9c10-3b4d-4e5f-9a6b-c7d8e9f0a1b2")
	if n := testing.AllocsPerRun(100, func() { fingerprint.Of(dialogID, nodeID, math.MinInt64) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseReadsBothForms(t *testing.T) {
	want := fingerprint.Of([]byte("d"), []byte("n"), 1)
	for _, text := range []string{want.Hex(), want.String()} {
		if f, err := fingerprint.Parse(text); err != nil || f != want {
			t.Errorf("%s is read as %v, %v", text, f, err)
		}
	}
}

func TestParseRefusesWhatIsNoFingerprint(t *testing.T) {
	hex := fingerprint.Of([]byte("d"), []byte("n"), 1).Hex()
	for name, text := range map[string]string{
		"nothing":            "",
		"the prefix alone":   fingerprint.Prefix,
		"a digit too few":    hex[1:],
		"a digit too many":   hex + "0",
		"a letter beyond f":  hex[:63] + "g",
		"another prefix":     "other:fp:" + hex,
		"the prefix twice":   fingerprint.Prefix + fingerprint.Prefix + hex,
		"white space":        hex + "\n",
		"a very long text":   strings.Repeat("0", 1<<20),
		"a prefix as a tail": hex + fingerprint.Prefix,
	} {
		f, err := fingerprint.Parse(text)
		if err == nil {
			t.Errorf("%s is read as %v", name, f)
		} else if len(err.Error()) > 200 {
			t.Errorf("%s gives a message of %d bytes", name, len(err.Error()))
		}
	}
}

// Two identities may share a fingerprint only if they are equal. The text that is hashed cannot be seen from outside,
// so the fuzzer looks for two identities with the same fingerprint.
func FuzzOf(f *testing.F) {
	f.Add([]byte("a:b"), []byte("c"), int64(1), []byte("a"), []byte("b:c"), int64(1))
	f.Add([]byte(`a\`), []byte("b"), int64(0), []byte(`a`), []byte(`\:b`), int64(0))
	f.Add([]byte(`a\`), []byte("b:c"), int64(7), []byte(`a:b\`), []byte("c"), int64(7)) // one, if only colons were escaped
	f.Add([]byte("a"), []byte("b:1"), int64(2), []byte("a:b"), []byte("1"), int64(2))
	f.Add([]byte("a"), []byte("b"), int64(12), []byte("a"), []byte("b1"), int64(2))
	f.Add([]byte(""), []byte(""), int64(-1), []byte(":"), []byte(""), int64(1))
	f.Fuzz(func(t *testing.T, d1, n1 []byte, s1 int64, d2, n2 []byte, s2 int64) {
		one, two := fingerprint.Of(d1, n1, s1), fingerprint.Of(d2, n2, s2)
		same := bytes.Equal(d1, d2) && bytes.Equal(n1, n2) && s1 == s2
		if (one == two) != same {
			t.Errorf("%q %q %d is %s, %q %q %d is %s", d1, n1, s1, one, d2, n2, s2, two)
		}
		// The fuzzer hardly ever finds two identities that differ only in the place where the text is split: try all of them.
		text := strings.Join([]string{string(d1), string(n1), strconv.FormatInt(s1, 10)}, ":")
		for _, other := range splits(text[max(0, len(text)-100):]) {
			same := other == identity{string(d1), string(n1), s1}
			if got := fingerprint.Of([]byte(other.dialogID), []byte(other.nodeID), other.sequence); (got == one) != same {
				t.Errorf("%q %q %d and %+v", d1, n1, s1, other)
			}
		}
		for _, text := range []string{one.Hex(), one.String()} {
			if back, err := fingerprint.Parse(text); err != nil || back != one {
				t.Errorf("%s is read as %v, %v", text, back, err)
			}
		}
	})
}

// FuzzOfTenant holds that no two tenants, identities or lists of parts have one fingerprint, nor one with Of.
func FuzzOfTenant(f *testing.F) {
	f.Add("acme", "cognigy", []byte("a"), []byte("b"), "acme", "cognigy", []byte("a:b"), []byte(""))
	f.Add("acme", "header:x", []byte("a"), []byte(""), "", "acme:header:x", []byte("a"), []byte(""))
	f.Add("a", "b", []byte(`\`), []byte(`:`), "a", "b", []byte(`\:`), []byte(``))
	f.Add("acme", "cognigy", []byte("a"), []byte("b"), "beta", "cognigy", []byte("a"), []byte("b"))
	f.Add("acme", "json:id", []byte("a"), []byte("b"), "acme", "json:no", []byte("a"), []byte("b"))
	f.Add("", "json:id", []byte("number"), []byte("7"), "", "json:id", []byte("string"), []byte("7"))
	f.Fuzz(func(t *testing.T, t1, i1 string, a1, b1 []byte, t2, i2 string, a2, b2 []byte) {
		one, two := fingerprint.OfTenant(t1, i1, a1, b1), fingerprint.OfTenant(t2, i2, a2, b2)
		same := t1 == t2 && i1 == i2 && bytes.Equal(a1, a2) && bytes.Equal(b1, b2)
		if (one == two) != same {
			t.Errorf("%q %q %q %q is %s, %q %q %q %q is %s", t1, i1, a1, b1, one, t2, i2, a2, b2, two)
		}
		if one == fingerprint.OfTenant(t1, i1, append(append(bytes.Clone(a1), ':'), b1...)) {
			t.Errorf("%q %q %q %q is one with fewer parts", t1, i1, a1, b1)
		}
		if one == fingerprint.Of([]byte(t1), []byte(i1), 7) || one == fingerprint.Of(a1, b1, 7) {
			t.Errorf("%q %q %q %q is a flow's", t1, i1, a1, b1)
		}
	})
}

func TestKnownValuesOfTenants(t *testing.T) {
	seven := []byte("7")
	for text, got := range map[string]fingerprint.Fingerprint{
		`\t:acme:cognigy:a\:b:c:7`: fingerprint.OfTenant("acme", "cognigy", []byte("a:b"), []byte("c"), []byte("7")),
		`\t:acme:header\:x-id:k`:   fingerprint.OfTenant("acme", "header:x-id", []byte("k")),
		`\i:json\:id,a.b:number:7:string:7`: fingerprint.OfTenant("", "json:id,a.b", []byte("number"), seven,
			[]byte("string"), seven),
	} {
		if want := fingerprint.Fingerprint(sha256.Sum256([]byte(text))); got != want {
			t.Errorf("of %s: %v, want %v", text, got, want)
		}
	}
}

type identity struct {
	dialogID, nodeID string
	sequence         int64
}

// splits returns all identities that a text would stand for if no part of it were escaped.
func splits(text string) (all []identity) {
	for i := range text {
		for j := i + 1; j < len(text); j++ {
			if text[i] != ':' || text[j] != ':' {
				continue
			}
			n, err := strconv.ParseInt(text[j+1:], 10, 64)
			if err == nil && strconv.FormatInt(n, 10) == text[j+1:] {
				all = append(all, identity{text[:i], text[i+1 : j], n})
			}
		}
	}
	return all
}
