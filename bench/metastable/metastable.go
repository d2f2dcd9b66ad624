// Package metastable finds out whether a cluster that was asked for more than it can do recovers when it is asked for
// less again. One that does not is in a metastable failure (Bronson et al., HotOS 2021): what the overload left behind -
// queues of work that nobody waits for any more, retries - keeps it busy for good, though the overload is over.
package metastable

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// Plan is a load in three phases: usual, overload, usual again.
type Plan struct {
	Peak     float64       // operations per second that the cluster can do; 0: it is measured, by a closed loop
	Usual    float64       // share of the peak before and after
	Overload float64       // share of the peak in between
	Before   time.Duration // how long
	For      time.Duration
	After    time.Duration
	Patience time.Duration // as in load.Config: how long a user waits to be sent, and again to be answered
}

// DefaultPlan is twice the peak for ten seconds, between times at 0.8 of it.
func DefaultPlan() Plan {
	return Plan{
		Usual: 0.8, Overload: 2, Before: 8 * time.Second, For: 10 * time.Second, After: 30 * time.Second, Patience: time.Second,
	}
}

// Bounds of a plan.
const (
	beforeMin = 3 * time.Second
	afterMin  = 5 * time.Second
	peakTime  = 4 * time.Second
	moderate  = 1024 // operations outstanding of a client
)

// Check reports what is wrong with a plan, in the words of the flags.
func (p *Plan) Check() error {
	switch {
	case p.Peak < 0 || math.IsNaN(p.Peak):
		return fmt.Errorf("--peak %v: it takes operations per second, or 0 to measure it", p.Peak)
	case !(p.Usual > 0 && p.Usual < 1):
		return fmt.Errorf("--usual %v: it takes a share of the peak above 0 and below 1", p.Usual)
	case !(p.Overload > p.Usual && p.Overload <= 100):
		return fmt.Errorf("--overload %v: it takes a multiple of the peak above --usual, at most 100", p.Overload)
	case p.Before < beforeMin || p.For <= 0 || p.After < afterMin:
		return fmt.Errorf("--before %s --for %s --after %s: it takes %s before at least, and %s after", p.Before, p.For, p.After, beforeMin, afterMin)
	case p.Patience < 0:
		return fmt.Errorf("--patience %s: it takes a duration, or 0 for users who wait for ever", p.Patience)
	}
	return nil
}

// Runner is bench.Run.
type Runner func(context.Context, bench.Config) (*result.Result, error)

// Run carries out the plan on the cluster of c. log, if not nil, is told what happens.
func Run(ctx context.Context, run Runner, c bench.Config, p Plan, log func(string, ...any)) (*Report, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	measured := p.Peak == 0
	if measured {
		r, err := peak(ctx, run, c, &p)
		if err != nil {
			return nil, err
		}
		if r.Violates() || r.Partial || p.Peak == 0 {
			return Judge(r, p), nil
		}
		c.NoProbe = true
		if log != nil {
			log("peak: %s operations/s in a closed loop", result.Count(p.Peak))
		}
	}
	for try := 1; ; try++ {
		out, err := phases(ctx, run, c, p)
		if err != nil || out.Verdict != Invalid || out.Partial || !measured || try == tries {
			return out, err
		}
		p.Peak = out.better
		c.NoProbe = true
		if log != nil {
			log("%s; again with a peak of %s operations/s", out.Reasons[0], result.Count(p.Peak))
		}
	}
}

// tries is how often the phases are run when they show that the peak was taken too high or too low. A closed loop's rate,
// on a machine that has other things to do, is a first guess.
const tries = 3

// phases is one run of the plan.
func phases(ctx context.Context, run Runner, c bench.Config, p Plan) (*Report, error) {
	c.Load.Rate, c.Load.Ops = p.Usual*p.Peak, 0
	c.Load.Duration, c.Load.Patience = p.Before+p.For+p.After, p.Patience
	c.Load.Bursts = []load.Burst{{At: p.Before, For: p.For, Factor: p.Overload / p.Usual}}
	r, err := run(ctx, c)
	if err != nil {
		return nil, err
	}
	return Judge(r, p), nil
}

// peak measures the peak of a closed loop: of a moderate one, and of one that has as much outstanding as the overload may.
// Either may be the better: a deep queue makes large batches, and a too deep one costs memory.
func peak(ctx context.Context, run Runner, c bench.Config, p *Plan) (r *result.Result, err error) {
	c.Load.Rate, c.Load.Duration, c.Load.Ops = 0, peakTime, 0
	for _, inflight := range []int{min(c.Load.Inflight, moderate), c.Load.Inflight} {
		c.Load.Inflight = inflight
		if r, err = run(ctx, c); err != nil || r.Violates() || r.Partial {
			return r, err
		}
		p.Peak = max(p.Peak, r.Throughput.OpsPerSec)
		c.NoProbe = true
	}
	return r, nil
}

// What "back" means: over a second, the median p99 of the intervals is below latencyBack times the highest of the usual
// ones - their 90th percentile, so that one stall before does not excuse a bad state after -, and rateBack of what is due
// is acknowledged.
const (
	latencyBack = 2
	rateBack    = 0.95
	lostUsual   = 0.005 // share that may fail under the usual load
	backFor     = time.Second
	floor       = 5 * time.Millisecond // of the bound: below, what a busy machine does to a p99 is no failure
)

