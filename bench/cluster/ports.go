package cluster

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Port keeps a loopback TCP port for one node from before its first start until the cluster is closed,
// over any number of kills and restarts.
//
// Plain design first: listen on port 0, note the number, close, let the child listen. Between close and listen
// (and for as long as a killed child is down) the kernel may hand the number to somebody else's connection.
// Second design: keep the listening socket open and let the child inherit it. Then the kernel accepts
// connections on behalf of a dead node: clients would hang in its backlog instead of being refused, and the
// unavailability measured would be ours. So: the parent keeps a socket that is BOUND but does not listen, with
// SO_REUSEADDR. While it exists the kernel gives the port to nobody who asks for "any"; a connect is
// refused; and the child, whose socket has SO_REUSEADDR too (package net sets it), may bind and listen because no
// other socket on the port listens (Linux: inet_csk_bind_conflict).
type Port struct {
	Addr string // host:port
	fd   int
}

// ReservePort keeps a port that nobody has.
func ReservePort() (*Port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cluster: reserve a port: socket: %w", err)
	}
	r := &Port{fd: fd}
	if err := r.bind(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cluster: reserve a port on 127.0.0.1: %w", err)
	}
	return r, nil
}

func (r *Port) bind() error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(r.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	name, err := unix.Getsockname(r.fd)
	if err != nil {
		return err
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("getsockname gave %T", name)
	}
	r.Addr = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port)).String()
	return nil
}

// Release gives the port back. A second one does nothing.
func (r *Port) Release() {
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}
