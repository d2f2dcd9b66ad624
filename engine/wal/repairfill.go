package wal

import (
	"bytes"
	"math"
	"slices"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Bounds of a search. So at most 2^14 things are held against a CRC of 32 bits, and the chance that one fits which is not what was there is
// below four in a million, if what was there is not among them.
const (
	passes    = 36      // 2 of tight, 3 of width, 3 of derived records, 2 of strict
	proofsMax = 450     // in a pass
	stepsMax  = 1 << 13 // in a pass
)

// filler searches for the records that fill one place: depth first, the likely ones first, within bounds.
type filler struct {
	m     *mender
	r     *repair
	w     *walker
	head  *groupHeader // the place is the records of this group
	proof proof        // head is nil: the place is from the walker's to this
	end   int64        // where the records end at the latest

	last   map[wire.GroupID]wire.Slot // voted in
	after  map[wire.GroupID]wire.Slot // first vote behind the place
	intact map[int64]int              // lengths of intact records in the place, by offset; 0: none
	tight  bool                       // the votes' slots go on behind the place without a gap
	next   map[int64]int64            // where the next intact record is
	strict bool                       // an intact record stays
	width  int                        // so many records are tried at each turn, derived ones apart
	first  [][]byte                   // what an opening group holds, as far as that is known

	turns map[turn][]candidate

	steps, proofs int
	picks         []pick
}

// pick is a record, or the end of a group.
type pick struct {
	frame  []byte
	found  bool // it was not there
	header groupHeader
	start  int64 // of the group
}

// cursor is where a search is.
type cursor struct {
	start, pos int64 // of the group, of the next record
	count      uint32
	body       uint32
	next       wire.LSN // first of the group
	chain      uint32
	oldest     uint64
	prev       frameKey
	loose      int // so many records may still be derived
}

func newFiller(m *mender, head *groupHeader, p proof) *filler {
	f := &filler{m: m, r: m.r, w: m.w, head: head, proof: p, last: map[wire.GroupID]wire.Slot{}, after: map[wire.GroupID]wire.Slot{}, intact: map[int64]int{}, turns: map[turn][]candidate{}, next: map[int64]int64{}}
	for g, t := range m.r.last {
		f.last[g] = t.slot
	}
	switch {
	case head != nil:
		f.end = f.w.off + groupHeaderSize + int64(head.Length)
	case p.to >= 0:
		f.end = p.to
	default:
		f.end = int64(len(f.w.p)) - sealSize
	}
	f.end = min(f.end, int64(len(f.w.p)))
	if f.w.groups == 0 {
		f.first = m.opening()
	}
	f.startSlots()
	return f
}

// opening is what the segment opens with, if all that is known of the segments before is all there was.
func (m *mender) opening() (frames [][]byte) {
	l := Log{id: m.r.who, groups: m.r.groups}
	members := m.w.header.Members
	l.members.Store(&members)
	recs := l.opening()
	for _, rec := range recs {
		frames = append(frames, slices.Clone(rec.Frame.Bytes()))
		rec.Frame.Release()
	}
	return frames
}

// startSlots notes with which slots the groups go on behind the place, and guesses, for those of which no vote was seen before it, where
// their votes begin: not long before that.
func (f *filler) startSlots() {
	const near = 1 << 16 // in bytes
	for off := f.end; off < min(f.end+near, int64(len(f.w.p))); {
		n := f.at(off)
		if n == 0 {
			off++
			continue
		}
		if g, slot, ok := voteIn(f.w.p[off:]); ok && f.after[g] == 0 {
			f.after[g] = slot
			if _, ok := f.last[g]; !ok {
				f.last[g] = slot - min(slot, 1+wire.Slot(f.lost()))
			}
		}
		off += int64(n)
	}
}

// voteIn says which slot of which group a record is a vote in.
func voteIn(frame []byte) (g wire.GroupID, slot wire.Slot, ok bool) {
	if k := wire.Kind(frame[5]); k != wire.KindAccept && k != wire.KindLearn && k != wire.KindRecVote {
		return 0, 0, false
	}
	return wire.GroupID(le.Uint32(frame[16:])), wire.Slot(le.Uint64(frame[wire.HeaderSize+8:])), true
}

// lost is how many records the place has.
func (f *filler) lost() int64 {
	if f.head != nil {
		return int64(f.head.Count)
	}
	return int64(f.proof.first - f.w.next)
}

// search finds what fills the place: first with slots that go on behind it, then any; first with the likeliest record at each turn, then with more of them; first with nothing but frames that
// stand somewhere, then with a few that are derived; first keeping each intact record that is in the way, then not.
func (f *filler) search() bool {
	begin := cursor{start: f.w.off, pos: f.w.off + groupHeaderSize, body: f.w.seed, next: f.w.next, chain: f.w.chain, oldest: f.w.oldest, prev: f.r.prev}
	if begin.pos > f.end {
		return false
	}
	for pass := range passes {
		f.tight, f.strict, begin.loose, f.width = pass < passes/2, pass%2 == 0, pass/2%3, []int{1, 2, math.MaxInt}[pass/6%3]
		f.picks, f.steps, f.proofs = f.picks[:0], 0, 0
		if f.from(begin) {
			return true
		}
	}
	return false
}

// from goes on at c.
func (f *filler) from(c cursor) bool {
	if f.steps++; f.steps > stepsMax || f.proofs >= proofsMax {
		return false
	}
	kept, lasts := len(f.picks), map[wire.GroupID]wire.Slot(nil)
	for f.strict && f.more(&c) {
		n := f.at(c.pos)
		if n == 0 || c.pos+int64(n) > f.end {
			break
		}
		frame := f.w.p[c.pos : c.pos+int64(n)]
		if lasts == nil {
			lasts = map[wire.GroupID]wire.Slot{}
		}
		f.take(&c, frame, false, lasts)
	}
	if f.close(c) || f.extend(c) {
		return true
	}
	f.picks = f.picks[:kept]
	for g, s := range lasts {
		f.last[g] = s
	}
	return false
}

// at is the length of the intact record at off, or 0.
func (f *filler) at(off int64) int {
	n, ok := f.intact[off]
	if !ok {
		n = f.r.own(f.w.at(off))
		f.intact[off] = n
	}
	return n
}

// stretch is how far the records that are missing at off go in strict passes: to the next intact one.
func (f *filler) stretch(off int64) int64 {
	if !f.strict {
		return f.end
	}
	to, ok := f.next[off]
	for to = max(to, off+1); !ok && to < f.end; to++ {
		at := bytes.Index(f.w.p[to:f.end], frameMagic)
		if at < 0 {
			to = f.end
			break
		}
		if to += int64(at); f.at(to) > 0 {
			break
		}
	}
	f.next[off] = min(to, f.end)
	return f.next[off]
}

// more says whether another record can be in the group.
func (f *filler) more(c *cursor) bool {
	if f.head != nil {
		return c.count < f.head.Count
	}
	return c.next+wire.LSN(c.count) < f.proof.first
}

// take puts a record behind those there are. What it changes in f.last is kept in was.
func (f *filler) take(c *cursor, frame []byte, found bool, was map[wire.GroupID]wire.Slot) {
	f.picks = append(f.picks, pick{frame: frame, found: found})
	if g, slot, ok := voteIn(frame); ok {
		if _, ok := was[g]; !ok {
			was[g] = f.last[g]
		}
		f.last[g] = slot
	}
	c.body = wire.UpdateFrameCRC(c.body, frame)
	c.pos += int64(len(frame))
	c.count++
	c.prev = keyOf(frame)
}

// extend tries the records that may come next.
func (f *filler) extend(c cursor) bool {
	if !f.more(&c) {
		return false
	}
	to := f.stretch(c.pos)
	for n, cand := range f.candidates(&c) {
		if n >= f.width && cand.loose == 0 || cand.loose > c.loose || c.pos+int64(len(cand.frame)) > to {
			continue
		}
		if g, slot, ok := voteIn(cand.frame); ok && f.tight && slot >= f.after[g] && f.after[g] > 0 {
			continue
		}
		kept, was, next := len(f.picks), map[wire.GroupID]wire.Slot{}, c
		next.loose -= cand.loose
		f.take(&next, cand.frame, true, was)
		if f.from(next) {
			return true
		}
		f.picks = f.picks[:kept]
		for g, s := range was {
			f.last[g] = s
		}
	}
	return false
}

// close ends the group here, and the search if that is proved.
func (f *filler) close(c cursor) bool {
	if c.count == 0 {
		return false
	}
	if f.head != nil {
		return f.closeKnown(c)
	}
	to := alignUp(c.pos, sectorSize)
	next := c.next + wire.LSN(c.count)
	if f.proof.to >= 0 && (to > f.proof.to || (to == f.proof.to) != (next == f.proof.first)) || f.proof.to < 0 && to > f.end ||
		next == f.proof.first && !f.fits() {
		return false
	}
	for _, h := range f.headers(&c) {
		h.encode(make([]byte, groupHeaderSize), f.w.seed)
		f.picks = append(f.picks, pick{header: h, start: c.start})
		if next == f.proof.first {
			f.proofs++
			if f.proved(&h, next) {
				return true
			}
		} else {
			after := cursor{start: to, pos: to + groupHeaderSize, body: f.w.seed, next: next, chain: h.CRC, oldest: h.Oldest, prev: c.prev, loose: c.loose}
			if after.pos <= f.end && f.from(after) {
				return true
			}
		}
		f.picks = f.picks[:len(f.picks)-1]
	}
	return false
}

// fits says whether the votes behind the place follow those in it.
func (f *filler) fits() bool {
	if !f.tight {
		return true
	}
	for g, slot := range f.after {
		if f.last[g]+1 != slot {
			return false
		}
	}
	return true
}

// closeKnown ends a group whose header is intact.
func (f *filler) closeKnown(c cursor) bool {
	if c.count != f.head.Count || c.pos != f.end || !f.fits() {
		return false
	}
	f.proofs++
	h := *f.head
	if c.body != h.Body && !plant.Is(plant.RepairUnproven) {
		return false
	}
	h.Body = c.body
	h.encode(make([]byte, groupHeaderSize), f.w.seed)
	f.picks = append(f.picks, pick{header: h, start: c.start})
	return true
}

// proved says whether the header is the one that what stands behind it follows.
func (f *filler) proved(h *groupHeader, next wire.LSN) bool {
	if f.proof.to >= 0 {
		return h.CRC == f.proof.prev
	}
	seal := sealOf(h.Segment, next, f.proof.oldest, h.CRC)
	seal.encode(make([]byte, groupHeaderSize), f.w.seed)
	return seal.CRC == f.proof.prev
}

// headers lists the headers that a group which was lost can have had. Under policy "always" all of it follows from what precedes, unless a
// segment was given up in between.
func (f *filler) headers(c *cursor) (all []groupHeader) {
	h := groupHeader{Segment: f.w.header.ID, First: c.next, Durable: c.next - 1, Oldest: c.oldest, Count: c.count,
		Length: uint32(c.pos - c.start - groupHeaderSize), Prev: c.chain, Body: c.body}
	if c.start == segmentHeaderSize { // the opening group
		return append(all, h)
	}
	flags := []uint16{f.r.flags}
	if at := f.proof.at; at != nil && at.Flags&(flagEnd|flagSeal) == 0 && at.Flags != f.r.flags {
		flags = append(flags, at.Flags)
	}
	for oldest := c.oldest; oldest <= min(f.proof.oldest, c.oldest+8); oldest++ {
		for _, fl := range flags {
			h.Flags, h.Oldest = fl, oldest
			durables := []wire.LSN{c.next - 1}
			if fl&flagRelaxed != 0 {
				durables = append(durables, f.w.mark.Durable)
				if at := f.proof.at; at != nil {
					durables = append(durables, min(at.Durable, c.next-1))
				}
			}
			slices.Sort(durables)
			for _, d := range slices.Compact(durables) {
				h.Durable = d
				all = append(all, h)
			}
		}
	}
	return all
}

// write puts what was found into the segment: headers, records and the zeros behind them.
func (f *filler) write(place *RepairedPlace) {
	p, first := f.w.p, 0
	for i, pk := range f.picks {
		if pk.frame != nil {
			if pk.found {
				place.Records++
			}
			continue
		}
		place.Groups++
		pos := pk.start + groupHeaderSize
		var records [][]byte
		for _, q := range f.picks[first:i] {
			records = append(records, q.frame)
		}
		copy(p[pos:], slices.Concat(records...)) // a copy in between: intact records are views of where they go
		pos += int64(pk.header.Length)
		h := pk.header
		h.encode(p[pk.start:], f.w.seed)
		end := alignUp(pos, sectorSize)
		clear(p[pos:end])
		place.Bytes = end - place.Offset
		first = i + 1
	}
}
