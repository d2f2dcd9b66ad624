package toy

import (
	"slices"

	"github.com/paxbench/paxbench/engine/paxos/conform"
)

// The adapter: what package conform asks of an implementation.

var _ conform.Cluster = (*Toy)(nil)

// slot is what the one decree calls itself.
const slot = 1

// Propose implements conform.Cluster.
func (t *Toy) Propose(id int, value string) {
	n := t.nodes[id-1]
	n.want = value
	if t.is(ValueChangedInRound) && n.phase == 2 {
		return
	}
	n.round()
}

// Again implements conform.Cluster.
func (t *Toy) Again(id int) { t.nodes[id-1].round() }

// Net implements conform.Cluster.
func (t *Toy) Net() (all []conform.Message) {
	for _, m := range t.net {
		c := conform.Message{From: m.from, To: m.to, Kind: m.kind, Slot: slot, Round: uint64(m.at.counter)<<32 | uint64(m.at.node)}
		if m.kind == conform.Accept {
			c.Value = m.vote.value
		}
		all = append(all, c)
	}
	return all
}

// Deliver implements conform.Cluster.
func (t *Toy) Deliver(i int) {
	m := t.net[i]
	t.Drop(i)
	t.hand(m)
}

// Drop implements conform.Cluster.
func (t *Toy) Drop(i int) { t.net = slices.Delete(t.net, i, i+1) }

// Repeat implements conform.Cluster.
func (t *Toy) Repeat(i int) { t.hand(t.net[i]) }

func (t *Toy) hand(m message) {
	if n := t.nodes[m.to-1]; n.up {
		n.step(m)
	}
}

// Sync implements conform.Cluster. What a node tells itself may have it write again.
func (t *Toy) Sync(id int) {
	for n := t.nodes[id-1]; n.up; {
		n.sync()
		if len(n.waiting) == 0 {
			return
		}
	}
}

// Crash implements conform.Cluster.
func (t *Toy) Crash(id int) {
	n := t.nodes[id-1]
	n.up, n.waiting = false, nil
}

// Restart implements conform.Cluster.
func (t *Toy) Restart(id int) { t.nodes[id-1].start() }

// Time implements conform.Cluster.
func (t *Toy) Time() {
	for _, n := range t.nodes {
		if !n.up {
			continue
		}
		switch n.phase {
		case 1:
			n.prepare()
		case 2:
			n.accept()
		}
	}
}

// Learned implements conform.Cluster.
func (t *Toy) Learned(id int) map[int]string {
	if v := t.nodes[id-1].learned; v != "" {
		return map[int]string{slot: v}
	}
	return nil
}

// Close implements conform.Cluster.
func (t *Toy) Close() {}
