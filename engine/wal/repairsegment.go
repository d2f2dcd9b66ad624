package wal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// mend walks segment i and fills the places where that stops. An error is of the file system, or says that a repair is not
// to be thought of; that a place cannot be filled is noted in the segment.
func (r *repair) mend(i int) error {
	s := r.segs[i]
	p, _, err := loadSectors(r.c.FS, s.name, nil)
	if err != nil {
		return fmt.Errorf("wal: repair: %w", err)
	}
	s.p = p
	h, err := decodeSegmentHeader(s.name, p)
	if err == nil {
		err = checkPlace(s.name, &h, s.id, r.who, h.Size)
	}
	if err != nil {
		if h, err = r.mendHeader(i, err); err != nil {
			return r.giveUp(s, err)
		}
	}
	s.header, s.known = h, true
	if size := h.Size; int64(len(s.p)) != size { // cut, or something behind it
		if size > repairFileMax {
			return r.giveUp(s, &CorruptError{File: s.name, Offset: 40, Reason: fmt.Sprintf("the header speaks of %d bytes", size)})
		}
		s.dirty = true
		whole := make([]byte, size)
		copy(whole, s.p)
		s.p = whole
	}
	m := mender{r: r, i: i, s: s, w: newWalker(s.name, s.p, h), filled: map[int64]int{}}
	m.run()
	s.oldest, s.next, s.chain = m.w.oldest, m.w.next, m.w.chain
	if !s.dirty {
		s.p = nil
	}
	return nil
}

// giveUp notes that a segment cannot be read at all; the wrong version and the wrong owner end the repair.
func (r *repair) giveUp(s *mended, err error) error {
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	s.err = &UnrepairableError{File: s.name, Offset: corrupt.Offset, Reason: corrupt.Reason, Missing: "no checksum proves another content", Err: err}
	s.oldest = s.id
	return nil
}

// mender walks one segment.
type mender struct {
	r *repair
	i int
	s *mended
	w *walker

	before position // of the walker before the last group
	filled map[int64]int
}

// position is what a walker knows of where it is.
type position struct {
	off      int64
	next     wire.LSN
	chain    uint32
	oldest   uint64
	mark     groupHeader
	groups   int
	unproven []groupPos
}

func (w *walker) position() position {
	return position{w.off, w.next, w.chain, w.oldest, w.mark, w.groups, w.unproven}
}

func (w *walker) moveTo(p position) {
	w.off, w.next, w.chain, w.oldest, w.mark, w.groups, w.unproven = p.off, p.next, p.chain, p.oldest, p.mark, p.groups, p.unproven
}

// run walks to the segment's end, and fills what is missing on the way.
func (m *mender) run() {
	for {
		end, err := m.w.walk(visitor{
			group: func(_ int64, h *groupHeader) error {
				m.before = m.w.position()
				if m.w.groups > 0 {
					m.r.flags = h.Flags
				}
				return nil
			},
			record: func(_ int64, _ wire.LSN, frame []byte) error { m.r.note(frame); return nil },
		})
		done, fault := m.ends(end, err)
		if fault == nil {
			return
		}
		if m.fill() || m.fillBefore() {
			continue
		}
		if !done {
			m.s.err = m.unrepairable(fault)
		}
		return
	}
}

// ends says whether the segment ends here as it should. done with a fault: it may end here, torn.
func (m *mender) ends(end ending, err error) (done bool, fault error) {
	if m.i == len(m.r.segs)-1 {
		if err != nil {
			return false, err
		}
		v, err := judge(m.r.c.Dir, m.w, end)
		if err != nil {
			return false, err
		}
		m.r.rep.Verdict = v
		if v.Torn {
			return true, &TornError{v}
		}
		return true, nil
	}
	next := m.r.segs[m.i+1]
	if err == nil && next.known {
		seal := sealOf(m.w.header.ID, m.w.next, next.header.Oldest, m.w.chain)
		seal.encode(make([]byte, groupHeaderSize), m.w.seed)
		if next.header.Prev == seal.CRC && next.header.First == m.w.next {
			return true, nil
		}
	} else if err == nil && end.sealed {
		return true, nil
	}
	if err == nil {
		err = m.w.corrupt("%s; it was durable, for there is a next segment", cmpReason(end.reason, m.w.next))
	}
	return false, err
}

func cmpReason(reason string, next wire.LSN) string {
	if reason != "" {
		return reason
	}
	return fmt.Sprintf("the segment ends before LSN %d", next)
}

