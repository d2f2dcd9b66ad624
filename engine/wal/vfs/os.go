package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// OS returns the machine's file system.
func OS() FS { return osFS{} }

// Direct returns the machine's file system, whose files are written past the page cache (O_DIRECT) where the system and
// the alignment of a write allow it, and as OS's where not. For files that are synced after every write and hardly ever
// read it saves the kernel's copy, its bookkeeping of dirty pages, and the memory; a sync then only has the disk's own
// cache to empty. Durability is that of OS: only a sync gives it.
func Direct() FS { return osFS{direct: true} }

type osFS struct{ direct bool }

func (osFS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range missing {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (s osFS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.direct)
}

func (s osFS) Open(name string) (File, error)   { return openFile(name, os.O_RDWR, s.direct) }
func (osFS) OpenRead(name string) (File, error) { return openFile(name, os.O_RDONLY, false) }
func (osFS) Rename(from, to string) error       { return os.Rename(from, to) }
func (osFS) Remove(name string) error           { return os.Remove(name) }
func (osFS) SyncDir(dir string) error           { return syncDir(dir) }

func openFile(name string, flag int, direct bool) (File, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return newOSFile(f, direct), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

type osLock struct{ f *os.File }

// Lock uses flock: the kernel drops it with the process, so that a crash leaves nothing to clean up.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Name: name, PID: readPID(f)}
		}
		return nil, fmt.Errorf("flock %s: %w", name, err)
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return &osLock{f}, nil
}

func readPID(f *os.File) int {
	p := make([]byte, 32)
	n, err := f.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(p[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Close drops the lock. The file stays: removing it would let two processes lock two files of one name.
func (l *osLock) Close() error { return l.f.Close() }

const zeroChunk = 1 << 20

// zeroFill writes size zero bytes from the start. Blocks that are only reserved (fallocate) are marked as such in the
// file's metadata, and the first write into each would make fdatasync write metadata as well.
func zeroFill(f File, size int64) error {
	zeros := make([]byte, min(size, zeroChunk))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if err := f.Writev([][]byte{zeros[:min(int64(len(zeros)), size-off)]}, off); err != nil {
			return err
		}
	}
	return nil
}
