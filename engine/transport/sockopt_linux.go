package transport

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// controlSocket bounds how long sent bytes may stay unacknowledged (RFC 5482), which keep-alive does not cover: it is
// not sent while data is. Without it a peer whose machine is gone holds a connection until the kernel has given up
// repeating itself, after a quarter of an hour. It also ends the repeating, whose pauses double, so that a connection
// cut by a partition is replaced soon after it heals.
func controlSocket(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
		if err != nil {
			return err
		}
		return opt
	}
}
