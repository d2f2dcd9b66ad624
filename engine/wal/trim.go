package wal

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Trim says that slots of group g below this one are in a durable snapshot: the log need not keep them. Segments in
// which nobody needs anything any more, oldest first, become spares or are removed.
//
// The mark is a record. Unless it frees a segment it becomes durable with the next Sync; a mark that frees one is
// made durable before the segment is touched, under every policy, and the group that carries it names the oldest
// segment still needed: replay then knows a segment that was given up from one that was lost.
// After a *FullError nothing is given up and no mark is on record; the mark is made up for by the group's next Trim, with
// whatever mark.
func (l *Log) Trim(g wire.GroupID, below wire.Slot) error {
	if err := l.ready(); err != nil {
		return err
	}
	if below == 0 {
		return nil
	}
	s := l.groups.get(g)
	s.asked = max(s.asked, below-1)
	if s.asked <= s.trimmed && l.unneeded() == 0 {
		return nil
	}
	rec := wire.TrimRecord(l.id.Cluster, g, l.id.Node, max(s.asked, s.trimmed))
	defer rec.Frame.Release()
	n, err := l.writeMark(s, rec)
	if err != nil || n == 0 {
		return err
	}
	freed := append([]segment(nil), l.sealed[:n]...)
	l.sealed = append(l.sealed[:0], l.sealed[n:]...)
	l.stats.live.Add(-int64(n))
	if !plant.Is(plant.SegmentReusedEarly) {
		if err := l.flush(); err != nil {
			return err
		}
	}
	return l.keeper.recycle(freed)
}

// writeMark writes the record of a trim mark, in a group that names the oldest segment still needed, and returns how many segments
// before that one are not. If there is no room for it, the mark and the segment it would have named are taken back: the next
// group, whoever's records it carries, would otherwise name a segment that the votes below no mark speaks of are gone from.
func (l *Log) writeMark(s *groupState, rec wire.Record) (n int, err error) {
	recs := []wire.Record{rec}
	if fits, _ := l.fit(recs); fits == 0 {
		if err := l.rotate(rec.Frame.Len()); err != nil {
			return 0, err
		}
	}
	was := s.trimmed
	s.trimmed = rec.Slot
	n = l.unneeded()
	l.oldest += uint64(n)
	if err = l.write(recs, rec.Frame.Len()); err == nil {
		return n, nil
	}
	if plant.Is(plant.TrimMarkForgotten) {
		l.sealed = l.sealed[n:]
		return n, err
	}
	s.trimmed = was
	l.oldest -= uint64(n)
	return n, err
}

// unneeded is how many of the full segments nobody needs any more, from the oldest on. Only the oldest may go: what a segment
// says beside its votes is repeated by the next one's opening group, not by the one before.
func (l *Log) unneeded() (n int) {
	for n < len(l.sealed) && !l.groups.needed(l.sealed[n].max) {
		n++
	}
	return n
}
