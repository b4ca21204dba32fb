package upstream

import "net"

// Meaning is meaning, for the fuzz test.
var Meaning = meaning

// Connection is connection, for a test of what it knows.
type Connection = connection

// NewConnection wraps c.
func NewConnection(c net.Conn) *Connection { return &connection{Conn: c} }

// Begin is begin.
func (c *connection) Begin(kept bool) { c.begin(kept) }

// Untouched is untouched.
func (c *connection) Untouched() (untouched, stale bool) { return c.untouched() }
