package snapshot

import (
	"io"
	"os"
)

// FS is what this package needs of a file system. nil means the operating system's; a simulator has its own, with
// crashes. Names are paths. Every error is passed on to the caller.
type FS interface {
	Create(name string) (FileHandle, error)   // for writing, empty: what was there is truncated
	Open(name string) (FileHandle, error)     // for reading
	OpenPart(name string) (FileHandle, error) // for reading and writing, created if absent, not truncated
	Rename(from, to string) error             // replaces to
	Remove(name string) error
	List(dir string) ([]string, error) // names without the directory, in any order
	SyncDir(dir string) error          // makes creations, renames and removals in dir durable
}

// FileHandle is an open file. It keeps no position.
type FileHandle interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Sync() error // makes what was written durable
	Close() error
}

type osFS struct{}

// osFile adds Size to *os.File.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

// orOS resolves the nil FS.
func orOS(fs FS) FS {
	if fs == nil {
		return OS()
	}
	return fs
}

func openOS(name string, flag int) (FileHandle, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Create(name string) (FileHandle, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(name string) (FileHandle, error) { return openOS(name, os.O_RDONLY) }

func (osFS) OpenPart(name string) (FileHandle, error) { return openOS(name, os.O_RDWR|os.O_CREATE) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
