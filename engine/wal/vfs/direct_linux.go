package vfs

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directFile writes a file past the page cache, through a descriptor of its own. The zero value takes nothing.
type directFile struct {
	f      *os.File // nil: the file system cannot
	fd     int
	align  int64  // of offset and length
	bounce []byte // aligned memory in which pieces are put together
}

// Bounds of the memory in which a write is put together.
const (
	bounceMin = 64 << 10
	bounceMax = 1 << 20
)

// bounces holds such memory between one segment of a log and the next.
var bounces sync.Pool // of *[]byte, aligned to bounceAlign

const bounceAlign = 4096

// open prepares for direct writes to a file that is open. When anything is in the way the file is written as any other.
func (d *directFile) open(f *os.File) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err != nil ||
		st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_offset_align == 0 || st.Dio_offset_align > bounceAlign || st.Dio_mem_align > bounceAlign {
		return
	}
	// Through /proc, not by name: the name may be another file's by now.
	g, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return
	}
	d.f, d.fd, d.align = g, int(g.Fd()), int64(st.Dio_offset_align)
}

// takes says whether a write is aligned.
func (d *directFile) takes(bufs [][]byte, off int64) bool {
	if d.f == nil || off%d.align != 0 {
		return false
	}
	total := int64(0)
	for _, b := range bufs {
		total += int64(len(b))
	}
	return total%d.align == 0
}

// writev copies the pieces together and writes them: one call to the kernel for up to bounceMax bytes.
func (d *directFile) writev(bufs [][]byte, off int64) error {
	fill := 0
	d.grow(bufs)
	for _, b := range bufs {
		for len(b) > 0 {
			n := copy(d.bounce[fill:], b)
			b, fill = b[n:], fill+n
			if fill == len(d.bounce) {
				if err := d.write(d.bounce, off); err != nil {
					return err
				}
				off, fill = off+int64(fill), 0
			}
		}
	}
	return d.write(d.bounce[:fill], off)
}

// grow makes the memory large enough for one call, as far as it may be.
func (d *directFile) grow(bufs [][]byte) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	if len(d.bounce) >= min(total, bounceMax) {
		return
	}
	if p, ok := bounces.Get().(*[]byte); ok && len(*p) >= min(total, bounceMax) {
		d.bounce = *p
		return
	}
	size := bounceMin
	for size < min(total, bounceMax) {
		size *= 2
	}
	raw := make([]byte, size+bounceAlign)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (bounceAlign - 1))
	d.bounce = raw[skip : skip+size : skip+size]
}

// write writes all of p. What the kernel wrote of it is asked for no more; the rest is, as far as it is still aligned.
func (d *directFile) write(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(d.fd, p, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 || int64(n)%d.align != 0 {
			return io.ErrShortWrite
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (d *directFile) close() {
	if d.f == nil {
		return
	}
	d.f.Close()
	if p := d.bounce; p != nil {
		d.bounce = nil
		bounces.Put(&p)
	}
}
