//go:build unix

package transport

import "syscall"

const canTryWrite = true

// tryWrite writes as much of p as a socket that does not block takes at once.
func tryWrite(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, nil
		}
		return max(n, 0), err
	}
}
