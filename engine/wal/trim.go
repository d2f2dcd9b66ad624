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
// After a *FullError the mark is made up for by the group's next Trim, with whatever mark.
func (l *Log) Trim(g wire.GroupID, below wire.Slot) error {
	if err := l.ready(); err != nil {
		return err
	}
	if below == 0 {
		return nil
	}
	s := l.groups.get(g)
	if mark := below - 1; mark > s.trimmed {
		s.trimmed, s.unmarked = mark, true
	}
	freed := l.takeFreed()
	if !s.unmarked && len(freed) == 0 {
		return nil
	}
	rec := wire.TrimRecord(l.id.Cluster, g, l.id.Node, s.trimmed)
	defer rec.Frame.Release()
	if _, err := l.Append([]wire.Record{rec}); err != nil {
		l.unrecorded = freed // if the disk was full, they stay until a later mark says so
		return err
	}
	s.unmarked = false
	if len(freed) == 0 {
		return nil
	}
	if plant.Is(plant.SegmentReusedEarly) {
		return l.keeper.recycle(freed)
	}
	if err := l.flush(); err != nil {
		return err
	}
	return l.keeper.recycle(freed)
}

// takeFreed takes the segments nobody needs any more off the list, oldest first. Only the oldest may go: what a segment
// says beside its votes is repeated by the next one's opening group, not by the one before.
func (l *Log) takeFreed() []segment {
	n := 0
	for n < len(l.sealed) && !l.groups.needed(l.sealed[n].max) {
		n++
	}
	freed := append(l.unrecorded, l.sealed[:n]...)
	l.unrecorded = nil
	l.sealed = append(l.sealed[:0], l.sealed[n:]...)
	l.oldest += uint64(n)
	l.stats.live.Add(-int64(n))
	return freed
}
