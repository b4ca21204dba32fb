// Package identity names the parts of a request that identify its webhook: the meaning of IDENTITY. The parts
// themselves are read in package handler, which has the request.
package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Identity says which parts of a request are a webhook's identity. The zero Identity is Cognigy's.
type Identity struct {
	Header string     // its name, in lower case; "": the identity is not in a header
	Paths  [][]string // names of members of a JSON body, one inside the other; nil: the identity is not there
}

// Bounds of a JSON identity.
const (
	maxPaths = 16
	maxDepth = 16
	maxName  = 128 // bytes
)

// Parse reads cognigy, header:NAME or json:PATH,PATH,… A path is made of plain member names with dots between them.
func Parse(text string) (id Identity, err error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case text == "cognigy":
		return Identity{}, nil
	case kind == "header":
		if !httpguts.ValidHeaderFieldName(rest) {
			return id, errors.New("the name behind header: is none of a header")
		}
		return Identity{Header: strings.ToLower(rest)}, nil
	case kind == "json":
		for path := range strings.SplitSeq(rest, ",") {
			names := strings.Split(strings.TrimSpace(path), ".")
			if !slices.ContainsFunc(names, bad) && len(names) <= maxDepth {
				id.Paths = append(id.Paths, names)
				continue
			}
			return id, fmt.Errorf("a path behind json: must be 1 to %d member names with dots between them, each of letters, "+
				"digits, _ and -, without queries and wildcards", maxDepth)
		}
		if len(id.Paths) > maxPaths {
			return id, fmt.Errorf("more than %d paths", maxPaths)
		}
		return id, nil
	}
	return id, errors.New("must be cognigy, header:NAME or json:PATH,PATH,…")
}

func bad(name string) bool {
	return name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	})
}

// Cognigy reports whether the identity is dialogId, nodeId and sequence of a JSON body.
func (id Identity) Cognigy() bool { return id.Header == "" && id.Paths == nil }

// String returns the canonical text of an identity, which Parse reads.
func (id Identity) String() string {
	switch {
	case id.Header != "":
		return "header:" + id.Header
	case id.Paths != nil:
		paths := make([]string, len(id.Paths))
		for i, names := range id.Paths {
			paths[i] = strings.Join(names, ".")
		}
		return "json:" + strings.Join(paths, ",")
	}
	return "cognigy"
}
