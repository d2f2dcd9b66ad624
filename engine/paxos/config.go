package paxos

import (
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Config describes one replica. The zero value of a field means its default; Self and Nodes have none.
type Config struct {
	Cluster wire.ClusterID
	Group   wire.GroupID
	Self    wire.NodeID
	Nodes   []wire.NodeID // every member in ascending order, Self among them; at most wire.NodesMax

	Window          int    // slots in flight; default 32, at most wire.WindowMax
	HeartbeatTicks  int    // between a leader's heartbeats; default 2
	ElectionTicks   int    // silence before a follower probes, drawn from [ElectionTicks, 2*ElectionTicks); default 30
	RetransmitTicks int    // before an unanswered Accept, Prepare or Fetch is sent again; default 20
	StallTicks      int    // a leader whose own disk finishes nothing for so long resigns; default 2*ElectionTicks
	ApplyLagMax     int    // chosen slots not yet applied beyond which Propose answers Busy; default 1024
	PromiseBytes    int    // votes in one part of a promise, in bytes; default wire.PromiseBytesMax
	LogBytesMax     int64  // frames of chosen slots kept until Trim, beyond which no vote for more is taken; default 1 GiB
	AheadBytesMax   int64  // frames of votes above the chosen prefix, beyond which only the next slot's is taken; default 256 MiB
	PromiseTotalMax int64  // frames of the promises that a candidate collects, beyond which it gives up; default 1 GiB
	Seed            uint64 // of the election jitter and of incarnations; should differ from start to start
}

// LogBytesBound is the most bytes of frames that a replica holds for slots, none larger than frame: what full lets in, an answer
// to a Fetch, and what a candidate learns and proposes again, which is what it was promised.
func (c Config) LogBytesBound(frame int64) int64 {
	return c.LogBytesMax + c.AheadBytesMax + min(2*fetchBytes, fetchSlots*frame) + c.PromiseTotalMax + 2*frame
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Window, 32)
	def(&c.HeartbeatTicks, 2)
	def(&c.ElectionTicks, 30)
	def(&c.RetransmitTicks, 20)
	def(&c.StallTicks, 2*c.ElectionTicks)
	def(&c.ApplyLagMax, 1024)
	def(&c.PromiseBytes, wire.PromiseBytesMax)
	bound := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	bound(&c.LogBytesMax, 1<<30)
	bound(&c.AheadBytesMax, 256<<20)
	bound(&c.PromiseTotalMax, 1<<30)
	return c
}

// Validate joins every fault of the configuration, zero values counting as their defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("paxos: "+format, args...))
		}
	}
	fault(c.Group == 0, "group id 0: groups count from 1")
	fault(len(c.Nodes) == 0 || len(c.Nodes) > wire.NodesMax, "%d nodes: need 1 to %d", len(c.Nodes), wire.NodesMax)
	self := false
	for i, n := range c.Nodes {
		self = self || n == c.Self
		fault(n == 0, "node id 0: ids count from 1")
		fault(i > 0 && n <= c.Nodes[i-1], "nodes %v: need ascending order without repeats", c.Nodes)
	}
	fault(!self, "node %d is not among the nodes %v", c.Self, c.Nodes)
	fault(c.Window < 1 || c.Window > wire.WindowMax, "window of %d slots: need 1 to %d", c.Window, wire.WindowMax)
	fault(c.HeartbeatTicks < 1, "heartbeat every %d ticks: need 1 or more", c.HeartbeatTicks)
	fault(c.ElectionTicks < 3*c.HeartbeatTicks, "election after %d ticks: need at least three heartbeats (%d ticks)", c.ElectionTicks, 3*c.HeartbeatTicks)
	fault(c.RetransmitTicks < 1, "retransmission after %d ticks: need 1 or more", c.RetransmitTicks)
	fault(c.StallTicks < 1, "disk stall of %d ticks: need 1 or more", c.StallTicks)
	fault(c.ApplyLagMax < 1, "apply lag of %d slots: need 1 or more", c.ApplyLagMax)
	fault(c.PromiseBytes < 1 || c.PromiseBytes > wire.PromiseBytesMax, "promise parts of %d bytes: need 1 to %d", c.PromiseBytes, wire.PromiseBytesMax)
	fault(c.LogBytesMax < 1 || c.AheadBytesMax < 1 || c.PromiseTotalMax < 1, "log of %d bytes, %d ahead, promises of %d: need 1 or more",
		c.LogBytesMax, c.AheadBytesMax, c.PromiseTotalMax)
	return errors.Join(errs...)
}
