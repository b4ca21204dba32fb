//go:build !linux && !darwin

package upstream

import "net"

// hungUp always returns false: this system has no way to tell.
func hungUp(net.Conn) bool { return false }
