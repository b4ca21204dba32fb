package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/seal"
)

// secretOf returns 32 bytes in base64, which depend only on the letter.
func secretOf(letter string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

func keysOf(t testing.TB, lines ...string) *seal.Keys {
	t.Helper()
	k, err := seal.Parse(strings.Join(append(lines, "digest "+secretOf("d")), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	place = seal.Place{Prefix: "cognigy", Fingerprint: fingerprint.Of([]byte("d-0001"), []byte("n-0001"), 7)}
	done  = record.Record{
		State: record.Done, Attempt: 2, Token: "gateway~DFJRGK2HLQ3Z~1a",
		Stored: time.UnixMilli(1700000000123), Ends: time.UnixMilli(1700003600123), Digest: record.Digest{0: 0xab, 15: 1},
		Result: record.Result{
			Status: 200, ContentType: "text/plain; charset=utf-8", Body: []byte("seats: 2\n\x00"),
			Headers: []record.Header{{Name: "Location", Value: "/bookings/50%"}, {Name: "X-Empty", Value: ""}},
		},
	}
)

func expectOpens(t *testing.T, k *seal.Keys, p seal.Place, sealed, want record.Record) {
	t.Helper()
	got, err := k.Open(p, sealed)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("opened: %v\n%+v, want\n%+v", err, got, want)
	}
}

func TestAResultThatIsSealedOpensAsItWas(t *testing.T) {
	k := keysOf(t, "one "+secretOf("1"))
	for name, result := range map[string]record.Result{
		"with headers": done.Result,
		"JSON":         {Status: 201, ContentType: record.JSON, Body: []byte(`{"booked":true}`)},
		"no body":      {Status: 204, ContentType: record.JSON, Body: []byte{}},
		"a refusal":    {Status: 404, ContentType: record.JSON, Body: []byte(`"none\n"`)},
		"a large one":  {Status: 200, ContentType: "x", Body: bytes.Repeat([]byte("x\n"), 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			r := done
			r.Result = result
			sealed := k.Seal(place, r)
			if sealed.State != record.Sealed || sealed.KeyID != "one" || sealed.Result.Status != result.Status ||
				sealed.Result.ContentType != "" || sealed.Result.Headers != nil {
				t.Errorf("sealed: %+v", sealed)
			}
			if len(result.Body) > 8 && bytes.Contains(sealed.Result.Body, result.Body[:8]) {
				t.Error("its body can be read")
			}
			if longer := len(sealed.Result.Body) - len(result.Body); longer > seal.Overhead {
				t.Errorf("it is %d bytes longer", longer)
			}
			expectOpens(t, k, place, sealed, r)
			value := record.Append(nil, sealed) // and by way of Redis
			parsed, err := record.Parse(value)
			if err != nil {
				t.Fatal(err)
			}
			expectOpens(t, k, place, parsed, r)
			if again := k.Seal(place, r); bytes.Equal(again.Result.Body, sealed.Result.Body) {
				t.Error("sealed twice it gives the same bytes")
			}
		})
	}
}

func TestWhatStoresAnAttemptLaterThanItWasSealedOpens(t *testing.T) {
	k := keysOf(t, "one "+secretOf("1"))
	sealed, want := k.Seal(place, done), done
	sealed.Attempt, want.Attempt = 3, 3
	sealed.Past, want.Past = "1,1,2,expired,-", "1,1,2,expired,-"
	expectOpens(t, k, place, sealed, want)
}

func TestWhatIsNotDoneIsNotSealedAndWithoutKeysNothingIs(t *testing.T) {
	failed := record.Record{State: record.Failed, Attempt: 1, Token: "t", Reason: "error"}
	var none *seal.Keys
	for _, c := range []struct {
		keys *seal.Keys
		r    record.Record
	}{{keysOf(t, "one "+secretOf("1")), failed}, {none, done}, {none, failed}} {
		if got := c.keys.Seal(place, c.r); !reflect.DeepEqual(got, c.r) {
			t.Errorf("sealed: %+v", got)
		}
		expectOpens(t, c.keys, place, c.r, c.r)
	}
	if d := (record.Digest{1}); none.Digest(d) != d {
		t.Error("without keys a digest is keyed")
	}
}

func TestAKeyThatIsMissingIsToldFromARecordThatWasChanged(t *testing.T) {
	sealed := keysOf(t, "one "+secretOf("1")).Seal(place, done)
	var none *seal.Keys
	for name, c := range map[string]struct {
		keys *seal.Keys
		want error
	}{
		"no file":                     {none, seal.ErrNoKey},
		"a file without this key":     {keysOf(t, "two "+secretOf("1")), seal.ErrNoKey},
		"another key under this name": {keysOf(t, "one "+secretOf("2")), seal.ErrBroken},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.keys.Open(place, sealed)
			if !errors.Is(err, c.want) || !reflect.DeepEqual(got, sealed) {
				t.Errorf("%v, %+v", err, got)
			}
		})
	}
}

