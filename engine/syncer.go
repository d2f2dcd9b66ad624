package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// work is what one turn of one loop wants from the disk: records, and the messages that may leave only when these and
// all earlier ones are durable. The messages were built with the records, at the ballot of that moment, and are not
// looked at again.
type work struct {
	g       *Group
	records []wire.Record
	gated   []paxos.Outgoing
	last    wire.LSN  // the replica's number of the last record; 0: no records
	trim    wire.Slot // forget the group's records up to here; 0: nothing
	suspect string    // the log may have lost records, and why; "": nothing new
	healed  bool      // the group has been healed
	bytes   int64
	handed  int64 // nanotime
}

var workPool = sync.Pool{New: func() any { return new(work) }}

func getWork(g *Group) *work {
	w := workPool.Get().(*work)
	w.g = g
	return w
}

func putWork(w *work) {
	clear(w.records)
	clear(w.gated)
	*w = work{records: w.records[:0], gated: w.gated[:0]}
	workPool.Put(w)
}

// storage is what the syncer needs of the WAL. Every error is final, except a *wal.FullError.
type storage interface {
	Append(recs []wire.Record) (wire.LSN, error)
	Sync() (wire.LSN, error)
	Trim(g wire.GroupID, below wire.Slot) error
	MarkSuspect(why string) error
	ClearSuspect() error
}

// syncer is the goroutine that owns the WAL. While one fdatasync runs, the work of all loops of all groups piles up;
// the next round takes all of it with one write and one fdatasync. That is the group commit. It knows nothing of Paxos:
// what it may send when is said by the order of the work.
//
// The released messages go from here straight to the transport. Going back through the loop was the plain design; it
// costs a wake-up between the disk and the network for each vote.
type syncer struct {
	node  *Node
	log   storage
	box   *batching.Mailbox[*work]
	items []*work
	recs  []wire.Record
	done  chan struct{}

	written int   // of recs, before there was no room
	began   int64 // nanotime of the round's write
}

func newSyncer(n *Node, log storage) *syncer {
	// The bounds do not matter: loops use PutUrgent, and bound themselves (Limits.SyncBacklog).
	return &syncer{node: n, log: log, box: batching.NewMailbox[*work](1, 1), done: make(chan struct{})}
}

// put queues work; it takes over all references in it.
func (s *syncer) put(w *work) {
	if !s.box.PutUrgent(w) {
		s.drop(w)
	}
}

// run is the goroutine. It ends when the mailbox is closed, after the last loop has ended.
func (s *syncer) run() {
	defer close(s.done)
	failed := false
	for range s.box.Wait() {
		s.items = s.box.Swap(s.items)
		if !failed {
			if err := s.round(); err != nil {
				// The pages of a failed fsync may be gone even if the next one succeeds: nothing is tried again.
				failed = true
				s.node.fail(err)
			}
		}
		for i, w := range s.items {
			if w != nil {
				s.drop(w)
				s.items[i] = nil
			}
		}
		if s.box.Closed() {
			return
		}
	}
}

// round makes everything in s.items durable with one write and one fdatasync, then releases what waited for it.
// Items that are done with are nil afterwards.
func (s *syncer) round() error {
	if err := s.write(); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	return s.release()
}

// write appends the records of s.items to the log.
func (s *syncer) write() error {
	s.recs, s.written, s.began = s.recs[:0], 0, s.node.nanotime()
	for _, w := range s.items {
		s.recs = append(s.recs, w.records...)
	}
	return s.append()
}

// append is the part of write that is repeated when there was no room: it goes on where it was.
func (s *syncer) append() error {
	for s.written < len(s.recs) {
		_, err := s.log.Append(s.recs[s.written:])
		if err == nil {
			break
		}
		var full *wal.FullError
		if !errors.As(err, &full) {
			return fmt.Errorf("engine: write to the log: %w", err)
		}
		s.written += full.Written
		if !s.room(err) {
			return fmt.Errorf("engine: write to the log: %w", err)
		}
	}
	if len(s.recs) > 0 && s.node.diskFull.CompareAndSwap(true, false) {
		s.node.log.Warn("the disk has room again")
	}
	clear(s.recs)
	return nil
}

// roomPause is how long a node whose disk is full waits before it tries to write again.
const roomPause = 20 * time.Millisecond

// room waits before the next try of a write that found no room, which has changed nothing: the node is not lost. To its
// replicas this is a disk that finishes nothing: a leader resigns, and nobody votes here. false: the node is to stop, or the
// caller waits.
func (s *syncer) room(err error) bool {
	if s.node.diskFull.CompareAndSwap(false, true) {
		s.node.log.Error("the disk is full; nothing is voted or accepted until there is room", "err", err)
	}
	if s.node.driver != nil {
		return false
	}
	timer := time.NewTimer(roomPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.node.stopping:
		return false
	}
}

// sync makes durable what write has written.
func (s *syncer) sync() error {
	if len(s.recs) == 0 {
		return nil
	}
	if _, err := s.log.Sync(); err != nil {
		return fmt.Errorf("engine: sync the log: %w", err)
	}
	return nil
}

// release lets go what waited for the records of s.items, which are durable.
func (s *syncer) release() error {
	if plant.Is(plant.AckCoversLaterWork) {
		for _, w := range s.box.Swap(nil) {
			for _, m := range w.gated {
				s.node.net.Send(m.To, m.Frame)
			}
			w.gated = w.gated[:0]
			s.put(w)
		}
	}
	now := s.node.nanotime()
	if len(s.recs) > 0 && s.node.c.Fsync.Mode == wal.Always {
		s.node.syncNanos.Store(now - s.began)
	}
	for i, w := range s.items {
		for _, m := range w.gated {
			s.node.net.Send(m.To, m.Frame)
		}
		clear(w.gated)
		w.gated = w.gated[:0]
		if w.last > 0 {
			w.g.stages.wal.record(now - w.handed)
			// One group's work is in order, so the last of this round overwrites the ones before.
			w.g.durable.Store(uint64(w.last))
			w.g.nudge()
		}
		if w.trim > 0 {
			if err := s.log.Trim(w.g.id, w.trim+1); err != nil && !errors.As(err, new(*wal.FullError)) { // else the next trim makes up for it
				return fmt.Errorf("engine: trim the log: %w", err)
			}
		}
		if err := s.judge(w); err != nil {
			return err
		}
		s.drop(w)
		s.items[i] = nil
	}
	return nil
}

// judge keeps the log's mark of being suspect. It goes when no group is suspect any more: it is looked at here, because
// another group may have become suspect while this one's work was queued.
func (s *syncer) judge(w *work) error {
	if w.suspect != "" {
		if err := s.log.MarkSuspect(w.suspect); err != nil {
			return fmt.Errorf("engine: mark the log as suspect: %w", err)
		}
	}
	if w.healed && s.node.suspects.Load() == 0 {
		if err := s.log.ClearSuspect(); err != nil {
			return fmt.Errorf("engine: clear the log: %w", err)
		}
	}
	return nil
}

// drop releases work.
func (s *syncer) drop(w *work) {
	for _, r := range w.records {
		r.Frame.Release()
	}
	for _, m := range w.gated {
		m.Frame.Release()
	}
	w.g.syncBacklog.Sub(w.bytes)
	putWork(w)
}

// close ends the syncer. Nothing may be put afterwards.
func (s *syncer) close() {
	left := s.box.Close()
	for _, w := range left {
		s.drop(w)
	}
	<-s.done
}
