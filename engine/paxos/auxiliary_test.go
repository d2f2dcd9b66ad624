package paxos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// commandCosts is what a number of commands, one after the other, took.
type commandCosts struct {
	accepts, accepted int         // frames
	syncs             map[int]int // disks that had something to write, by index
	records           map[int]int // by index
}

// commands proposes n commands at node 1, one after the other, and demands that each is chosen. Nothing but Accept and Accepted may be on the
// net.
func (c *simCluster) commands(t *testing.T, n int) (got commandCosts) {
	got.syncs, got.records = map[int]int{}, map[int]int{}
	for range n {
		before := make([]int, len(c.nodes))
		for i, nd := range c.nodes {
			before[i] = len(nd.disk)
		}
		c.token++
		slot, o := c.propose(c.node(1), fmt.Sprint("x", c.token))
		if o != Taken {
			t.Fatal(o)
		}
		for range 4 {
			for _, p := range c.net {
				switch k := wire.Kind(p.frame[5]); k {
				case wire.KindAccept:
					got.accepts++
				case wire.KindAccepted:
					got.accepted++
				default:
					t.Fatalf("%v on the net", k)
				}
			}
			c.exchange()
			for i, nd := range c.nodes {
				if nd.r != nil && nd.synced < len(nd.disk) {
					got.syncs[i]++
					c.sync(nd, 1<<30)
				}
			}
		}
		if c.node(1).applied < slot {
			t.Fatalf("slot %d is not chosen", slot)
		}
		for i, nd := range c.nodes {
			if d := len(nd.disk) - before[i]; d > 0 {
				got.records[i] += d
			}
		}
	}
	return got
}

