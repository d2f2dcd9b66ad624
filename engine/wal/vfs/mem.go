package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"sync"
)

// Mem is a file system in memory that knows what a disk would have kept. It holds two images: the live one, which
// calls read and write, and the durable one, which only syncs reach. Whatever changed the live image and is not yet
// synced stands in a journal, in order; PowerLoss decides by its mode which journal entries had reached the disk.
//
//	Writev, Preallocate   journal entry of the file; Sync and Datasync of the file carry it to the durable image
//	Create, Rename, Remove   journal entry of the directory; SyncDir carries it
//
// The model is as harsh as POSIX allows: syncing a new file does not make its name durable, syncing a directory does
// not make contents durable. A failed Datasync drops the file's journal: the live image still shows the bytes, but no
// later sync brings them to the disk (what Linux does with pages whose write-back failed).
//
// Safe for concurrent use; deterministic if used from one goroutine.
type Mem struct {
	mu      sync.Mutex
	epoch   int // raised by Reboot and PowerLoss: handles of an older epoch are dead
	live    map[string]*inode
	durable map[string]*inode
	dirs    map[string]bool
	journal []change
	locks   map[string]bool
	ops     int
	crashAt int // the operation with this number, and all later ones, fail; 0: none
	hook    func(Op) error
	history bool     // see KeepHistory
	spare   [][]byte // of settled writes, to be used again
}

// spareMax bounds what is kept of settled writes.
const spareMax = 16

// inode is a file's content. It is shared by the names in both images.
type inode struct {
	live    []byte
	durable []byte

	// Copies of a file system share contents until one of them changes: an enumeration of faults copies one thousands
	// of times. Invariant: a shared slice is never written to.
	liveShared, durableShared bool

	before map[int64][]byte // by sector: what the durable image held there before; nil: not kept
	bad    map[int64]bool   // sectors that cannot be read
}

// write changes the live image.
func (n *inode) write(data []byte, off int64) {
	if n.liveShared {
		n.live, n.liveShared = append([]byte(nil), n.live...), false
	}
	n.live = writeAt(n.live, data, off)
	for s := (off + SectorSize - 1) / SectorSize; (s+1)*SectorSize <= off+int64(len(data)); s++ {
		delete(n.bad, s) // a disk maps a sector anew when all of it is written
	}
}

// settle changes the durable image.
func (n *inode) settle(data []byte, off int64) {
	if n.durableShared {
		n.durable, n.durableShared = append([]byte(nil), n.durable...), false
	}
	n.remember(data, off)
	n.durable = writeAt(n.durable, data, off)
}

// change is a journal entry: of a file's content if node is set, else of a directory entry.
type change struct {
	node *inode
	off  int64
	data []byte // written at off; nil: zeros up to size
	size int64

	shared bool // data is in a copy of the file system as well

	dir    string
	name   string // gets target, or disappears if target is nil
	target *inode
	gone   string // the old name of a rename: disappears in the same step
}

// Op describes an operation to the hook.
type Op struct {
	Kind string // "create", "writev", "datasync", ...: the method's name in lower case
	Name string
	Off  int64
	Len  int64
}

// ErrCrashed is the error of every operation from the crash on.
var ErrCrashed = errors.New("vfs: crashed")

// ErrLie makes a hook's operation a lie: it reports success. What a Writev wrote is there to be read and never reaches the
// disk; a sync has not synced anything, and a later one may.
var ErrLie = errors.New("vfs: confirmed and not done")

// PartialError makes a hook's Writev or Preallocate do the first Bytes bytes of its work and return Err.
type PartialError struct {
	Bytes int64
	Err   error
}

func (e *PartialError) Error() string { return fmt.Sprintf("%v after %d bytes", e.Err, e.Bytes) }

// Unwrap returns the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{live: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}, locks: map[string]bool{}}
}

// SetHook makes every operation ask fn first; an error from it is the operation's error, and the operation does not
// happen (but see ErrLie and PartialError). Operations that only read ("list", "open", "openread", "readat", "lock") are not
// counted. nil ends this.
func (m *Mem) SetHook(fn func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = fn
}

