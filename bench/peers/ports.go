package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reservation keeps a loopback TCP port for a replica from before its start: a socket that is bound but does not listen,
// so that the kernel gives the port to nobody who asks for any, and the replica may still listen on it. See the same
// type in bench/cluster for the designs that do not work.
type reservation struct {
	fd   int
	addr string
}

func reservePort() (*reservation, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	r := &reservation{fd: fd}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		r.release()
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	r.addr = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	return r, nil
}

func (r *reservation) release() { unix.Close(r.fd) }
