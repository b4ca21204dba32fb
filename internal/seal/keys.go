package seal

import (
	"bufio"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/internal/secretfile"
)

// Keys are the keys of one file. Nil Keys stand for no file: they seal nothing and open nothing.
type Keys struct {
	keys   []*key // the first one seals
	digest []byte
}

// key is a key that seals and opens results.
type key struct {
	id        string
	extracted []byte // by HKDF, from the secret in the file
}

// Format hides the keys wherever they are printed.
func (*Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

const (
	keySize    = 32       // bytes of a key and of the digest secret
	digestLine = "digest" // first word of the line with the digest secret
	hidden     = "[hidden]"
)

var keyID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`) // record.MaxKeyID

// ErrKeyFile says that RESULT_KEY_FILE does not name a usable file of keys. It is a mistake in the configuration.
var ErrKeyFile = errors.New("not a file of keys")

// Load reads the keys from a file, and warns if every user of the machine can read it. It returns nil for the path "".
// The error is ErrKeyFile and says what is wrong.
func Load(path string, log *slog.Logger) (*Keys, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil Keys are no keys
	}
	content, err := secretfile.Read(path)
	var keys *Keys
	if err == nil {
		keys, err = Parse(string(content))
	}
	if err != nil {
		if _, bad := parseSecret(path[strings.LastIndexByte(path, ' ')+1:]); bad == nil {
			path = hidden // somebody gave the key instead of the path
		}
		return nil, fmt.Errorf("RESULT_KEY_FILE is %q, %w: %w", path, ErrKeyFile, err)
	}
	if secretfile.Exposed(path) {
		log.Warn("every user of this machine may read the keys of results: take that right away "+
			"(chmod o-r; defaultMode: 0440 in Kubernetes)", "RESULT_KEY_FILE", path)
	}
	return keys, nil
}

// Parse reads the lines of a file: "<id> <base64 of 32 bytes>" for each key, and one line "digest <base64 of 32
// bytes>". The first key seals, all of them open. Blank lines and lines that begin with # are skipped. An error names
// the line by its number and quotes nothing of it.
func Parse(text string) (*Keys, error) {
	keys := &Keys{}
	known := make(map[string]int) // line of each id and secret
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, secretfile.Max+1)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		id, bytes, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		for _, name := range []string{id, string(bytes)} {
			if before, twice := known[name]; twice {
				return nil, fmt.Errorf("line %d: its name or secret stands in line %d already", number, before)
			}
			known[name] = number
		}
		if id == digestLine {
			keys.digest = bytes
			continue
		}
		extracted, err := hkdf.Extract(sha256.New, bytes, nil)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys.keys = append(keys.keys, &key{id, extracted})
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("its lines: %w", lines.Err())
	case len(keys.keys) == 0:
		return nil, errors.New(`it has no key: want a line "<id> <base64 of 32 bytes>"`)
	case keys.digest == nil:
		return nil, errors.New(`it has no digest secret: want a line "digest <base64 of 32 bytes>", for ever the same`)
	}
	return keys, nil
}

func parseLine(line string) (id string, bytes []byte, err error) {
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return "", nil, errors.New(`want "<id> <base64 of 32 bytes>" or "digest <base64 of 32 bytes>"`)
	}
	if !keyID.MatchString(fields[0]) {
		return "", nil, errors.New("a key's id has 1 to 32 of A-Z a-z 0-9 . _ -")
	}
	bytes, err = parseSecret(fields[1])
	return fields[0], bytes, err
}

func parseSecret(text string) ([]byte, error) {
	bytes, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(bytes) != keySize {
		return nil, errors.New("the secret is not the base64 of 32 bytes (openssl rand -base64 32 makes one)")
	}
	return bytes, nil
}

// find returns the key of an id, or nil.
func (k *Keys) find(id string) *key {
	if k == nil {
		return nil
	}
	for _, key := range k.keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

// Digest returns the digest that a record holds for a body: HMAC-SHA-256 of the plain digest, cut to its length, under
// a secret that is never rotated. So somebody who reads Redis cannot confirm a guess of the body. Without keys it
// returns the plain digest.
func (k *Keys) Digest(plain record.Digest) record.Digest {
	if k == nil {
		return plain
	}
	return k.keyed(plain)
}

// keyed is a function of its own so that without keys a digest stays on the stack.
func (k *Keys) keyed(plain record.Digest) (keyed record.Digest) {
	mac := hmac.New(sha256.New, k.digest)
	mac.Write(plain[:])
	copy(keyed[:], mac.Sum(nil))
	return keyed
}