func (m *mender) unrepairable(err error) error {
	e := &UnrepairableError{File: m.s.name, Offset: m.w.off, Reason: err.Error(), Err: err,
		Missing: fmt.Sprintf("the records from LSN %d on were not found in %d other directories with the content that the checksums demand", m.w.next, len(m.r.c.From))}
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		e.File, e.Offset, e.Reason = corrupt.File, corrupt.Offset, corrupt.Reason
	}
	return e
}

// fill fills the place at which the walker stands.
func (m *mender) fill() bool {
	w := m.w
	var h groupHeader
	if h.decode(w.at(w.off), w.header.ID, w.seed) && h.Flags&(flagEnd|flagSeal) == 0 && w.follows(&h) == nil {
		if m.search(&h, proof{}) {
			return true
		}
	}
	for n, p := range m.proofs() {
		if n == proofsTried {
			break
		}
		if m.search(nil, p) {
			return true
		}
	}
	return false
}

// fillBefore fills the place of the last group instead: what stands there may be an older version of it, from before it was
// extended, and whole.
func (m *mender) fillBefore() bool {
	if m.before.off == 0 || m.before.off >= m.w.off {
		return false
	}
	here := m.w.position()
	m.w.moveTo(m.before)
	for n, p := range m.proofs() {
		if n == proofsTried {
			break
		}
		if m.search(nil, p) {
			return true
		}
	}
	m.w.moveTo(here)
	return false
}

// proof is something intact behind a place whose group headers are lost. Its chain CRC covers the last of them, and with that all.
type proof struct {
	to     int64    // where it stands; -1: anywhere, as the seal, which the next segment's header vouches for
	first  wire.LSN // behind the last record in the place
	prev   uint32   // CRC of the last header; with to < 0 of the seal
	oldest uint64
	at     *groupHeader
}

// proofsTried bounds how many intact headers behind a place are taken for the one that follows it.
const proofsTried = 4

// proofs lists what may follow the place at which the walker stands.
func (m *mender) proofs() (all []proof) {
	for _, f := range m.w.later(m.w.off) {
		if f.First > m.w.next && f.Oldest >= m.w.oldest {
			h := f.groupHeader
			all = append(all, proof{to: f.off, first: f.First, prev: f.Prev, oldest: f.Oldest, at: &h})
		}
	}
	if m.i < len(m.r.segs)-1 {
		if next := m.r.segs[m.i+1]; next.known && next.header.First > m.w.next {
			all = append(all, proof{to: -1, first: next.header.First, prev: next.header.Prev, oldest: next.header.Oldest})
		}
	}
	return all
}

// search looks for what fills the place, and writes it into the segment's bytes.
func (m *mender) search(head *groupHeader, p proof) bool {
	if m.filled[m.w.off] > 1 {
		return false
	}
	m.r.pool.load()
	f := newFiller(m, head, p)
	if !f.search() {
		return false
	}
	place := RepairedPlace{File: m.s.name, Offset: m.w.off, LSN: m.w.next}
	f.write(&place)
	m.s.dirty = true
	m.filled[place.Offset]++
	m.r.rep.Places = append(m.r.rep.Places, place)
	return true
}

// note keeps what a record says.
func (r *repair) note(frame []byte) {
	r.prev = keyOf(frame)
	f := wire.GetCopy(frame)
	defer f.Release()
	var rec wire.Record
	if err := wire.DecodeRecord(f, &rec); err != nil {
		return
	}
	switch rec.Kind {
	case wire.KindRecMembers:
		if m, err := wire.ParseMembers(frame); err == nil {
			r.members = m
		}
		return
	case wire.KindAccept, wire.KindLearn, wire.KindRecVote:
		t := r.last[rec.Group]
		r.last[rec.Group] = tip{rec.Slot, append(t.head[:0], frame[:wire.AcceptHeadroom]...)}
	}
	r.groups.note(&rec)
}

// own says whether an intact record of this cluster begins at p, and how long it is; 0: no.
func (r *repair) own(p []byte) int {
	h, err := wire.CheckFrame(p)
	if err != nil || !h.Kind.IsRecord() || h.Cluster != r.who.Cluster {
		return 0
	}
	return h.Size()
}

// sameBut counts in how many bytes two pieces agree, looking at no more than the first ones.
func sameBut(p, q []byte) (n int) {
	l := min(len(p), len(q), 1<<14)
	if bytes.Equal(p[:l], q[:l]) {
		return l
	}
	for i := range l {
		if p[i] == q[i] {
			n++
		}
	}
	return n
}
