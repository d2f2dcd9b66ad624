package paxos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a replica that was given a snapshot, or restarted from one, compares sums of which it has seen only a part, and
// stops for nothing; or it never compares again.
func TestChainBeginsAnew(t *testing.T) {
	c := newTestCluster(t, 3, Config{Window: 32, Seed: 1})
	defer c.close()
	tr := &trace{c: c, quiet: true}
	tr.elect(t, c.node(1))
	n := 0
	propose := func(until wire.Slot) {
		for c.node(1).r.chosen < until {
			if _, o := c.propose(c.node(1), fmt.Sprint("v", n)); o != Taken {
				t.Fatal(o)
			}
			n++
			tr.settle()
		}
		for range 4 {
			c.tick(c.node(1))
		}
		tr.settle()
	}
	propose(10)
	if a, b := c.node(1).r.sum, c.node(2).r.sum; a == 0 || a != b {
		t.Fatalf("sums %08x and %08x", a, b)
	}
	c.isolated = 3
	propose(20)
	c.snap(c.node(1))
	c.isolated = 0
	c.install(c.node(1), c.node(3))
	propose(30)
	if s := c.node(3).r.sum; s != 0 {
		t.Fatalf("node 3, which has not seen slots 11 to 20, says that their sum is %08x", s)
	}
	// The same of a restart from a snapshot.
	c.snap(c.node(2))
	c.crash(c.node(2), 0)
	c.start(c.node(2))
	tr.settle() // it votes again
	propose(40)
	if s := c.node(2).r.sum; s != 0 {
		t.Fatalf("node 2, restarted from a snapshot, says that the sum is %08x", s)
	}
	propose(wire.ChainLength + 8)
	for _, nd := range c.nodes[1:] {
		if nd.r.chosen != c.node(1).r.chosen || nd.r.sum == 0 || nd.r.sum != c.node(1).r.sum {
			t.Errorf("node %d: sum %08x up to slot %d, node 1 %08x up to %d", nd.id, nd.r.sum, nd.r.chosen, c.node(1).r.sum, c.node(1).r.chosen)
		}
	}
}

// What can go wrong: beacons' sums are not compared, or one for a slot that is not learned yet, or is held no more, stops a node.
func TestChainOfInstances(t *testing.T) {
	c := newTestCluster(t, 3, Config{Mode: ModeBasic, Seed: 1})
	defer c.close()
	tr := &trace{c: c, quiet: true}
	for i := range 3 {
		if _, o := c.propose(c.node(1), fmt.Sprint("v", i)); o != Taken {
			t.Fatal(o)
		}
		tr.settle()
	}
	r := c.node(2).r
	if r.chosen != 3 || r.sum == 0 {
		t.Fatalf("chosen %d, sum %08x", r.chosen, r.sum)
	}
	beacon := func(chosen wire.Slot, sum uint32) (stops string) {
		defer func() {
			if x := recover(); x != nil {
				stops = fmt.Sprint(x)
			}
		}()
		r.Step(&wire.Message{Kind: wire.KindHeartbeat, Group: 1, From: 1, Ballot: wire.NewBallot(1, 1), Slot: chosen, Chosen: chosen, Chain: sum})
		return ""
	}
	for _, fine := range []struct {
		slot wire.Slot
		sum  uint32
	}{{3, r.sum}, {3, 0}, {4, r.sum ^ 1}, {0, 1}} {
		if s := beacon(fine.slot, fine.sum); s != "" {
			t.Errorf("slot %d, sum %08x: %s", fine.slot, fine.sum, s)
		}
	}
	if s := beacon(3, r.sum^1); !strings.Contains(s, "up to slot 3") {
		t.Errorf("it does not stop: %q", s)
	}
}
