// Package search finds the highest open-loop rate at which a cluster meets its objectives.
package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// Plan is how to search.
type Plan struct {
	From      float64 // rate to begin with, operations per second
	To        float64 // rate not to go beyond; 0: no bound but that of a load
	Repeats   int     // runs at a rate, of which the majority decides; odd
	Precision float64 // how close the rates that meet and miss must come: 0.05 is 5%
	Seed      uint64
	SLOs      []result.SLO
}

const (
	rateMin = 1
	rateMax = 1e8
	step    = 2 // of bracketing: what is above the best rate is measured at twice the load that it can bear at most
)

// Check reports what is wrong with a plan, in the words of the flags.
func (p *Plan) Check() error {
	switch {
	case len(p.SLOs) == 0:
		return fmt.Errorf("search needs an objective, as in --slo 'p99<5ms'")
	case !(p.From >= rateMin) || p.From > rateMax:
		return fmt.Errorf("--from %v: it takes operations per second, from %d to %.0f", p.From, rateMin, float64(rateMax))
	case p.To != 0 && p.To < p.From:
		return fmt.Errorf("--to %v is below --from %v", p.To, p.From)
	case p.Repeats < 1 || p.Repeats%2 == 0:
		return fmt.Errorf("--repeats %d: it takes an odd number: the majority decides", p.Repeats)
	case !(p.Precision > 0 && p.Precision < 1):
		return fmt.Errorf("--precision: it takes a share below 100%%, as in 5%%")
	}
	return nil
}

// Runner is bench.Run.
type Runner func(context.Context, bench.Config) (*result.Result, error)

// curveShares of the best rate are measured for the curve, unless something near them was on the way.
var curveShares = []float64{0.25, 0.5, 0.75, 0.9}

// Run searches: it doubles the rate until the objectives are missed, then halves the distance between the highest
// rate that met them and the lowest that did not. log, if not nil, is told what happens.
func Run(ctx context.Context, run Runner, c bench.Config, p Plan, log func(string, ...any)) (*Report, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.To == 0 || p.To > rateMax {
		p.To = rateMax
	}
	s := &search{ctx: ctx, run: run, config: c, plan: p, log: log}
	err := s.all()
	if err != nil && (!errors.Is(err, errEnd) && !errors.Is(err, bench.ErrInterrupted) || len(s.points) == 0) {
		return nil, err
	}
	return s.report(errors.Is(err, bench.ErrInterrupted)), nil
}

// errEnd ends the search because a run violated safety.
var errEnd = errors.New("search: safety violated")

type search struct {
	ctx      context.Context
	run      Runner
	config   bench.Config
	plan     Plan
	log      func(string, ...any)
	points   []*Point
	best     float64 // Invariant: the majority met there, or 0
	missed   float64 // the lowest rate at which the majority missed, or 0
	violated *result.Result
	runs     uint64
}

func (s *search) all() error {
	low, high, err := s.bracket()
	if err != nil {
		return err
	}
	s.missed = high
	if low == 0 {
		return nil
	}
	// What bracketing met was measured once.
	for {
		met, err := s.majority(low)
		if err != nil {
			return err
		}
		if met {
			break
		}
		s.missed = low
		if low = s.below(low); low == 0 {
			return nil
		}
	}
	s.best = low
	for s.missed != 0 && s.missed/s.best > 1+s.plan.Precision {
		rate := round(math.Sqrt(s.best * s.missed))
		if rate <= s.best || rate >= s.missed {
			break
		}
		met, err := s.majority(rate)
		if err != nil {
			return err
		}
		if met {
			s.best = rate
		} else {
			s.missed = rate
		}
	}
	return s.curve()
}

