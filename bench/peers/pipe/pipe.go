// Package pipe is the limit that engines are read against: the bare replicated pipe of bench/env, at the same frame sizes.
// It has no protocol, no single commands and no state.
package pipe

import (
	"context"
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/wire"
)

const cluster = wire.ClusterID(6)

// frameBytesMax bounds a frame made of single commands.
const frameBytesMax = 512 << 10

// Engine is the pipe: a frame for each block; single commands in two frames under way, which is the best it can do for them.
func Engine() peer.Engine {
	return peer.Engine{
		Name: "pipe", Module: "github.com/paxbench/paxbench", Bare: true,
		Settings: "bench/env: frames, CRC, three logs, fdatasync, acknowledgements and nothing else; a frame per block, single commands in two frames under way",
		Open: func(c peer.Config) (peer.Replica, error) {
			peers := map[wire.NodeID]string{}
			for i, addr := range c.Addrs {
				peers[wire.NodeID(i+1)] = addr
			}
			n, err := env.OpenPipe(env.PipeConfig{Node: wire.NodeID(c.ID), Cluster: cluster, Listen: c.Addrs[c.ID-1], Peers: peers, Dir: c.Dir})
			if err != nil {
				return nil, err
			}
			return &replica{n, c.ID == 1}, nil
		},
	}
}

type replica struct {
	n     *env.PipeNode
	leads bool
}

// Leads implements peer.Replica.
func (r *replica) Leads() bool { return r.leads }

// Propose implements peer.Replica: there is no such thing, see Load.
func (r *replica) Propose(o *peer.Op) { o.Complete(peer.Now(), errors.ErrUnsupported) }

// State implements peer.Replica.
func (r *replica) State() (peer.State, error) { return peer.State{}, nil }

// Close implements peer.Replica.
func (r *replica) Close() error { return r.n.Close() }

// Load implements peer.Loader.
func (r *replica) Load(l peer.Load) (peer.Result, error) {
	if l.Rate > 0 {
		return peer.Result{}, fmt.Errorf("pipe: an open loop: %w", errors.ErrUnsupported)
	}
	p := env.PipeLoad{Commands: l.Count, CommandBytes: l.Size, Window: l.Outstanding, Length: l.Length}
	if l.Count == 1 {
		p.Commands = max(1, min((l.Outstanding+1)/2, frameBytesMax/l.Size))
		p.Window = (l.Outstanding + p.Commands - 1) / p.Commands
	}
	got, err := r.n.Run(context.Background(), p)
	if err != nil {
		return peer.Result{}, err
	}
	return peer.Result{
		Commands: uint64(got.Frames * got.Commands), PerSecond: got.OpsPerSecond,
		Latency: peer.Times{P50: got.Latency.P50, P99: got.Latency.P99, P999: got.Latency.P999, Max: got.Latency.Max},
	}, nil
}
