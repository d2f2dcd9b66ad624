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
	Healed time.Time // the nodes listen again, have been let go on, or have their network or disk back
	// CaughtUp is when the last of the nodes had applied what was learned at Healed; zero if it had not by the end.
	CaughtUp time.Time

	LeaderBefore wire.NodeID // when it struck; 0: nobody asked
	LeaderAfter  wire.NodeID // when it was healed; 0: none was found
	Notes        []string    // what else is known of its effect
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
	k := kindOf(f.Kind)
	leader, err := i.leader(ctx, f)
	if err != nil {
		return err
	}
	done := Injected{Fault: f, Nodes: f.victims(leader, len(i.Cluster.members), rng), LeaderBefore: leader, Struck: time.Now()}
	n := &incident{Injected: &done, i: i, ctx: ctx, over: stop, rng: rng}
	if k.strike != nil {
		if err := k.strike(n); err != nil {
			return err
		}
	}
	i.log("%s: struck %s", f, i.victims(&done))
	// Counted from when it struck: a fault that had to wait for a leader lasts as long as was asked for.
	if k.during != nil {
		err = k.during(n)
	} else {
		sleepUntil(ctx, n.due(), stop)
	}
	if err != nil {
		return err
	}
	if k.heal != nil {
		if err := k.heal(n); err != nil {
			return err
		}
	}
	done.Healed = time.Now()
	i.log("%s: %s healed after %s", f, i.victims(&done), done.Healed.Sub(done.Struck).Round(time.Millisecond))
	i.mu.Lock()
	at := len(i.done)
	i.done = append(i.done, done)
	i.mu.Unlock()
	i.wait.Go(func() { i.watch(ctx, at, done) })
	return nil
}

// victims names who was hit, for the log.
func (i *Injector) victims(done *Injected) string {
	if done.Target == "" {
		return "the cluster"
	}
	return fmt.Sprintf("node %v", done.Nodes)
}

// leaderWait bounds the question who leads where only the report wants to know.
const leaderWait = 500 * time.Millisecond

// leader is who leads when the fault strikes. A target that depends on it waits for one.
func (i *Injector) leader(ctx context.Context, f Fault) (wire.NodeID, error) {
	if f.byRole() {
		return i.Cluster.Nodes().Leader(ctx)
	}
	asking, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	leader, err := i.Cluster.Nodes().Leader(asking)
	if err != nil && ctx.Err() == nil {
		err = nil // none is fine
	}
	return leader, err
}

// watch notes when the nodes have caught up, and who leads then.
func (i *Injector) watch(ctx context.Context, at int, done Injected) {
	nodes := i.Cluster.Nodes()
	leader, err := nodes.Leader(ctx)
	if err != nil {
		i.log("%s: %v", done.Fault, err)
		return
	}
	i.mu.Lock()
	i.done[at].LeaderAfter = leader
	i.mu.Unlock()
	for _, node := range done.Nodes {
		if err := nodes.CaughtUp(ctx, node); err != nil {
			i.log("%s: %v", done.Fault, err)
			return
		}
	}
	now := time.Now()
	i.log("%s: %s caught up after %s", done.Fault, i.victims(&done), now.Sub(done.Healed).Round(time.Millisecond))
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
