package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// RepairConfig says which log to repair, and from what.
type RepairConfig struct {
	Dir  string   // of the log; nobody may have it open
	From []string // directories of the other nodes' logs, damaged or not, in use or not; also older copies of this one

	// DryRun has Repair find out and report, and write nothing.
	DryRun bool

	FS FS // nil: the machine's
}

// RepairReport is what Repair found and did.
type RepairReport struct {
	Dir      string
	Identity Identity
	Places   []RepairedPlace // in log order
	Files    []string        // replaced; what they held before is kept under the same names with .lost
	Verdict  Verdict         // how the log ends now; a torn end that nothing proves is left as it is
}

// RepairedPlace is one place that could be made whole.
type RepairedPlace struct {
	File    string
	Offset  int64    // of the first byte written, a group's or the segment header's
	Bytes   int64    // up to the next intact group
	LSN     wire.LSN // of the first record in it; 0: the segment header
	Groups  int
	Records int // found in other places or derived; those that were intact are not counted
}

// UnrepairableError says that a damaged place stays: what belongs there was not found, and nothing was changed on the disk.
type UnrepairableError struct {
	File    string
	Offset  int64
	Reason  string // what is damaged
	Missing string // what would be needed
	Err     error  // why the log is refused, if that is a type of its own
}

func (e *UnrepairableError) Error() string {
	return fmt.Sprintf("wal: %s cannot be repaired at offset %d: %s; %s. Nothing was changed", e.File, e.Offset, e.Reason, e.Missing)
}

func (e *UnrepairableError) Unwrap() error { return e.Err }

// Repair makes a log whole again that is damaged, from the frames in other nodes' logs and from what else follows from the disk. It
// writes nothing that a checksum of this very log does not prove (doc.go, "Repair"): then the log is what it was, and its node
// has forgotten nothing. What cannot be made whole is refused and left as it is, all of it.
//
// Errors: ErrInUse, ErrNotBootstrapped, *IdentityError, *VersionError, *UnrepairableError (several may be joined), and those of the
// file system. The report is good for what was found up to there.
func Repair(c RepairConfig) (rep RepairReport, err error) {
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	rep.Dir = c.Dir
	if rep.Identity, err = inspectIdentity(c.FS, c.Dir); err != nil {
		return rep, err
	}
	lock, err := takeLock(&Config{Dir: c.Dir, FS: c.FS})
	if err != nil {
		return rep, err
	}
	r := &repair{c: c, rep: &rep, who: rep.Identity}
	err = r.run()
	r.pool.close()
	return rep, errors.Join(err, lock.Close())
}

// repair is a Repair at work.
type repair struct {
	c   RepairConfig
	rep *RepairReport
	who Identity

	segs []*mended
	pool pool

	// What the records up to here have said, as far as they could be read. It only guides the search: what it says is tried, and
	// proved or not.
	groups  groupSet
	members []wire.NodeID
	last    map[wire.GroupID]tip
	prev    frameKey // of the record before
	flags   uint16   // of the group before
}

// tip is the last vote of a consensus group.
type tip struct {
	slot wire.Slot
	head []byte // its header and fixed part
}

// mended is a segment being mended.
type mended struct {
	id     uint64
	name   string
	p      []byte // its bytes, as far as they are needed
	header segmentHeader
	known  bool // header is good
	dirty  bool
	err    error // it cannot be made whole
	oldest uint64

	next  wire.LSN // behind its last record
	chain uint32   // of its last group
}

func (r *repair) run() error {
	var h history
	ids, err := h.list(r.c.FS, r.c.Dir)
	if err != nil {
		return err
	}
	from := len(ids) - 1
	for from > 0 && ids[from-1] == ids[from]-1 {
		from--
	}
	for _, id := range ids[from:] {
		r.segs = append(r.segs, &mended{id: id, name: filepath.Join(r.c.Dir, segmentName(id))})
	}
	r.groups.init()
	r.members, r.last = r.who.Members, map[wire.GroupID]tip{}
	r.pool.init(r)
	for _, s := range r.segs {
		r.readHeader(s)
	}
	for i := range r.segs {
		if err := r.mend(i); err != nil {
			return err
		}
	}
	if err := r.judge(); err != nil || r.c.DryRun {
		return err
	}
	return r.write()
}

