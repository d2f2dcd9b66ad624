package paxos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos/lease"
	"github.com/paxbench/paxbench/wire"
)

var (
	modeFlag  = flag.String("paxos.mode", "", "run schedules of this mode only")
	seedFlag  = flag.Uint64("paxos.seed", 0, "run only this schedule")
	seedsFlag = flag.Uint64("paxos.seeds", 300, "number of random schedules")
)

// What can go wrong: any interleaving of loss, repetition, reordering, crashes with half-written disks, snapshots and
// duels in which two replicas learn different values for a slot, an answer overtakes its record, a read misses a write
// that was chosen before it was asked for, or, once the faults stop, nothing is chosen any more. Each schedule is drawn from
// a seed; a failure prints mode and seed, and -paxos.mode and -paxos.seed replay it.
func TestRandomSchedules(t *testing.T) {
	vital := map[Mode][]string{
		ModeMulti: {"leading", "lost leadership", "holes", "reproposed", "lease reads", "auxiliaries engaged", "auxiliaries released", "votes forgotten"},
		ModeFast:  {"leading", "lost leadership", "holes", "reproposed", "proposing", "not proposing", "collision", "displaced", "finishing", "own", "lost track"},
		ModeBasic: {"proposing", "not proposing", "duel", "displaced", "finishing", "own", "lost track"},
	}
	for mode := range vital {
		if *modeFlag == "" || *modeFlag == mode.String() {
			t.Run(mode.String(), func(t *testing.T) { randomSchedules(t, mode, vital[mode]) })
		}
	}
}

func randomSchedules(t *testing.T, mode Mode, vital []string) {
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
			for k, v := range randomSchedule(t, mode, seed) {
				total[k] += v
			}
		})
		if !ok {
			break
		}
	}
	t.Log(total)
	if n >= 100 {
		// Anti-vacuity: schedules in which these never happen test nothing.
		for _, k := range append(vital, "peer behind", "installs", "crashes", "reads", "disk stall", "healed") {
			if total[k] == 0 {
				t.Errorf("in %d schedules there was not one: %s", n, k)
			}
		}
	}
	if left := wire.Outstanding() - before; left != 0 {
		t.Errorf("%d buffers were never released", left)
	}
}

