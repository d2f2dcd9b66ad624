package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Limits of what a measurement may be disturbed by.
const (
	stolenNote    = 0.02 // share of the machine's processor time
	stolenInvalid = 0.10
	// fsyncTooFast is below what any disk needs that keeps what it acknowledged: a bus round trip to a device with a
	// protected write cache takes longer.
	fsyncTooFast = 4 * time.Microsecond
)

// result puts together what was measured and found.
func (r *run) result() *result.Result {
	c := r.config
	out := result.New(r.loaded, load.Limits{Faults: len(c.Faults) > 0})
	out.Name = c.Name
	c.recorded(&out.Config)
	out.Env = r.env
	out.Env.StealNanos = int64(r.spent.stolen)
	out.Limits = result.Limits{
		FsyncP50: r.limits.Fsync.P50, FsyncP99: r.limits.Fsync.P99, LoopbackRTTP50: r.limits.LoopbackRTT.P50, PipeOpsPerSec: r.limits.Pipe.OpsPerSecond,
	}
	out.Stages = r.spent.stages
	out.Throughput.Resent, out.Throughput.Busy = r.resent, r.busy
	out.Cost = r.spent.perOp(r.counted())
	out.Cost.CPU = math.Round(out.Cost.CPU) // the contract: integers in nanoseconds
	out.Nodes = r.spent.nodes
	for _, id := range c.Engine.AuxiliaryNodes() {
		for i := range out.Nodes {
			if n := &out.Nodes[i]; n.Node == int(id) && r.cluster != nil {
				n.Auxiliary = true
			}
		}
	}
	out.Stale = r.spent.stale
	if i := r.spent.instances; i != (result.Instances{}) {
		out.Instances = &i
	}
	if t := r.spent.takeovers; t != (result.Takeovers{}) {
		out.Takeovers = &t
	}
	r.faults(out)
	r.safety(out)
	r.judge(out)
	return out
}

// counted is the operations acknowledged in the time over which costs were counted: the window and the draining.
func (r *run) counted() (n uint64) {
	for _, i := range r.loaded.Intervals {
		if i.Start >= 0 {
			n += i.Ops
		}
	}
	return n
}

func (r *run) faults(out *result.Result) {
	for _, i := range r.injected {
		f := result.Fault{Kind: string(i.Kind), Target: i.Target, At: int64(i.Struck.Sub(r.measuring)), Healed: result.Never, CaughtUp: result.Never}
		if !i.Healed.IsZero() {
			f.Healed = int64(i.Healed.Sub(r.measuring))
		}
		if !i.CaughtUp.IsZero() {
			f.CaughtUp = int64(i.CaughtUp.Sub(r.measuring))
		}
		for _, node := range i.Nodes {
			f.Nodes = append(f.Nodes, int(node))
		}
		f.Params, f.LeaderBefore, f.LeaderAfter, f.Notes = i.Params.String(), int(i.LeaderBefore), int(i.LeaderAfter), i.Notes
		out.Faults = append(out.Faults, f)
	}
	result.MeasureFaults(out.Faults, r.loaded)
}

func (r *run) safety(out *result.Result) {
	v := &r.verdict
	out.SetSafety(v.findings, len(v.diverged)+len(v.log.Findings) > 0)
	out.Safety.Details = append(out.Safety.Details, v.diverged...)
	out.Safety.Details = append(out.Safety.Details, v.log.Findings...)
	out.Safety.Lost = max(out.Safety.Lost, uint64(v.log.Lost))
	r.historyVerdict(out)
}

