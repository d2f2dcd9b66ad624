package sim

import (
	"errors"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Schedules in which members come and go (Knobs.Changes). The oracle keeps its own list of configurations, from the values that it
// saw being chosen, and counts each slot's votes under the configuration that decides it.

// founding is the members that a cluster begins with.
func (w *world) founding() wire.Membership {
	m := wire.Membership{From: 1, Last: wire.NodeID(w.k.Nodes)}
	for i := range w.k.Nodes {
		m.Members = append(m.Members, wire.Member{Node: wire.NodeID(i + 1), Addr: simAddr})
	}
	return m
}

const simAddr = "simulated"

// decides is the configuration of slot s; of the slots beyond what is known, the newest.
func (o *oracle) decides(s wire.Slot) *wire.Membership {
	i := len(o.configs) - 1
	for o.configs[i].From > s {
		i--
	}
	return &o.configs[i]
}

func (o *oracle) newest() *wire.Membership { return &o.configs[len(o.configs)-1] }

// sizes are those of the quorums of a configuration.
func (o *oracle) sizes(m *wire.Membership) (prepare, accept int) {
	k := Knobs{Nodes: len(m.Members), Quorums: o.w.k.Quorums}
	return k.quorums()
}

// member says whether a node belongs to the newest configuration.
func (w *world) member(p *proc) bool { return w.oracles[0].newest().Has(p.id) }

// changeChosen is told of each slot when the prefix of chosen slots has reached it.
func (o *oracle) changeChosen(s wire.Slot) {
	v, ok := o.changes[o.slots[s].hash]
	if !ok {
		return
	}
	b, err := wire.ParseBatch(v)
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	last := o.newest()
	after := paxos.Memberships{*last}.After(s, b, o.w.k.Alpha)
	next := &after[len(after)-1]
	if next.Slot != s {
		return // it was made from another one, and changes nothing
	}
	// S13: one node more or less, and quorums that meet those before.
	apart := 0
	for _, x := range last.Members {
		if !next.Has(x.Node) {
			apart++
		}
	}
	for _, x := range next.Members {
		if !last.Has(x.Node) {
			apart++
			if x.Node <= last.Last {
				o.w.fail("S13", 0, s, "node %d becomes a member again: %v follows %v", x.Node, next, last)
			}
		}
	}
	p1, a1 := o.sizes(last)
	p2, a2 := o.sizes(next)
	if all := max(len(last.Members), len(next.Members)); apart != 1 || p1+a2 <= all || p2+a1 <= all {
		o.w.fail("S13", 0, s, "configuration %v follows %v", next, last)
	}
	o.configs = append(o.configs, *next)
	o.w.note(0, o.g, "members chosen", uint64(s), uint64(next.From), uint64(len(next.Members)))
	o.w.counts["members chosen"]++
}

// within are the votes of members.
func (r *round) within(m *wire.Membership) round {
	in := round{ballot: r.ballot, hash: r.hash}
	for _, c := range r.casts {
		if m.Has(c.by) {
			in.casts = append(in.casts, c)
		}
	}
	return in
}

// change has whoever leads add a node, or remove one, itself included.
func (n *nemesis) change(*proc) { n.w.change() }

func (w *world) change() bool {
	for _, p := range w.procs {
		if !p.leads() || p.pausedUntil > w.now {
			continue
		}
		d := p.reps[0].d
		h := d.Memberships()
		m := &h[len(h)-1]
		var ch paxos.Change
		if next := m.Last + 1; int(next) <= w.k.Most && (len(m.Members) <= 2 || w.chance(2)) && len(m.Members) < 6 {
			if int(next) > len(w.procs) {
				q := newProc(w, next)
				w.procs = append(w.procs, q)
				q.start(true)
			}
			ch.Add = wire.Member{Node: next, Addr: simAddr}
		} else if len(m.Members) > 1 {
			ch.Remove = m.Members[w.rng.IntN(len(m.Members))].Node
		} else {
			return false
		}
		w.note(p.id, 1, "change", uint64(ch.Add.Node), uint64(ch.Remove), 0)
		w.changing++
		err := d.ChangeMembers(ch, func(err error) { w.changeEnded(p, ch, err) })
		if err != nil {
			w.changeEnded(p, ch, err)
		}
		p.poke()
		return true
	}
	return false
}

// changeEnded is told how a change ended, by the leader that was asked.
func (w *world) changeEnded(p *proc, ch paxos.Change, err error) {
	w.changing--
	w.changeErr = err
	o := w.oracles[0]
	switch {
	case err == nil:
		w.counts["changes of members"]++
		if ch.Remove == p.id {
			w.counts["leaders that removed themselves"]++
		}
		for i := range o.configs {
			c := &o.configs[i]
			if c.From <= o.prefix+1 && (ch.Add.Node != 0 && c.Has(ch.Add.Node) || ch.Remove != 0 && !c.Has(ch.Remove) && c.Last >= ch.Remove) {
				return
			}
		}
		w.fail("S13", p.id, o.prefix, "says that the change %+v is done, and no configuration in force has it", ch)
	case errors.Is(err, engine.ErrMembers), errors.Is(err, engine.ErrBusy), errors.Is(err, engine.ErrNotLeader), errors.Is(err, engine.ErrClosed):
		w.counts["changes refused or given up"]++
	case errors.Is(err, engine.ErrUnknown):
		w.counts["changes with an unknown end"]++
	default:
		w.fail("L8", p.id, 0, "change %+v ended with %v", ch, err)
	}
}

// changesEnd demands that a change under way is completed or given up (L8).
func (w *world) changesEnd() {
	if !w.runUntil(w.now+int64(time.Minute), func() bool { return w.changing == 0 }) {
		w.fail("L8", 0, w.oracles[0].prefix, "a change of the members is still under way a minute after the faults stopped: %s", w.roles())
	}
}

// changesWork demands that a change that is asked for without faults is made (L8).
func (w *world) changesWork() {
	if !w.k.Changes || len(w.oracles[0].newest().Members) < 2 && len(w.procs) >= w.k.Most {
		return
	}
	made := w.counts["changes of members"]
	asked := int64(0)
	done := func() bool {
		if w.counts["changes of members"] > made {
			return true
		}
		if w.changing == 0 && w.now >= asked {
			asked = w.now + int64(5*w.k.Tick)
			w.change()
		}
		return false
	}
	if !w.runUntil(w.now+int64(time.Minute), done) {
		w.fail("L8", 0, w.oracles[0].prefix, "no change of the members was made within a minute without faults, the last ended with %v: %s", w.changeErr, w.roles())
	}
}
