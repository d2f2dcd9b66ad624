package snapshot

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
)

var errCrash = errors.New("crashed")

// crashFS is a file system in memory that knows what a crash may leave. A file's bytes are safe once synced; a
// directory's changes are safe once the directory is synced, and are otherwise lost from some point on.
type crashFS struct {
	names   map[string]*inode // as seen by the running program
	durable map[string]*inode // as of the last SyncDir
	pending []func(map[string]*inode)

	crashAt int // operations until the crash; negative: never
	ops     int
	fail    map[string]error // by operation name: fails without effect
}

type inode struct{ data, synced []byte }

// How a crash treats unsynced bytes.
const (
	loseUnsynced = iota
	keepUnsynced
	keepHalf
	zeroUnsynced // the size was journalled, the data was not
	crashKinds
)

func newCrashFS() *crashFS {
	return &crashFS{names: map[string]*inode{}, durable: map[string]*inode{}, crashAt: -1}
}

// step counts an operation that changes something; after the crash none has any effect.
func (c *crashFS) step(op string) error {
	if err := c.fail[op]; err != nil {
		return err
	}
	if c.crashAt >= 0 && c.ops >= c.crashAt {
		return errCrash
	}
	c.ops++
	return nil
}

// crash returns the file system after power loss: unsynced bytes as kind says, and the first keepDir of the
// directory operations since the last SyncDir.
func (c *crashFS) crash(kind, keepDir int) *crashFS {
	after := newCrashFS()
	entries := map[string]*inode{}
	for n, i := range c.durable {
		entries[n] = i
	}
	for _, op := range c.pending[:min(keepDir, len(c.pending))] {
		op(entries)
	}
	for n, i := range entries {
		data := append([]byte(nil), i.synced...)
		extra := len(i.data) - len(i.synced)
		switch kind {
		case keepUnsynced:
			data = append([]byte(nil), i.data...)
		case keepHalf:
			if extra > 0 {
				data = append(data, i.data[len(i.synced):len(i.synced)+extra/2]...)
			}
		case zeroUnsynced:
			if extra > 0 {
				data = append(data, make([]byte, extra)...)
			}
		}
		node := &inode{data: data, synced: append([]byte(nil), data...)}
		after.names[n], after.durable[n] = node, node
	}
	return after
}

func (c *crashFS) dirOp(op func(map[string]*inode)) {
	op(c.names)
	c.pending = append(c.pending, op)
}

func (c *crashFS) Create(name string) (FileHandle, error) {
	if err := c.step("create"); err != nil {
		return nil, err
	}
	i := &inode{}
	c.dirOp(func(m map[string]*inode) { m[name] = i })
	return &crashFile{c, i}, nil
}

func (c *crashFS) Open(name string) (FileHandle, error) {
	i := c.names[name]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return &crashFile{c, i}, nil
}

func (c *crashFS) OpenPart(name string) (FileHandle, error) {
	if c.names[name] != nil {
		return c.Open(name)
	}
	return c.Create(name)
}

func (c *crashFS) Rename(from, to string) error {
	if err := c.step("rename"); err != nil {
		return err
	}
	if c.names[from] == nil {
		return fs.ErrNotExist
	}
	c.dirOp(func(m map[string]*inode) {
		if i := m[from]; i != nil {
			m[to] = i
			delete(m, from)
		}
	})
	return nil
}

func (c *crashFS) Remove(name string) error {
	if err := c.step("remove"); err != nil {
		return err
	}
	if c.names[name] == nil {
		return fs.ErrNotExist
	}
	c.dirOp(func(m map[string]*inode) { delete(m, name) })
	return nil
}

func (c *crashFS) List(dir string) ([]string, error) {
	var names []string
	for n := range c.names {
		if filepath.Dir(n) == filepath.Clean(dir) {
			names = append(names, filepath.Base(n))
		}
	}
	return names, nil
}

func (c *crashFS) SyncDir(string) error {
	if err := c.step("syncdir"); err != nil {
		return err
	}
	for _, op := range c.pending {
		op(c.durable)
	}
	c.pending = nil
	return nil
}

type crashFile struct {
	c *crashFS
	i *inode
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.i.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.c.step("write"); err != nil {
		return 0, err
	}
	if need := int(off) + len(p); need > len(f.i.data) {
		f.i.data = append(f.i.data, make([]byte, need-len(f.i.data))...)
	}
	copy(f.i.data[off:], p)
	return len(p), nil
}

func (f *crashFile) Size() (int64, error) { return int64(len(f.i.data)), nil }

func (f *crashFile) Sync() error {
	if err := f.c.step("sync"); err != nil {
		return err
	}
	f.i.synced = append([]byte(nil), f.i.data...)
	return nil
}

func (f *crashFile) Close() error { return nil }
