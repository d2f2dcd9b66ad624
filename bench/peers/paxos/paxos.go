// Package paxos is the adapter of this repository's engine.
package paxos

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

const cluster = wire.ClusterID(5)

// Engine proposes in the leader's process with Group.ProposeBlock, as the peers' APIs do. Single commands are gathered
// into blocks by gatherer, as engine/client does for its callers.
func Engine() peer.Engine {
	return peer.Engine{
		Name: "paxbench", Module: "github.com/paxbench/paxbench", NoFsync: true,
		Settings: "defaults (window 32, batch 1 MiB, delay 0, snapshots and trimming on); proposals without a session, in the leader's process",
		Open:     func(c peer.Config) (peer.Replica, error) { return open(c) },
	}
}

type replica struct {
	node     *engine.Node
	group    *engine.Group
	gatherer gatherer
	blocks   sync.Pool // of *block
}

func open(c peer.Config) (*replica, error) {
	members := map[wire.NodeID]string{}
	for i, addr := range c.Addrs {
		members[wire.NodeID(i+1)] = addr
	}
	policy := wal.Policy{}
	if !c.Fsync {
		policy.Mode = wal.Never
	}
	node, err := engine.Open(engine.Config{
		Node: wire.NodeID(c.ID), Cluster: cluster, Members: members, Dir: c.Dir, Bootstrap: true, Fsync: policy,
		NewStateMachine: func(wire.GroupID) engine.StateMachine { return kv.NewNull() },
		Logger:          slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	r := &replica{node: node, group: node.Group(1)}
	r.blocks.New = func() any { return &block{replica: r} }
	r.gatherer.replica = r
	return r, nil
}

func (r *replica) Leads() bool { return r.group.Status().Role == "leader" }

func (r *replica) Close() error { return r.node.Close() }

func (r *replica) State() (peer.State, error) {
	st := r.group.Status()
	return peer.State{Commands: st.Commands, Digest: st.StateHash}, nil
}

// Propose implements peer.Replica: a block goes as it is, single commands are gathered.
func (r *replica) Propose(o *peer.Op) {
	if o.Count == 1 {
		r.gatherer.add(o)
		return
	}
	b := r.newBlock(len(o.Payload) + 3*o.Count)
	b.add(o)
	r.send(b)
}

// block is a block of commands under way or being filled, and the operations in it.
type block struct {
	replica  *replica
	gathered bool
	frame    *wire.Buffer
	commands int
	ops      []*peer.Op
}

func (r *replica) newBlock(bytes int) *block {
	b := r.blocks.Get().(*block)
	b.frame = wire.Get(wire.BlockHeaderSize + bytes)
	b.frame.Extend(wire.BlockHeaderSize)
	return b
}

// add copies the commands of an operation: the one place where commands are looked at one by one.
func (b *block) add(o *peer.Op) {
	p := b.frame.Bytes()
	for rest, size := o.Payload, o.Size(); len(rest) > 0; rest = rest[size:] {
		p = wire.AppendCommand(p, rest[:size])
	}
	b.frame.SetBytes(p)
	b.commands += o.Count
	b.ops = append(b.ops, o)
}

func (r *replica) send(b *block) {
	wire.PutBlockHeader(b.frame.Bytes(), 0, 0, 0, b.commands, b.frame.Len()-wire.BlockHeaderSize)
	if err := r.group.ProposeBlock(b.frame, b); err != nil {
		b.end(err)
	}
}

// Complete implements engine.Completion.
func (b *block) Complete(res *engine.Result) {
	b.end(res.Err())
}

func (b *block) end(err error) {
	now := peer.Now()
	for i, o := range b.ops {
		b.ops[i] = nil
		o.Complete(now, err)
	}
	r, gathered := b.replica, b.gathered
	*b = block{replica: r, ops: b.ops[:0]}
	r.blocks.Put(b)
	if gathered {
		r.gatherer.ended()
	}
}
