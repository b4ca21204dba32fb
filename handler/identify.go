package handler

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/oncegate/oncegate/internal/fingerprint"
)

// identify reads a webhook's identity from its request, and returns its fingerprint or everything that is wrong with
// it.
func (d *delivery) identify(header *fasthttp.RequestHeader, body []byte) (
	name fingerprint.Fingerprint, errs []FieldError,
) {
	t := d.tenant
	id := &t.Identity
	d.parts = d.parts[:0]
	switch {
	case id.Header != "":
		value, problem := headerIdentity(header, id.Header)
		if problem != "" {
			return name, []FieldError{newFieldError(id.Header, wantedHeader, problem)}
		}
		d.parts = append(d.parts, value)
	case id.Paths != nil:
		errs = d.readPaths(body, id.Paths)
	default:
		errs = d.decode(body)
		if errs == nil && t.Tenant == "" {
			return fingerprint.Of(d.dialogID, d.nodeID, d.sequence), nil
		}
		start := len(d.scratch)
		d.scratch = strconv.AppendInt(d.scratch, d.sequence, 10)
		d.parts = append(d.parts, d.dialogID, d.nodeID, d.scratch[start:])
	}
	if errs != nil {
		return name, errs
	}
	return fingerprint.OfTenant(t.Tenant, t.identity, d.parts...), nil
}

const (
	maxHeaderIdentity = 255
	wantedHeader      = "one header of 1 to 255 visible ASCII characters"
)

// headerIdentity returns the value of the one header that is the identity.
func headerIdentity(header *fasthttp.RequestHeader, name string) (value []byte, problem string) {
	values := header.PeekAll(name)
	switch {
	case len(values) == 0:
		return nil, missing
	case len(values) > 1:
		return nil, repeated
	}
	value = values[0]
	switch {
	case len(value) == 0:
		return nil, "empty"
	case len(value) > maxHeaderIdentity:
		return nil, "longer"
	case bytes.ContainsFunc(value, func(r rune) bool { return r < '!' || r > '~' }):
		return nil, "one with other characters"
	}
	return value, placeholder(value)
}

const wantedPart = "a non-empty string of at most 512 bytes, a whole number or a boolean"

// readPaths reads the parts of an identity from a JSON body. It checks the whole body first.
func (p *payload) readPaths(body []byte, paths [][]string) (errs []FieldError) {
	if problem := p.check(body); problem != "" {
		return []FieldError{newFieldError("body", "one JSON object in UTF-8", problem)}
	}
	p.scratch = p.scratch[:0]
	for _, path := range paths {
		kind, text, problem := p.part(body, path)
		if problem != "" {
			errs = append(errs, newFieldError(strings.Join(path, "."), wantedPart, problem))
		}
		p.parts = append(p.parts, kind, text)
	}
	return errs
}

// check checks a whole body against the grammar of a JSON object in UTF-8.
func (p *payload) check(body []byte) (problem string) {
	switch {
	case isWide(body):
		return "in UTF-16 or UTF-32 (RFC 8259, section 8.1)"
	case !utf8.Valid(body):
		return "not valid UTF-8"
	}
	s := scanner{text: body}
	value := s.value()
	s.end()
	if s.problem == "" && value[0] != '{' {
		return kindOf(value)
	}
	return s.problem
}

// part returns the value at a path of a body that was checked, and its type: 7 is not "7".
func (p *payload) part(body []byte, path []string) (kind, text []byte, problem string) {
	value := bytes.TrimLeft(body, " \t\r\n")
	for _, name := range path {
		if kind := kindOf(value); kind != anObject {
			return nil, nil, "inside " + kind
		}
		var times int
		if value, times = p.member(value, name); times > 1 {
			return nil, nil, repeated
		}
	}
	switch kind := kindOf(value); kind {
	case aString:
		problem = p.readID(field{value, 1}, &text)
		return ofString, text, problem
	case aNumber:
		n, problem := parseNumber(value)
		start := len(p.scratch)
		p.scratch = strconv.AppendInt(p.scratch, n, 10)
		return ofNumber, p.scratch[start:], problem
	case aBoolean:
		return ofBoolean, value, ""
	default:
		return nil, nil, kind
	}
}

// The types of parts, as the text of a fingerprint names them.
var ofString, ofNumber, ofBoolean = []byte("string"), []byte("number"), []byte("boolean")

// member returns the value of a member of an object, and how often the object has it.
func (p *payload) member(object []byte, name string) (value []byte, times int) {
	s := scanner{text: object}
	s.begin()
	before := len(p.scratch)
	for s.more() {
		key, candidate := s.key(), s.value()
		text, _ := p.text(key)
		if string(text) == name {
			value, times = candidate, times+1
		}
		p.scratch = p.scratch[:before]
	}
	return value, times
}