// judge adds what only the surroundings of the load can tell about its validity.
func (r *run) judge(out *result.Result) {
	note := func(format string, args ...any) {
		out.Validity.Notes = append(out.Validity.Notes, fmt.Sprintf(format, args...))
	}
	if window := float64(r.loaded.Window) * float64(r.env.Cores); window > 0 {
		share := float64(r.spent.stolen) / window
		if share > stolenInvalid {
			out.Invalidate("the hypervisor gave %.0f%% of the processor time to others meanwhile; repeat it on a quieter machine", 100*share)
		} else if share > stolenNote {
			note("the hypervisor gave %.1f%% of the processor time to others meanwhile", 100*share)
		}
	}
	policy, err := wal.ParsePolicy(r.config.Engine.Fsync)
	durable := err == nil && policy.Mode == wal.Always && r.cluster != nil
	if durable && r.limits.Fsync.Count > 0 && r.limits.Fsync.P50 < int64(fsyncTooFast) {
		out.Invalidate("fdatasync takes %s here, too fast to be real: %s on %s keeps nothing through a power loss",
			time.Duration(r.limits.Fsync.P50), r.env.Disk.Type, r.env.Disk.Device)
	}
	if r.cluster != nil && r.config.Engine.Fsync != "always" {
		note("fsync policy %s: an acknowledged write may not survive a power loss", r.config.Engine.Fsync)
	}
	if i := r.spent.instances; r.config.Engine.Mode == paxos.ModeFast.String() && i.Won > 0 {
		note("fast rounds: %d batches, %d of them chosen by a fast quorum; collisions in %d slots; %d slots recovered by the coordinator (%d of them with promises asked for, %d with a no-op); %d batches displaced to another slot",
			i.Won, i.Fast, i.Collisions, i.Recovered, i.Ballots, i.Holes, i.Displaced)
	} else if i.Won > 0 {
		note("every slot was an instance of its own: %d ballots for %d batches (%.2f each), %d duels, %d batches displaced to another slot, %d slots of others finished, each %s after its last sign of life",
			i.Ballots, i.Won, float64(i.Ballots)/float64(i.Won), i.Duels, i.Displaced, i.Holes, (time.Duration(i.HoleNanos) / time.Duration(max(i.Holes, 1))).Round(time.Millisecond))
	}
	if t := r.spent.takeovers; t.Won > 0 {
		note("leaders: %d won of %d ballots begun; they finished %d slots with a vote that they found and filled %d holes with no-ops, in %s each time",
			t.Won, t.Prepared, t.Reproposed, t.Holes, (time.Duration(t.FillNanos) / time.Duration(t.Won)).Round(10*time.Microsecond))
	}
	for _, n := range out.Nodes {
		if ops := r.counted(); n.Auxiliary && ops > 0 {
			note("node %d is an auxiliary one: %d fsyncs and %s of log while %d operations were acknowledged (%.4f fsyncs each); leaders turned to auxiliary nodes %d times",
				n.Node, n.Fsyncs, result.Bytes(float64(n.WALBytes)), ops, float64(n.Fsyncs)/float64(ops), r.spent.engaged)
		}
	}
	if r.config.byLease() {
		note("%d reads were answered by lease; %d times it was over when the state had been read, and a quorum was asked", r.spent.leaseReads, r.spent.leaseLapses)
	}
	if r.cluster != nil {
		note("all nodes were started again from disk and everything was read back once more; their logs agree in %d slots and hold %d acknowledged submissions at their places, with their values (%d more are below the snapshots)",
			r.verdict.log.Slots, r.verdict.log.Blocks, r.verdict.log.Trimmed)
	}
	if missed := len(r.config.Faults) - len(r.injected); missed > 0 && !out.Partial {
		out.Invalidate("the load ended before %d of %d faults had struck and healed; run longer", missed, len(r.config.Faults))
	}
	if r.cluster != nil && cluster.NeedNetwork(r.config.Faults) {
		note("all links went through proxies in the generator's process, so that the network could be broken: latencies are longer by that")
	}
	for _, i := range r.injected {
		if i.CaughtUp.IsZero() {
			out.Invalidate("after %s %s did not catch up", i.Fault, nodeNames(i.Nodes))
		} else {
			note("%s: %s had caught up %s after the heal, %s", i.Fault, nodeNames(i.Nodes), i.CaughtUp.Sub(i.Healed).Round(time.Millisecond), caughtUpFrom(out.Nodes, i.Nodes))
		}
	}
	if r.cluster != nil && !r.cluster.InProcess() && r.loaded.Window > 0 {
		used := r.spent.generator
		for _, g := range r.loaded.Generators {
			used += g.CPU
		}
		note("generator's processor time: %.2f cores of %d", used.Seconds()/r.loaded.Window.Seconds(), r.env.Cores)
	}
	for i, g := range r.loaded.Generators {
		note("generator %d of %d: %d clients, %d operations, %.2f cores, own lag p99 %s", i+1, len(r.loaded.Generators), g.Clients, g.Ops, g.CPU.Seconds()/max(r.loaded.Window.Seconds(), 1e-9),
			time.Duration(g.OwnLag).Round(time.Microsecond))
	}
}

// caughtUpFrom says where nodes that had been away took what they missed.
func caughtUpFrom(all []result.Node, nodes []wire.NodeID) string {
	for _, n := range all {
		if n.SnapInstalls > 0 && slices.Contains(nodes, wire.NodeID(n.Node)) {
			return "from a peer's snapshot and its log"
		}
	}
	return "from a peer's log"
}

func nodeNames(nodes []wire.NodeID) string {
	names := make([]string, len(nodes))
	for i, node := range nodes {
		names[i] = fmt.Sprintf("node %d", node)
	}
	return strings.Join(names, ", ")
}

// clean ends what runs and removes the data. A run that failed keeps it, for a look at the logs.
func (r *run) clean(remove bool) error {
	var err error
	if r.recording != nil {
		err = r.recording.clean(remove)
	}
	if r.cluster == nil && r.dir == "" {
		return err
	}
	if r.cluster != nil {
		err = errors.Join(err, r.cluster.Close())
	}
	if !remove || r.config.KeepData {
		r.config.log("data kept in %s", r.dir)
		return err
	}
	if r.dir == "" {
		return err
	}
	err = errors.Join(err, os.RemoveAll(r.dir))
	// The parent, if it is the default one and nothing else is in it: an error says that something is.
	if filepath.Base(r.config.DataDir) == DefaultDataDir && !strings.Contains(r.config.DataDir, "..") {
		_ = os.Remove(r.config.DataDir)
	}
	return err
}
