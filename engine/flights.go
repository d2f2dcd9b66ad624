package engine

import (
	"fmt"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The loop's proposals: batches cut, offered to the core, and under way.

// flight is a batch under way from Take to the last reply. The loop owns it until the slot is chosen, then the applier.
type flight struct {
	slot     wire.Slot
	ballot   wire.Ballot
	waiters  []Completion // one for each block, in block order
	proposed int64        // nanotime
	learned  int64
	full     bool // more was waiting than the batch took
}

// window is how many slots may be in flight.
func (l *loop) window() int {
	if n := int(l.g.window.Load()); n > 0 {
		return n
	}
	return l.room.Size()
}

// waits says that something waits to be proposed, and that the window has room for it.
func (l *loop) waits() bool {
	if !l.leading || l.flights.len() >= l.window() {
		return false
	}
	return l.gathering || l.held != nil || l.batcher.Ready(l.now, l.flights.len(), l.window())
}

// pump cuts batches while the window has room.
func (l *loop) pump() {
	if l.gathering && (!l.leading || l.held == nil && l.flights.len() < l.window()) {
		l.gather()
	}
	if !l.leading {
		return
	}
	// Before anything is cut: what nobody waits for any more is refused, and certainly not done. A batch that is held was
	// cut in time.
	l.batcher.Expire(l.now, l.late)
	if l.g.overloaded() {
		l.g.wantApplied.Store(true) // the disk tells of itself
		return
	}
	if l.held != nil {
		f, accept := l.heldFlight, l.held
		l.held, l.heldFlight = nil, nil
		if !l.propose(accept, f) {
			return
		}
	}
	for l.batcher.Ready(l.now, l.flights.len(), l.window()) {
		start := l.g.node.nanotime()
		f := getFlight()
		var accept *wire.Buffer
		var oldest int64
		accept, f.waiters, oldest = l.batcher.Take(f.waiters)
		f.proposed = l.g.node.nanotime()
		blocks, _ := l.batcher.Len()
		f.full = blocks > 0
		l.g.stages.queue.record(start - oldest)
		l.g.stages.batch.record(f.proposed - start)
		if !l.propose(accept, f) {
			return
		}
	}
}

// propose offers a batch to the core; false: no more now.
func (l *loop) propose(accept *wire.Buffer, f *flight) bool {
	slot, outcome := l.core.Propose(accept)
	switch outcome {
	case paxos.Taken:
		f.slot, f.ballot = slot, l.ballot
		if plant.Is(plant.ReplyBeforeChosen) {
			for i, c := range f.waiters {
				c.Complete(&Result{Reply: wire.Reply{Slot: slot, Index: uint32(i), Empty: true}})
			}
			f.waiters = nil
		}
		l.flights.push(f)
		return true
	case paxos.Busy:
		l.held, l.heldFlight = accept, f
		l.g.wantApplied.Store(true) // if applying is what lags: hear of it before the next tick
		return false
	case paxos.NotLeader:
		// Leadership went during this turn; its event comes with the output and drains the batcher. This batch was
		// never proposed: certainly not done.
		accept.Release()
		l.g.failFlight(f, wire.StatusNotLeader)
		return false
	}
	panic("BUG: engine: outcome of Propose: " + outcome.String())
}

// lost fails everybody who waits for this leadership. Blocks that were proposed may yet be chosen: unknown. Blocks that
// still wait were not proposed and never will be: certainly not done.
func (l *loop) lost(proposed, waiting wire.Status) {
	l.leading = false
	for l.flights.len() > 0 {
		l.g.failFlight(l.flights.pop(), proposed)
	}
	if l.held != nil {
		l.held.Release()
		l.g.failFlight(l.heldFlight, waiting)
		l.held, l.heldFlight = nil, nil
	}
	l.batcher.Drain(func(c Completion) { l.g.refuse(c, waiting) })
}

// flightQueue is a ring of flights in slot order.
type flightQueue struct {
	ring       []*flight // length a power of two
	head, tail int       // Invariant: 0 <= tail-head <= len(ring)
}

func newFlightQueue(window int) flightQueue {
	n := 1
	for n < window {
		n *= 2
	}
	return flightQueue{ring: make([]*flight, n)}
}

func (q *flightQueue) len() int { return q.tail - q.head }

func (q *flightQueue) push(f *flight) {
	if q.len() == len(q.ring) {
		panic(fmt.Sprintf("BUG: engine: %d flights exceed the window", q.len()))
	}
	i := q.tail
	for ; i > q.head && q.at(i-1).slot > f.slot; i-- { // only after a move
		q.ring[i&(len(q.ring)-1)] = q.at(i - 1)
	}
	q.ring[i&(len(q.ring)-1)] = f
	q.tail++
}

func (q *flightQueue) at(i int) *flight { return q.ring[i&(len(q.ring)-1)] }

// take removes the flight of slot s; nil: there is none.
func (q *flightQueue) take(s wire.Slot) *flight {
	for i := q.head; i < q.tail; i++ {
		f := q.at(i)
		if f.slot != s {
			continue
		}
		for ; i > q.head; i-- {
			q.ring[i&(len(q.ring)-1)] = q.at(i - 1)
		}
		q.pop()
		return f
	}
	return nil
}

func (q *flightQueue) first() *flight { return q.ring[q.head&(len(q.ring)-1)] }

func (q *flightQueue) pop() *flight {
	i := q.head & (len(q.ring) - 1)
	f := q.ring[i]
	q.ring[i] = nil
	q.head++
	return f
}
