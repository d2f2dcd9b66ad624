// Package bench runs benchmarks of the engine: it starts a cluster, drives load, injects faults, checks that nothing
// acknowledged was lost or done twice, and gives the result with the environment it was measured in.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/wire"
)

// Kinds of clusters.
const (
	Process = "process" // an operating-system process for each node, over loopback TCP, with real files
	InProc  = "inproc"  // all nodes in this process, still over loopback TCP, with real files
	Remote  = "remote"  // one that runs already, not started by us
)

// DefaultDataDir is where runs keep their data: on the working directory's file system, because /tmp is often in memory.
const DefaultDataDir = "paxbench-data"

// Config describes a run. DefaultConfig is what `paxbench run` does without arguments.
type Config struct {
	Name    string // the subcommand, for the record
	Cluster string // Process, InProc or Remote
	Nodes   int    // replicas to start; of a remote cluster, the number of Targets
	// Procs is how many processor threads (GOMAXPROCS) each node of a Process cluster runs Go code on. Zero: the runtime's choice, which
	// is what the environment says, else all cores.
	Procs  int
	Engine cluster.Settings
	Load   load.Config
	// Generators is how many processes make the load; with 1, or 0, this one does. Their histories are merged.
	Generators int
	Faults     []cluster.Fault
	SLOs       []result.SLO

	// Targets and ClusterID say which remote cluster to drive.
	Targets   []string
	ClusterID uint64

	// DataDir gets a fresh directory for this run. KeepData leaves it there; otherwise it is removed unless the run
	// failed or violated safety.
	DataDir  string
	KeepData bool
	// AllowMemory permits fsync on a file system in memory, where it promises nothing.
	AllowMemory bool
	// NoProbe leaves out the probes of the machine's limits.
	NoProbe bool
	// History, if set, is where the record of the operations is kept; Load.HistoryKeys says how many keys it holds in full.
	// Otherwise it is removed after it was judged, unless the run failed or violated safety.
	History string
	// Binary is as in cluster.Config.
	Binary string
	// ProfileDir, if set, gets processor profiles of the measured time: of every node that is a process, and of
	// this one.
	ProfileDir string

	// Stop, if set and closed, ends the load early: what is under way is waited for, the audit runs, and the result
	// is marked partial.
	Stop <-chan struct{}
	// Log and Debug, if set, are told what happens: Log the main steps, Debug more.
	Log   func(format string, args ...any)
	Debug func(format string, args ...any)
	// Progress is as in load.Config.
	Progress func(load.Interval)

	hooks hooks
}

// hooks are where tests plant faults that the audit must find.
type hooks struct {
	target  func(load.Target) load.Target        // what each client of the load drives
	query   func(node int, answer []byte) []byte // on each answer that the audit reads from node number i, from 0
	cluster func(*cluster.Cluster)               // when the cluster leads
}

// DefaultConfig is three durable processes under a closed loop of 16-byte puts through the block interface.
func DefaultConfig() Config {
	return Config{
		Cluster: Process, Nodes: 3, Engine: cluster.DefaultSettings(), DataDir: DefaultDataDir,
		Load: load.Config{
			Clients: 4, Inflight: 1024, Duration: 15 * time.Second, Warmup: 3 * time.Second, Keys: 100_000, HistoryKeys: HistoryKeysDefault,
			Values: load.Values{Sizes: load.FixedSize(16), Ratio: 1},
		},
	}
}

