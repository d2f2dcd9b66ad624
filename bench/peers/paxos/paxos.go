// Package paxos is the adapter of this repository's engine.
package paxos

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

const cluster = wire.ClusterID(5)

// Engine proposes in the leader's process, as the peers' APIs do: single commands with Group.Go, blocks with
// Group.ProposeBlock.
func Engine() peer.Engine {
	return peer.Engine{
		Name: "paxbench", Module: "github.com/paxbench/paxbench", NoFsync: true,
		Settings:   "defaults (window 32, batch 1 MiB, delay 0, snapshots and trimming on); proposals without a session, in the leader's process; GOMAXPROCS: each process's share of the cores",
		ShareCores: true,
		Open:       func(c peer.Config) (peer.Replica, error) { return open(c) },
	}
}

type replica struct {
	node  *engine.Node
	group *engine.Group
	now   atomic.Int64 // clock reading for commands told together
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
	conf := engine.Config{
		Node: wire.NodeID(c.ID), Cluster: cluster, Members: members, Dir: c.Dir, Bootstrap: true, Fsync: policy,
		NewStateMachine: func(wire.GroupID) engine.StateMachine { return new(machine) },
		Logger:          slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if c.Fast {
		conf.Tick, conf.ElectionTicks, conf.HeartbeatTicks = peer.FastTick, int(peer.FastElection/peer.FastTick), int(peer.FastHeartbeat/peer.FastTick)
	}
	node, err := engine.Open(conf)
	if err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	r := &replica{node: node, group: node.Group(1)}
	return r, nil
}

func (r *replica) Leads() bool { return r.group.Status().Role == "leader" }

func (r *replica) Close() error { return r.node.Close() }

func (r *replica) State() (peer.State, error) {
	st := r.group.Status()
	return peer.State{Commands: st.Commands, Digest: st.StateHash}, nil
}

// SetWindow fixes the number of slots in flight; 0: the engine's own choice.
func (r *replica) SetWindow(n int) { r.group.SetWindow(n) }

// Propose implements peer.Replica.
func (r *replica) Propose(o *peer.Op) {
	p, ok := o.Adapter.(*proposal)
	if !ok {
		p = &proposal{r, o}
		o.Adapter = p
	}
	var err error
	if o.Count == 1 {
		err = r.group.Go(o.Payload, p)
	} else {
		err = r.group.ProposeBlock(encode(o), p)
	}
	if err != nil {
		o.Complete(peer.Now(), err)
	}
}

// encode makes a block of the commands of an operation.
func encode(o *peer.Op) *wire.Buffer {
	f := wire.Get(wire.BlockHeaderSize + len(o.Payload) + 3*o.Count)
	p := f.Extend(wire.BlockHeaderSize)
	for rest, size := o.Payload, o.Size(); len(rest) > 0; rest = rest[size:] {
		p = wire.AppendCommand(p, rest[:size])
	}
	f.SetBytes(p)
	wire.PutBlockHeader(p, 0, 0, 0, o.Count, len(p)-wire.BlockHeaderSize)
	return f
}

// proposal is an operation under way.
type proposal struct {
	r  *replica
	op *peer.Op
}

// Complete implements engine.Completion.
func (p *proposal) Complete(res *engine.Result) { p.op.Complete(peer.Now(), res.Err()) }

// CommandDone implements engine.CommandDone.
func (p *proposal) CommandDone(res *engine.CommandResult) {
	if res.Index == 0 {
		p.r.now.Store(peer.Now())
	}
	p.op.Complete(p.r.now.Load(), res.Err)
}
