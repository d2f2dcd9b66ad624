//go:build !linux

package transport

import (
	"syscall"
	"time"
)

// controlSocket does nothing here: TCP_USER_TIMEOUT is Linux's. The write deadline and keep-alive remain.
func controlSocket(time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return nil }
}
