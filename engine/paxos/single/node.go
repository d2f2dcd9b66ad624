package single

import (
	"fmt"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Node is a process that is all three, as processes usually are. It hands each message to the roles that it is for.
type Node struct {
	Proposer *Proposer
	Acceptor *Acceptor
	Learner  *Learner
}

// NewNode makes a node of what was recovered, which belongs to it from now on; nil: an empty disk.
func NewNode(c Config, st *paxos.State) *Node {
	a := NewAcceptor(c, st)
	// Its own ballots are promises of its own too: see the record of Propose.
	return &Node{Proposer: NewProposer(c, a.seat.Promised()), Acceptor: a, Learner: NewLearner(c)}
}

// Recover reads a log's records for NewNode, in log order. replay calls its argument for each.
func Recover(g wire.GroupID, replay func(func(*wire.Record) error) error) (*paxos.State, error) {
	st := paxos.NewState(0)
	err := replay(func(r *wire.Record) error {
		if r.Group != g {
			return nil
		}
		return st.Load(r)
	})
	if err != nil {
		seat := st.Seat(Slot)
		seat.Release()
		return nil, fmt.Errorf("single: recover: %w", err)
	}
	return st, nil
}

// Step takes a message.
func (n *Node) Step(m *wire.Message) (o Out) {
	o.add(n.Acceptor.Step(m))
	o.add(n.Proposer.Step(m))
	o.add(n.Learner.Step(m))
	return o
}

// Close releases everything.
func (n *Node) Close() {
	n.Proposer.Close()
	n.Acceptor.Close()
	n.Learner.Close()
}
