package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// Report is what Inspect found.
type Report struct {
	Dir      string
	Identity Identity
	Segments []SegmentReport // oldest first, as far as the log could be read
	Spares   int             // files that wait to be reused
	GivenUp  int             // segments that nobody needs and that the next Open will reuse or remove
	Verdict  Verdict         // how the log ends; meaningful if Inspect returned no error
	Suspect  string          // why its node does not vote until it is healed; "": it votes
}

// SegmentReport describes one segment.
type SegmentReport struct {
	File    string
	ID      uint64
	Size    int64 // of the file in bytes
	Used    int64 // bytes up to the end of the last group
	First   wire.LSN
	Last    wire.LSN // First-1: no records
	Sealed  bool     // full: the next one exists
	Groups  int
	Relaxed int // groups written under a policy other than always
	Records int
	Kinds   map[wire.Kind]int
	Slots   map[wire.GroupID]SlotRange // of the votes
}

// SlotRange is the lowest and the highest slot of a group's votes.
type SlotRange struct{ Min, Max wire.Slot }

// Entry is one record in the log.
type Entry struct {
	File   string
	Offset int64 // of the frame in bytes
	LSN    wire.LSN
	Record wire.Record // Frame is valid during the call
}

// Inspect reads the log in dir and reports what is there. It takes no lock and changes nothing, so that it can look at a log
// that is refused, or in use; of a log in use it may see the last group half written and call it torn. fn, if not nil,
// is told of every record in order and ends the walk with an error, which Inspect returns.
//
// An error says why the log would be refused (*CorruptError, *VersionError, *IdentityError) or could not be read; the
// report then holds what was read up to there.
func Inspect(dir string, fn func(*Entry) error) (Report, error) {
	return InspectFS(vfs.OS(), dir, fn)
}

// InspectFS is Inspect on another file system.
func InspectFS(fsys FS, dir string, fn func(*Entry) error) (Report, error) {
	rep := Report{Dir: dir}
	who, damage := inspectIdentity(fsys, dir)
	if who.Node == 0 {
		return rep, damage
	}
	rep.Identity = who
	suspect, unread := readSuspect(fsys, dir)
	rep.Suspect = suspect.why
	h, err := readHistory(fsys, dir, who, rep.visitor(fn))
	rep.Spares, rep.GivenUp, rep.Verdict = len(h.spares), len(h.leftovers), h.verdict
	if err == nil {
		err = damage
	}
	if err == nil {
		err = unread
	}
	return rep, err
}

// inspectIdentity reads whose log it is from the identity file, or, with an error, from the newest segment.
func inspectIdentity(fsys FS, dir string) (Identity, error) {
	who, ok, err := readIdentity(fsys, dir)
	if ok {
		return who, nil
	}
	var h history
	ids, listErr := h.list(fsys, dir)
	if err == nil {
		err = &IdentityError{dir, "the identity file is missing"}
	}
	var noSegment *CorruptError
	if errors.As(listErr, &noSegment) {
		return Identity{}, fmt.Errorf("wal: %s: %w", dir, ErrNotBootstrapped)
	}
	if listErr != nil {
		return Identity{}, listErr
	}
	name := filepath.Join(dir, segmentName(ids[len(ids)-1]))
	p, readErr := readSmall(fsys, name, segmentHeaderSize)
	if readErr != nil {
		return Identity{}, err
	}
	head, decodeErr := decodeSegmentHeader(name, p)
	if decodeErr != nil {
		return Identity{}, decodeErr
	}
	return Identity{Cluster: head.Cluster, Node: head.Node, Members: head.Members}, err
}

// visitor fills in the report while the log is read.
func (rep *Report) visitor(fn func(*Entry) error) historyVisitor {
	var s *SegmentReport
	return historyVisitor{
		begin: func(w *walker) {
			rep.Segments = append(rep.Segments, SegmentReport{
				File: w.name, ID: w.header.ID, Size: w.header.Size, Used: w.off, First: w.header.First, Last: w.header.First - 1,
				Kinds: map[wire.Kind]int{}, Slots: map[wire.GroupID]SlotRange{},
			})
			s = &rep.Segments[len(rep.Segments)-1]
		},
		group: func(_ int64, h *groupHeader) error {
			s.Groups++
			if h.Flags&flagRelaxed != 0 {
				s.Relaxed++
			}
			return nil
		},
		record: func(w *walker, off int64, lsn wire.LSN, frame []byte) error {
			return s.record(w, off, lsn, frame, fn)
		},
		end: func(w *walker, e ending) { s.Used, s.Sealed = w.off, e.sealed },
	}
}

func (s *SegmentReport) record(w *walker, off int64, lsn wire.LSN, frame []byte, fn func(*Entry) error) error {
	f := wire.GetCopy(frame)
	defer f.Release()
	e := Entry{File: w.name, Offset: off, LSN: lsn}
	if err := wire.DecodeRecord(f, &e.Record); err != nil {
		return &CorruptError{File: w.name, Offset: off, Reason: fmt.Sprintf("not a record of this version: %v", err), Err: err}
	}
	r := &e.Record
	s.Records, s.Last = s.Records+1, lsn
	s.Kinds[r.Kind]++
	if r.Kind == wire.KindAccept || r.Kind == wire.KindLearn || r.Kind == wire.KindRecVote {
		at, ok := s.Slots[r.Group]
		if !ok {
			at.Min = r.Slot
		}
		s.Slots[r.Group] = SlotRange{min(at.Min, r.Slot), max(at.Max, r.Slot)}
	}
	if fn == nil {
		return nil
	}
	return fn(&e)
}
