package batching

import "fmt"

// Window says how many slots should be in flight. Fewer than the pipe holds leave the disks idle; more of them only cut what
// waits into smaller batches, each of which costs every node its system calls and wake-ups. The pipe holds as many as finish
// while one is under way (Little's law): the time from a proposal to its being chosen, which has the round trip and the disks
// in it, by the time that the slowest stage takes for what it does at once, which is a disk's write and sync: all that came
// meanwhile goes with the next one. So
//
//	slots = life / sync, at least 2
//
// are good for full batches, which wait for nothing but room. Others could be fuller. As long as they are
//
//	slots = life / sync - 2, from 1 to 12
//
// because a slot that would wait for the disk behind another one, or for the one behind that, is no sooner done than if it had waited
// for company, and has cost every disk a sync. On one machine, whose nodes share a disk, an open loop had a p50 of 0.8 with one slot of what
// it had with two, and a sixth of what it had with 32. With 12 of them spread over a life a command waits for the next one for a
// twenty-fourth of it: more would cost every node more for little, and when processors are what is short, everybody waits for that.
//
// Both are the shortest of late, because what makes them longer is mostly a queue, for a processor or a disk, which more slots
// make longer still: with averages in their place the window went up to the bound on a busy machine, where two slots were the
// best. Where there is no sync to wait for (others are a quorum without this node's slow disk, say), or nothing is known yet, it
// is the bound.
//
// Owned by one goroutine.
type Window struct {
	most int
	life shortest // of a slot, from its proposal to its being chosen, in nanoseconds
	sync shortest // of the disk's rounds
	thin int      // slots since the last one with a full batch
	size int
}

// shortest is the least of the last values: of so many at least, and of twice as many at most. 0 is none.
type shortest struct {
	now, before int64
	n           int
}

const shortestOf = 32

func (s *shortest) add(v int64) {
	if s.n == shortestOf {
		s.before, s.now, s.n = s.now, 0, 0
	}
	s.n++
	if s.now == 0 || v < s.now {
		s.now = v
	}
}

func (s *shortest) value() int64 {
	if s.before == 0 {
		return s.now
	}
	return min(s.now, s.before)
}

// The bounds of the doc above, and how many slots in a row must have had no full batch for the batches not to be full.
const (
	fullLeast  = 2 // one slot in the disks and one on its way to them
	thinMost   = 12
	thinFewer  = 2
	thinInARow = 32
)

// syncLeast is the shortest time, in nanoseconds, that counts as a wait for a disk.
const syncLeast = 20_000

// NewWindow returns a window of at most so many slots, and at first as many.
func NewWindow(most int) Window {
	if most < 1 {
		panic(fmt.Sprintf("BUG: batching: a window of %d slots", most))
	}
	return Window{most: most, size: most}
}

// Size is how many slots should be in flight now.
func (w *Window) Size() int { return w.size }

// Chosen tells how long a slot took, in nanoseconds, how long this node's disk takes for a round (0: nobody waits for it), and whether
// a limit closed the slot's batch: more was waiting.
func (w *Window) Chosen(life, sync int64, full bool) {
	if w.thin++; full {
		w.thin = 0
	}
	w.life.add(max(life, 1))
	if sync > 0 {
		w.sync.add(sync)
	}
	life, sync = w.life.value(), w.sync.value()
	if sync < syncLeast || sync > life {
		w.size = w.most
		return
	}
	slots := max(life/sync, fullLeast)
	if w.thin >= thinInARow {
		slots = min(max(life/sync-thinFewer, 1), thinMost)
	}
	w.size = int(min(slots, int64(w.most)))
}