// What can go wrong: auxiliary nodes are asked for votes that nobody needs, and write to their disks for commands. The counts are exact. Of
// n nodes, m of them main ones, a command takes m-1 Accepts and as many Accepted, and m disks, and nothing of an auxiliary.
func TestAuxiliaryCosts(t *testing.T) {
	for _, v := range []struct {
		nodes int
		aux   []wire.NodeID
		q     Quorums
	}{
		{3, []wire.NodeID{3}, Quorums{}},
		{3, []wire.NodeID{2}, Quorums{}},
		{4, []wire.NodeID{4}, Quorums{}},
		{5, []wire.NodeID{4, 5}, Quorums{}},
		{5, []wire.NodeID{3, 4, 5}, Quorums{Prepare: 4, Accept: 2}},
	} {
		t.Run(fmt.Sprint(v.nodes, v.aux), func(t *testing.T) {
			c := idle(t, Config{Auxiliary: v.aux, Quorums: v.q}, v.nodes)
			defer c.close()
			const n = 100
			got, mains := c.commands(t, n), v.nodes-len(v.aux)
			want := commandCosts{accepts: n * (mains - 1), accepted: n * (mains - 1), syncs: map[int]int{}, records: map[int]int{}}
			for i, nd := range c.nodes {
				if !nd.auxiliary(c) {
					want.syncs[i], want.records[i] = n, n
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d commands cost %v, want %v", n, got, want)
			}
		})
	}
}

// What can go wrong: while a main node is away an auxiliary does more than its part, or goes on afterwards, or keeps what nobody needs. With
// one of two main nodes gone a command takes an Accept to each other node, of which one is lost, one Accepted, and two disks.
func TestEngagedCosts(t *testing.T) {
	c := idle(t, Config{Auxiliary: []wire.NodeID{3}}, 3)
	defer c.close()
	tr := &trace{c: c, quiet: true}
	run := func(ticks int) {
		for range ticks {
			for _, nd := range c.nodes {
				if nd.r != nil {
					c.tick(nd)
				}
			}
			tr.settle()
		}
	}
	c.crash(c.node(2), 0)
	run(12)
	const n = 50
	got := c.commands(t, n)
	if want := (commandCosts{2 * n, n, map[int]int{0: n, 2: n}, map[int]int{0: n, 2: n}}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("without node 2 %d commands cost %v, want %v", n, got, want)
	}
	held := c.node(3).r.Status()
	if held.LogBytes == 0 || !held.Auxiliary || !c.node(1).r.Status().Engaged {
		t.Errorf("engaged: %+v", held)
	}
	c.start(c.node(2))
	run(60)
	if st := c.node(3).r.Status(); st.LogBytes != 0 || st.Trimmed != c.node(1).r.chosen || c.node(1).r.Status().Engaged {
		t.Errorf("node 2 is back, and node 3 holds %d bytes, has forgotten slots up to %d of %d", st.LogBytes, st.Trimmed, c.node(1).r.chosen)
	}
	got = c.commands(t, n)
	if want := (commandCosts{n, n, map[int]int{0: n, 1: n}, map[int]int{0: n, 1: n}}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("afterwards %d commands cost %v, want %v", n, got, want)
	}
}

// What can go wrong: an auxiliary's log, which no snapshot bounds, grows without end while a main node is away. It stops at its
// bound, nothing more is chosen, and all goes on when the node is back.
func TestAuxiliaryLogIsBounded(t *testing.T) {
	const most = 2000
	c := idle(t, Config{Auxiliary: []wire.NodeID{3}, LogBytesMax: most}, 3)
	defer c.close()
	c.crash(c.node(2), 0)
	last := wire.Slot(0)
	rounds := func(n int) {
		c.settle(n, func() bool {
			if _, o := c.propose(c.node(1), fmt.Sprint("y", c.token)); o == Taken {
				c.token++
			}
			for _, nd := range c.nodes[:2] { // their own logs are no bound
				if nd.r != nil {
					c.snap(nd)
				}
			}
			if b := c.node(3).r.Status().LogBytes; b > most+200 {
				t.Fatalf("%d bytes are held, the bound is %d", b, most)
			}
			last = c.node(1).r.chosen
			return false
		})
	}
	rounds(200)
	full := last
	rounds(50)
	if last != full || c.node(3).r.Status().Refused == 0 {
		t.Errorf("slot %d was chosen after the log was full at slot %d", last, full)
	}
	c.onEvent = func(nd *testNode, e Event) {
		if e.Kind == EventPeerBehind {
			c.install(nd, c.node(e.Peer))
		}
	}
	c.start(c.node(2))
	rounds(100)
	if last < full+20 || c.node(3).r.Status().LogBytes != 0 {
		t.Errorf("node 2 is back; chosen are slots up to %d, %d when the log was full; %d bytes are held", last, full, c.node(3).r.Status().LogBytes)
	}
}

// What can go wrong: a setting with which auxiliary nodes cannot work is taken. Each is refused, and the message says why.
func TestAuxiliaryConfig(t *testing.T) {
	good := Config{Cluster: testCluster, Group: 1, Self: 1, Nodes: []wire.NodeID{1, 2, 3}, Auxiliary: []wire.NodeID{3}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Auxiliary = c.Nodes }, "all of 3 nodes are auxiliary"},
		{func(c *Config) { c.Auxiliary = []wire.NodeID{2, 3} }, "1 main nodes and 2 auxiliary ones, of which 2 must vote"},
		{func(c *Config) { c.Quorums = Quorums{1, 3, 0} }, "2 main nodes and 1 auxiliary ones, of which 3 must vote"},
		{func(c *Config) { c.Nodes = []wire.NodeID{1, 2, 3, 4, 5} }, "4 main nodes and 1 auxiliary ones, of which 3 must vote"},
		{func(c *Config) { c.Auxiliary = []wire.NodeID{7} }, "auxiliary node 7 is not among the nodes [1 2 3]"},
		{func(c *Config) { c.Auxiliary = []wire.NodeID{3, 3} }, "ascending order without repeats"},
		{func(c *Config) { c.Mode = ModeBasic }, "auxiliary nodes in mode basic"},
		{func(c *Config) { c.Mode = ModeFast }, "auxiliary nodes in mode fast"},
		{func(c *Config) { c.Learn = LearnAll }, "auxiliary nodes with learners all"},
		{func(c *Config) { c.Lease = 1e9 }, "auxiliary nodes with leases"},
		{func(c *Config) { c.Join = true }, "cannot join a cluster with auxiliary nodes"},
		{func(c *Config) { c.SuspectTicks = 3 }, "need at least two heartbeats (4 ticks)"},
	} {
		bad := good
		v.change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%+v: %v, want %q", bad, err, v.want)
		}
	}
	c := idle(t, Config{Auxiliary: []wire.NodeID{3}}, 3)
	defer c.close()
	if _, err := c.change(c.node(1), Change{Remove: 2}); err == nil || !strings.Contains(err.Error(), "with auxiliary nodes the membership is fixed") {
		t.Errorf("a change of the membership: %v", err)
	}
}
