// Package vfs is the narrow file system that the log writes through: only the operations it needs, each with its
// durability spelled out, so that a simulator can stand in for the disk and lose exactly what a disk may lose.
//
// OS is the machine's file system. Mem is a file system in memory that tells synced bytes from un-synced ones and
// can crash at any operation (see its documentation for the crash model).
package vfs

import (
	"errors"
	"fmt"
	"io"
)

// SectorSize is the unit in bytes that a disk is assumed to write all or nothing.
const SectorSize = 512

// FS is a file system. Names are paths. Every error wraps the cause, so that errors.Is finds fs.ErrNotExist,
// syscall.ENOSPC and the like. Safe for concurrent use.
type FS interface {
	// MkdirAll makes dir and its missing parents and syncs their entries: they are durable on return.
	MkdirAll(dir string) error
	// List returns the names in dir, sorted, without the path.
	List(dir string) ([]string, error)
	// Create makes a new empty file for reading and writing; fs.ErrExist if there is one. Its entry is durable
	// after SyncDir.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens an existing file for reading only.
	OpenRead(name string) (File, error)
	// Rename gives a file another name in the same directory, replacing what had it. Durable after SyncDir.
	Rename(from, to string) error
	// Remove deletes a file. Durable after SyncDir.
	Remove(name string) error
	// SyncDir makes the entries of dir durable: creations, renames and removals.
	SyncDir(dir string) error
	// Lock takes an exclusive lock on the file name, made if missing, and writes the process id into it. The lock
	// ends with Close of the result or with the process. *LockedError if somebody holds it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. One goroutine writes; Datasync may run beside it and then covers what was written before
// it began.
type File interface {
	// Writev writes bufs back to back from offset off: all of it, or an error.
	Writev(bufs [][]byte, off int64) error
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// Size is the file's size in bytes.
	Size() (int64, error)
	// Preallocate makes the new file size bytes long, every block reserved and written with zeros, so that later
	// writes inside change no metadata. Not durable before Sync.
	Preallocate(size int64) error
	// Sync makes content and size durable (fsync).
	Sync() error
	// Datasync makes content durable (fdatasync). An error is final: what was not yet on the disk may be lost
	// even if a later call succeeds.
	Datasync() error
	Close() error
}

// ErrLocked is what every *LockedError is.
var ErrLocked = errors.New("locked by another process")

// LockedError says who holds a lock.
type LockedError struct {
	Name string
	PID  int // 0: not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Name)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Name, e.PID)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// ReadFile reads all of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	n, err := f.ReadAt(p, 0)
	if err == io.EOF || n == len(p) {
		err = nil
	}
	return p[:n], err
}