// Validate reports everything that is wrong with the settings, in the words of the flags.
func (c *Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Nodes < 1 || c.Nodes > wire.NodesMax, "--nodes %d: there can be 1 to %d (1, 3, 5 and 7 are customary)", c.Nodes, wire.NodesMax)
	bad(c.Procs < 0 || c.Procs > cluster.ProcsMax, "--procs %d: there can be 1 to %d, or 0 for the runtime's choice", c.Procs, cluster.ProcsMax)
	bad(c.Load.Duration <= 0 && c.Load.Ops == 0, "--duration %s: give how long to measure, or --ops", c.Load.Duration)
	bad(c.Generators < 0 || c.Generators > GeneratorsMax || c.Generators > max(c.Load.Clients, 1), "--generators %d: there can be 1 to %d, and no more than --clients", c.Generators, GeneratorsMax)
	bad(c.Generators > 1 && c.Load.Settle > 0, "--settle: several generators cannot see each other's rate; use a longer --warmup")
	if c.Cluster == Remote {
		bad(len(c.Targets) == 0, "--targets: give the cluster's addresses, host:port,...")
		bad(c.ClusterID == 0, "--cluster-id: give the id that the cluster's nodes were started with")
		bad(len(c.Faults) > 0, "--fault: only a cluster that paxbench started can be broken; use paxbench run")
	} else {
		bad(c.Cluster == InProc && c.Procs > 0, "--procs with --cluster inproc: all nodes are in this process, with the load; use --cluster process, or GOMAXPROCS of the environment")
		bad(c.Cluster == InProc && len(c.Faults) > 0, "--fault with --cluster inproc: a process cannot be killed or paused in part; use --cluster process")
		if err := cluster.CheckFaults(c.Faults, c.Nodes, c.Load.Duration); err != nil {
			errs = append(errs, fmt.Errorf("--fault: %w", err))
		}
		bad(cluster.Bursts(c.Faults) != nil && c.Load.Rate == 0, "--fault overload: a closed loop has no rate to raise; give --rate")
		if err := c.Engine.Check(c.Nodes); err != nil && c.Nodes > 0 && c.Nodes <= wire.NodesMax {
			errs = append(errs, fmt.Errorf("--quorum: %w", err))
		}
		if err := c.Engine.CheckAuxiliary(c.Nodes); err != nil && c.Nodes > 0 && c.Nodes <= wire.NodesMax {
			errs = append(errs, fmt.Errorf("--auxiliary: %w", err))
		}
		bad(c.byLease() && len(c.Engine.AuxiliaryNodes()) > 0, "--read-mode lease with --auxiliary: not supported together; use quorum, log or stale")
		bad(c.byLease() && c.Engine.Mode != "multi" && c.Engine.Mode != "", "--read-mode lease with --mode %s: there is nobody to hold a lease; use quorum, log or stale", c.Engine.Mode)
		bad((c.Engine.StateMachine == "null") != (c.Load.SM == load.Null), "--sm: the load and the nodes disagree")
	}
	errs = append(errs, c.Load.Validate())
	return errors.Join(errs...)
}

// NodeProcs is how many processor threads each node has, and who says so; 0: the nodes are no processes of their own, or not ours.
func (c *Config) NodeProcs() cluster.Procs {
	if c.Cluster != Process {
		return cluster.Procs{}
	}
	return cluster.ProcsOf(c.Procs)
}

// byLease says that reads are served by the leader's lease.
func (c *Config) byLease() bool { return c.Load.Reads > 0 && c.Load.ReadMode == load.ReadLease }

// recorded is the configuration in the form in which results keep it, apart from what result.New fills in.
func (c *Config) recorded(r *result.Config) {
	r.Cluster, r.Nodes, r.Procs, r.Mode = c.Cluster, c.Nodes, c.NodeProcs().N, cmp.Or(c.Engine.Mode, "multi")
	if c.Generators > 1 {
		r.Generators = c.Generators
	}
	for _, f := range c.Faults {
		r.Faults = append(r.Faults, f.String())
	}
	for _, s := range c.SLOs {
		r.SLOs = append(r.SLOs, s.Text)
	}
	if c.Cluster == Remote {
		r.Extra = map[string]string{"targets": strings.Join(c.Targets, ",")}
		return
	}
	e := &c.Engine
	r.Fsync, r.BatchBytes, r.BatchDelay, r.Window, r.Compress = e.Fsync, e.BatchBytes, int64(e.BatchDelay), e.Window, e.Compress
	r.SnapshotBytes, r.RetainBytes = e.SnapshotBytes, e.RetainBytes
	r.Extra = map[string]string{"segment_bytes": strconv.FormatInt(e.SegmentBytes, 10)}
	if e.Quorums != "majority" {
		r.Extra["quorum"] = e.Quorums
	}
	if len(e.AuxiliaryNodes()) > 0 {
		r.Extra["auxiliary"] = e.Auxiliary
	}
	if c.Load.Conflict.On {
		r.Extra["conflict"] = c.Load.Conflict.String()
	}
	if e.Lease > 0 {
		r.Extra["lease"] = e.Lease.String()
	}
	if r.Mode != "multi" || e.Learn != "one" {
		r.Extra["backoff"], r.Extra["learn"], r.Extra["one_node"] = e.Backoff, e.Learn, strconv.FormatBool(c.Load.OneNode)
	}
}

func (c *Config) log(format string, args ...any) {
	if c.Log != nil {
		c.Log(format, args...)
	}
}

func (c *Config) debug(format string, args ...any) {
	if c.Debug != nil {
		c.Debug(format, args...)
	}
}

// ErrInterrupted: the run was told to end before there was anything to report.
var ErrInterrupted = errors.New("bench: interrupted")

// UntilStopped is a context that ends with ctx, and with ErrInterrupted when stop is closed.
func UntilStopped(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if stop != nil {
		go func() {
			select {
			case <-stop:
				cancel(ErrInterrupted)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// newClusterID draws an id, so that no frame of one run is ever taken for another's.
func newClusterID() wire.ClusterID { return wire.ClusterID(rand.Uint64() | 1) }
