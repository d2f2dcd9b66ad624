package wal

import (
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// candidate is a record that may stand somewhere.
type candidate struct {
	frame []byte
	loose int // 1: nobody's log holds it; it was made of what is in them
	same  int // bytes that agree with what is there
}

// Bounds of what is tried at one place.
const (
	nearMax    = 32 // frames of slots nearby
	nearSlots  = 8  // how far that is
	chosenMax  = 64 // chosen prefixes for one ballot
	ballotsMax = 6
)

// turn is all that candidates depends on.
type turn struct {
	pos    int64
	prev   frameKey
	opens  uint32 // records in the opening group so far
	strict bool
	loose  bool
	last   uint64 // sum of the slots
}

// candidates is list, which is asked for the same again and again.
func (f *filler) candidates(c *cursor) []candidate {
	t := turn{pos: c.pos, prev: c.prev, strict: f.strict, loose: c.loose > 0}
	if c.start == segmentHeaderSize {
		t.opens = c.count + 1
	}
	for g, slot := range f.last {
		t.last += uint64(g)*0x9e3779b97f4a7c15 ^ uint64(slot)*0xc2b2ae3d27d4eb4f
	}
	all, ok := f.turns[t]
	if !ok {
		all = f.list(c)
		if len(f.turns) == turnsMax {
			clear(f.turns)
		}
		f.turns[t] = all
	}
	return all
}

// turnsMax bounds what of that is kept.
const turnsMax = 1 << 10

// list lists what may stand at c, the likely first. If the header of a record is there whole, and believed, what has its CRC is all
// that can.
func (f *filler) list(c *cursor) (all []candidate) {
	seen := map[frameKey]bool{}
	add := func(frame []byte, loose int) {
		if frame == nil || seen[keyOf(frame)] || c.pos+int64(len(frame)) > f.end || !f.decodes(frame) {
			return
		}
		seen[keyOf(frame)] = true
		all = append(all, candidate{frame: frame, loose: loose})
	}
	if n := f.at(c.pos); n > 0 && !f.strict {
		add(f.w.p[c.pos:c.pos+int64(n)], 0)
	}
	if c.start == segmentHeaderSize && int(c.count) < len(f.first) {
		add(f.first[c.count], 0)
	}
	pool := &f.r.pool
	for _, i := range pool.after(c.prev) {
		if pool.frames[i].usable(f.r.who.Node) {
			add(pool.read(i), 0)
		}
	}
	groups := f.groups()
	for _, g := range groups {
		for _, i := range pool.slots(g, f.last[g]+1, f.last[g]+1) {
			if pool.frames[i].usable(f.r.who.Node) {
				add(pool.read(i), 0)
			}
		}
	}
	f.near(c, groups, add)
	for _, i := range pool.own[:min(len(pool.own), nearMax)] {
		add(pool.read(i), 0)
	}
	exact := len(all)
	if want := f.wanted(c, all, add); want != nil {
		return []candidate{*want}
	}
	if _, err := wire.ParseHeader(f.w.at(c.pos)); c.loose == 0 && (err != nil || !f.strict) {
		return all
	}
	f.derive(c, groups, all[:exact], add)
	if want := f.wanted(c, all, nil); want != nil {
		return []candidate{*want}
	}
	return all
}

func (f *poolFrame) usable(self wire.NodeID) bool {
	return f.vote() && f.kind != wire.KindRecVote || f.from == self
}

func (f *filler) decodes(frame []byte) bool {
	b := wire.GetCopy(frame)
	defer b.Release()
	var r wire.Record
	return wire.DecodeRecord(b, &r) == nil
}

// groups lists the consensus groups that have votes, in order.
func (f *filler) groups() (ids []wire.GroupID) {
	for g := range f.last {
		ids = append(ids, g)
	}
	slices.Sort(ids)
	return ids
}

// near adds the votes of slots nearby, those first that agree best with what is there.
func (f *filler) near(c *cursor, groups []wire.GroupID, add func([]byte, int)) {
	pool, there := &f.r.pool, f.w.at(c.pos)
	var some []candidate
	for _, g := range groups {
		last := f.last[g]
		for _, i := range pool.slots(g, last-min(last, nearSlots), last+nearSlots) {
			if b := pool.read(i); b != nil && pool.frames[i].usable(f.r.who.Node) {
				some = append(some, candidate{frame: b, same: sameBut(b, there) * 1000 / len(b)})
			}
		}
	}
	slices.SortStableFunc(some, func(a, b candidate) int { return b.same - a.same })
	for _, s := range some[:min(len(some), nearMax)] {
		add(s.frame, 0)
	}
}

// wanted is the candidate that the header of the damaged record speaks of, if that is whole; with add, and if need be, its own fixed part with the
// value of another. nil: nothing can be told, or what is there is not believed.
func (f *filler) wanted(c *cursor, all []candidate, add func([]byte, int)) *candidate {
	p := f.w.at(c.pos)
	h, err := wire.ParseHeader(p)
	if !f.strict || err != nil || !h.Kind.IsRecord() || h.Cluster != f.r.who.Cluster || c.pos+int64(h.Size()) > f.end {
		return nil
	}
	key := frameKey(uint64(h.Size())<<32 | uint64(h.CRC))
	for i := range all {
		if keyOf(all[i].frame) == key && string(all[i].frame[:wire.HeaderSize]) == string(p[:wire.HeaderSize]) {
			all[i].loose = 0
			return &all[i]
		}
	}
	if add == nil || h.Size() < wire.AcceptHeadroom {
		return nil
	}
	for i := range all {
		b := all[i].frame
		if len(b) != h.Size() {
			continue
		}
		mixed := append(slices.Clone(p[:wire.AcceptHeadroom]), b[wire.AcceptHeadroom:]...)
		if _, err := wire.CheckFrame(mixed); err == nil && f.decodes(mixed) {
			return &candidate{frame: mixed}
		}
	}
	return nil
}

// derive adds records that follow from others: promises at the ballots that are about, trim marks, and the values of other logs under
// the header that this node would have had them with.
func (f *filler) derive(c *cursor, groups []wire.GroupID, exact []candidate, add func([]byte, int)) {
	give := func(rec wire.Record) {
		add(slices.Clone(rec.Frame.Bytes()), 1)
		rec.Frame.Release()
	}
	who := f.r.who
	for _, cand := range exact {
		f.asOwn(cand.frame, give)
	}
	for _, g := range groups {
		s := f.r.groups.get(g)
		for slot, n := f.last[g], 0; slot > s.trimmed && n < chosenMax; slot, n = slot-1, n+1 {
			give(wire.TrimRecord(who.Cluster, g, who.Node, slot))
		}
	}
	for _, g := range groups {
		s := f.r.groups.get(g)
		for _, b := range f.ballots(g, s.promised) {
			give(wire.PromiseRecord(who.Cluster, g, who.Node, b, 0, s.incarnations))
			for chosen, n := f.last[g]+1, 0; chosen > 0 && n < chosenMax; chosen, n = chosen-1, n+1 {
				give(wire.PromiseRecord(who.Cluster, g, who.Node, b, chosen, s.incarnations))
			}
		}
	}
}

// ballots lists those at or above the promise that were heard of in slots nearby, and in promises.
func (f *filler) ballots(g wire.GroupID, promised wire.Ballot) (all []wire.Ballot) {
	pool, last := &f.r.pool, f.last[g]
	for _, i := range pool.slots(g, last-min(last, nearSlots), last+nearSlots*8) {
		all = append(all, pool.frames[i].ballot)
	}
	for i := range pool.frames {
		if p := &pool.frames[i]; p.kind == wire.KindRecPromise && p.group == g {
			all = append(all, p.ballot)
		}
	}
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(b wire.Ballot) bool { return b < promised || b == 0 })
	return all[:min(len(all), ballotsMax)]
}

