package load

import (
	"sync/atomic"

	"github.com/paxbench/paxbench/engine/history"
)

// flight is one submission under way: a block, a single command, or a query. Flights are used again and again, so
// that issuing allocates nothing once a client has had its most under way.
type flight struct {
	driver *driver

	// Written by the worker before the submission.
	query    bool
	count    int          // operations
	reads    int          // of which reads
	stamp    Stamp        // of the first write; the writes of a flight have consecutive numbers
	keys     []uint32     // KV: the keys of the writes, in order
	ops      []history.Op // those on sampled keys, in order; their results are written by Complete
	round    int64        // closed loop: when it was decided to issue it, shortly before sent
	sent     int64
	intended []int64 // open loop: when each operation was due, ascending

	// Written by Complete, read by the worker after it took the flight from its inbox.
	done    int64
	outcome Outcome
	err     error
	place   uint64 // slot<<16 | index of the block in its batch
	session uint64
	first   uint64
	refused int  // commands that the state machine made no sense of
	told    bool // ops have their results

	state atomic.Uint32
	next  *flight // inbox
}

// The states of a flight. The worker moves idle to underWay and completing to idle; whoever moves underWay on decides
// the outcome.
const (
	idle       uint32 = iota
	underWay          // submitted
	completing        // Complete was called: in the inbox, or about to be
	abandoned         // the run has ended; nobody waits for it any more
)

// Complete takes the outcome. One clock reading serves the whole flight.
func (f *flight) Complete(r *Reply) {
	if !f.state.CompareAndSwap(underWay, completing) {
		if f.state.Load() == abandoned {
			return
		}
		panic("BUG: load: a target completed the same submission twice")
	}
	w := f.driver.worker
	f.done = w.run.now()
	f.outcome, f.err = r.Outcome, r.Err
	f.place = uint64(r.Slot)<<16 | uint64(r.Index)&0xffff
	f.session, f.first = uint64(r.Session), uint64(r.First)
	f.refused, f.told = 0, false
	if len(f.keys)+len(f.ops) > 0 && r.Outcome == Done {
		f.refused, f.told = f.results(r)
	}
	w.inbox.put(f)
}

// writes is the number of writes in the flight.
func (f *flight) writes() int { return f.count - f.reads }

// inbox holds completed flights for one worker: a stack without locks that is taken as a whole. It cannot overflow,
// because a flight is in it at most once. wake is told when something arrives in an empty inbox.
type inbox struct {
	head atomic.Pointer[flight]
	wake chan struct{} // capacity 1
}

func (b *inbox) put(f *flight) {
	for {
		old := b.head.Load()
		f.next = old
		if b.head.CompareAndSwap(old, f) {
			if old == nil {
				b.poke()
			}
			return
		}
	}
}

// poke makes the worker look around.
func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox, oldest first.
func (b *inbox) take() *flight {
	var oldest *flight
	for f := b.head.Swap(nil); f != nil; {
		f.next, oldest, f = oldest, f, f.next
	}
	return oldest
}