// CrashAt lets the operation with number n (counting from 1 and from now on; only operations that change something or
// sync count) and all later ones fail with ErrCrashed. 0: never.
func (m *Mem) CrashAt(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops, m.crashAt = 0, n
}

// Ops is the number of operations since the last CrashAt or the beginning.
func (m *Mem) Ops() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// step counts an operation and lets crash point and hook refuse it. The hook runs under the lock: it must not call m.
func (m *Mem) step(op Op) error {
	m.ops++
	if m.crashAt > 0 && m.ops >= m.crashAt {
		return fmt.Errorf("%s %s: %w", op.Kind, op.Name, ErrCrashed)
	}
	return m.look(op)
}

// look lets the hook refuse an operation that only reads. The caller holds the lock.
func (m *Mem) look(op Op) error {
	if m.hook == nil {
		return nil
	}
	if err := m.hook(op); err != nil {
		return &fs.PathError{Op: op.Kind, Path: op.Name, Err: err} // as the system's errors do, it names the file
	}
	return nil
}

func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(Op{Kind: "mkdirall", Name: dir}); err != nil {
		return err
	}
	m.dirs[filepath.Clean(dir)] = true
	return nil
}

func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.look(Op{Kind: "list", Name: dir}); err != nil {
		return nil, err
	}
	if !m.dirs[dir] {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	var names []string
	for name := range m.live {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	sort.Strings(names)
	return names, nil
}

func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.step(Op{Kind: "create", Name: name}); err != nil {
		return nil, err
	}
	if m.live[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !m.dirs[filepath.Dir(name)] {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	n := m.newInode()
	m.live[name] = n
	m.journal = append(m.journal, change{dir: filepath.Dir(name), name: name, target: n})
	return &memFile{m: m, node: n, name: name, epoch: m.epoch}, nil
}

func (m *Mem) newInode() *inode {
	n := &inode{}
	if m.history {
		n.before = map[int64][]byte{}
	}
	return n
}

func (m *Mem) Open(name string) (File, error) { return m.open("open", name, false) }

func (m *Mem) OpenRead(name string) (File, error) { return m.open("openread", name, true) }

func (m *Mem) open(kind, name string, readOnly bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.look(Op{Kind: kind, Name: name}); err != nil {
		return nil, err
	}
	n := m.live[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memFile{m: m, node: n, name: name, epoch: m.epoch, readOnly: readOnly}, nil
}

func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	if err := m.step(Op{Kind: "rename", Name: from}); err != nil {
		return err
	}
	n := m.live[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("rename %s to %s: across directories", from, to)
	}
	delete(m.live, from)
	m.live[to] = n
	m.journal = append(m.journal, change{dir: filepath.Dir(to), name: to, target: n, gone: from})
	return nil
}

func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.step(Op{Kind: "remove", Name: name}); err != nil {
		return err
	}
	if m.live[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(m.live, name)
	m.journal = append(m.journal, change{dir: filepath.Dir(name), name: name})
	return nil
}

func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.step(Op{Kind: "syncdir", Name: dir}); errors.Is(err, ErrLie) {
		return nil
	} else if err != nil {
		return err
	}
	m.settle(func(c *change) bool { return c.node == nil && c.dir == dir }, true)
	return nil
}

// settle removes the journal entries that match, after carrying them to the durable image if keep is set.
func (m *Mem) settle(match func(*change) bool, keep bool) {
	rest := m.journal[:0]
	for i := range m.journal {
		c := &m.journal[i]
		if !match(c) {
			rest = append(rest, *c)
			continue
		}
		if keep {
			c.apply(m.durable)
		}
		if c.data != nil && !c.shared && len(m.spare) < spareMax {
			m.spare = append(m.spare, c.data[:0])
		}
	}
	clear(m.journal[len(rest):])
	m.journal = rest
}

// apply carries the change to the durable image.
func (c *change) apply(names map[string]*inode) {
	switch {
	case c.node != nil && c.data == nil:
		c.node.durable, c.node.durableShared = make([]byte, c.size), false
	case c.node != nil:
		c.node.settle(c.data, c.off)
	default:
		if c.gone != "" {
			delete(names, c.gone)
		}
		if c.target == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.target
		}
	}
}