// asOwn gives a vote as this node may have written it: adopted, or under the ballot, sender and chosen prefix of its neighbours.
func (f *filler) asOwn(frame []byte, give func(wire.Record)) {
	kind := wire.Kind(frame[5])
	if kind != wire.KindAccept && kind != wire.KindLearn && kind != wire.KindRecVote {
		return
	}
	b := wire.GetCopy(frame)
	defer b.Release()
	value, err := wire.AcceptValue(b)
	if err != nil {
		return
	}
	who, g := f.r.who, wire.GroupID(le.Uint32(frame[16:]))
	body := frame[wire.HeaderSize:]
	ballot, slot := wire.Ballot(le.Uint64(body)), wire.Slot(le.Uint64(body[8:]))
	give(wire.VoteRecord(who.Cluster, g, who.Node, wire.Vote{Slot: slot, Ballot: ballot, Value: value}))
	head := f.r.last[g].head
	if head == nil || wire.Kind(head[5]) == wire.KindRecVote {
		return
	}
	m := wire.Message{Kind: wire.Kind(head[5]), Group: g, From: wire.NodeID(le.Uint32(head[20:])), Slot: slot, Value: value,
		Ballot: wire.Ballot(le.Uint64(head[wire.HeaderSize:])), Scope: wire.Scope(le.Uint64(head[wire.HeaderSize+24:]))}
	for chosen := wire.Slot(le.Uint64(head[wire.HeaderSize+16:])); chosen < slot && m.Chosen < chosen+8; chosen++ {
		m.Chosen = chosen
		give(wire.Record{Frame: m.Encode(who.Cluster)})
	}
}