// Judge takes the phases from a run.
func Judge(r *result.Result, p Plan) *Report {
	out := &Report{
		SchemaVersion: SchemaVersion, Kind: Kind, Partial: r.Partial, Seed: r.Seed, Peak: p.Peak, Usual: p.Usual, Overload: p.Overload,
		Recovered: result.Never, Run: r,
	}
	if r.Violates() {
		out.Verdict = Violated
		return out
	}
	begin, end := int64(p.Before), int64(p.Before+p.For)
	over := int64(p.Before + p.For + p.After)
	out.Phases = []Phase{
		phase("before", r, 0, begin, p.Usual*p.Peak), phase("overload", r, begin, end, p.Overload*p.Peak), phase("after", r, end, over, p.Usual*p.Peak),
		// What a cluster that recovers late and one that never does differ by.
		phase("end", r, over-int64(p.After)/3, over, p.Usual*p.Peak),
	}
	before := &out.Phases[0]
	if r.Partial || before.Rate < rateBack*before.Offered {
		out.Verdict, out.better = Invalid, before.Rate
		out.Reasons = append(out.Reasons, fmt.Sprintf("before the overload %s of %s operations/s were served: the peak is taken too high; give --peak, or repeat it on a quieter machine",
			result.Count(before.Rate), result.Count(before.Offered)))
		return out
	}
	// Served, but only just: with queues that are full before the overload there is nothing to recover to.
	if lost := before.Failed + before.Unknown; float64(lost) > lostUsual*float64(before.ops) {
		out.Verdict, out.better = Invalid, min(before.Rate, rateBack*p.Peak)
		out.Reasons = append(out.Reasons, fmt.Sprintf("before the overload %s operations failed or are of unknown outcome, of %s: the peak is taken too high; give --peak, or repeat it on a quieter machine",
			result.Count(float64(lost)), result.Count(float64(before.ops))))
		return out
	}
	if burst := &out.Phases[1]; burst.Rate >= rateBack*burst.Offered {
		out.Verdict, out.better = Invalid, burst.Rate
		out.Reasons = append(out.Reasons, fmt.Sprintf("the overload was none: %s of %s operations/s were served in it; give a higher --overload, or --peak",
			result.Count(burst.Rate), result.Count(burst.Offered)))
		return out
	}
	out.Bound = max(latencyBack*before.p99High, int64(floor))
	intervals := between(r, end, over)
	for i := range intervals {
		if good(intervals[i:], out.Bound, before.Offered) {
			out.Recovered = intervals[i].Start - end
			break
		}
	}
	last := &out.Phases[3]
	out.Verdict = Recovered
	switch {
	case out.Recovered == result.Never:
		out.Verdict = NotRecovered
		out.Reasons = append(out.Reasons, fmt.Sprintf("in %s after the overload there was no second with a p99 below %s and %.0f%% of the rate", p.After, result.Duration(out.Bound), 100*rateBack))
	case last.Rate < rateBack*last.Offered || last.P99 > out.Bound:
		out.Verdict = NotRecovered
		out.Reasons = append(out.Reasons, fmt.Sprintf("it was back once, but in the last third %s of %s operations/s were served, at a p99 of %s", result.Count(last.Rate), result.Count(last.Offered), result.Duration(last.P99)))
	}
	return out
}

// between are the intervals within [from, to).
func between(r *result.Result, from, to int64) []result.Interval {
	var out []result.Interval
	for _, i := range r.Intervals {
		if i.Start >= from && i.Start+i.Length <= to {
			out = append(out, i)
		}
	}
	return out
}

// good says whether the second that begins with the intervals is one of a cluster that is back.
func good(intervals []result.Interval, bound int64, offered float64) bool {
	length, ops := int64(0), uint64(0)
	var p99 []int64
	for _, i := range intervals {
		length, ops, p99 = length+i.Length, ops+i.Ops, append(p99, i.P99)
		if i.Ops == 0 {
			return false
		}
		if length >= int64(backFor) {
			slices.Sort(p99)
			return p99[len(p99)/2] <= bound && float64(ops) >= rateBack*offered*float64(length)/1e9
		}
	}
	return false
}

// phase sums up the intervals of a stretch. Percentiles are medians over the intervals.
func phase(name string, r *result.Result, from, to int64, offered float64) Phase {
	p := Phase{Name: name, Start: from, End: to, Offered: offered}
	var p50, p99 []int64
	length := int64(0)
	for _, i := range between(r, from, to) {
		length, p.ops = length+i.Length, p.ops+i.Ops
		p.Failed, p.Unknown = p.Failed+i.Failed, p.Unknown+i.Unknown
		p.Max, p.Outstanding, p.Waiting = max(p.Max, i.Max), max(p.Outstanding, i.Outstanding), max(p.Waiting, i.Waiting)
		if i.Ops > 0 {
			p50, p99 = append(p50, i.P50), append(p99, i.P99)
		}
	}
	if length > 0 {
		p.Rate = float64(p.ops) / float64(length) * 1e9
	}
	if len(p99) > 0 {
		slices.Sort(p50)
		slices.Sort(p99)
		p.P50, p.P99, p.p99High = p50[len(p50)/2], p99[len(p99)/2], p99[len(p99)*9/10]
	}
	for _, n := range r.Nodes {
		for _, s := range n.Samples {
			if s.At >= from && s.At < to {
				p.HeapMax = max(p.HeapMax, s.HeapBytes)
			}
		}
	}
	return p
}