// writeAt writes data into p at off, growing it with zeros as needed.
func writeAt(p, data []byte, off int64) []byte {
	if need := off + int64(len(data)); int64(len(p)) < need {
		p = append(p, make([]byte, need-int64(len(p)))...)
	}
	copy(p[off:], data)
	return p
}

type memLock struct {
	m     *Mem
	name  string
	epoch int
}

func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.look(Op{Kind: "lock", Name: name}); err != nil {
		return nil, err
	}
	if m.locks[name] {
		return nil, &LockedError{Name: name}
	}
	m.locks[name] = true
	return &memLock{m, name, m.epoch}, nil
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.epoch == l.m.epoch {
		delete(l.m.locks, l.name)
	}
	return nil
}

type memFile struct {
	m        *Mem
	node     *inode
	name     string
	epoch    int
	readOnly bool
	closed   bool
}

// begin checks the handle and asks for the operation. The caller holds the lock.
func (f *memFile) begin(op Op) error {
	if f.closed {
		return &fs.PathError{Op: op.Kind, Path: f.name, Err: fs.ErrClosed}
	}
	if f.epoch != f.m.epoch {
		return fmt.Errorf("%s %s: %w", op.Kind, f.name, ErrCrashed)
	}
	if f.readOnly {
		return &fs.PathError{Op: op.Kind, Path: f.name, Err: fs.ErrPermission}
	}
	op.Name = f.name
	return f.m.step(op)
}

func (f *memFile) Writev(bufs [][]byte, off int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	err := f.begin(Op{Kind: "writev", Off: off, Len: int64(total)})
	lie := errors.Is(err, ErrLie)
	total, err = partly(total, err)
	data := f.m.take(total)
	for _, b := range bufs {
		data = append(data, b[:min(len(b), total-len(data))]...)
	}
	if len(data) == 0 {
		return err
	}
	f.node.write(data, off)
	if !lie {
		f.m.journal = append(f.m.journal, change{node: f.node, off: off, data: data})
	}
	return err
}

// take returns memory for a write of n bytes.
func (m *Mem) take(n int) []byte {
	if k := len(m.spare); k > 0 {
		p := m.spare[k-1]
		m.spare = m.spare[:k-1]
		if cap(p) >= n {
			return p
		}
	}
	return make([]byte, 0, max(n, 8<<10))
}

// partly says how many of total bytes an operation does that was answered with err, and what it returns.
func partly(total int, err error) (int, error) {
	if err == nil {
		return total, nil
	}
	var part *PartialError
	switch {
	case errors.Is(err, ErrLie):
		return total, nil
	case errors.As(err, &part):
		return min(total, int(part.Bytes)), err
	}
	return 0, err
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if err := f.m.look(Op{Kind: "readat", Name: f.name, Off: off, Len: int64(len(p))}); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.live)) {
		return 0, io.EOF
	}
	if n, err := f.node.unreadable(off, len(p)); err != nil {
		return copy(p[:n], f.node.live[off:]), &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	n := copy(p, f.node.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.node.live)), nil
}

func (f *memFile) Preallocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	n, err := partly(int(size), f.begin(Op{Kind: "preallocate", Len: size}))
	if n > 0 {
		f.node.live, f.node.liveShared, f.node.bad = make([]byte, n), false, nil
		f.m.journal = append(f.m.journal, change{node: f.node, size: int64(n)})
	}
	return err
}

func (f *memFile) Sync() error     { return f.sync("sync") }
func (f *memFile) Datasync() error { return f.sync("datasync") }

func (f *memFile) sync(kind string) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.begin(Op{Kind: kind})
	switch {
	case errors.Is(err, ErrCrashed):
		return err
	case errors.Is(err, ErrLie):
		return nil
	}
	f.m.settle(func(c *change) bool { return c.node == f.node }, err == nil)
	return err
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
