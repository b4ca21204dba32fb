package upstream

import "net"

// Meaning exports meaning for the fuzz test.
var Meaning = meaning

// Connection exports connection.
type Connection = connection

// NewConnection returns a connection over c.
func NewConnection(c net.Conn) *Connection { return &connection{Conn: c} }

// Begin exports begin.
func (c *connection) Begin(kept bool) { c.begin(kept) }

// Untouched exports untouched.
func (c *connection) Untouched() (untouched, stale bool) { return c.untouched() }
