package bench

import (
	"context"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine"
)

// sampleEvery is how often the nodes' counters are read. What a killed node did since the last reading is not in the
// sums; nothing else is lost.
const sampleEvery = 500 * time.Millisecond

// sampleLimit bounds one reading of all nodes: a paused node does not answer. lastLimit bounds the last one, of which
// the costs depend.
const (
	sampleLimit = 300 * time.Millisecond
	lastLimit   = 5 * time.Second
)

// collector reads the nodes' counters over the measured time. begin and end come from one goroutine each; run is the
// one in between.
type collector struct {
	nodes cluster.Nodes
	dirs  []string // of the nodes' data; nil: not ours
	// shared says that nodes and generator are one process: its processor time, heap and allocations are then
	// counted once, generator included.
	shared bool

	mu     sync.Mutex
	tracks []track
	cpu    time.Duration // of this process at begin
	steal  time.Duration // of the machine at begin
}

// track is one node's counters. Over a restart they begin anew: sum holds the ended incarnations.
type track struct {
	base, last engine.Metrics
	sum        counts
	restarts   uint64
	seen       bool // base is set
	fresh      bool // last was read in this round
	heapMax    uint64
	diskMax    int64
	samples    []result.NodeSample
}

// samplesMax bounds the samples that a result keeps of each node. Longer runs keep every second one, every fourth ...
const samplesMax = 256

// counts are the counters that costs are made of.
type counts struct {
	cpu, walBytes, netBytes, fsyncs, messages, allocs, gc, commands, elections, snapshots, installs, leaseReads, leaseLapses uint64

	instances engine.Instances // of modes without a leader
	takeovers engine.Takeovers // of modes with one
	stale     uint64
	slots     uint64 // applied
	engaged   uint64 // times that leaders turned to auxiliary nodes
}

func countsOf(m *engine.Metrics) counts {
	c := counts{
		cpu: m.CPUNanos, walBytes: m.WALBytes, netBytes: m.NetBytesSent, fsyncs: m.Fsyncs, messages: m.MessagesSent,
		allocs: m.Mallocs, gc: m.GCCount, commands: m.Commands, elections: m.Elections, snapshots: m.Snapshots, installs: m.SnapInstalls,
		leaseReads: m.LeaseReads, leaseLapses: m.LeaseLapses,
	}
	if m.Instances != nil {
		c.instances = *m.Instances
	}
	if m.Takeovers != nil {
		c.takeovers = *m.Takeovers
	}
	c.stale, c.slots, c.engaged = m.Stale, m.Slots, m.Engaged
	return c
}

func (c counts) plus(o counts) counts {
	return counts{
		c.cpu + o.cpu, c.walBytes + o.walBytes, c.netBytes + o.netBytes, c.fsyncs + o.fsyncs, c.messages + o.messages,
		c.allocs + o.allocs, c.gc + o.gc, c.commands + o.commands, c.elections + o.elections, c.snapshots + o.snapshots, c.installs + o.installs,
		c.leaseReads + o.leaseReads, c.leaseLapses + o.leaseLapses, c.instances.Plus(o.instances),
		c.takeovers.Plus(o.takeovers), c.stale + o.stale, c.slots + o.slots, c.engaged + o.engaged,
	}
}

func (c counts) minus(o counts) counts {
	return counts{
		c.cpu - o.cpu, c.walBytes - o.walBytes, c.netBytes - o.netBytes, c.fsyncs - o.fsyncs, c.messages - o.messages,
		c.allocs - o.allocs, c.gc - o.gc, c.commands - o.commands, c.elections - o.elections, c.snapshots - o.snapshots, c.installs - o.installs,
		c.leaseReads - o.leaseReads, c.leaseLapses - o.leaseLapses, c.instances.Minus(o.instances),
		c.takeovers.Minus(o.takeovers), c.stale - o.stale, c.slots - o.slots, c.engaged - o.engaged,
	}
}

// begin starts the measured interval: counters count from here, histograms begin anew.
func (c *collector) begin(ctx context.Context) {
	c.tracks = make([]track, len(c.nodes.Addrs))
	c.each(ctx, lastLimit, true, func(t *track, m *engine.Metrics) { t.base, t.last, t.seen = *m, *m, true })
	c.cpu, c.steal = env.ProcessCPU(), env.Steal()
}

// run samples until ctx ends.
func (c *collector) run(ctx context.Context) {
	start := time.Now()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.sample(ctx, time.Since(start))
		case <-ctx.Done():
			return
		}
	}
}

