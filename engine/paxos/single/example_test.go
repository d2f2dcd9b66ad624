package single_test

import (
	"fmt"

	"github.com/paxbench/paxbench/engine/paxos/single"
	"github.com/paxbench/paxbench/wire"
)

// Two proposers, three acceptors, one learner, each a process of its own; the network is a queue, and disks are instantly durable.
// The first proposer dies when one acceptor has voted. The second finds that vote and must not propose its own value.
func Example() {
	config := func(self wire.NodeID) single.Config {
		return single.Config{Cluster: 1, Group: 1, Self: self, Acceptors: []wire.NodeID{1, 2, 3}, Learners: []wire.NodeID{9}}
	}
	acceptors := map[wire.NodeID]*single.Acceptor{}
	for _, id := range config(1).Acceptors {
		acceptors[id] = single.NewAcceptor(config(id), nil)
		defer acceptors[id].Close()
	}
	first, second := single.NewProposer(config(11), 0), single.NewProposer(config(12), 0)
	defer first.Close()
	defer second.Close()
	learner := single.NewLearner(config(9))
	defer learner.Close()

	var queue []single.Send
	put := func(o single.Out) {
		for _, r := range o.Records {
			r.Frame.Release() // a disk would keep it
		}
		queue = append(queue, o.Messages...)
	}
	// run delivers until the queue is empty; what lost says is lost.
	run := func(proposer *single.Proposer, lost func(to wire.NodeID, m *wire.Message) bool) {
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			var m wire.Message
			if err := wire.DecodeMessage(s.Frame, &m); err != nil {
				panic(err)
			}
			switch a := acceptors[s.To]; {
			case lost(s.To, &m):
			case a != nil:
				put(a.Step(&m))
			case s.To == 9:
				put(learner.Step(&m))
			default:
				put(proposer.Step(&m))
			}
			s.Frame.Release()
		}
	}
	propose := func(p *single.Proposer, text string) {
		o, err := p.Propose(single.Value([]byte(text)))
		if err != nil {
			panic(err)
		}
		put(o)
	}

	propose(first, "olive day")
	run(first, func(to wire.NodeID, m *wire.Message) bool { return m.Kind == wire.KindAccept && to != 2 })
	_, ok := learner.Chosen()
	fmt.Println("one vote, chosen:", ok)

	propose(second, "wine tax")
	run(second, func(to wire.NodeID, _ *wire.Message) bool { return to == 1 })
	fmt.Println("second proposer, at a higher ballot:", second.Phase())
	value, ok := learner.Chosen()
	fmt.Printf("chosen: %v, %q\n", ok, single.Text(value))
	// Output:
	// one vote, chosen: false
	// second proposer, at a higher ballot: accepting
	// chosen: true, "olive day"
}
