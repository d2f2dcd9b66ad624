package paxos

import (
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// cost is what one command takes when nothing else is under way. A message takes one delay, a disk none; what has to be durable
// before something else can go on is counted by itself.
type cost struct {
	delays   int // message delays until the node that was asked to propose knows that it is chosen
	waits    int // disk writes on that way that nothing else overlaps: one that goes on beside a message and its answer does not count
	messages int // by everybody, until everybody knows; heartbeats are not counted
	syncs    int // of all disks
	all      int // message delays until everybody knows that it is chosen
}

// What can go wrong: a mode takes more round trips, messages or disk writes than its paper says, and nobody notices, since all that is
// slow is still right. The counts are exact, for one command on an idle cluster; a leader's followers learn from its next
// message, here a heartbeat, which counts as a delay and not as a message.
func TestCosts(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  Mode
		learn Learn
		nodes int
		at    wire.NodeID // node 1 leads
		want  cost
	}{
		// Multi-Paxos: Accept, Accepted. From another node a command has to be sent to the leader and its answer back: two delays more.
		{"multi", ModeMulti, LearnOne, 3, 1, cost{2, 1, 4, 3, 3}},
		{"multi", ModeMulti, LearnOne, 5, 1, cost{2, 1, 8, 5, 3}},
		{"multi, all learn", ModeMulti, LearnAll, 3, 1, cost{2, 1, 8, 3, 2}},
		// Each slot on its own: Prepare, Promise, Accept, Accepted, and Chosen for those who do not count. The own promise is recorded first.
		{"basic", ModeBasic, LearnOne, 3, 2, cost{4, 3, 10, 6, 5}},
		{"basic", ModeBasic, LearnOne, 5, 2, cost{4, 3, 20, 10, 5}},
		{"basic, all learn", ModeBasic, LearnAll, 3, 2, cost{4, 3, 12, 6, 4}},
		// Fast Paxos: Accept, FastAccepted from any node; the coordinator is told too, the others when it is known.
		{"fast, at the coordinator", ModeFast, LearnOne, 3, 1, cost{2, 1, 6, 3, 3}},
		{"fast, elsewhere", ModeFast, LearnOne, 3, 2, cost{2, 1, 7, 3, 3}},
		{"fast, at the coordinator", ModeFast, LearnOne, 5, 1, cost{2, 1, 12, 5, 3}},
		{"fast, elsewhere", ModeFast, LearnOne, 5, 2, cost{2, 1, 15, 5, 3}},
		{"fast, all learn", ModeFast, LearnAll, 3, 2, cost{2, 1, 8, 3, 2}},
	} {
		t.Run(fmt.Sprintf("%s of %d", c.name, c.nodes), func(t *testing.T) {
			got := measure(t, c.mode, c.learn, c.nodes, c.at)
			got.waits = critical(t, c.mode, c.learn, c.nodes, c.at) - got.delays
			t.Logf("%s of %d: %d message delays, %d disk writes waited for, %d messages, %d fsyncs; everybody knows after %d delays", c.name, c.nodes, got.delays, got.waits, got.messages, got.syncs, got.all)
			if got != c.want {
				t.Errorf("one command costs %+v, want %+v", got, c.want)
			}
		})
	}
}

// What can go wrong: a collision takes more than the two delays that coordinated recovery adds (Fast Paxos, section 3.2). Nodes 2 and 3
// propose at once, and vote for their own values, which they tell the coordinator: it knows of the collision after one delay, and asks
// for votes in place of theirs. It knows after three what is chosen, and the proposers after four: as long as where there
// was no leader and no collision. The value that lost takes two more in the next slot.
func TestCollisionCosts(t *testing.T) {
	c := idle(t, Config{Mode: ModeFast}, 3)
	defer c.close()
	for _, id := range []wire.NodeID{2, 3} {
		if _, o := c.propose(c.node(id), fmt.Sprint("of ", id)); o != Taken {
			t.Fatal(o)
		}
	}
	var got []int
	for delay := 0; delay < 20 && len(got) < 3; delay++ {
		if delay > 0 {
			c.exchange()
		}
		c.syncAll()
		if len(got) == 0 && c.node(1).applied >= 2 {
			got = append(got, delay)
		}
		for _, id := range []wire.NodeID{2, 3} {
			if nd := c.node(id); len(got) > 0 && len(got) < 3 && len(nd.proposed) == 0 && nd.starts == 1 {
				nd.starts++ // seen
				got = append(got, delay)
			}
		}
	}
	if fmt.Sprint(got) != "[3 4 6]" {
		t.Errorf("the coordinator, the winner and the other know after %v delays, want 3, 4 and 6", got)
	}
	if c.stats["collision"] != 1 || c.stats["displaced"] != 1 || c.stats["finishing"] != 0 {
		t.Errorf("%v", c.stats)
	}
}