func TestNothingThatIsBoundMayChange(t *testing.T) {
	k := keysOf(t, "one "+secretOf("1"), "two "+secretOf("2"))
	sealed := k.Seal(place, done)
	for name, change := range map[string]func(p *seal.Place, r *record.Record){
		"the prefix":         func(p *seal.Place, _ *record.Record) { p.Prefix = "other" },
		"the tenant":         func(p *seal.Place, _ *record.Record) { p.Tenant = "acme" },
		"prefix into tenant": func(p *seal.Place, _ *record.Record) { p.Prefix, p.Tenant = "cogn", "igy" },
		"the fingerprint":    func(p *seal.Place, _ *record.Record) { p.Fingerprint[31] ^= 1 },
		"the token":          func(_ *seal.Place, r *record.Record) { r.Token += "0" },
		"the status":         func(_ *seal.Place, r *record.Record) { r.Result.Status = 201 },
		"the digest":         func(_ *seal.Place, r *record.Record) { r.Digest[0] ^= 1 },
		"the key's id":       func(_ *seal.Place, r *record.Record) { r.KeyID = "two" },
		"cut to nothing":     func(_ *seal.Place, r *record.Record) { r.Result.Body = nil },
		"a byte is missing":  func(_ *seal.Place, r *record.Record) { r.Result.Body = r.Result.Body[1:] },
		"a byte behind":      func(_ *seal.Place, r *record.Record) { r.Result.Body = append(bytes.Clone(r.Result.Body), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			p, r := place, sealed
			change(&p, &r)
			if got, err := k.Open(p, r); !errors.Is(err, seal.ErrBroken) {
				t.Errorf("%v, %+v", err, got)
			}
		})
	}
}

// TestABitThatIsFlippedAnywhereIsSeen flips each bit of a record's value in Redis. A flip in an unbound field (the
// attempt, the times, the past) may change that field, but never the result.
func TestABitThatIsFlippedAnywhereIsSeen(t *testing.T) {
	k := keysOf(t, "one "+secretOf("1"))
	value := record.Append(nil, k.Seal(place, done))
	for i := range value {
		for bit := range 8 {
			changed := bytes.Clone(value)
			changed[i] ^= 1 << bit
			r, err := record.Parse(changed)
			if err != nil || r.State != record.Sealed {
				continue // foreign, or another state that no sealed bytes make a result of
			}
			opened, err := k.Open(place, r)
			if err == nil && !(reflect.DeepEqual(opened.Result, done.Result) && opened.Token == done.Token &&
				opened.Digest == done.Digest) {
				t.Fatalf("bit %d of byte %d: %q opens as %+v", bit, i, changed, opened)
			}
			if err == nil && i >= bytes.IndexByte(value, '\n') {
				t.Fatalf("bit %d of byte %d of the sealed bytes may be flipped", bit, i)
			}
		}
	}
}

func TestDigestsAreKeyedBySecretsThatRotationLeavesAlone(t *testing.T) {
	d := record.Digest{1}
	before, after := keysOf(t, "one "+secretOf("1")), keysOf(t, "two "+secretOf("2"), "one "+secretOf("1"))
	other, err := seal.Parse("one " + secretOf("1") + "\ndigest " + secretOf("e"))
	if err != nil {
		t.Fatal(err)
	}
	keyed := before.Digest(d)
	if keyed == d || keyed != after.Digest(d) || keyed == other.Digest(d) || keyed == before.Digest(record.Digest{2}) {
		t.Errorf("%x, after a rotation %x, under another secret %x", keyed, after.Digest(d), other.Digest(d))
	}
	if want := "1edc517f87133e4083ecb5f78c38c7ab"; keyed.Hex() != want { // by openssl dgst -mac HMAC
		t.Errorf("%s, want %s", keyed.Hex(), want)
	}
}

var update = flag.Bool("update", false, "write the golden bytes anew")

// TestTheGoldenBytesOpenForEver checks that every version that reads form 1 opens the results that the first version
// sealed.
func TestTheGoldenBytesOpenForEver(t *testing.T) {
	const file = "testdata/sealed-1"
	k := keysOf(t, "two "+secretOf("2"), "one "+secretOf("1"))
	cryptotest.SetGlobalRandom(t, 1) // nonces are the same each time, but for a Go that draws them in another way
	sealed := record.Append(nil, keysOf(t, "one "+secretOf("1")).Seal(place, done))
	if *update {
		if err := os.WriteFile(file, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.Parse(golden)
	if err != nil {
		t.Fatal(err)
	}
	expectOpens(t, k, place, r, done)
	if !bytes.Equal(sealed, golden) {
		t.Errorf("sealed\n%q, want\n%q", sealed, golden)
	}
}

func FuzzOpen(f *testing.F) {
	k := keysOf(f, "one "+secretOf("1"))
	sealed := record.Append(nil, k.Seal(place, done))
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte("S1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 2 200 - one\n"))
	f.Add([]byte("S1 1 t AAAAAAAAAAAAAAAAAAAAAA 1 2 200 - two\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := record.Parse(value)
		if err != nil || r.State != record.Sealed {
			return
		}
		opened, err := k.Open(place, r)
		if err == nil && !reflect.DeepEqual(opened.Result, done.Result) {
			t.Errorf("%q was not sealed here and opens: %+v", value, opened)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := keysOf(b, "one "+secretOf("1"))
	r := done
	r.Result = record.Result{Status: 200, ContentType: record.JSON, Body: bytes.Repeat([]byte("x"), 1024)}
	sealed := k.Seal(place, r)
	b.Run("seal 1 KiB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Seal(place, r)
		}
	})
	b.Run("open 1 KiB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Open(place, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Digest(r.Digest)
		}
	})
}
