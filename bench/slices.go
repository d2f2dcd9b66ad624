package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// Slice is what a short load on a running cluster measured. The load begins and ends with a cluster at rest, so that
// its costs are all of its own, whatever else went on at its edges.
type Slice struct {
	Ops       uint64      `json:"ops"`
	OpsPerSec float64     `json:"ops_per_s"`
	P50       int64       `json:"p50_ns"` // response times
	P99       int64       `json:"p99_ns"`
	Cost      result.Cost `json:"cost_per_op"`
	Invalid   string      `json:"invalid,omitempty"` // why it says nothing
}

// Slices starts the cluster of c and drives one slice of its load, c.Load.Duration long, for each value of next; told is
// given each. When next is closed, everything acknowledged is audited, as by Run, and the verdict is returned. Two
// clusters that are driven in turns, slice by slice, see the same machine: what disturbs one for longer than a slice
// disturbs the other just as much.
func Slices(ctx context.Context, c Config, next <-chan struct{}, told func(Slice) error) (*result.Safety, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(c.Faults) > 0 || c.Load.Ops > 0 || c.Cluster == Remote {
		return nil, errors.New("bench: slices have a duration, no faults, and a cluster of their own")
	}
	c.NoProbe, c.Load.Warmup, c.Load.Settle = true, 0, 0
	if c.Load.Drain == 0 {
		c.Load.Drain = drainDefault
	}
	r := &run{config: &c, loaded: &load.Result{}}
	safety, err := r.slices(ctx, next, told)
	if errors.Is(err, context.Canceled) {
		err = ErrInterrupted
	}
	good := err == nil && safety.Verdict != result.Violated
	return safety, errors.Join(err, r.clean(good || errors.Is(err, ErrInterrupted)))
}

func (r *run) slices(ctx context.Context, next <-chan struct{}, told func(Slice) error) (*result.Safety, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	_, targets, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	for number := 0; ; number++ {
		select {
		case _, more := <-next:
			if !more {
				return r.settled(ctx, targets)
			}
		case err := <-r.cluster.Failed():
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s, err := r.slice(ctx, number, targets)
		if err == nil {
			err = told(s)
		}
		if err != nil {
			return nil, errors.Join(err, closeTargets(targets))
		}
	}
}

// rest is how long followers may take to apply the end of a slice.
const rest = 5 * time.Millisecond

// slice drives the load once.
func (r *run) slice(ctx context.Context, number int, targets []load.Target) (Slice, error) {
	c := collector{nodes: r.nodes, shared: r.config.Cluster == InProc}
	c.begin(ctx)
	l := r.config.Load
	l.Series, l.Abort = number, ctx.Done()
	loaded, err := load.Run(ctx, l, targets)
	if err != nil {
		return Slice{}, err
	}
	time.Sleep(rest)
	spent := c.end(ctx)
	if r.loaded.Ledger == nil {
		r.loaded.Ledger = loaded.Ledger
	} else if err := r.loaded.Ledger.Merge(loaded.Ledger); err != nil {
		return Slice{}, err
	}
	r.loaded.Intervals = loaded.Intervals
	s := Slice{
		Ops: loaded.Ops, OpsPerSec: loaded.OpsPerSecond, P50: loaded.Response.ValueAtQuantile(50), P99: loaded.Response.ValueAtQuantile(99),
		Cost: spent.perOp(r.counted()),
	}
	if reasons, _ := loaded.Judge(load.Limits{Samples: 100}); len(reasons) > 0 {
		s.Invalid = reasons[0]
	} else if bad := loaded.Failed + loaded.Unknown; bad > 0 {
		s.Invalid = fmt.Sprintf("%d operations failed or have an unknown outcome", bad)
	}
	return s, ctx.Err()
}

// settled is the verdict on all slices.
func (r *run) settled(ctx context.Context, targets []load.Target) (*result.Safety, error) {
	if err := closeTargets(targets); err != nil {
		return nil, err
	}
	if r.loaded.Ledger == nil {
		return &result.Safety{Verdict: result.Unchecked, Linearizable: result.Unchecked}, nil
	}
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	out := &result.Result{Safety: result.Safety{Verdict: result.Unchecked, Linearizable: result.Unchecked}}
	r.safety(out)
	return &out.Safety, nil
}
