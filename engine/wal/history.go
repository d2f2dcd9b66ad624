package wal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Verdict says how Replay found the log's end. Damage anywhere else is an error of Replay, not a verdict.
type Verdict struct {
	// Torn: the log does not end with its end mark. What is there instead was cut. Nothing in the log says that it was
	// ever acknowledged, and a crash leaves exactly this; but if it was the very last thing acknowledged and rotted
	// afterwards, that looks the same (doc.go, "What is not promised"). false: clean.
	Torn bool

	File   string   // the newest segment
	Offset int64    // where the log ends now, in bytes
	Bytes  int64    // torn: how many bytes the cut part took, as far as it can be told
	LSN    wire.LSN // torn: of the first record that was cut
	Groups int      // torn: intact groups behind the damage, cut as well; 0 under policy Always
	Reason string   // torn: what was found
}

func (v Verdict) String() string {
	if !v.Torn {
		return "clean"
	}
	return fmt.Sprintf("torn tail cut in %s at offset %d: %d bytes and %d whole groups from LSN %d on, none known to have been acknowledged (%s)",
		v.File, v.Offset, v.Bytes, v.Groups, v.LSN, v.Reason)
}

// history is what a directory holds, read without changing it.
type history struct {
	tail      *walker // the newest segment, at the log's end
	verdict   Verdict
	lastSeal  *sealed  // of the segment before the newest
	leftovers []uint64 // ids of segments given up whose files are still here
	spares    []string
	tmps      []string
}

// sealed is where a segment's seal is, or should be: a rotation that a crash cut short has not written it.
type sealed struct {
	name string
	off  int64
	seal [groupHeaderSize]byte
}

// historyVisitor is told what readHistory finds, in log order. Nil functions are not called.
type historyVisitor struct {
	begin func(w *walker) // before a segment's first group
	group func(off int64, h *groupHeader) error
	// record is told of each record; frame is a view.
	record func(w *walker, off int64, lsn wire.LSN, frame []byte) error
	end    func(w *walker, e ending) // behind a segment's last group
}

