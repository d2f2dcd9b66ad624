package vfs

import (
	"bytes"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestAdvance: the kernel may write any part of what it is given, down to one byte. What follows must be exactly the rest.
func TestAdvance(t *testing.T) {
	pieces := [][]byte{[]byte("a"), []byte("bcd"), []byte("ef"), []byte("ghijk")}
	whole := bytes.Join(pieces, nil)
	for n := range len(whole) + 1 {
		var iov []unix.Iovec
		for _, p := range pieces {
			v := unix.Iovec{Base: unsafe.SliceData(p)}
			v.SetLen(len(p))
			iov = append(iov, v)
		}
		var rest []byte
		for _, v := range advance(iov, uint64(n)) {
			rest = append(rest, unsafe.Slice(v.Base, v.Len)...)
		}
		if !bytes.Equal(rest, whole[n:]) {
			t.Errorf("%d written: %q is left, want %q", n, rest, whole[n:])
		}
	}
}
