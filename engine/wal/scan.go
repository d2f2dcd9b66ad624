package wal

import (
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// walker reads one segment, group by group, and changes nothing. It holds the file in memory: at most the size of a
// segment, whatever lengths the bytes claim.
type walker struct {
	name   string
	p      []byte
	header segmentHeader
	seed   uint32

	off    int64       // of the next group
	next   wire.LSN    // of the next record
	chain  uint32      // CRC of the header before: the last group's, or the segment's
	oldest uint64      // the highest "oldest segment still needed" said so far
	mark   groupHeader // the end mark that stands at off if the log ends there
	groups int

	// unproven are the groups that no later group in this segment says were durable, oldest first.
	unproven []groupPos
}

// groupPos is where a group begins.
type groupPos struct {
	off   int64
	first wire.LSN
}

// visitor is told what is found. Nil functions are not called. frame is a view.
type visitor struct {
	group  func(off int64, h *groupHeader) error
	record func(off int64, lsn wire.LSN, frame []byte) error
}

// ending is how a walk ended.
type ending struct {
	sealed bool
	seal   groupHeader
	reason string // not sealed: what is at w.off instead of a group; "" if the end mark is
	claims int64  // not sealed: bytes from w.off on that a group there says are its own
}

// openWalker reads the segment in the file name and checks its header: that it is segment id of the node id says. buf
// is memory to use; it may be nil.
func openWalker(fsys FS, name string, id uint64, who Identity, buf []byte) (*walker, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("wal: open segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("wal: size of %s: %w", name, err)
	}
	head, err := readAt(f, name, 0, min(size, segmentHeaderSize), nil)
	if err != nil {
		return nil, err
	}
	h, err := decodeSegmentHeader(name, head)
	if err != nil {
		return nil, err
	}
	if err := checkPlace(name, &h, id, who, size); err != nil {
		return nil, err
	}
	p, err := readAt(f, name, 0, size, buf)
	if err != nil {
		return nil, err
	}
	return newWalker(name, p, h), nil
}

func newWalker(name string, p []byte, h segmentHeader) *walker {
	return &walker{name: name, p: p, header: h, seed: h.seed(), off: segmentHeaderSize, next: h.First, chain: h.CRC, oldest: h.Oldest}
}

// readAt reads n bytes at off, into buf if it is large enough.
func readAt(f vfs.File, name string, off, n int64, buf []byte) ([]byte, error) {
	p := slices.Grow(buf[:0], int(n))[:n]
	got, err := f.ReadAt(p, off)
	if int64(got) == n {
		return p, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, &CorruptError{File: name, Offset: off + int64(got), Reason: fmt.Sprintf("cannot be read: %v", err), Err: err}
}

// checkPlace says whether a segment with header h belongs in the file name of this size.
func checkPlace(name string, h *segmentHeader, id uint64, who Identity, size int64) error {
	bad := func(off int64, format string, args ...any) error {
		return &CorruptError{File: name, Offset: off, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.Cluster != who.Cluster:
		return bad(16, "the segment belongs to cluster %016x, the directory to cluster %016x", uint64(h.Cluster), uint64(who.Cluster))
	case h.Node != who.Node:
		return bad(24, "the segment belongs to node %d, the directory to node %d", h.Node, who.Node)
	case h.ID != id:
		return bad(32, "the file holds segment %d, its name says %d: files were swapped", h.ID, id)
	case size < h.Size:
		return bad(size, "the file was cut: it has %d bytes of %d", size, h.Size)
	case size > h.Size:
		return bad(h.Size, "the file has %d bytes, its header says %d", size, h.Size)
	}
	return nil
}

// walk reads groups from w.off to the end of the log in this segment. An error is a *CorruptError, or what v returned.
func (w *walker) walk(v visitor) (ending, error) {
	for {
		var h groupHeader
		intact := h.decode(w.at(w.off), w.header.ID, w.seed)
		if !intact {
			return w.nothing(), nil
		}
		if h.Flags&flagEnd != 0 {
			return w.marked(&h)
		}
		if err := w.follows(&h); err != nil {
			return ending{}, err
		}
		if h.Flags&flagSeal != 0 {
			return ending{sealed: true, seal: h}, nil
		}
		body := w.at(w.off + groupHeaderSize)[:h.Length]
		if crc32.Update(w.seed, wire.Castagnoli, body) != h.Body {
			return ending{
				reason: fmt.Sprintf("the records of the group at LSN %d are damaged (CRC)", h.First),
				claims: groupHeaderSize + int64(h.Length),
			}, nil
		}
		if err := w.group(&h, body, v); err != nil {
			return ending{}, err
		}
	}
}

// at is the segment from off on, up to what is kept free for the seal.
func (w *walker) at(off int64) []byte {
	if off >= int64(len(w.p)) {
		return nil
	}
	return w.p[off:]
}

// follows checks that a group whose header is intact is the one that belongs here. One that is not was never left here
// by a crash: what a cut leaves behind is wiped before anything is written after it.
func (w *walker) follows(h *groupHeader) error {
	room := int64(len(w.p)) - sealSize - w.off - groupHeaderSize
	sealed := h.Flags&flagSeal != 0
	switch {
	case h.First != w.next || h.Prev != w.chain:
		return w.corrupt("a group of LSN %d stands here that does not follow the one before, which ends before LSN %d", h.First, w.next)
	case h.Durable >= h.First || h.Oldest < w.oldest || h.Oldest > w.header.ID:
		return w.corrupt("the group at LSN %d is senseless: durable through %d, oldest segment %d", h.First, h.Durable, h.Oldest)
	case sealed && (h.Count != 0 || h.Length != 0), !sealed && (h.Count == 0 || int64(h.Length) > room):
		return w.corrupt("the group at LSN %d is senseless: %d records in %d bytes", h.First, h.Count, h.Length)
	}
	return nil
}

func (w *walker) corrupt(format string, args ...any) *CorruptError {
	return &CorruptError{File: w.name, Offset: w.off, Reason: fmt.Sprintf(format, args...)}
}

// group takes an intact group: hands out its records and moves behind it.
func (w *walker) group(h *groupHeader, body []byte, v visitor) error {
	if v.group != nil {
		if err := v.group(w.off, h); err != nil {
			return err
		}
	}
	pos, lsn := int64(0), h.First
	for range h.Count {
		f, err := wire.CheckFrame(body[pos:])
		if err == nil && f.Cluster != w.header.Cluster {
			err = fmt.Errorf("it is of cluster %016x", uint64(f.Cluster))
		}
		if err != nil {
			c := w.corrupt("record %d in an intact group is not one: %v", lsn, err)
			c.Offset += groupHeaderSize + pos
			c.Err = err
			return c
		}
		if v.record != nil {
			if err := v.record(w.off+groupHeaderSize+pos, lsn, body[pos:pos+int64(f.Size())]); err != nil {
				return err
			}
		}
		pos, lsn = pos+int64(f.Size()), lsn+1
	}
	if pos != int64(len(body)) {
		return w.corrupt("the %d records of the group at LSN %d take %d of its %d bytes", h.Count, h.First, pos, len(body))
	}
	for len(w.unproven) > 0 && w.unproven[0].first <= h.Durable {
		w.unproven = w.unproven[1:]
	}
	w.unproven = append(w.unproven, groupPos{w.off, h.First})
	w.oldest = h.Oldest
	w.next, w.chain = lsn, h.CRC
	w.mark = h.endMark()
	w.mark.encode(make([]byte, groupHeaderSize), w.seed) // for its CRC
	w.off = alignUp(w.off+groupHeaderSize+int64(h.Length), sectorSize)
	w.groups++
	return nil
}

// page is what the write of the group before w.off put behind it, as far as it is not a group by now.
func (w *walker) page() []byte {
	return w.p[w.off:min(alignUp(w.off+sectorSize, pageSize), int64(len(w.p)))]
}

// nothing says what is at w.off, where neither a group of this segment is nor an end mark.
func (w *walker) nothing() ending {
	page := w.page()
	e := ending{claims: int64(len(page))}
	if allZero(page[:sectorSize]) {
		e.reason = fmt.Sprintf("zeros where the group at LSN %d or the end mark should be", w.next)
	} else {
		e.reason = fmt.Sprintf("the header of the group at LSN %d is damaged", w.next)
	}
	return e
}

// marked says what the end mark h at w.off means.
func (w *walker) marked(h *groupHeader) (ending, error) {
	page := w.page()
	switch {
	case h.Durable >= w.next:
		return ending{}, w.corrupt("an end mark stands here which says that everything through LSN %d was durable, and the log ends before LSN %d",
			h.Durable, w.next)
	case *h != w.mark:
		return ending{
			reason: fmt.Sprintf("the end mark of LSN %d stands where that of LSN %d or its group should be", h.First, w.next),
			claims: int64(len(page)),
		}, nil
	case !allZero(page[groupHeaderSize:]):
		return ending{
			reason: fmt.Sprintf("parts of a group at LSN %d, whose first sector is the end mark of before", w.next),
			claims: int64(len(page)),
		}, nil
	}
	return ending{}, nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// found is a group header or an end mark behind the place where the log's groups end.
type found struct {
	off int64
	groupHeader
}

// later finds every intact group header and end mark of this segment behind off, at any sector: groups begin at sectors only, and
// the length of a damaged one is not believed.
func (w *walker) later(off int64) []found {
	var all []found
	for off += sectorSize; off < int64(len(w.p)); off += sectorSize {
		var h groupHeader
		if h.decode(w.p[off:], w.header.ID, w.seed) {
			all = append(all, found{off, h})
		}
	}
	return all
}
