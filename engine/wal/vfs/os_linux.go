package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovMax is the most pieces one pwritev takes (UIO_MAXIOV of the Linux kernel).
const iovMax = 1024

// osFile writes with pwritev straight from the callers' buffers. The iovec array is kept: unix.Pwritev allocates one
// for each call of more than 8 pieces, and a group has one piece for each record.
type osFile struct {
	f      *os.File
	fd     int
	iov    []unix.Iovec
	direct directFile
}

func newOSFile(f *os.File, direct bool) *osFile {
	o := &osFile{f: f, fd: int(f.Fd())}
	if direct {
		o.direct.open(f)
	}
	return o
}

func (f *osFile) Writev(bufs [][]byte, off int64) error {
	if f.direct.takes(bufs, off) {
		if err := f.direct.writev(bufs, off); err != nil {
			return fmt.Errorf("direct pwrite %s at %d: %w", f.f.Name(), off, err)
		}
		return nil
	}
	defer f.dropViews()
	for len(bufs) > 0 {
		f.iov = f.iov[:0]
		n := min(len(bufs), iovMax)
		for _, b := range bufs[:n] {
			if len(b) > 0 {
				v := unix.Iovec{Base: unsafe.SliceData(b)}
				v.SetLen(len(b))
				f.iov = append(f.iov, v)
			}
		}
		bufs = bufs[n:]
		var err error
		if off, err = f.writeAll(f.iov, off); err != nil {
			return fmt.Errorf("pwritev %s at %d: %w", f.f.Name(), off, err)
		}
	}
	return nil
}

// writeAll writes iov and returns the offset behind it. The kernel may write less than asked (a signal, a full
// disk); the rest is then asked for again, and a full disk answers that with its error.
func (f *osFile) writeAll(iov []unix.Iovec, off int64) (int64, error) {
	for len(iov) > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, uintptr(f.fd), uintptr(unsafe.Pointer(&iov[0])),
			uintptr(len(iov)), uintptr(off), uintptr(uint64(off)>>32), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return off, errno
		}
		if n == 0 {
			return off, io.ErrShortWrite
		}
		off += int64(n)
		iov = advance(iov, uint64(n))
	}
	runtime.KeepAlive(f)
	return off, nil
}

// advance drops the first n bytes of iov.
func advance(iov []unix.Iovec, n uint64) []unix.Iovec {
	for len(iov) > 0 && n >= uint64(iov[0].Len) {
		n -= uint64(iov[0].Len)
		iov = iov[1:]
	}
	if n > 0 {
		rest := unsafe.Slice(iov[0].Base, iov[0].Len)[n:]
		iov[0].Base = unsafe.SliceData(rest)
		iov[0].SetLen(len(rest))
	}
	return iov
}

// dropViews forgets the callers' buffers, which would otherwise be kept from the garbage collector until the
// next write.
func (f *osFile) dropViews() { clear(f.iov[:cap(f.iov)]) }

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) Size() (int64, error) {
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Preallocate reserves first, so that a full disk is noticed before anything is written and the blocks lie together,
// then writes the zeros. A file system without fallocate gets the zeros alone.
func (f *osFile) Preallocate(size int64) error {
	err := unix.Fallocate(f.fd, 0, 0, size)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("fallocate %s to %d bytes: %w", f.f.Name(), size, err)
	}
	return zeroFill(f, size)
}

func (f *osFile) Sync() error { return f.f.Sync() }

// Datasync does not repeat an interrupted call either: whether a failed sync lost something cannot be known.
func (f *osFile) Datasync() error {
	if err := unix.Fdatasync(f.fd); err != nil {
		return fmt.Errorf("fdatasync %s: %w", f.f.Name(), err)
	}
	return nil
}

func (f *osFile) Close() error {
	f.direct.close()
	return f.f.Close()
}
