package wal

import "sync/atomic"

// Stats counts what the log did since Open. All but the segment counts only grow.
type Stats struct {
	Fsyncs   uint64 // fdatasync calls on the log
	Groups   uint64 // groups written by Append and Trim
	Records  uint64
	Bytes    uint64 // of the records
	Written  uint64 // Bytes, headers, and what aligns groups to sectors; not the zeros behind the last group
	Live     int64  // segments that are needed, the active one included
	Spare    int64  // segments that wait to be reused
	Recycled uint64 // segments that began a new life instead of being made
	Created  uint64 // segments that were made
	Removed  uint64 // segments that nobody needed and that were too many to keep
}

type stats struct {
	fsyncs, groups, records, bytes, written, recycled, created, removed atomic.Uint64
	live, spare                                                         atomic.Int64
}

// Stats returns the counters. Each is exact; together they are not of one instant. Safe from any goroutine.
func (l *Log) Stats() Stats {
	s := &l.stats
	return Stats{
		Fsyncs: s.fsyncs.Load(), Groups: s.groups.Load(), Records: s.records.Load(), Bytes: s.bytes.Load(),
		Written: s.written.Load(), Live: s.live.Load(), Spare: s.spare.Load(),
		Recycled: s.recycled.Load(), Created: s.created.Load(), Removed: s.removed.Load(),
	}
}
