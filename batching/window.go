package batching

import "fmt"

// Window says how many slots should be in flight. Fewer than the pipe holds leave the disks idle; more of them only cut what
// waits into smaller batches, each of which costs every node its system calls and wake-ups. The pipe holds as many as finish
// while one is under way (Little's law): the time from a proposal to its being chosen, which has the round trip and the disks
// in it, by the time that the slowest stage takes for what it does at once, which is a disk's write and sync: all that came
// meanwhile goes with the next one. One more is on its way to it. So
//
//	slots = ceil(life / sync) + 1
//
// over averages of both. Where there is no sync to wait for (others are a quorum without this node's slow disk, say), or nothing
// is known yet, it is the bound.
//
// Owned by one goroutine.
type Window struct {
	most int
	life average // of a slot, from its proposal to its being chosen, in nanoseconds
	sync average // of the disk's rounds
	size int
}

// average is an exponentially weighted one.
type average float64

// averageShare is the weight of a new value: what has changed is nine tenths known after 36 of them.
const averageShare = 1.0 / 16

func (a *average) add(v int64) {
	if *a == 0 {
		*a = average(v)
		return
	}
	*a += (average(v) - *a) * averageShare
}

// windowLeast: one slot in the disks and one on its way to them.
const windowLeast = 2

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

// Chosen tells how long a slot took, in nanoseconds, and how long this node's disk takes for a round, on average: 0, not known.
func (w *Window) Chosen(life, sync int64) {
	w.life.add(max(life, 1))
	if sync > 0 {
		w.sync.add(sync)
	}
	if w.sync < syncLeast || w.sync > w.life {
		w.size = w.most
		return
	}
	slots := float64(w.life) / float64(w.sync) // ceil, without a detour for what does not fit an int
	if slots >= float64(w.most) {
		w.size = w.most
		return
	}
	n := int(slots)
	if float64(n) < slots {
		n++
	}
	w.size = min(max(n+1, windowLeast), w.most)
}
