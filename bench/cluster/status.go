package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
)

// pollEvery is the pause between two looks at a cluster that is expected to change.
const pollEvery = 5 * time.Millisecond

// engine.Status.Role of a node that takes itself for the leader, and, in modes without one, of a node that takes proposals.
const (
	roleLeader   = "leader"
	roleProposer = "proposer"
)

// askLimit bounds one question to one node.
const askLimit = 2 * time.Second

// Nodes are nodes that can be asked: a cluster of ours, or one that runs elsewhere.
type Nodes struct {
	Cluster wire.ClusterID
	Addrs   []string
}

// Nodes are the cluster's.
func (c *Cluster) Nodes() Nodes { return Nodes{Cluster: c.id, Addrs: c.Addrs()} }

func (n Nodes) ask(ctx context.Context, i int, op string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	text, err := client.Admin(ctx, n.Addrs[i], n.Cluster, op)
	if err != nil {
		return fmt.Errorf("cluster: %s of %s: %w", op, n.Addrs[i], err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("cluster: %s of %s: %w", op, n.Addrs[i], err)
	}
	return nil
}

// Status asks node number i, from 0.
func (n Nodes) Status(ctx context.Context, i int) (engine.Status, error) {
	var s engine.Status
	return s, n.ask(ctx, i, "status", &s)
}

// Metrics asks node number i, from 0; reset begins a new interval of its histograms.
func (n Nodes) Metrics(ctx context.Context, i int, reset bool) (engine.Metrics, error) {
	op := "metrics"
	if reset {
		op = "metrics?reset=1"
	}
	var m engine.Metrics
	return m, n.ask(ctx, i, op, &m)
}

// Statuses asks all nodes at once. errs[i] says why there is no answer of node number i.
func (n Nodes) Statuses(ctx context.Context) (all []engine.Status, errs []error) {
	all, errs = make([]engine.Status, len(n.Addrs)), make([]error, len(n.Addrs))
	var wait sync.WaitGroup
	for i := range n.Addrs {
		wait.Go(func() { all[i], errs[i] = n.Status(ctx, i) })
	}
	wait.Wait()
	return all, errs
}

// Leader waits until a node leads that a majority takes for the leader, and gives it.
func (n Nodes) Leader(ctx context.Context) (wire.NodeID, error) {
	var why error
	for {
		all, errs := n.Statuses(ctx)
		if leader := leaderOf(all, errs); leader != 0 {
			return leader, nil
		}
		if ctx.Err() == nil {
			why = errors.Join(errs...) // the errors of a wait that was cut short say only that
		}
		if err := pause(ctx, pollEvery); err != nil {
			return 0, fmt.Errorf("cluster: no leader: %w", errors.Join(why, err))
		}
	}
}

// leaderOf is the node that says it leads, at the highest ballot, and that a majority of all follows; 0 if there
// is none. A deposed leader may say so too, for a while: it has no majority behind it. In a mode where every node proposes it is
// the first that does, if a majority does; with a distinguished proposer, that one.
func leaderOf(all []engine.Status, errs []error) wire.NodeID {
	followers := map[wire.NodeID]int{}
	for i, s := range all {
		if errs[i] == nil && s.Leader != 0 {
			followers[s.Leader]++
		}
	}
	var best engine.Status
	var proposers []wire.NodeID
	for i, s := range all {
		if errs[i] == nil && s.Role == roleProposer {
			proposers = append(proposers, s.Node)
		}
		if errs[i] == nil && s.Role == roleLeader && 2*followers[s.Node] > len(all) && s.Ballot > best.Ballot {
			best = s
		}
	}
	for _, p := range proposers {
		if 2*len(proposers) > len(all) || 2*followers[p] > len(all) {
			return p
		}
	}
	return best.Node
}

// Converged waits until one node leads and all that keep the state have applied the same slot, the last one there is, in two looks in a
// row, and gives their statuses. The error says who lags.
func (n Nodes) Converged(ctx context.Context) ([]engine.Status, error) {
	var before []engine.Status
	for {
		all, errs := n.Statuses(ctx)
		lag := lagging(all, errs)
		all = slices.DeleteFunc(all, func(s engine.Status) bool { return s.Auxiliary })
		switch {
		case lag != nil:
			before = nil
		case before != nil && before[0].Applied == all[0].Applied:
			return all, nil
		default:
			before = all
		}
		if err := pause(ctx, 4*pollEvery); err != nil {
			return all, fmt.Errorf("cluster: the replicas have not come to the same slot: %w", errors.Join(lag, err))
		}
	}
}

// lagging says why the replicas are not equal, nil if they are. What a follower holds above the chosen prefix does not
// count: it may be a vote that never was chosen and never will be.
func lagging(all []engine.Status, errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return err
	}
	leader := leaderOf(all, errs)
	if leader == 0 {
		return errors.New("no leader")
	}
	last := wire.Slot(0)
	for _, s := range all {
		last = max(last, s.Applied, s.Chosen)
		if s.Node == leader {
			last = max(last, s.LastSlot)
		}
	}
	for _, s := range all {
		if s.Applied != last && !s.Auxiliary {
			return fmt.Errorf("node %d has applied slot %d of %d", s.Node, s.Applied, last)
		}
	}
	return nil
}

// CaughtUp waits until node has applied everything that any node had learned when it was asked; an auxiliary node, which applies nothing, until
// it answers.
func (n Nodes) CaughtUp(ctx context.Context, node wire.NodeID) error {
	target := wire.Slot(0)
	all, errs := n.Statuses(ctx)
	for i, s := range all {
		if errs[i] == nil {
			target = max(target, s.Chosen)
		}
	}
	for {
		s, err := n.Status(ctx, int(node-1))
		if err == nil && (s.Auxiliary || s.Applied >= target) {
			return nil
		}
		if waited := pause(ctx, pollEvery); waited != nil {
			return fmt.Errorf("cluster: node %d has applied slot %d of %d: %w", node, s.Applied, target, errors.Join(err, waited))
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
