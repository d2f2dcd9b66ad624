package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Injected is a fault that was carried out.
type Injected struct {
	Fault
	Nodes  []wire.NodeID // what the target was
	Struck time.Time
	Healed time.Time // the nodes listen again, or have been let go on
	// CaughtUp is when the last of the nodes had applied what was learned at Healed; zero if it had not by the end.
	CaughtUp time.Time
}

// Injector carries out a schedule of faults, one at a time.
type Injector struct {
	Cluster *Cluster
	Faults  []Fault
	Seed    uint64 // decides which follower
	// Log, if set, is told what happens.
	Log func(format string, args ...any)

	mu   sync.Mutex
	done []Injected
	wait sync.WaitGroup
}

// injectStream keeps the injector's random numbers apart from the load's, which uses small stream numbers.
const injectStream = 1 << 48

// Run carries out the schedule, times counting from start, and returns when the last fault is healed. When stop is
// closed, a fault under way is healed at once and no other begins.
func (i *Injector) Run(ctx context.Context, start time.Time, stop <-chan struct{}) error {
	rng := rand.New(rand.NewPCG(i.Seed, injectStream))
	for _, f := range Sorted(i.Faults) {
		if !sleepUntil(ctx, start.Add(f.At), stop) {
			return context.Cause(ctx)
		}
		if err := i.one(ctx, f, rng, stop); err != nil {
			return fmt.Errorf("fault %s: %w", f, err)
		}
	}
	return nil
}

// Done waits until healed nodes have caught up or ctx ends, and gives the faults carried out.
func (i *Injector) Done(ctx context.Context) []Injected {
	i.wait.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.done
}

func (i *Injector) one(ctx context.Context, f Fault, rng *rand.Rand, stop <-chan struct{}) error {
	leader := wire.NodeID(0)
	if f.Target == TargetLeader || f.Target == TargetFollower {
		var err error
		if leader, err = i.Cluster.Nodes().Leader(ctx); err != nil {
			return err
		}
	}
	done := Injected{Fault: f, Nodes: f.victims(leader, len(i.Cluster.members), rng), Struck: time.Now()}
	if err := i.forEach(done.Nodes, func(m *Member) error { return strike(f.Kind, m) }); err != nil {
		return err
	}
	i.log("%s: struck node %v", f, done.Nodes)
	// Counted from when it struck: a fault that had to wait for a leader lasts as long as was asked for.
	sleepUntil(ctx, done.Struck.Add(f.For), stop)
	if err := i.forEach(done.Nodes, func(m *Member) error { return heal(ctx, f.Kind, m) }); err != nil {
		return err
	}
	done.Healed = time.Now()
	i.log("%s: node %v healed after %s", f, done.Nodes, done.Healed.Sub(done.Struck).Round(time.Millisecond))
	i.mu.Lock()
	at := len(i.done)
	i.done = append(i.done, done)
	i.mu.Unlock()
	i.wait.Go(func() { i.watch(ctx, at, done) })
	return nil
}

// watch notes when the nodes have caught up.
func (i *Injector) watch(ctx context.Context, at int, done Injected) {
	for _, node := range done.Nodes {
		if err := i.Cluster.Nodes().CaughtUp(ctx, node); err != nil {
			i.log("%s: %v", done.Fault, err)
			return
		}
	}
	now := time.Now()
	i.log("%s: node %v caught up after %s", done.Fault, done.Nodes, now.Sub(done.Healed).Round(time.Millisecond))
	i.mu.Lock()
	i.done[at].CaughtUp = now
	i.mu.Unlock()
}

func (i *Injector) forEach(nodes []wire.NodeID, fn func(*Member) error) error {
	errs := make([]error, len(nodes))
	var wait sync.WaitGroup
	for k, node := range nodes {
		wait.Go(func() { errs[k] = fn(i.Cluster.Member(node)) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (i *Injector) log(format string, args ...any) {
	if i.Log != nil {
		i.Log(format, args...)
	}
}

func strike(kind FaultKind, m *Member) error {
	if kind == Pause {
		return m.Pause()
	}
	return m.Kill()
}

func heal(ctx context.Context, kind FaultKind, m *Member) error {
	if kind == Pause {
		return m.Resume()
	}
	return m.Start(ctx)
}

// sleepUntil is false if stop or ctx came first.
func sleepUntil(ctx context.Context, at time.Time, stop <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}
