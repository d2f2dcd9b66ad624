// Package failover measures how long a cluster is unavailable when it loses a node: as a distribution over many
// losses, for the cut and for the heal.
package failover

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/stats"
)

// LossesMin is from how many losses on a distribution is worth the name.
const LossesMin = 20

// Plan is a series of losses.
type Plan struct {
	Fault string        // kind and target as in kill:leader
	Kills int           // how many
	Down  time.Duration // from the cut to the heal
	Gap   time.Duration // from the heal to the next cut
	Seed  uint64
}

// margins are how long is measured before the first loss and after the last heal.
const (
	before = 2 * time.Second
	after  = 3 * time.Second
)

// jitterShare of Gap is added at random, so that losses do not fall in step with heartbeats and snapshots.
const jitterShare = 0.25

// Check says whether the fault can be what a plan repeats.
func (p *Plan) Check() error {
	if p.Kills < 1 || p.Down <= 0 || p.Gap <= 0 {
		return fmt.Errorf("--kills %d --down %s --gap %s: all of them must be above 0", p.Kills, p.Down, p.Gap)
	}
	_, err := p.fault(0)
	return err
}

func (p *Plan) fault(at time.Duration) (cluster.Fault, error) {
	return cluster.ParseFault(fmt.Sprintf("%s@%s+%s", p.Fault, at, p.Down))
}

// Schedule is the losses, and how long must be measured for all of them. The same seed gives the same times.
func (p *Plan) Schedule() ([]cluster.Fault, time.Duration, error) {
	if err := p.Check(); err != nil {
		return nil, 0, err
	}
	rng := rand.New(rand.NewPCG(p.Seed, 1<<49))
	var faults []cluster.Fault
	at := before
	for range p.Kills {
		f, err := p.fault(at.Round(time.Millisecond))
		if err != nil {
			return nil, 0, err
		}
		faults = append(faults, f)
		at += p.Down + p.Gap + time.Duration(jitterShare*rng.Float64()*float64(p.Gap))
	}
	last := faults[len(faults)-1]
	return faults, (last.At + last.For + max(p.Gap, after)).Round(time.Second), nil
}

// unknown is a duration that nobody measured.
const unknown = math.MinInt64

// Runner is bench.Run.
type Runner func(context.Context, bench.Config) (*result.Result, error)

// Run carries out the plan in one cluster under the load of c, whose faults and duration it sets.
func Run(ctx context.Context, run Runner, c bench.Config, p Plan) (*Report, error) {
	var err error
	if c.Faults, c.Load.Duration, err = p.Schedule(); err != nil {
		return nil, err
	}
	c.Load.Seed = p.Seed
	r, err := run(ctx, c)
	if err != nil {
		return nil, err
	}
	return Summarize(r, p), nil
}

// Summarize reports on a run with the plan's losses.
func Summarize(r *result.Result, p Plan) *Report {
	out := &Report{
		SchemaVersion: SchemaVersion, Kind: Kind, Fault: p.Fault, Seed: r.Seed, Asked: p.Kills, Losses: len(r.Faults), Run: r,
	}
	if r.Violates() {
		return out
	}
	of := func(name, words string, value func(*result.Fault) int64) {
		var v []float64
		for i := range r.Faults {
			switch d := value(&r.Faults[i]); d {
			case unknown:
			case result.Never:
				v = append(v, math.Inf(1))
			default:
				v = append(v, float64(d))
			}
		}
		out.Distributions = append(out.Distributions, distribution(name, words, v, r.Seed))
	}
	cost := func(value func(*result.FaultCost) int64) func(*result.Fault) int64 {
		return func(f *result.Fault) int64 {
			if f.FaultCost == nil {
				return unknown
			}
			return value(f.FaultCost)
		}
	}
	of("cut", "from the loss to the first acknowledgement of what was due after it", func(f *result.Fault) int64 { return f.Unavailable })
	of("heal", "the same from the node's return", func(f *result.Fault) int64 { return f.UnavailableAfterHeal })
	of("longest_gap", "without any acknowledgement", func(f *result.Fault) int64 { return f.LongestGap })
	of("recovered_95pct", "from the loss until the rate is back to 95%", func(f *result.Fault) int64 { return f.Recovered })
	of("recovered_after_heal_95pct", "the same from the node's return; 0 if it was back before", cost(func(c *result.FaultCost) int64 { return c.RecoveredAfterHeal }))
	of("extra_latency", "all operations together waited so much longer", cost(func(c *result.FaultCost) int64 { return c.ExtraLatency }))
	of("caught_up", "from the node's return until it has applied what it missed", func(f *result.Fault) int64 {
		switch {
		case f.CaughtUp == 0:
			return unknown
		case f.CaughtUp == result.Never || f.Healed == result.Never:
			return result.Never
		}
		return f.CaughtUp - f.Healed
	})
	if len(r.Faults) < LossesMin {
		out.Notes = append(out.Notes, fmt.Sprintf("%d losses: the p90 of fewer than %d rests on one or two of them", len(r.Faults), LossesMin))
	}
	return out
}

func distribution(name, words string, values []float64, seed uint64) Distribution {
	d := Distribution{Name: name, Words: words, Count: len(values)}
	if len(values) == 0 {
		return d
	}
	slices.Sort(values)
	for _, v := range values {
		if math.IsInf(v, 1) {
			d.Never++
		}
		d.Values = append(d.Values, nanos(v))
	}
	median := stats.BootstrapMedian(values, 0.95, seed)
	d.Min, d.P50, d.P90, d.Max = nanos(values[0]), nanos(median.Center), nanos(stats.Quantile(values, 0.9)), nanos(values[len(values)-1])
	d.Lo, d.Hi = nanos(median.Lo), nanos(median.Hi)
	if len(values) < 2 {
		d.Lo, d.Hi = d.Min, d.Max
	}
	return d
}

// nanos is a duration that may be endless.
func nanos(v float64) int64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return result.Never
	}
	return int64(v)
}
