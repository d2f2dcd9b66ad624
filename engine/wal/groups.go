package wal

import (
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// groupState is what must outlive the segments it was recorded in.
type groupState struct {
	id       wire.GroupID
	promised wire.Ballot // the highest ballot promised for a range of slots, by a promise or by a vote
	trimmed  wire.Slot   // slots up to here are only in a snapshot
	slotMax  wire.Slot   // of the votes and of the promises for one slot in the active segment; 0: none
	asked    wire.Slot   // highest mark asked for; above trimmed: the record of it found no room yet

	incarnations []byte // as the last promise record that had any tells them; they only grow
}

// groupSet is the state of every group seen, found by id and walked in order of id.
type groupSet struct {
	byID   map[wire.GroupID]*groupState
	sorted []*groupState
	last   *groupState // of the last record: records come in runs of one group
}

func (s *groupSet) init() { s.byID = map[wire.GroupID]*groupState{} }

func (s *groupSet) release() { *s = groupSet{} }

func (s *groupSet) get(id wire.GroupID) *groupState {
	if s.last != nil && s.last.id == id {
		return s.last
	}
	g := s.byID[id]
	if g == nil {
		g = &groupState{id: id}
		s.byID[id] = g
		i, _ := slices.BinarySearchFunc(s.sorted, id, func(g *groupState, id wire.GroupID) int {
			return int(int64(g.id) - int64(id))
		})
		s.sorted = slices.Insert(s.sorted, i, g)
	}
	s.last = g
	return g
}

// note takes what a record of a group says. An Accept is a promise as well: whoever voted at a ballot votes for
// nothing below it (Paxos Made Simple, section 2.2). A Learn is a vote that was chosen elsewhere; it promises nothing.
// What was promised for one slot alone keeps its segment for as long as a vote in that slot would.
func (s *groupSet) note(r *wire.Record) {
	g := s.get(r.Group)
	switch r.Kind {
	case wire.KindAccept:
		if r.Scope != wire.ScopeSlot {
			g.promised = max(g.promised, r.Ballot)
		}
		g.slotMax = max(g.slotMax, r.Slot)
	case wire.KindLearn, wire.KindRecVote:
		g.slotMax = max(g.slotMax, r.Slot)
	case wire.KindRecPromise:
		if r.Slot == 0 {
			g.promised = max(g.promised, r.Ballot)
		}
		g.slotMax = max(g.slotMax, r.Slot)
		if len(r.Incarnations) > 0 {
			g.incarnations = append(g.incarnations[:0], r.Incarnations...)
		}
	case wire.KindRecTrim:
		g.trimmed = max(g.trimmed, r.Slot)
	}
}

// takeMax returns the highest slots since the last call: those of a segment that has just been filled.
func (s *groupSet) takeMax() []slotMax {
	var all []slotMax
	for _, g := range s.sorted {
		if g.slotMax > 0 {
			all = append(all, slotMax{g.id, g.slotMax})
			g.slotMax = 0
		}
	}
	return all
}

// needed says whether any group still needs a vote in a segment with these highest slots.
func (s *groupSet) needed(max []slotMax) bool {
	for _, m := range max {
		if m.slot > s.byID[m.group].trimmed {
			return true
		}
	}
	return false
}

// opening returns the records that every segment opens with: the membership, and each group's promise and trim mark.
// With them a segment says all that older ones said and that is still true, but for the votes. The caller releases
// the frames.
func (l *Log) opening() []wire.Record {
	recs := []wire.Record{wire.MembersRecord(l.id.Cluster, l.id.Node, l.Members())}
	for _, g := range l.groups.sorted {
		if g.promised > 0 || len(g.incarnations) > 0 {
			recs = append(recs, wire.PromiseRecord(l.id.Cluster, g.id, l.id.Node, g.promised, 0, g.incarnations))
		}
		if g.trimmed > 0 {
			recs = append(recs, wire.TrimRecord(l.id.Cluster, g.id, l.id.Node, g.trimmed))
		}
	}
	return recs
}
