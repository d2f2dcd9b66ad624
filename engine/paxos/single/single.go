// Package single is Paxos for one decree: the synod of Lamport's The Part-Time Parliament (section 2) in the roles of Paxos Made
// Simple (section 2). A Proposer asks, an Acceptor promises and votes, a Learner counts; a process may be any of them, or all (Node).
// They agree on one value, once, for ever.
//
// It is the engine's own Paxos with nothing around it: the messages and records are those of package wire, the acceptor is
// paxos.Seat, promises and votes are counted by paxos.Tally against paxos.Quorums, the value is picked by paxos.HigherVote, and
// what is on the disk is recovered by paxos.State. Who reads this package has read what every mode of the engine does in every
// slot.
//
//	Proposer                         Acceptor                       Learner
//	Propose: records its ballot
//	Prepare b                  ->    promises b, records that
//	a quorum of                <-    Promise b, its last vote
//	Accept b, value            ->    votes, records that
//	(to learners too)                Accepted b                ->   a quorum at b: chosen
//
// No type is safe for concurrent use, none has a clock or a file. What one wants done it returns (Out): records first, then messages.
package single

import (
	"errors"
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Slot is the one that all messages and records name.
const Slot = wire.Slot(1)

// Config says who takes part. It is the same everywhere but for Self.
type Config struct {
	Cluster   wire.ClusterID
	Group     wire.GroupID // a decree each, from 1
	Self      wire.NodeID
	Acceptors []wire.NodeID // in ascending order, 1 to wire.NodesMax
	Learners  []wire.NodeID // who is told of values and votes; none: the acceptors
	Quorums   paxos.Quorums // of the acceptors; the zero value is majorities
}

// Validate joins every fault of the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.Group == 0 || c.Self == 0 {
		errs = append(errs, fmt.Errorf("single: group %d, node %d: both count from 1", c.Group, c.Self))
	}
	if n := len(c.Acceptors); n == 0 || n > wire.NodesMax {
		errs = append(errs, fmt.Errorf("single: %d acceptors: need 1 to %d", n, wire.NodesMax))
	} else if err := c.Quorums.Check(n); err != nil {
		errs = append(errs, err)
	}
	for i, n := range c.Acceptors {
		if n == 0 || i > 0 && n <= c.Acceptors[i-1] {
			errs = append(errs, fmt.Errorf("single: acceptors %v: need ascending order from 1, without repeats", c.Acceptors))
			break
		}
	}
	return errors.Join(errs...)
}

func (c *Config) learners() []wire.NodeID {
	if len(c.Learners) == 0 {
		return c.Acceptors
	}
	return c.Learners
}

// acceptor is the position of node n among the acceptors, or -1.
func (c *Config) acceptor(n wire.NodeID) int { return slices.Index(c.Acceptors, n) }

func (c *Config) check() {
	if err := c.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
}

// Send is a frame to a node, which may be the sender itself. It carries one reference.
type Send struct {
	To    wire.NodeID
	Frame *wire.Buffer
}

// Out is what a role wants done. The messages may leave only when the records are durable, and those of every output before. All frames in it, one reference each,
// are the caller's.
type Out struct {
	Records  []wire.Record
	Messages []Send
}

// add joins two outputs.
func (o *Out) add(p Out) {
	o.Records = append(o.Records, p.Records...)
	o.Messages = append(o.Messages, p.Messages...)
}

// send adds a message to each node, encoded once.
func (o *Out) send(c *Config, m wire.Message, to ...wire.NodeID) {
	m.Group, m.From, m.Slot = c.Group, c.Self, Slot
	f := m.Encode(c.Cluster)
	o.frame(f, to)
	f.Release()
}

func (o *Out) frame(f *wire.Buffer, to []wire.NodeID) {
	for _, n := range to {
		o.Messages = append(o.Messages, Send{n, f.Retain()})
	}
}

// Value makes a decree of a text: a batch of one block of one command.
func Value(text []byte) wire.Batch {
	cmd := wire.AppendCommand(nil, text)
	p := make([]byte, wire.BatchHeaderSize)
	size := wire.BlockHeaderSize + len(cmd)
	wire.PutBatchHeader(p, wire.BatchBlocks, wire.CompressNone, 1, 1, size, size)
	p = wire.AppendBlockHeader(p, 0, 0, 0, 1, len(cmd))
	b, err := wire.ParseBatch(append(p, cmd...))
	if err != nil {
		panic("BUG: single: " + err.Error())
	}
	return b
}

// Text is the inverse of Value; nil for a batch that Value did not make.
func Text(b wire.Batch) []byte {
	blocks := b.Blocks()
	if blk, ok := blocks.Next(); ok {
		commands := blk.Commands()
		text, _ := commands.Next()
		return text
	}
	return nil
}
