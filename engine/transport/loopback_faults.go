package transport

import (
	"math/rand/v2"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Fault is what a link of a Loopback does to frames. The zero value delivers all of them in order and at once.
type Fault struct {
	Drop      float64 // probability, 0..1, that a frame is lost
	Duplicate float64 // probability that a frame arrives twice
	Reorder   float64 // probability that a frame is held back by up to ReorderBy, so that later ones overtake it
	ReorderBy time.Duration
	DelayMin  time.Duration // every frame takes from DelayMin to DelayMax, uniformly; order is kept
	DelayMax  time.Duration
}

// reorderByDefault is what ReorderBy = 0 means.
const reorderByDefault = 5 * time.Millisecond

// linkRule is the state of one direction of a link.
type linkRule struct {
	fault Fault
	cut   bool // nothing passes, also not what is already under way
}

// ruleOf is called with mu held.
func (l *Loopback) ruleOf(k linkKey) linkRule {
	if r, ok := l.rules[k]; ok {
		return r
	}
	return l.general
}

// SetFault sets the fault of every link, including those that have one of their own. Cuts stay.
func (l *Loopback) SetFault(f Fault) {
	l.change(func() {
		l.general.fault = f
		for k, r := range l.rules {
			r.fault = f
			l.rules[k] = r
		}
	})
}

// SetLink sets the fault of the direction from -> to.
func (l *Loopback) SetLink(from, to wire.NodeID, f Fault) {
	l.change(func() {
		r := l.ruleOf(linkKey{from, to})
		r.fault = f
		l.rules[linkKey{from, to}] = r
	})
}

// Cut cuts, or with cut = false mends, the direction from -> to.
func (l *Loopback) Cut(from, to wire.NodeID, cut bool) {
	l.change(func() { l.cut(from, to, cut) })
}

func (l *Loopback) cut(from, to wire.NodeID, cut bool) {
	r := l.ruleOf(linkKey{from, to})
	r.cut = cut
	l.rules[linkKey{from, to}] = r
}

// Isolate cuts, or mends, both directions between id and every other node known so far.
func (l *Loopback) Isolate(id wire.NodeID, cut bool) {
	l.change(func() {
		for other := range l.starts {
			if other != id {
				l.cut(id, other, cut)
				l.cut(other, id, cut)
			}
		}
	})
}

// Partition cuts the network into sides: nodes talk if and only if some side names both. It replaces every earlier
// cut. A node may stand on two sides, which gives the chained partitions of FAULTS.md F4; one that is on no side is
// alone.
func (l *Loopback) Partition(sides ...[]wire.NodeID) {
	l.change(func() {
		for from := range l.starts {
			for to := range l.starts {
				if from != to {
					l.cut(from, to, !together(sides, from, to))
				}
			}
		}
	})
}

func together(sides [][]wire.NodeID, a, b wire.NodeID) bool {
	for _, side := range sides {
		var hasA, hasB bool
		for _, id := range side {
			hasA = hasA || id == a
			hasB = hasB || id == b
		}
		if hasA && hasB {
			return true
		}
	}
	return false
}

// Heal removes every cut, fault and filter.
func (l *Loopback) Heal() {
	l.change(func() {
		clear(l.rules)
		l.general = linkRule{}
		l.filter = nil
	})
}

// Filter installs a function that sees every frame at Send and says whether it may pass; nil removes it. It may look
// at the frame but takes no reference, and it is called by several goroutines at once.
func (l *Loopback) Filter(pass func(from, to wire.NodeID, f *wire.Buffer) bool) {
	l.change(func() { l.filter = pass })
}

// change runs fn under the lock and tells every link its rule.
func (l *Loopback) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	for _, n := range l.nodes {
		n.mu.RLock()
		for to, link := range n.links {
			link.mu.Lock()
			link.dice.rule = l.ruleOf(linkKey{n.id, to})
			link.mu.Unlock()
		}
		n.mu.RUnlock()
	}
}

// dice makes one link's decisions.
type dice struct {
	rule    linkRule
	rng     *rand.Rand
	order   uint64
	lastDue int64 // order is kept by never being due earlier than the frame before
}

func (d *dice) seed(seed uint64, k linkKey, start uint64) {
	d.rng = rand.New(rand.NewPCG(seed, uint64(k.from)<<40|uint64(k.to)<<16|start&0xffff))
}

// roll decides about the next frame: how many copies arrive (0, 1 or 2) and when each is due.
func (d *dice) roll() (copies int, dues [2]int64, order uint64) {
	order = d.order
	d.order += 2
	f := &d.rule.fault
	if d.rule.cut {
		return 0, dues, order
	}
	if *f == (Fault{}) {
		if d.lastDue != 0 {
			// Frames sent under an earlier fault may still be held; stay behind them.
			dues[0] = d.lastDue
			if d.lastDue < monotonic() {
				d.lastDue = 0
			}
		}
		return 1, dues, order
	}
	// Always the same number of draws, so that one probability does not shift the other decisions.
	lost, twice, late := d.rng.Float64(), d.rng.Float64(), d.rng.Float64()
	spread, hold, second := d.rng.Float64(), d.rng.Float64(), d.rng.Float64()
	if lost < f.Drop {
		return 0, dues, order
	}
	now := monotonic()
	due := now + int64(f.DelayMin) + int64(spread*float64(f.DelayMax-f.DelayMin))
	by := f.ReorderBy
	if by <= 0 {
		by = reorderByDefault
	}
	if late < f.Reorder {
		dues[0] = due + int64(hold*float64(by))
	} else {
		d.lastDue = max(d.lastDue, due)
		dues[0] = d.lastDue
	}
	copies = 1
	if twice < f.Duplicate {
		copies = 2
		dues[1] = dues[0] + int64(second*float64(by))
	}
	return copies, dues, order
}

// pushParcel and popParcel keep h a binary heap by (due, order).
func pushParcel(h []parcel, p parcel) []parcel {
	h = append(h, p)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	return h
}

func popParcel(h []parcel) (parcel, []parcel) {
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], parcel{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if least == i {
			return top, h
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func (p parcel) before(q parcel) bool {
	return p.due < q.due || p.due == q.due && p.order < q.order
}
