package lease_test

import (
	"fmt"

	"github.com/paxbench/paxbench/engine/paxos/lease"
	"github.com/paxbench/paxbench/wire"
)

// Three nodes; two ask for the lease. Time is counted in milliseconds here: any unit does, if all use the same.
func Example() {
	nodes := []wire.NodeID{1, 2, 3}
	members := map[wire.NodeID]*lease.Member{}
	for _, id := range nodes {
		members[id] = lease.New(lease.Config{Group: 1, Resource: 1, Self: id, Nodes: nodes, Span: 1000, Life: uint64(id), Fresh: true}, 0)
	}
	run := func(now int64) { // the network loses nothing here
		for _, id := range nodes {
			members[id].Tick(now)
		}
		for moved := true; moved; {
			moved = false
			for _, id := range nodes {
				for _, o := range members[id].Output() {
					members[o.To].Step(&o.M)
					moved = true
				}
			}
		}
	}
	members[1].Acquire()
	run(0)
	members[2].Acquire()
	run(300)
	fmt.Println("node 1 until", members[1].Until(), "- node 2 until", members[2].Until())
	members[1].Release()
	for now := int64(400); members[2].Until() == 0; now += 100 {
		run(now)
	}
	fmt.Println("after the release node 2 owns it:", members[2].Until() > 0, "- node 1:", members[1].Until() > 0)
	// Output:
	// node 1 until 875 - node 2 until 0
	// after the release node 2 owns it: true - node 1: false
}
