package explore

import (
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// A scope that is Led begins where node 1 leads, its barrier in slot 1 is chosen, all have learned it, and what was sent
// before is lost. So two slots are two that clients use, and the search spends nothing on how the first leader came about,
// which scopes that begin with nothing do.

// prelude is the steps that lead there.
func prelude(c *Scope, v *vocabulary) (steps []move) {
	if !c.Led {
		return nil
	}
	all := *c // for this, heartbeats arrive
	all.Beats = BeatAlways
	nodes := make([]*node, c.Nodes)
	for i := range nodes {
		nodes[i] = bareNode(&all, v, i)
		defer nodes[i].close()
	}
	done := make([][]msgID, c.Nodes)
	take := func(i int, in input) {
		steps = append(steps, move{node: i, edge: edge{in: in}})
		nodes[i].take(in)
	}
	settle := func() {
		for moved := true; moved; {
			moved = false
			for i, n := range nodes {
				if k := len(n.disk) - n.synced; k > 0 {
					take(i, input{op: opSync, arg: uint16(k)})
					moved = true
				}
				for _, id := range slices.Clone(n.sent) {
					if to := v.messages[id].to; !slices.Contains(done[to], id) {
						done[to] = append(done[to], id)
						take(to, input{op: opDeliver, arg: uint16(id)})
						moved = true
					}
				}
			}
		}
	}
	take(0, input{op: opCampaign})
	settle()
	take(0, input{op: opBeat}) // tells the others that slot 1 is chosen
	settle()
	return steps
}

// newNode makes a node in the first state of the scope.
func newNode(c *Scope, v *vocabulary, i int) *node {
	all := *c
	all.Beats = BeatAlways
	n := bareNode(&all, v, i)
	for _, m := range v.prelude {
		if m.node == i {
			n.take(m.edge.in)
		}
	}
	n.begin(c)
	return n
}

// begin ends the prelude: what was sent is lost, and the scope's bounds count from here.
func (n *node) begin(c *Scope) {
	n.c = c
	for _, id := range n.sent {
		if m := &n.v.messages[id].m; m.Kind == wire.KindPrepare {
			n.spent = append(n.spent, m.Ballot)
		}
	}
	n.sent, n.got = nil, nil
	n.campaigns, n.repeats = 0, 0
}
