package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// disk is a node's disk: it outlives processes. Faults are injected by the hook of vfs.Mem; what a power loss leaves is
// decided by vfs.Mem. Between the code and the disk stands a witness, diskFS, which knows nothing of the log's or the engine's
// idea of what is durable: it sees frames being written to files and files being synced.
type disk struct {
	w   *world
	id  wire.NodeID
	mem *vfs.Mem

	root, wal, snap string // directories

	armed     int  // Mem's operation at which the process crashes; 0: none
	failSyncs int  // so many of the next syncs of the log fail
	fullFor   int  // so many of the next preallocations and writes of the log fail: the disk is full
	failSnaps int  // so many of the next writes and syncs of snapshots fail: the node lives on without
	injected  bool // an error was injected into the present process

	dirty map[string]bool       // files with content that was not synced
	named map[string]snapshotID // snapshots renamed to their name, which is not synced
	known []durable             // by group id - 1
}

type snapshotID struct {
	group wire.GroupID
	slot  wire.Slot
}

// durable is what a node's synced image holds of a group, as the witness saw it.
type durable struct {
	promise wire.Ballot                 // highest promised or voted at, for all slots
	single  map[wire.Slot]wire.Ballot   // the same, for single slots
	votes   map[wire.Slot][]durableVote // votes and learned values, in the order of writing
	snap    wire.Slot                   // newest snapshot
	trim    wire.Slot                   // highest trim mark
	lives   lives
}

type durableVote struct {
	ballot  wire.Ballot
	hash    uint64
	learned bool
}

// promised is the promise that holds in slot s.
func (d *durable) promised(s wire.Slot) wire.Ballot { return max(d.promise, d.single[s]) }

// highest is the highest of all promises.
func (d *durable) highest() wire.Ballot {
	b := d.promise
	for _, s := range d.single {
		b = max(b, s)
	}
	return b
}

func (d *durable) has(s wire.Slot, b wire.Ballot) bool {
	for _, v := range d.votes[s] {
		if v.ballot == b {
			return true
		}
	}
	return false
}

// voted says whether the disk holds a vote for a value.
func (d *durable) voted(s wire.Slot, b wire.Ballot, hash uint64) bool {
	for _, v := range d.votes[s] {
		if v.ballot == b && v.hash == hash {
			return true
		}
	}
	return false
}

func newDisk(w *world, id wire.NodeID) *disk {
	root := fmt.Sprintf("/node-%d", id)
	return &disk{
		w: w, id: id, mem: vfs.NewMem(), root: root, wal: root + "/wal", snap: root + "/snap",
		dirty: map[string]bool{}, named: map[string]snapshotID{}, known: w.newDurable(),
	}
}

func (w *world) newDurable() (known []durable) {
	for range w.k.Groups {
		known = append(known, durable{votes: map[wire.Slot][]durableVote{}, single: map[wire.Slot]wire.Ballot{}})
	}
	return known
}

func (d *disk) dir() string     { return d.root }
func (d *disk) walDir() string  { return d.wal }
func (d *disk) snapDir() string { return d.snap }

// in says whether a clean path is of a file in a directory without others below.
func in(name, dir string) bool {
	return len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}

var (
	errSync = errors.New("input/output error (injected)")
	errFull = fmt.Errorf("%w (injected)", syscall.ENOSPC)
)

// hook injects faults. It runs inside vfs.Mem.
func (d *disk) hook(op vfs.Op) error {
	if d.failSnaps+d.failSyncs+d.fullFor == 0 {
		return nil
	}
	inLog, inSnaps := in(op.Name, d.wal), in(op.Name, d.snap)
	is := func(kinds ...string) bool { return slices.Contains(kinds, op.Kind) }
	switch {
	case inSnaps && d.failSnaps > 0 && is("create", "writev", "sync"):
		d.failSnaps--
		d.w.counts["failed writes of snapshots"]++
		return errFull
	case inLog && d.failSyncs > 0 && is("datasync"):
		d.failSyncs--
		d.w.counts["failed syncs"]++
		d.injected = true
		return errSync
	case inLog && d.fullFor > 0 && is("preallocate", "writev"):
		d.fullFor--
		d.w.counts["full disks"]++
		d.injected = true
		return errFull
	}
	return nil
}

// witnessed is called by diskFS for a record that became durable.
type witnessed struct {
	group  wire.GroupID
	kind   wire.Kind
	ballot wire.Ballot
	slot   wire.Slot
	chosen wire.Slot // the chosen prefix that the record speaks of
	single bool      // the ballot is for this slot alone
	any    bool      // a vote at a fast ballot
	change []byte    // the value, if it changes the members
	hash   uint64
	tag    uint64 // of the value; 0: it has none

	incarnations []byte // a copy
}

// diskFS is one process's way to the disk. It is both wal's file system and, by snapFS, package snapshot's.
type diskFS struct {
	*vfs.Mem
	d    *disk
	dead bool // the process is gone: whatever its remains still try fails
}

func (f *diskFS) check() error {
	if f.dead {
		return vfs.ErrCrashed
	}
	return nil
}

func (f *diskFS) MkdirAll(dir string) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.Mem.MkdirAll(dir)
}

func (f *diskFS) Create(name string) (vfs.File, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.wrap(f.Mem.Create(name))(name)
}

func (f *diskFS) Open(name string) (vfs.File, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.wrap(f.Mem.Open(name))(name)
}

func (f *diskFS) wrap(file vfs.File, err error) func(string) (vfs.File, error) {
	return func(name string) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &diskFile{File: file, fs: f, name: filepath.Clean(name)}, nil
	}
}

