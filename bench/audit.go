package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// verdict is what the audit found.
type verdict struct {
	findings []*load.Findings // of each node's state, against what was acknowledged
	diverged []string         // why replicas that applied the same slots are not equal
	log      logAudit         // of the logs on disk
}

// check waits until all replicas have applied the same, reads back every acknowledged write from every replica, and then,
// with the nodes stopped, compares their logs.
func (r *run) check(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	r.recording.judge()
	r.config.log("load over; waiting until all replicas have applied the same")
	var err error
	if r.final, err = r.nodes.Converged(waiting); err != nil {
		return err
	}
	r.config.log("audit: %d acknowledged writes, replicas: %d, at slot %d", r.loaded.Ledger.Acked, len(r.final), r.final[0].Applied)
	if r.verdict.findings, err = r.auditStates(ctx); err != nil {
		return err
	}
	r.verdict.diverged = diverged(r.final)
	if r.cluster == nil {
		return nil
	}
	if err := r.cluster.Stop(); err != nil {
		return err
	}
	if err := r.auditDisks(ctx); err != nil {
		return err
	}
	var dirs []string
	for _, m := range r.cluster.Members() {
		dir := filepath.Join(m.Dir(), "wal")
		if slices.Contains(r.config.Engine.AuxiliaryNodes(), m.Node()) {
			dir = "" // it may hold votes for what was not chosen
		}
		dirs = append(dirs, dir)
	}
	r.verdict.log, err = auditLogs(dirs, r.final[0].Applied, r.promised())
	return err
}

// auditDisks starts all nodes again and reads everything back once more: what they hold now comes from their disks.
func (r *run) auditDisks(ctx context.Context) error {
	r.config.log("audit of the disks: all nodes again from their logs and snapshots")
	waiting, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	if err := r.cluster.StartAll(waiting); err != nil {
		return err
	}
	all, err := r.nodes.Converged(waiting)
	if err != nil {
		return fmt.Errorf("bench: after the restart: %w", err)
	}
	again, err := r.auditStates(ctx)
	if err != nil {
		return err
	}
	for i, f := range again {
		// What the first look found stands; the second adds what only shows on disk.
		if !f.OK() && r.verdict.findings[i].OK() {
			for k := range f.Details {
				f.Details[k] = "after a restart from disk: " + f.Details[k]
			}
			r.verdict.findings[i] = f
		}
	}
	r.verdict.diverged = append(r.verdict.diverged, diverged(all)...)
	if why := restarted(r.final[0].Commands, all[0].Commands, r.loaded.Ledger.Unknown); why != "" {
		r.verdict.diverged = append(r.verdict.diverged, why)
	}
	return r.cluster.Stop()
}

// restarted compares the commands that were executed before the restart with those that were executed anew after it. A
// write of unknown outcome may have been in a log, not chosen, when the nodes were stopped: a new leader must propose what
// it finds, so there may be as many more. There cannot be fewer, nor still more.
func restarted(before, after, unknown uint64) string {
	if after >= before && after <= before+unknown {
		return ""
	}
	return fmt.Sprintf("before the restart from disk %d commands were executed, after it %d; %d may be or not", before, after, unknown)
}

// diverged compares the replicas, which have applied the same slots.
func diverged(all []engine.Status) (why []string) {
	first := all[0]
	for _, s := range all[1:] {
		if s.StateHash != first.StateHash {
			why = append(why, fmt.Sprintf("at slot %d the state hash of node %d is %s, of node %d %s", s.Applied, first.Node, first.StateHash, s.Node, s.StateHash))
		}
		if s.Commands != first.Commands {
			why = append(why, fmt.Sprintf("at slot %d node %d has executed %d commands, node %d %d", s.Applied, first.Node, first.Commands, s.Node, s.Commands))
		}
	}
	return why
}

// auditStates holds every replica's state against the ledger, all at once.
func (r *run) auditStates(ctx context.Context) ([]*load.Findings, error) {
	ctx, cancel := context.WithTimeout(ctx, auditLimit)
	defer cancel()
	findings := make([]*load.Findings, len(r.nodes.Addrs))
	errs := make([]error, len(r.nodes.Addrs))
	var wait sync.WaitGroup
	for i, addr := range r.nodes.Addrs {
		wait.Go(func() {
			var s engine.Status
			if s, errs[i] = r.nodes.Status(ctx, i); errs[i] != nil || s.Auxiliary { // which has no state
				return
			}
			errs[i] = r.scan(ctx, addr, func(query func([]byte) ([]byte, error)) error {
				hooked := query
				if hook := r.config.hooks.query; hook != nil {
					hooked = func(req []byte) ([]byte, error) {
						a, err := query(req)
						return hook(i, a), err
					}
				}
				var err error
				findings[i], err = r.loaded.Ledger.Audit(hooked)
				return err
			})
		})
	}
	wait.Wait()
	findings = slices.DeleteFunc(findings, func(f *load.Findings) bool { return f == nil })
	return findings, errors.Join(errs...)
}

// scan gives fn a way to ask one replica for what it holds, as it is.
func (r *run) scan(ctx context.Context, addr string, fn func(query func([]byte) ([]byte, error)) error) error {
	n, err := client.DialNode(ctx, addr, r.nodes.Cluster, 0)
	if err != nil {
		return fmt.Errorf("bench: audit of %s: %w", addr, err)
	}
	defer n.Close()
	err = fn(func(req []byte) ([]byte, error) {
		answer, _, err := n.Query(ctx, req, wire.QueryStale)
		return answer, err
	})
	if err != nil {
		return fmt.Errorf("bench: audit of %s: %w", addr, err)
	}
	return nil
}

// baseline is the versions of the load's keys before it, on a cluster that was there before us.
func (r *run) baseline(ctx context.Context) (map[uint32]uint64, error) {
	if r.cluster != nil || r.config.Load.SM != load.KV {
		return nil, nil
	}
	waiting, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	if _, err := r.nodes.Converged(waiting); err != nil {
		return nil, fmt.Errorf("bench: before the load: %w", err)
	}
	base := map[uint32]uint64{}
	first := 0
	for i := range r.nodes.Addrs {
		if s, err := r.nodes.Status(ctx, i); err == nil && !s.Auxiliary {
			first = i
			break
		}
	}
	err := r.scan(ctx, r.nodes.Addrs[first], func(query func([]byte) ([]byte, error)) error {
		for from := uint64(0); ; {
			answer, err := query(kv.AppendQueryScan(nil, from, kv.ScanRowsMax, false))
			if err != nil {
				return err
			}
			page, err := kv.DecodeScanPage(answer)
			if err != nil {
				return err
			}
			for row, ok := page.Next(); ok; row, ok = page.Next() {
				if key, ours := load.ParseKey(row.Key); ours {
					base[key] = row.Version
				}
			}
			if page.Err() != nil || page.NextRow == 0 {
				return page.Err()
			}
			from = page.NextRow
		}
	})
	return base, err
}