// idle is a cluster that node 1 leads, or that knows of no leader, with nothing under way.
func idle(t testing.TB, cfg Config, nodes int) *simCluster {
	cfg.Seed = 1
	c := newTestCluster(t, nodes, cfg)
	tr := &trace{c: c, quiet: true}
	if cfg.Mode != ModeBasic {
		tr.elect(t, c.node(1))
	}
	ok := c.settle(100, func() bool {
		for _, nd := range c.nodes {
			if nd.applied != c.node(1).applied && !nd.auxiliary(c) {
				return false
			}
		}
		return len(c.net) == 0 && !c.node(1).r.aux.engaged
	})
	for len(c.net) > 0 {
		c.deliver(0)
	}
	c.syncAll()
	if !ok || cfg.Mode != ModeBasic && c.node(1).r.role != Leader {
		t.Fatalf("not idle: %+v, %d on the net", c.node(1).r.Status(), len(c.net))
	}
	return c
}

// syncAll syncs every disk, and says how many had something to write.
func (c *simCluster) syncAll() (wrote int) {
	for _, nd := range c.nodes {
		if nd.synced < len(nd.disk) {
			wrote++
		}
		c.sync(nd, 1<<30)
	}
	return wrote
}

// exchange delivers what is on the net now, and nothing that comes of it.
func (c *simCluster) exchange() (messages int) {
	for n := len(c.net); n > 0; n-- {
		c.deliver(0)
		messages++
	}
	return messages
}

func measure(t *testing.T, mode Mode, learn Learn, nodes int, at wire.NodeID) (got cost) {
	c := idle(t, Config{Mode: mode, Learn: learn}, nodes)
	defer c.close()
	nd := c.node(at)
	slot, o := c.propose(nd, "x")
	if o != Taken {
		t.Fatal(o)
	}
	everybody := func() bool {
		for _, n := range c.nodes {
			if n.applied < slot {
				return false
			}
		}
		return true
	}
	for delay := 0; delay < 20 && (got.all == 0 || len(c.net) > 0); delay++ {
		if delay > 0 {
			got.messages += c.exchange()
			if got.delays != 0 && !everybody() && len(c.net) == 0 && mode == ModeMulti { // the followers hear of it with the next message
				for len(c.net) == 0 {
					c.tick(nd)
				}
				c.exchange()
				c.net = nil // the answers to a heartbeat
			}
		}
		got.syncs += c.syncAll()
		if got.delays == 0 && nd.applied >= slot {
			got.delays = delay
		}
		if got.all == 0 && everybody() {
			got.all = delay
		}
	}
	return got
}

// critical is how long it takes until the node that was asked to propose knows that the command is chosen, when a message and a disk write
// take one unit of time each.
func critical(t *testing.T, mode Mode, learn Learn, nodes int, at wire.NodeID) int {
	c := idle(t, Config{Mode: mode, Learn: learn}, nodes)
	defer c.close()
	nd := c.node(at)
	slot, o := c.propose(nd, "x")
	if o != Taken {
		t.Fatal(o)
	}
	for unit := 1; unit < 50; unit++ {
		writes := make([]int, nodes)
		for i, n := range c.nodes {
			writes[i] = len(n.disk) - n.synced
		}
		c.exchange()
		for i, n := range c.nodes {
			c.sync(n, writes[i])
		}
		if nd.applied >= slot {
			return unit
		}
	}
	t.Fatal("never chosen")
	return 0
}
