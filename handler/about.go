package handler

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/oncegate/oncegate/internal/trail"
)

// About is what the trail tells of a request: the parts of its identity, and the fields that TRAIL_FIELDS names. A
// field that is missing, or is no string, number or boolean, is left out; of one that is given twice the last counts.
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
		for i, path := range id.Paths { // each part is a type and a text
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

// field returns the text of a field of the body, which was checked, or nil.
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
		return text[:min(len(text), maxID)] // more than the trail takes
	case aNumber, aBoolean:
		return value
	}
	return nil
}