// readHistory reads the log of node who in dir, oldest segment first.
func readHistory(fsys FS, dir string, who Identity, v historyVisitor) (*history, error) {
	h := &history{}
	ids, err := h.list(fsys, dir)
	if err != nil {
		return h, err
	}
	ids, buf, err := h.neededOf(fsys, dir, who, ids)
	if err != nil {
		return h, err
	}
	for i, id := range ids {
		w, err := openWalker(fsys, filepath.Join(dir, segmentName(id)), id, who, buf)
		if err != nil {
			return h, err
		}
		buf = w.p
		if v.begin != nil {
			v.begin(w)
		}
		end, err := w.walk(v.of(w))
		if err == nil && i < len(ids)-1 {
			err = h.link(fsys, dir, w, end)
		} else if err == nil {
			h.tail = w
			h.verdict, err = judge(dir, w, end)
		}
		if v.end != nil {
			v.end(w, end)
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// of is the part of v that a walker calls.
func (v historyVisitor) of(w *walker) visitor {
	wv := visitor{group: v.group}
	if v.record != nil {
		wv.record = func(off int64, lsn wire.LSN, frame []byte) error { return v.record(w, off, lsn, frame) }
	}
	return wv
}

// list sorts the names in dir into segments, whose ids it returns in ascending order, and the rest.
func (h *history) list(fsys FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list: %w", err)
	}
	var ids []uint64
	for _, n := range names {
		if id, ok := parseName(n, segmentPrefix); ok {
			ids = append(ids, id)
		} else if _, ok := parseName(n, sparePrefix); ok {
			h.spares = append(h.spares, n)
		} else if strings.HasSuffix(n, tmpSuffix) {
			h.tmps = append(h.tmps, n)
		}
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return nil, &CorruptError{File: filepath.Join(dir, segmentName(1)), Reason: "the log has no segment"}
	}
	return ids, nil
}

// neededOf returns the ids of the segments that the log needs, and refuses if one of them is missing. The newest segment
// says which is the oldest needed; older ones were given up, and the file of one may still be here, whole or reused. buf is
// memory for the next segment.
func (h *history) neededOf(fsys FS, dir string, who Identity, ids []uint64) (needed []uint64, buf []byte, err error) {
	newest := ids[len(ids)-1]
	w, err := openWalker(fsys, filepath.Join(dir, segmentName(newest)), newest, who, nil)
	if err != nil {
		return nil, nil, err
	}
	_, damage := w.walk(visitor{})
	from, _ := slices.BinarySearch(ids, w.oldest)
	h.leftovers = ids[:from]
	ids = ids[from:]
	for i := range ids {
		if want := w.oldest + uint64(i); ids[i] != want {
			if damage != nil { // a later group may have said that the missing one is not needed
				return nil, nil, damage
			}
			return nil, nil, &CorruptError{
				File:   filepath.Join(dir, segmentName(want)),
				Reason: fmt.Sprintf("the file is missing: the log needs segments %d to %d", w.oldest, newest),
			}
		}
	}
	return ids, w.p, nil
}

// link checks that the segment behind w follows it. If the seal between them is missing it must be the one that the
// segment behind expects, which is a function of everything before it: then the rotation was cut short and is finished
// by writing it, and nothing is missing.
func (h *history) link(fsys FS, dir string, w *walker, end ending) error {
	name := filepath.Join(dir, segmentName(w.header.ID+1))
	p, err := readSmall(fsys, name, segmentHeaderSize)
	if err != nil {
		return &CorruptError{File: name, Reason: fmt.Sprintf("cannot be read: %v", err), Err: err}
	}
	next, err := decodeSegmentHeader(name, p)
	if err != nil {
		return err
	}
	s := &sealed{name: w.name, off: w.off}
	seal := sealOf(w.header.ID, w.next, next.Oldest, w.chain)
	seal.encode(s.seal[:], w.seed)
	switch follows := next.Prev == seal.CRC && next.First == w.next; {
	case !follows && end.sealed:
		return &CorruptError{File: name, Reason: fmt.Sprintf("segment %d begins at LSN %d and does not follow segment %d, which ends before LSN %d",
			next.ID, next.First, w.header.ID, w.next)}
	case !follows:
		reason := end.reason
		if reason == "" {
			reason = fmt.Sprintf("the segment ends before LSN %d, with an end mark", w.next)
		}
		return w.corrupt("%s; it was durable, for segment %d begins at LSN %d", reason, next.ID, next.First)
	}
	h.lastSeal = s
	return nil
}

// judge says what the end of the newest segment is: the end of the log, a tail that a crash tore, or damage.
//
// The rule: what is at the end and not whole may be cut only if nothing intact anywhere behind it says that it was
// durable. Every group says through which LSN the log was durable when it was written. Under policy Always
// there is never more than one group that is not durable, so any group behind the damage says so; under the other policies
// groups that nobody synced may have reached the disk in any order, and those behind the damage that do not say so are
// cut with it.
func judge(dir string, w *walker, end ending) (Verdict, error) {
	v := Verdict{File: w.name, Offset: w.off}
	if end.sealed {
		return v, &CorruptError{
			File:   filepath.Join(dir, segmentName(w.header.ID+1)),
			Reason: fmt.Sprintf("the file is missing: segment %d says that it exists", w.header.ID),
		}
	}
	if w.groups == 0 {
		return v, w.corrupt("the segment's opening group is damaged; it was durable before the segment got its name")
	}
	later := w.later(w.off)
	if plant.Is(plant.ZeroIsEnd) && allZero(w.page()[:sectorSize]) {
		return v, nil
	}
	reason := end.reason
	if reason == "" {
		reason = fmt.Sprintf("the end mark stands where the group at LSN %d should be", w.next)
	}
	v.Bytes = end.claims
	for _, f := range later {
		if f.Durable >= w.next && !plant.Is(plant.TornTailAlways) {
			return v, w.corrupt("%s; it was durable, for what stands for LSN %d at offset %d says that everything through LSN %d was",
				reason, f.First, f.off, f.Durable)
		}
		v.Bytes = max(v.Bytes, f.off+groupHeaderSize+int64(f.Length)-w.off)
		if f.Flags&flagEnd == 0 {
			v.Groups++
		}
	}
	if end.reason == "" && len(later) == 0 {
		return v, nil
	}
	v.Torn, v.LSN, v.Reason = true, w.next, reason
	v.Bytes = min(v.Bytes, int64(len(w.p))-w.off)
	return v, nil
}
