package sim

import (
	"slices"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// Auxiliary nodes: what is demanded of them in place of what is demanded of nodes that keep the state.

func (w *world) auxiliary(id wire.NodeID) bool { return slices.Contains(w.k.Auxiliary, id) }

func (p *proc) auxiliary() bool { return p.w.auxiliary(p.id) }

// forgotten is told that an auxiliary forgets its votes up to slot s: each main node that has lost nothing must hold what is chosen there,
// durably (S6).
func (o *oracle) forgotten(by wire.NodeID, s wire.Slot) {
	if s > o.prefix {
		o.w.fail("S6", by, s, "votes up to slot %d are forgotten, the true chosen prefix is %d", s, o.prefix)
	}
	for _, p := range o.w.procs {
		k := o.known(p.disk)
		if p.auxiliary() || p.suspicion.rotted || p.suspicion.groups != 0 {
			continue
		}
		for t := k.snap + 1; t <= s; t++ {
			if !k.holds(t, o.slots[t].hash) {
				o.w.fail("S6", by, t, "votes up to slot %d are forgotten, node %d does not hold slot %d", s, p.id, t)
			}
		}
	}
}

// settled is the slot up to which an Accepted of a node needs no vote on its disk: it is known to be chosen, and to be kept elsewhere.
func (o *oracle) settled(p *proc, k *durable) wire.Slot {
	if p.auxiliary() && p.d != nil {
		return max(k.trim, p.reps[o.g-1].d.Status().Trimmed)
	}
	return k.snap
}

// besideAuxiliaries counts a new leader while auxiliaries hold votes.
func (w *world) besideAuxiliaries(g wire.GroupID) {
	for _, p := range w.procs {
		if p.auxiliary() && p.d != nil && p.reps[g-1].d.Status().LogBytes > 0 {
			w.counts["leaders beside votes of auxiliaries"]++
			return
		}
	}
}

// stateless demands that an auxiliary has executed nothing, and answers nothing.
func (w *world) stateless(r *replica) {
	if g := r.d.Digest(); g.Applied != 0 || g.Commands != 0 {
		w.fail("S11", r.p.id, g.Applied, "an auxiliary node has executed %d commands up to slot %d", g.Commands, g.Applied)
	}
	r.d.Ask(kv.AppendQueryScan(nil, 0, 0, true), wire.QueryStale, func(a *wire.Answer) {
		if a.Status != wire.StatusNotLeader {
			w.fail("S11", r.p.id, a.Slot, "an auxiliary node answers a query: %v", a.Status)
		}
	})
}
