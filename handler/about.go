package handler

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/oncegate/oncegate/internal/trail"
)

// About returns what the trail keeps of a request: the parts of its identity, and the fields that TRAIL_FIELDS names. A
// field that is missing, or is no string, number or boolean, is left out; if a field is given twice, the last one
// counts.
func (d *delivery) About() string {
	about := make(trail.About, 0, 256)
	switch id := &d.tenant.Identity; {
	case id.Cognigy():
		about.Add(trail.Dialog, textOf(d.dialogID))
		about.Add(trail.Node, textOf(d.nodeID))
		about.Add(trail.Sequence, strconv.FormatInt(d.sequence, 10))
	case id.Header != "":
		about.Add(id.Header, textOf(d.parts[0]))
		return string(about) // the body may be of any type
	default:
		for i, path := range id.Paths { // each part has a type and a text
			about.Add(strings.Join(path, "."), textOf(d.parts[2*i+1]))
		}
	}
	for _, path := range d.tenant.TrailFields {
		if value := d.field(path); value != nil {
			about.Add(strings.Join(path, "."), textOf(value))
		}
	}
	return string(about)
}

// field returns the text of a field of the body, or nil. The body was checked before.
func (p *delivery) field(path []string) []byte {
	value := bytes.TrimLeft(p.body, " \t\r\n")
	for _, name := range path {
		if kindOf(value) != anObject {
			return nil
		}
		value, _ = p.member(value, name)
	}
	switch kindOf(value) {
	case aString:
		text, _ := p.text(unquote(value))
		return text[:min(len(text), maxID)] // longer than the trail keeps
	case aNumber, aBoolean:
		return value
	}
	return nil
}
