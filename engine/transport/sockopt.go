package transport

import (
	"net"
	"time"
)

// keepAlive finds a connection whose other end is gone while nothing is sent: after 5 s of silence, a probe every 2 s,
// and the third without an answer ends it. Peers that fall silent are found much earlier, by the protocol; this frees
// what a half-open connection holds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// peerUserTimeout is how long bytes sent to a peer may stay unacknowledged. Peers are called again at once, so it can be
// short.
const peerUserTimeout = 5 * time.Second

// clientUserTimeout is the same for clients. The kernel also counts bytes for which the other side makes no room; for
// these the write deadline, which hits after one to two times d, should be first, because it knows the reason.
func clientUserTimeout(d time.Duration) time.Duration { return 3 * d }

// tuneSocket sets the options of an accepted connection. Errors mean that the connection is dead or not TCP.
func tuneSocket(c net.Conn, userTimeout time.Duration) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	t.SetNoDelay(true)
	t.SetKeepAliveConfig(keepAlive)
	if raw, err := t.SyscallConn(); err == nil {
		controlSocket(userTimeout)("", "", raw)
	}
}
