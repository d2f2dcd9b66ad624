package snapshot

import (
	"errors"
	"io/fs"

	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// memFS is the file system in memory that knows what a crash may leave, as this package wants it. Its one directory is "d".
type memFS struct{ *vfs.Mem }

func newMemFS() memFS {
	m := vfs.NewMem()
	if err := m.MkdirAll("d"); err != nil {
		panic("BUG: " + err.Error())
	}
	m.CrashAt(0) // operations count from here
	return memFS{m}
}

type memFile struct{ vfs.File }

func (f memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.Writev([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func handle(f vfs.File, err error) (FileHandle, error) {
	if err != nil {
		return nil, err
	}
	return memFile{f}, nil
}

func (m memFS) Create(name string) (FileHandle, error) {
	f, err := m.Mem.Create(name)
	if errors.Is(err, fs.ErrExist) {
		if err = m.Remove(name); err == nil {
			f, err = m.Mem.Create(name)
		}
	}
	return handle(f, err)
}

func (m memFS) Open(name string) (FileHandle, error) { return handle(m.OpenRead(name)) }

func (m memFS) OpenPart(name string) (FileHandle, error) {
	f, err := m.Mem.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m.Create(name)
	}
	return handle(f, err)
}