func (c *collector) sample(ctx context.Context, at time.Duration) {
	c.each(ctx, sampleLimit, false, func(t *track, m *engine.Metrics) { t.add(m) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.tracks {
		t := &c.tracks[i]
		heap, collections, slots, leads := t.last.HeapBytes, t.last.GCCount, t.last.Slots, t.last.Leads
		if !t.fresh { // down, or paused
			heap, collections, slots, leads = 0, 0, 0, false
		}
		t.fresh = false
		disk := int64(0)
		if c.dirs != nil {
			disk, _ = env.Bytes(c.dirs[i]) // a file that is renamed while we look: the next sample will tell
		}
		t.heapMax, t.diskMax = max(t.heapMax, heap), max(t.diskMax, disk)
		t.samples = append(t.samples, result.NodeSample{At: int64(at), HeapBytes: heap, GCCount: collections, DiskBytes: disk, Slots: slots, Leads: leads})
	}
}

// each asks all nodes at once and gives the answers to fn, one at a time. Nodes that do not answer are left out.
func (c *collector) each(ctx context.Context, limit time.Duration, reset bool, fn func(*track, *engine.Metrics)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wait sync.WaitGroup
	for i := range c.nodes.Addrs {
		wait.Go(func() {
			m, err := c.nodes.Metrics(ctx, i, reset)
			if err != nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			fn(&c.tracks[i], &m)
		})
	}
	wait.Wait()
}

// add takes a reading. A node whose uptime went back has been restarted: its counters count from zero.
func (t *track) add(m *engine.Metrics) {
	if !t.seen || m.UptimeNanos < t.last.UptimeNanos {
		t.sum = t.total()
		if t.seen {
			t.restarts++
		}
		t.base, t.seen = engine.Metrics{}, true
	}
	t.last, t.fresh = *m, true
}

// total is what the node did since begin, in all its incarnations.
func (t *track) total() counts {
	if !t.seen {
		return t.sum
	}
	return t.sum.plus(countsOf(&t.last).minus(countsOf(&t.base)))
}

// spent is what the measured interval cost.
type spent struct {
	counts                  // of all nodes
	generator time.Duration // processor time of this process; 0 if it is shared with the nodes
	stolen    time.Duration // processor time that the hypervisor gave to others
	stages    result.Stages
	nodes     []result.Node
}

// end takes a last reading and sums up.
func (c *collector) end(ctx context.Context) spent {
	c.each(ctx, lastLimit, false, func(t *track, m *engine.Metrics) { t.add(m) })
	s := spent{generator: env.ProcessCPU() - c.cpu, stolen: env.Steal() - c.steal}
	var lead *track
	for i := range c.tracks {
		t := &c.tracks[i]
		n := t.total()
		s.nodes = append(s.nodes, t.node(i+1, n))
		if c.shared && i > 0 {
			n.cpu, n.allocs, n.gc = 0, 0, 0 // the same process again
		}
		s.counts = s.counts.plus(n)
		// Only a leader records these; who led longest has the most.
		if lead == nil || t.last.Quorum.Count > lead.last.Quorum.Count {
			lead = t
		}
	}
	if c.shared {
		s.generator = 0
	}
	m := &lead.last
	s.stages = result.Stages{
		Queue: result.Latency(m.Queue), Batch: result.Latency(m.Batch), WAL: result.Latency(m.WAL),
		Quorum: result.Latency(m.Quorum), Apply: result.Latency(m.Apply),
	}
	return s
}

// node is what a result keeps of one node.
func (t *track) node(id int, n counts) result.Node {
	thin := t.samples
	for len(thin) > samplesMax {
		half := thin[:0:0]
		for i := 0; i < len(thin); i += 2 {
			half = append(half, thin[i])
		}
		thin = half
	}
	return result.Node{
		Node: id, CPU: int64(n.cpu), Restarts: t.restarts, Commands: n.commands, Slots: n.slots, Fsyncs: n.fsyncs, WALBytes: n.walBytes, Elections: n.elections,
		Learn: result.Latency(t.last.Learn), Snapshots: n.snapshots, SnapInstalls: n.installs, GCCount: n.gc, HeapBytesMax: t.heapMax, DiskBytesMax: t.diskMax, Samples: thin,
	}
}

// perOp is the cost of one operation of n, over all nodes. Of nodes that share the generator's process, the
// generator's processor time and allocations are in it.
func (s *spent) perOp(n uint64) result.Cost {
	if n == 0 {
		return result.Cost{}
	}
	per := func(v uint64) float64 { return float64(v) / float64(n) }
	return result.Cost{
		CPU: per(s.cpu), WALBytes: per(s.walBytes), NetBytes: per(s.netBytes), Fsyncs: per(s.fsyncs),
		Messages: per(s.messages), Allocs: per(s.allocs),
	}
}
