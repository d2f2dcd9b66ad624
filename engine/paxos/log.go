package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// entry is what a replica knows of one slot.
type entry struct {
	frame    *wire.Buffer // Accept or Learn frame with the value, one reference held; nil: no vote
	ballot   wire.Ballot  // of the vote
	promised wire.Ballot  // for this slot alone; the acceptor's promise is the higher of this and Replica.promised
	votes    tally        // learner: who accepted, at the highest ballot that it heard of
	sent     uint64       // proposer: tick of the last transmission; independent instances: of the last sign of anybody's work
	chosen   bool
	prefix   bool   // in the chosen prefix: delivered
	told     bool   // others said that it is chosen, at votes.ballot
	own      bool   // it is what Propose put there, and chosen
	sum      uint32 // of the values up to here (chain.go); 0: not known

	fast *fastVotes // learner: who voted for what at a fast ballot; nil: nothing was heard, or it is chosen
}

func (e *entry) value() wire.Batch { return wire.TrustedValue(e.frame) }

// slotLog holds the entries of the slots above the snapshot: a ring indexed by slot, so that a slot is found without a
// search and trimming moves nothing.
//
// Invariant: base >= 1; slots base..base+count-1 are present (possibly without a vote); len(ring) is a power of two.
type slotLog struct {
	ring  []entry
	base  wire.Slot // first slot held
	count int
	bytes int64 // of all frames held

	// An auxiliary's: base is where its votes begin, and not always just above what it has forgotten.
	floats bool

	// Invariant: prefixBytes is the sum over the entries in the chosen prefix, prefixBytes <= bytes.
	prefixBytes int64
}

// ahead is the bytes of the frames above the chosen prefix.
func (l *slotLog) ahead() int64 { return l.bytes - l.prefixBytes }

// deliver takes e into the chosen prefix.
func (l *slotLog) deliver(e *entry) {
	e.prefix = true
	l.prefixBytes += int64(e.frame.Len())
}

func newSlotLog(base wire.Slot) slotLog { return slotLog{ring: make([]entry, 64), base: base} }

// last is the highest slot held; base-1 if there is none.
func (l *slotLog) last() wire.Slot { return l.base + wire.Slot(l.count) - 1 }

// get returns the entry of slot s, or nil if s is not held. The pointer is valid until the next ensure.
func (l *slotLog) get(s wire.Slot) *entry {
	if s < l.base || s-l.base >= wire.Slot(l.count) {
		return nil
	}
	return &l.ring[int(s)&(len(l.ring)-1)]
}

// ensure returns the entry of slot s >= base, adding empty entries up to it; in a log that floats also those below base.
func (l *slotLog) ensure(s wire.Slot) *entry {
	if l.floats {
		l.float(s)
	}
	if s < l.base {
		panic(fmt.Sprintf("BUG: paxos: slot %d is below the log's base %d", s, l.base))
	}
	if need := int(s-l.base) + 1; need > l.count {
		if need > len(l.ring) {
			l.grow(need)
		}
		l.count = need
	}
	return &l.ring[int(s)&(len(l.ring)-1)]
}

// float moves base to slot s if nothing is held, or adds empty entries from s on.
func (l *slotLog) float(s wire.Slot) {
	switch {
	case l.count == 0:
		l.base = s
	case s < l.base:
		below := int(l.base - s)
		if need := below + l.count; need > len(l.ring) {
			l.grow(need)
		}
		l.base, l.count = s, below+l.count // the entries below were empty: dropTo and grow leave none behind
	}
}

func (l *slotLog) grow(need int) {
	size := len(l.ring)
	for size < need {
		size *= 2
	}
	ring := make([]entry, size)
	for s := l.base; s <= l.last(); s++ {
		ring[int(s)&(size-1)] = l.ring[int(s)&(len(l.ring)-1)]
	}
	l.ring = ring
}

// put makes f the value of e, taking over one reference. A tally of a lower ballot ends: it was not of this vote.
func (l *slotLog) put(e *entry, f *wire.Buffer, b wire.Ballot) {
	grown := int64(f.Len())
	if e.frame != nil {
		grown -= int64(e.frame.Len())
		e.frame.Release()
	}
	e.frame, e.ballot = f, b
	if b > e.votes.ballot {
		e.votes.reset(b)
	}
	l.bytes += grown
	if e.prefix {
		l.prefixBytes += grown
	}
}

// fits says that f takes no more room in slot e than what it would replace; e may be nil.
func (e *entry) fits(f *wire.Buffer) bool {
	return e != nil && e.frame != nil && f.Len() <= e.frame.Len()
}

// dropTo forgets the slots up to and including s.
func (l *slotLog) dropTo(s wire.Slot) {
	for l.count > 0 && l.base <= s {
		e := &l.ring[int(l.base)&(len(l.ring)-1)]
		if e.frame != nil {
			l.bytes -= int64(e.frame.Len())
			if e.prefix {
				l.prefixBytes -= int64(e.frame.Len())
			}
			e.frame.Release()
		}
		*e = entry{}
		l.base++
		l.count--
	}
	if l.base <= s {
		l.base = s + 1
	}
}
