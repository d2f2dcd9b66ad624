package transport

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Without keep-alive and a user timeout a half-open connection stays for a quarter of an hour, and with it a peer that
// cannot be reached. A real one needs a firewall to be made; this checks that the kernel was told, on every socket.
func TestSocketsFindDeadPeers(t *testing.T) {
	a, b, _, _ := pair(t, nil)
	n, boxes := clientNode(t, Config{WriteTimeout: time.Second})
	client := dialBox(t, n.Addr().String(), ClientConfig{WriteTimeout: 2 * time.Second})
	node := <-boxes
	b.mu.Lock()
	in := b.peersIn[1].in.raw
	b.mu.Unlock()
	for name, c := range map[string]struct {
		conn    net.Conn
		timeout time.Duration
	}{
		"to a peer":    {a.link(2).slot.conn.Load().raw, peerUserTimeout},
		"from a peer":  {in, clientUserTimeout(10 * time.Second)},
		"client's end": {client.conn.raw, clientUserTimeout(2 * time.Second)},
		"node's end":   {node.conn.raw, clientUserTimeout(time.Second)},
	} {
		raw, err := c.conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			get := func(level, opt int) int {
				v, err := unix.GetsockoptInt(int(fd), level, opt)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return v
			}
			if v := get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); v != int(c.timeout.Milliseconds()) {
				t.Errorf("%s: user timeout %d ms, want %v", name, v, c.timeout)
			}
			if get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 1 || get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) != 5 ||
				get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL) != 2 || get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT) != 3 {
				t.Errorf("%s: keep-alive is not as configured", name)
			}
			if get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 1 {
				t.Errorf("%s: small frames wait for company", name)
			}
		})
	}
}
