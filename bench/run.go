package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// Limits of time around the load.
const (
	leaderLimit   = 30 * time.Second
	convergeLimit = 120 * time.Second
	auditLimit    = 5 * time.Minute
	drainDefault  = 15 * time.Second // longer than the client library's timeout: every operation gets its outcome
)

// run is a run under way.
type run struct {
	config  *Config
	dir     string           // of this run's data; "" for a remote cluster
	cluster *cluster.Cluster // nil: remote
	nodes   cluster.Nodes
	env     env.Info
	limits  Limits

	measuring time.Time // the end of warm-up
	loaded    *load.Result
	resent    uint64 // by the client libraries
	busy      uint64
	spent     spent
	injected  []cluster.Injected
	recording *recording
	final     []engine.Status // of all nodes, at the same applied slot
	verdict   verdict
}

// Run carries out one run. An error means that there is no result; a violation of safety is in the result. When ctx
// ends, everything is killed at once.
func Run(ctx context.Context, c Config) (*result.Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Load.Bursts = append(slices.Clone(c.Load.Bursts), cluster.Bursts(c.Faults)...)
	if c.byLease() && c.Engine.Lease == 0 {
		c.Engine.Lease = cluster.LeaseDefault
	}
	if c.Load.Drain == 0 {
		c.Load.Drain = drainDefault
	}
	if c.Load.Seed == 0 {
		c.Load.Seed = uint64(newClusterID())
	}
	r := &run{config: &c}
	out, err := r.all(ctx)
	if errors.Is(err, context.Canceled) {
		err = ErrInterrupted
	}
	interrupted := errors.Is(err, ErrInterrupted)
	good := err == nil && out.Safety.Verdict != result.Violated
	return out, errors.Join(err, r.clean(good || interrupted))
}

func (r *run) all(ctx context.Context) (*result.Result, error) {
	// Before the load there is nothing to report: being stopped is being aborted.
	early, release := UntilStopped(ctx, r.config.Stop)
	defer release()
	if err := r.prepare(early); err != nil {
		return nil, causeOf(early, err)
	}
	if err := r.start(early); err != nil {
		return nil, causeOf(early, err)
	}
	// The unasked death of a node ends everything: what would be measured from there on is another cluster.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.cluster != nil {
		go func() {
			select {
			case err := <-r.cluster.Failed():
				cancel(err)
			case <-ctx.Done():
			}
		}()
	}
	base, targets, err := r.connect(early)
	if err != nil {
		return nil, causeOf(ctx, causeOf(early, err))
	}
	if err := r.drive(ctx, targets); err != nil {
		return nil, causeOf(ctx, err)
	}
	for key, version := range base {
		r.loaded.Ledger.Baseline(key, version)
	}
	if err := r.check(ctx); err != nil {
		return nil, causeOf(ctx, err)
	}
	return r.result(), nil
}

// causeOf gives the cause of the end of ctx in place of the many errors that this end leads to.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// connect reads what was there before the load, and opens the load's sessions.
func (r *run) connect(ctx context.Context) (base map[uint32]uint64, targets []load.Target, err error) {
	if base, err = r.baseline(ctx); err != nil {
		return nil, nil, err
	}
	if r.config.Generators <= 1 { // else they do it
		if targets, err = dial(ctx, r.seen(), r.config.Load); err != nil {
			return nil, nil, err
		}
	}
	if hook := r.config.hooks.cluster; hook != nil {
		hook(r.cluster)
	}
	if hook := r.config.hooks.target; hook != nil {
		for i, t := range targets {
			targets[i] = hook(t)
		}
	}
	return base, targets, nil
}

// seen is the nodes as clients see them: through a network that may be broken. We ask them past it.
func (r *run) seen() cluster.Nodes {
	if r.cluster == nil {
		return r.nodes
	}
	return cluster.Nodes{Cluster: r.nodes.Cluster, Addrs: r.cluster.ClientAddrs()}
}

// prepare makes the data directory, reads the environment and probes the limits.
func (r *run) prepare(ctx context.Context) error {
	c := r.config
	r.env = env.Collect(c.DataDir)
	if c.Cluster == Remote {
		r.env.Disk = env.Disk{} // ours, not that of the logs
		return nil
	}
	if err := checkDisk(c, r.env.Disk); err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return fmt.Errorf("bench: data directory: %w", err)
	}
	dir, err := os.MkdirTemp(c.DataDir, time.Now().Format("run-20060102-150405-*"))
	if err != nil {
		return fmt.Errorf("bench: data directory: %w", err)
	}
	if r.dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("bench: data directory: %w", err)
	}
	c.debug("data and logs in %s", r.dir)
	if c.NoProbe {
		return nil
	}
	r.limits, err = Probe(ctx, ProbeConfig{Dir: r.dir, Binary: c.Binary, Log: c.Debug})
	return err
}

// MemoryDiskError: a durable run was to keep its data in memory.
type MemoryDiskError struct{ Disk env.Disk }