// readHeader notes a segment's header, if it is whole.
func (r *repair) readHeader(s *mended) {
	p, err := readSmall(r.c.FS, s.name, segmentHeaderSize)
	if err != nil {
		return
	}
	if h, err := decodeSegmentHeader(s.name, p); err == nil && checkPlace(s.name, &h, s.id, r.who, h.Size) == nil {
		s.header, s.known = h, true
	}
}

// judge says whether all that the log needs is whole now.
func (r *repair) judge() error {
	newest := r.segs[len(r.segs)-1]
	var errs []error
	oldest := newest.oldest
	if newest.err != nil {
		oldest = max(oldest, r.segs[0].id)
	}
	for _, s := range r.segs {
		if s.id >= oldest {
			errs = append(errs, s.err)
		} else {
			s.dirty = false // given up: nobody reads it
		}
	}
	if first := r.segs[0].id; first > oldest {
		errs = append(errs, &UnrepairableError{File: filepath.Join(r.c.Dir, segmentName(first-1)), Reason: "the file is missing",
			Missing: fmt.Sprintf("the log needs segments %d to %d, and no other node has their like", oldest, newest.id)})
	}
	r.rep.Places = slices.DeleteFunc(r.rep.Places, func(p RepairedPlace) bool {
		id, _ := parseName(filepath.Base(p.File), segmentPrefix)
		return id < oldest
	})
	return errors.Join(errs...)
}

// write replaces the files that were mended. What they held is kept; each is replaced at once and whole, so that a crash leaves the damaged
// one or the mended one, and a repair that was cut short may be repeated.
func (r *repair) write() error {
	fsys := r.c.FS
	for _, s := range r.segs {
		if !s.dirty {
			continue
		}
		old, _, err := loadSectors(fsys, s.name, nil)
		if err != nil {
			return fmt.Errorf("wal: repair: %w", err)
		}
		for _, f := range []struct {
			name string
			p    []byte
		}{{s.name + lostSuffix, old}, {s.name, s.p}} {
			tmp := f.name + tmpSuffix
			if err := writeSegment(fsys, tmp, f.p); err != nil {
				return fmt.Errorf("wal: repair: write %s: %w", tmp, err)
			}
			if err := fsys.Rename(tmp, f.name); err != nil {
				return fmt.Errorf("wal: repair: rename %s: %w", tmp, err)
			}
			if err := fsys.SyncDir(r.c.Dir); err != nil {
				return fmt.Errorf("wal: repair: sync directory %s: %w", r.c.Dir, err)
			}
		}
		r.rep.Files = append(r.rep.Files, s.name)
	}
	if len(r.rep.Files) == 0 {
		return nil
	}
	h, err := readHistory(fsys, r.c.Dir, r.who, historyVisitor{}) // once more from the disk, by those who will have to read it
	r.rep.Verdict = h.verdict
	if err != nil {
		return fmt.Errorf("wal: repair: after it was written: %w", err)
	}
	return nil
}

// writeSegment makes a file with this content, all of it on the disk.
func writeSegment(fsys FS, name string, p []byte) error {
	f, err := createZeroed(fsys, name, int64(len(p)))
	if err != nil {
		return err
	}
	err = f.Writev([][]byte{p}, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// loadSectors reads a file. Sectors that cannot be read are zeros, and counted.
func loadSectors(fsys FS, name string, buf []byte) (p []byte, unread int, err error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	if size > repairFileMax {
		return nil, 0, fmt.Errorf("%s has %d bytes: no segment has", name, size)
	}
	p = slices.Grow(buf[:0], int(size))[:size]
	for off := int64(0); off < size; {
		n, err := f.ReadAt(p[off:], off)
		off += int64(n)
		if off == size {
			break
		}
		if err == nil {
			continue
		}
		end := min(alignUp(off+1, sectorSize), size)
		clear(p[off:end])
		off, unread = end, unread+1
	}
	return p, unread, nil
}

// repairFileMax bounds the files that are read: the largest segment, with room for one record of its own.
const repairFileMax = SegmentBytesMax + 2*wire.FrameMax
