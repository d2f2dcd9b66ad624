package explore

import (
	"fmt"
	"math/bits"

	"github.com/paxbench/paxbench/wire"
)

// Violation is a property that does not hold.
type Violation struct {
	Property string
	Node     wire.NodeID // 0: no one node
	Slot     wire.Slot   // 0: no one slot
	Detail   string
}

func (v *Violation) String() string {
	where := ""
	if v.Node != 0 {
		where += fmt.Sprintf(" node %d", v.Node)
	}
	if v.Slot != 0 {
		where += fmt.Sprintf(" slot %d", v.Slot)
	}
	return fmt.Sprintf("%s:%s %s", v.Property, where, v.Detail)
}

// Properties names what is checked. S3, S5, S10, S15, L and BUG are seen in the steps of one node (node.go); the others in the state of the
// cluster (below); END where no step is left (live.go).
func Properties() []string {
	return []string{"S1", "S2", "S3", "S4", "S5", "S7", "S10", "S15", "T", "L", "BUG", "END"}
}

// round is a ballot in a slot.
type round struct {
	slot   wire.Slot
	ballot wire.Ballot
	value  valueID
	voters uint64
}

// truth is what is so in a state of the cluster, whatever its nodes believe: chosen is what a quorum of durable votes at one
// ballot says.
type truth struct {
	v      *vocabulary
	nodes  []*facts
	rounds []round
	chosen []round // by slot; voters 0: nothing
	prefix wire.Slot
}

// check holds a state of the cluster, given by its nodes' facts, against the properties.
func check(v *vocabulary, slots wire.Slot, nodes []*facts) *Violation {
	t := truth{v: v, nodes: nodes, chosen: make([]round, slots+8)}
	for i, f := range nodes {
		for _, p := range f.proposed {
			if bad := t.add(i, p, 0); bad != nil {
				return bad
			}
		}
		for _, p := range f.votes {
			if bad := t.add(i, p, 1<<i); bad != nil {
				return bad
			}
		}
	}
	for _, rule := range []func() *Violation{t.oneVote, t.agreement, t.early, t.learned, t.tallies} {
		if bad := rule(); bad != nil {
			return bad
		}
	}
	return nil
}

// add notes a proposal or a vote (S2: one value for a slot and a ballot).
func (t *truth) add(node int, p vote, voters uint64) *Violation {
	for i := range t.rounds {
		r := &t.rounds[i]
		if r.slot == p.slot && r.ballot == p.ballot && (r.value == p.value || !t.v.fast(p.ballot)) {
			if r.value != p.value {
				return &Violation{"S2", wire.NodeID(node + 1), p.slot, fmt.Sprintf("two values at ballot %v: %s and %s", p.ballot, t.v.name(r.value), t.v.name(p.value))}
			}
			r.voters |= voters
			return nil
		}
	}
	t.rounds = append(t.rounds, round{p.slot, p.ballot, p.value, voters})
	return nil
}

// agreement: what is chosen in a slot is chosen for ever (S1).
func (t *truth) agreement() *Violation {
	for _, r := range t.rounds {
		if bits.OnesCount64(r.voters) < t.v.quorum(r.ballot) || int(r.slot) >= len(t.chosen) {
			continue
		}
		c := &t.chosen[r.slot]
		if c.voters != 0 && c.value != r.value {
			return &Violation{"S1", 0, r.slot, fmt.Sprintf("%s is chosen at ballot %v and %s at ballot %v", t.v.name(c.value), c.ballot, t.v.name(r.value), r.ballot)}
		}
		if c.voters == 0 || r.ballot < c.ballot {
			*c = r
		}
	}
	for int(t.prefix+1) < len(t.chosen) && t.chosen[t.prefix+1].voters != 0 {
		t.prefix++
	}
	return nil
}

// early: nothing else is proposed at a ballot above that of what is chosen (S4; P2c of Paxos Made Simple, section 2.2).
func (t *truth) early() *Violation {
	for _, r := range t.rounds {
		if int(r.slot) >= len(t.chosen) {
			continue
		}
		if c := &t.chosen[r.slot]; c.voters != 0 && r.ballot > c.ballot && r.value != c.value {
			return &Violation{"S4", r.ballot.Node(), r.slot, fmt.Sprintf("proposes %s at ballot %v, %s is chosen at ballot %v", t.v.name(r.value), r.ballot, t.v.name(c.value), c.ballot)}
		}
	}
	return nil
}

// learned: nobody says or learns more than the true chosen prefix, or another value (S7).
func (t *truth) learned() *Violation {
	for i, f := range t.nodes {
		id := wire.NodeID(i + 1)
		for _, l := range f.learned {
			switch c := &t.chosen[l.slot]; {
			case c.voters == 0:
				return &Violation{"S7", id, l.slot, fmt.Sprintf("takes %s for chosen, nothing is", t.v.name(l.value))}
			case c.value != l.value:
				return &Violation{"S7", id, l.slot, fmt.Sprintf("takes %s for chosen, %s is", t.v.name(l.value), t.v.name(c.value))}
			}
		}
		if f.prefix > t.prefix {
			return &Violation{"S7", id, f.prefix, fmt.Sprintf("says that slots up to %d are chosen, true is %d", f.prefix, t.prefix)}
		}
	}
	return nil
}

// tallies: whoever is counted has made durable what he is counted for, at that very ballot (T).
func (t *truth) tallies() *Violation {
	for i, f := range t.nodes {
		id := wire.NodeID(i + 1)
		if bad := t.fastTallies(i, f); bad != nil {
			return bad
		}
		for j, other := range t.nodes {
			if f.promised&(1<<j) != 0 && other.promise < f.counting {
				return &Violation{"T", id, 0, fmt.Sprintf("counts a promise of node %d at ballot %v, whose disk holds promise %v", j+1, f.counting, other.promise)}
			}
			for _, a := range f.accepted {
				if a.nodes&(1<<j) != 0 && !other.has(a.slot, a.ballot) {
					return &Violation{"T", id, a.slot, fmt.Sprintf("counts a vote of node %d at ballot %v that its disk does not hold", j+1, a.ballot)}
				}
			}
		}
	}
	return nil
}

func (f *facts) has(s wire.Slot, b wire.Ballot) bool {
	for _, v := range f.votes {
		if v.slot == s && v.ballot == b {
			return true
		}
	}
	return false
}