func (f *diskFS) Rename(from, to string) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := f.Mem.Rename(from, to); err != nil {
		return err
	}
	if strings.HasPrefix(filepath.Base(to), "seg-") {
		f.d.w.counts["segments rotated"]++
	}
	if g, s, ok := snapshot.ParseName(filepath.Base(to)); ok {
		if f.d.dirty[filepath.Clean(from)] {
			f.d.w.fail("S3", f.d.id, s, "snapshot gets its name before its content is synced")
		}
		f.d.named[filepath.Clean(to)] = snapshotID{g, s}
		if filepath.Ext(from) == ".part" {
			f.d.w.oracles[g-1].installing(f.d.id)
		} else {
			f.d.w.counts["snapshots written"]++
		}
	}
	return nil
}

func (f *diskFS) Remove(name string) error {
	if err := f.check(); err != nil {
		return err
	}
	delete(f.d.dirty, filepath.Clean(name))
	return f.Mem.Remove(name)
}

func (f *diskFS) SyncDir(dir string) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := f.Mem.SyncDir(dir); err != nil {
		return err
	}
	if filepath.Clean(dir) == f.d.snapDir() {
		for name, s := range f.d.named {
			k := &f.d.known[s.group-1]
			k.snap = max(k.snap, s.slot)
			delete(f.d.named, name)
		}
	}
	return nil
}

func (f *diskFS) Lock(name string) (io.Closer, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return f.Mem.Lock(name)
}

// diskFile watches what is written and synced.
type diskFile struct {
	vfs.File
	fs      *diskFS
	name    string
	pending []witnessed
}

func (f *diskFile) Writev(bufs [][]byte, off int64) error {
	if err := f.fs.check(); err != nil {
		return err
	}
	if err := f.File.Writev(bufs, off); err != nil {
		return err
	}
	f.fs.d.dirty[f.name] = true
	for _, p := range bufs {
		if r, ok := witness(p); ok {
			f.pending = append(f.pending, r)
		}
	}
	if f.fs.d.w.relaxed() { // what is written may be acted upon, and the machine never loses power
		f.fs.d.durable(f.pending)
		f.pending = f.pending[:0]
	}
	return nil
}

// witness recognises a buffer that is one record.
func witness(p []byte) (r witnessed, ok bool) {
	h, err := wire.ParseHeader(p)
	if err != nil || h.Size() != len(p) || !h.Kind.IsRecord() || h.Kind == wire.KindRecMembers {
		return r, false
	}
	r.group, r.kind, r.ballot, r.slot = h.Group, h.Kind, wire.Ballot(word(p, 0)), wire.Slot(word(p, 8))
	r.chosen = wire.Slot(word(p, 16))
	r.incarnations = append(r.incarnations, p[len(p)-12*h.Incarnations:]...)
	r.single = h.Kind == wire.KindRecPromise && r.slot != 0 || h.Kind == wire.KindAccept && wire.Scope(word(p, 24)) == wire.ScopeSlot
	if h.Kind == wire.KindAccept || h.Kind == wire.KindLearn || h.Kind == wire.KindRecVote {
		r.hash = hashBytes(p[wire.AcceptHeadroom:])
		r.any = h.Kind == wire.KindAccept && wire.Scope(word(p, 24)) == wire.ScopeAny
		if p[wire.AcceptHeadroom] == wire.BatchTagged {
			r.tag = word(p, len(p)-wire.HeaderSize-wire.TagSize)
		}
		if p[wire.AcceptHeadroom] == wire.BatchMembers {
			r.change = bytes.Clone(p[wire.AcceptHeadroom:])
		}
	}
	return r, true
}

// word is a field of a frame's body.
func word(p []byte, at int) (v uint64) {
	for i := 7; i >= 0; i-- {
		v = v<<8 | uint64(p[wire.HeaderSize+at+i])
	}
	return v
}

func (f *diskFile) Sync() error     { return f.synced(f.File.Sync) }
func (f *diskFile) Datasync() error { return f.synced(f.File.Datasync) }

func (f *diskFile) synced(sync func() error) error {
	if err := f.fs.check(); err != nil {
		return err
	}
	err := sync()
	pending := f.pending
	f.pending = f.pending[:0] // a failed sync drops what it was to make durable
	if err != nil {
		return err
	}
	delete(f.fs.d.dirty, f.name)
	f.fs.d.durable(pending)
	return nil
}

// durable tells the groups' oracles of records that may be acted upon from now on.
func (d *disk) durable(records []witnessed) {
	for i := range records {
		d.w.oracles[records[i].group-1].durable(d, &records[i])
	}
}

func (f *diskFile) Preallocate(size int64) error {
	if err := f.fs.check(); err != nil {
		return err
	}
	return f.File.Preallocate(size)
}

// snapFS gives package snapshot its way to the same disk.
type snapFS struct{ *diskFS }

type snapFile struct{ vfs.File }

func (f snapFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.Writev([][]byte{p}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s snapFS) Create(name string) (snapshot.FileHandle, error) {
	f, err := s.diskFS.Create(name)
	if errors.Is(err, iofs.ErrExist) {
		if err = s.diskFS.Remove(name); err == nil {
			f, err = s.diskFS.Create(name)
		}
	}
	if err != nil {
		return nil, err
	}
	return snapFile{f}, nil
}

func (s snapFS) Open(name string) (snapshot.FileHandle, error) {
	f, err := s.diskFS.Mem.OpenRead(name)
	if err != nil {
		return nil, err
	}
	return snapFile{f}, nil
}

func (s snapFS) OpenPart(name string) (snapshot.FileHandle, error) {
	f, err := s.diskFS.Open(name)
	if errors.Is(err, iofs.ErrNotExist) {
		f, err = s.diskFS.Create(name)
	}
	if err != nil {
		return nil, err
	}
	return snapFile{f}, nil
}