func (e *MemoryDiskError) Error() string {
	return fmt.Sprintf("%s is on %s, in memory: fsync means nothing there, and its numbers would not be a disk's. "+
		"Choose a --data-dir on a disk, or --fsync never, or --allow-tmpfs to do it all the same", e.Disk.Path, e.Disk.Type)
}

func checkDisk(c *Config, disk env.Disk) error {
	if disk.Memory() && c.Engine.Fsync != "never" && !c.AllowMemory {
		return &MemoryDiskError{disk}
	}
	return nil
}

// start brings the cluster up, or finds the one there is, and waits for its leader.
func (r *run) start(ctx context.Context) error {
	c := r.config
	r.nodes = cluster.Nodes{Cluster: wire.ClusterID(c.ClusterID), Addrs: c.Targets}
	if c.Cluster != Remote {
		var err error
		r.cluster, err = cluster.Start(ctx, cluster.Config{
			Nodes: c.Nodes, Dir: filepath.Join(r.dir, "cluster"), InProcess: c.Cluster == InProc, Binary: c.Binary,
			Settings: c.Engine, Procs: c.Procs, Pprof: c.ProfileDir != "",
			Network: cluster.NeedNetwork(c.Faults), Disks: cluster.NeedDisk(c.Faults),
		})
		if err != nil {
			return err
		}
		r.nodes = r.cluster.Nodes()
	}
	if c.Cluster == Remote {
		if err := r.reach(ctx); err != nil {
			return err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, leaderLimit)
	defer cancel()
	leader, err := r.nodes.Leader(waiting)
	if err != nil {
		return err
	}
	c.log("nodes up: %d; node %d leads", len(r.nodes.Addrs), leader)
	return nil
}

// reach finds out at once whether the targets are what they are taken for.
func (r *run) reach(ctx context.Context) error {
	_, errs := r.nodes.Statuses(ctx)
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("bench: no target answers as a node of cluster %d; check --targets and --cluster-id, and that the nodes run:\n%w", r.nodes.Cluster, errors.Join(errs...))
}

// drive runs the load and what goes on beside it, and closes the targets.
func (r *run) drive(ctx context.Context, targets []load.Target) error {
	beside := r.beside(ctx)
	l := r.config.Load
	l.Abort, l.Progress, l.Started = ctx.Done(), r.config.Progress, beside.started
	loading, release := UntilStopped(ctx, r.config.Stop)
	defer release()
	var err error
	if r.config.Generators > 1 {
		r.loaded, err = r.generate(ctx, loading, l)
	} else {
		err = r.load(loading, l, targets)
	}
	err = errors.Join(err, beside.end(ctx))
	r.injected, r.spent, r.measuring = beside.injected, beside.spent, beside.measuring
	err = errors.Join(err, closeTargets(targets))
	if err == nil && ctx.Err() != nil { // the load was aborted, which is no error of its own
		err = ctx.Err()
	}
	return err
}

// load makes the load in this process, and records it.
func (r *run) load(ctx context.Context, l load.Config, targets []load.Target) (err error) {
	if r.recording, err = r.record(); err != nil {
		return err
	}
	l.History = r.recording.writer
	r.loaded, err = load.Run(ctx, l, targets)
	r.recording.end()
	r.resent, r.busy = retries(targets)
	return err
}

// beside is what goes on during the load, from the end of warm-up on: faults, the collector, profiles.
type beside struct {
	run       *run
	collector collector
	injector  *cluster.Injector
	hard      context.Context // of the whole run
	ctx       context.Context // of the load
	over      context.CancelFunc
	wait      sync.WaitGroup
	begun     bool // the measured time was reached

	measuring time.Time
	err       error // of the injector
	injected  []cluster.Injected
	spent     spent
}

func (r *run) beside(ctx context.Context) *beside {
	b := &beside{run: r, hard: ctx, collector: collector{nodes: r.nodes, shared: r.config.Cluster == InProc}}
	b.ctx, b.over = context.WithCancel(ctx)
	if r.cluster != nil {
		for _, m := range r.cluster.Members() {
			b.collector.dirs = append(b.collector.dirs, m.Dir())
		}
		if len(r.config.Faults) > 0 {
			b.injector = &cluster.Injector{Cluster: r.cluster, Faults: r.config.Faults, Seed: r.config.Load.Seed, Log: r.config.log}
		}
	}
	return b
}

// started is load.Config.Started.
func (b *beside) started(measuring time.Time) {
	b.measuring = measuring
	b.wait.Go(func() {
		timer := time.NewTimer(time.Until(measuring))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.ctx.Done():
			return
		}
		b.begun = true
		b.collector.begin(b.ctx)
		b.profile()
		b.collector.run(b.ctx)
	})
	if b.injector != nil {
		b.wait.Go(func() { b.err = b.injector.Run(b.hard, measuring, b.ctx.Done()) })
	}
}

// end is called when the load is over.
func (b *beside) end(ctx context.Context) error {
	b.over()
	b.wait.Wait()
	if b.begun {
		b.spent = b.collector.end(ctx)
	}
	if b.injector != nil {
		waiting, cancel := context.WithTimeout(ctx, convergeLimit)
		defer cancel()
		b.injected = b.injector.Done(waiting)
	}
	return b.err
}