func randomSchedule(t testing.TB, mode Mode, seed uint64) map[string]int {
	rng := rand.New(rand.NewPCG(seed, 1))
	nodes := []int{1, 3, 3, 3, 5}[rng.IntN(5)]
	if mode == ModeFast { // with three nodes a fast quorum is everybody, and the choice easy
		nodes = []int{1, 3, 4, 5, 5}[rng.IntN(5)]
	}
	c := newTestCluster(t, nodes, Config{
		Mode: mode, Window: 1 + rng.IntN(8), HeartbeatTicks: 1, ElectionTicks: 4 + rng.IntN(8),
		RetransmitTicks: 2 + rng.IntN(6), StallTicks: 10 + rng.IntN(20), Seed: seed,
		PromiseBytes: []int{1, 200, 1 << 20}[rng.IntN(3)], HoleTicks: 3 + rng.IntN(8),
		AheadBytesMax: []int64{0, 0, 200, 1000}[rng.IntN(4)],
		Learn:         []Learn{LearnOne, LearnOne, LearnAll, 1, Learn(1 + rng.IntN(nodes))}[rng.IntN(5)],
		Quorums:       randomQuorums(rng, mode, nodes),
		Backoff:       []Backoff{BackoffRandom, BackoffRandom, BackoffRandom, BackoffDistinguished, BackoffNone}[rng.IntN(5)],
	})
	defer c.close()
	c.randomClocks(rng)
	c.randomAuxiliary(seed)
	c.onEvent = func(nd *testNode, e Event) {
		if e.Kind == EventPeerBehind && rng.IntN(3) == 0 && c.node(e.Peer).r != nil {
			c.install(nd, c.node(e.Peer))
		}
	}
	var (
		loss   = rng.IntN(20)
		repeat = rng.IntN(20)
		crash  = rng.IntN(8)
		slow   = c.nodes[rng.IntN(nodes)] // syncs rarely
		lazy   = rng.IntN(4) == 0
		cut    [2]wire.NodeID // one direction of one link is down
		rot    = rng.IntN(2) == 0
	)
	for step := range 3000 {
		nd := c.nodes[rng.IntN(nodes)]
		c.time++
		c.oneHolder()
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
			if !lazy || nd != slow || rng.IntN(20) == 0 {
				c.sync(nd, 1+rng.IntN(6))
			}
		case k < 850 && nd.r != nil:
			c.tick(nd)
		case k < 950 && nd.r != nil:
			c.propose(nd, fmt.Sprint(nd.id, ".", step))
		case k < 955 && nd.r != nil:
			c.read(nd)
		case k < 960 && nd.r != nil:
			c.readByLease(nd)
			if n := len(c.asked); n > 0 {
				c.answerByLease(rng.IntN(n))
			}
		case k < 960+crash && nd.r != nil:
			c.crash(nd, rng.IntN(4))
			c.stats["crashes"]++
			if rot && c.suspects() < nodes-c.quorum() && rng.IntN(2) == 0 {
				c.rot(nd, 1+rng.IntN(4))
			}
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
	if mode == ModeBasic && c.cfg.Backoff == BackoffNone {
		return c.stats // which may go on for ever, as one knows
	}
	c.recovers()
	return c.stats
}

// randomClocks draws, in half of the schedules with a leader, leases and clocks that run as far apart as they may.
func (c *simCluster) randomClocks(rng *rand.Rand) {
	const ppm = 50_000
	if c.cfg.Mode != ModeMulti || rng.IntN(2) == 0 {
		return
	}
	c.cfg.Lease = 20 + rng.Int64N(600)
	c.cfg.LeaseDrift = lease.Drift(c.cfg.Lease, ppm) + 2 // the clocks show whole units
	for _, nd := range c.nodes {
		nd.r.Close()
		nd.clock = rng.Int64N(1e6)
		nd.rate = 1 + (2*rng.Float64()-1)*ppm/1e6
		nd.starts = 0
		c.start(nd)
	}
}

// randomAuxiliary makes some nodes of a third of the schedules with a leader auxiliary ones. It draws from numbers of its own.
func (c *simCluster) randomAuxiliary(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	n := len(c.nodes)
	extra := n - c.cfg.Quorums.of(n).Accept
	if c.cfg.Mode != ModeMulti || rng.IntN(3) > 0 || extra == 0 || extra == n {
		return
	}
	c.cfg.Learn, c.cfg.Lease = LearnOne, 0
	for _, i := range rng.Perm(n)[:extra] {
		c.cfg.Auxiliary = append(c.cfg.Auxiliary, wire.NodeID(i+1))
	}
	slices.Sort(c.cfg.Auxiliary)
	for _, nd := range c.nodes {
		nd.r.Close()
		nd.starts = 0
		c.start(nd)
	}
}

// randomQuorums draws sizes that intersect.
func randomQuorums(rng *rand.Rand, mode Mode, nodes int) (q Quorums) {
	if rng.IntN(3) > 0 {
		return q
	}
	q.Prepare = 1 + rng.IntN(nodes)
	q.Accept = nodes - q.Prepare + 1 + rng.IntN(q.Prepare)
	if least := fastQuorum(nodes, q.Prepare); mode == ModeFast {
		q.Fast = least + rng.IntN(nodes-least+1)
	}
	return q
}

// recovers ends the faults and demands that a proposal is chosen and learned by everyone.
func (c *simCluster) recovers() {
	c.onEvent = func(nd *testNode, e Event) {
		c.countChange(nd, e)
		if e.Kind == EventPeerBehind {
			c.install(nd, c.node(e.Peer))
		}
	}
	for _, nd := range c.nodes {
		if nd.r == nil {
			c.start(nd)
		}
	}
	done, last := (*testNode)(nil), 0
	ok := c.settle(400, func() bool {
		nd := c.leader()
		if nd == nil || done != nil && done != nd {
			done = nil // what a leader had not got chosen may be lost with it
			return false
		}
		if done == nil {
			last++
			if _, o := c.propose(nd, fmt.Sprint("last ", last)); o == Taken {
				done = nd
			}
			return false
		}
		slot, chosen := c.where[fmt.Sprint("last ", last)]
		for _, n := range c.nodes {
			if !c.configs[len(c.configs)-1].Has(n.id) || n.auxiliary(c) {
				continue
			}
			if !chosen || n.applied < slot || c.cfg.Mode != ModeMulti && len(n.proposed) > 0 {
				return false
			}
		}
		return true
	})
	if !ok {
		for _, nd := range c.nodes {
			c.t.Logf("node %d: %+v applied %d, waits for %v, members %v", nd.id, nd.r.Status(), nd.applied, nd.proposed, nd.r.Memberships())
		}
		c.t.Fatalf("LIVENESS: without faults, not all proposals are learned everywhere")
	}
}