// bracket gives the highest rate that met the objectives and the lowest that missed them; 0 if there is none.
func (s *search) bracket() (low, high float64, err error) {
	rate := round(s.plan.From)
	for {
		met, err := s.quick(rate)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case met && (high != 0 || rate >= s.plan.To):
			return rate, high, nil
		case met:
			low, rate = rate, round(min(rate*step, s.plan.To))
		case low != 0 || rate/step < rateMin:
			return low, rate, nil
		default:
			high, rate = rate, round(rate/step)
		}
	}
}

// below is the next lower rate that was measured, else a half; 0 if that is no rate any more.
func (s *search) below(rate float64) (next float64) {
	for _, p := range s.points {
		if p.Rate < rate {
			next = max(next, p.Rate)
		}
	}
	if next == 0 && rate/step >= rateMin {
		next = round(rate / step)
	}
	return next
}

// round keeps three digits: more are not in a rate that is found to 5%.
func round(rate float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(rate))-2)
	return math.Round(rate/unit) * unit
}

// quick is true at the first run that meets the objectives; only that it misses must be confirmed.
func (s *search) quick(rate float64) (bool, error) {
	p := s.point(rate)
	for len(p.Runs) == 0 {
		if err := s.measure(p); err != nil {
			return false, err
		}
	}
	if p.met() > 0 {
		return true, nil
	}
	return s.majority(rate)
}

// majority measures until more than a half of Repeats have met, or missed.
func (s *search) majority(rate float64) (bool, error) {
	p, half := s.point(rate), s.plan.Repeats/2
	for {
		switch met := p.met(); {
		case met > half:
			return true, nil
		case len(p.Runs)-met > half:
			return false, nil
		}
		if err := s.measure(p); err != nil {
			return false, err
		}
	}
}

// curve fills in where the search went by in leaps.
func (s *search) curve() error {
	for _, share := range curveShares {
		rate := round(share * s.best)
		near := slices.ContainsFunc(s.points, func(p *Point) bool { return math.Abs(p.Rate/rate-1) < 0.15 })
		if near || rate < rateMin {
			continue
		}
		if err := s.measure(s.point(rate)); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) point(rate float64) *Point {
	for _, p := range s.points {
		if p.Rate == rate {
			return p
		}
	}
	p := &Point{Rate: rate}
	s.points = append(s.points, p)
	return p
}

// measure makes one run.
func (s *search) measure(p *Point) error {
	c := s.config
	c.Load.Rate, c.Load.Seed = p.Rate, s.plan.Seed+s.runs
	c.NoProbe = c.NoProbe || s.runs > 0 // the machine is the same
	r, err := s.run(s.ctx, c)
	if err == nil && r.Partial {
		err = bench.ErrInterrupted
	}
	if err != nil {
		if len(p.Runs) == 0 {
			s.points = slices.DeleteFunc(s.points, func(q *Point) bool { return q == p })
		}
		return err
	}
	s.runs++
	if r.Violates() {
		s.violated = r
		return errEnd
	}
	m := measured(r, s.plan.SLOs)
	p.Runs = append(p.Runs, m)
	if s.log != nil {
		s.log("%s/s: %s", result.Count(p.Rate), m.words())
	}
	return nil
}

// measured takes from a run what the search needs.
func measured(r *result.Result, slos []result.SLO) Measured {
	m := Measured{
		Valid: r.Validity.Verdict == result.Valid, Reasons: r.Validity.Reasons, OpsPerSec: r.Throughput.OpsPerSec,
		Response: r.Latency.Response, Service: r.Latency.Service, Lag: r.Latency.Lag,
	}
	met := r.Check(slos)
	for _, slo := range r.SLOs {
		if !slo.Met {
			m.Missed = append(m.Missed, slo.Text)
		}
	}
	m.Met = met && m.Valid
	if !m.Met {
		// Had nothing waited in the generator, would the objectives be met?
		sent := *r
		sent.Latency.Response = r.Latency.Service
		m.Generator = sent.Check(slos) && r.Latency.Lag.P99 > r.Latency.Service.P99
	}
	return m
}
