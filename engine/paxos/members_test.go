package paxos

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: while nodes come and go, crash, lose frames and take each other's place as leaders, a slot is counted as
// chosen with votes of nodes that do not decide it, a new leader does not ask those who do, a node that was away comes back
// with a configuration of long ago, or nothing gets done any more. Replay a failure with -paxos.seed.
func TestRandomChanges(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	if testing.Short() {
		n = min(n, 100)
	}
	total := map[string]int{}
	before := wire.Outstanding()
	for seed := first; seed < first+n; seed++ {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for k, v := range randomChanges(t, seed) {
				total[k] += v
			}
		})
		if !ok {
			break
		}
	}
	t.Log(total)
	if n >= 100 {
		for _, k := range []string{"leading", "lost leadership", "holes", "reproposed", "peer behind", "installs", "crashes", "reads", "changes",
			"members in force", "members not changed", "removed", "removed leaders", "changes by the next leader"} {
			if total[k] == 0 {
				t.Errorf("in %d schedules there was not one: %s", n, k)
			}
		}
	}
	if left := wire.Outstanding() - before; left != 0 {
		t.Errorf("%d buffers were never released", left)
	}
}

// changesMax bounds the nodes of a schedule, those removed included.
const changesMax = 9

func randomChanges(t testing.TB, seed uint64) map[string]int {
	rng := rand.New(rand.NewPCG(seed, 2))
	window := 1 + rng.IntN(4)
	c := newTestCluster(t, []int{1, 2, 3, 3, 3, 4, 5}[rng.IntN(7)], Config{
		Window: window, Alpha: window + rng.IntN(8), HeartbeatTicks: 1, ElectionTicks: 4 + rng.IntN(8),
		RetransmitTicks: 2 + rng.IntN(6), StallTicks: 10 + rng.IntN(20), Seed: seed,
		PromiseBytes: []int{1, 200, 1 << 20}[rng.IntN(3)],
	})
	defer c.close()
	c.onEvent = func(nd *testNode, e Event) {
		c.countChange(nd, e)
		if e.Kind == EventPeerBehind && rng.IntN(3) == 0 && c.node(e.Peer).r != nil {
			c.install(nd, c.node(e.Peer))
		}
	}
	var (
		loss   = rng.IntN(20)
		repeat = rng.IntN(20)
		crash  = rng.IntN(8)
		cut    [2]wire.NodeID // one direction of one link is down
	)
	for step := range 4000 {
		nodes := len(c.nodes)
		nd := c.nodes[rng.IntN(nodes)]
		switch k := rng.IntN(1000); {
		case k < 550 && len(c.net) > 0:
			i := rng.IntN(min(len(c.net), 1+rng.IntN(12)))
			p := c.net[i]
			if p.from == cut[0] && p.to == cut[1] || rng.IntN(100) < loss {
				c.net = append(c.net[:i], c.net[i+1:]...)
			} else if rng.IntN(100) < repeat {
				c.hand(p)
			} else {
				c.deliver(i)
			}
		case k < 750 && nd.r != nil:
			c.sync(nd, 1+rng.IntN(6))
		case k < 850 && nd.r != nil:
			c.tick(nd)
		case k < 920 && nd.r != nil:
			c.propose(nd, fmt.Sprint(nd.id, ".", step))
		case k < 950:
			c.randomChange(rng)
		case k < 960 && nd.r != nil:
			c.read(nd)
		case k < 960+crash && nd.r != nil:
			c.crash(nd, rng.IntN(4))
			c.stats["crashes"]++
		case k < 980 && nd.r == nil:
			c.start(nd)
		case k < 985 && nd.r != nil && nd.applied > nd.r.trimmed:
			c.snap(nd)
		case k < 990:
			cut = [2]wire.NodeID{wire.NodeID(1 + rng.IntN(nodes)), wire.NodeID(1 + rng.IntN(nodes))}
		case k < 992:
			cut = [2]wire.NodeID{}
		case nd.r != nil:
			nd.r.PeerGone(wire.NodeID(1 + rng.IntN(nodes))) // true or not
			c.collect(nd)
		}
	}
	c.recovers()
	return c.stats
}

// countChange counts what no event says alone.
func (c *simCluster) countChange(nd *testNode, e Event) {
	switch {
	case e.Kind == EventLost && e.Reason == "it is no member any more":
		c.stats["removed leaders"]++
	case e.Kind == EventLeading && len(nd.r.proposed) > 0:
		c.stats["changes by the next leader"]++
	}
}

// randomChange asks a leader for a change: a node that has come up, or comes up now, is added, or a member removed.
func (c *simCluster) randomChange(rng *rand.Rand) {
	nd := c.leader()
	if nd == nil {
		return
	}
	m := nd.r.newest()
	if rng.IntN(2) == 0 && len(m.Members) < 6 {
		next := m.Last + 1
		for len(c.nodes) < int(next) && len(c.nodes) < changesMax {
			c.join()
		}
		if int(next) <= len(c.nodes) {
			c.change(nd, Change{Add: wire.Member{Node: next}})
		}
	} else if len(m.Members) > 1 {
		c.change(nd, Change{Remove: m.Members[rng.IntN(len(m.Members))].Node})
	}
}
