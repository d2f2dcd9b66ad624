package sim

import (
	"github.com/paxbench/paxbench/wire"
)

// Leases, in true time (S12): a node's clock is what the world's time makes of it, so that whether a lease holds by the clock of
// the node that looks at it is known for every moment.

// oneLease demands that at most one node of each group holds a lease, and that it would answer from no state that lacks what anybody
// outside knows to be done.
func (w *world) oneLease() {
	if w.k.Lease == 0 {
		return
	}
	for g, o := range w.oracles {
		holder := wire.NodeID(0)
		for _, p := range w.procs {
			from, holds := p.holds(g)
			if !holds {
				continue
			}
			if from < o.acked {
				w.fail("S12", p.id, from, "would answer from slot %d on by its lease in group %d, slot %d is known to be done", from, o.g, o.acked)
			}
			if holder != 0 {
				w.fail("S12", p.id, 0, "holds a lease in group %d while node %d does", o.g, holder)
			}
			holder = p.id
			if o.leased != p.id {
				o.leased = p.id
				w.counts["leases"]++
			}
		}
	}
}

// holds says whether a node may answer reads by lease now, and from which slot on.
func (p *proc) holds(g int) (from wire.Slot, holds bool) {
	if p.d == nil || p.d.Err() != nil {
		return 0, false
	}
	l := p.reps[g].d.Lease()
	return l.From, l.Ballot != 0 && p.clock() < l.Until
}

// alone demands, when node p has been elected, that nobody holds a lease of a lower ballot any more: what p has chosen from now on nobody
// else knows. One that holds a lease of a higher ballot was promised that by a quorum, in which somebody refuses whatever p proposes:
// p won an election that was over before it knew.
func (w *world) alone(p *proc, o *oracle, b wire.Ballot) {
	for _, q := range w.procs {
		if q == p {
			continue
		}
		if _, holds := q.holds(int(o.g) - 1); !holds {
			continue
		}
		if held := q.reps[o.g-1].d.Lease().Ballot; held < b {
			w.fail("S12", p.id, 0, "leads group %d at ballot %v while node %d holds the lease of ballot %v", o.g, b, q.id, held)
		}
	}
}
