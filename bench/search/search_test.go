package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

func plan(t *testing.T) Plan {
	slo, err := result.ParseSLO("p99<5ms")
	if err != nil {
		t.Fatal(err)
	}
	return Plan{From: 1000, Repeats: 3, Precision: 0.05, Seed: 1, SLOs: []result.SLO{slo}}
}

// system is a queue with a capacity: its latency rises as it fills. Above it, runs are invalid. flaky of 100 runs are
// bad for no reason.
type system struct {
	capacity  float64
	flaky     int
	generator bool // it is the generator that cannot do more
	rng       *rand.Rand
	runs      int
	lost      bool
}

func (s *system) run(_ context.Context, c bench.Config) (*result.Result, error) {
	s.runs++
	r := &result.Result{Validity: result.Validity{Verdict: result.Valid}, Safety: result.Safety{Verdict: result.OK, Linearizable: result.Unchecked}}
	rho := c.Load.Rate / s.capacity
	p99 := int64(1e9)
	if rho < 1 {
		p99 = int64(1e6 / (1 - rho))
	} else {
		r.Invalidate("saturated")
	}
	if s.rng.IntN(100) < s.flaky {
		p99 *= 100
	}
	at := func(v int64) result.Latency {
		return result.Latency{P50: v / 2, P90: v / 2, P99: v, P999: v, Max: v, Mean: v / 2, Count: 1000}
	}
	r.Latency.Response, r.Latency.Service = at(p99), at(p99)
	if s.generator {
		r.Latency.Service, r.Latency.Lag = at(1e6), at(p99)
	}
	r.Throughput.OpsPerSec = min(c.Load.Rate, s.capacity)
	if s.lost && s.runs > 3 {
		r.Safety.Verdict, r.Safety.Lost = result.Violated, 1
	}
	return r, nil
}

func newSystem(capacity float64) *system {
	return &system{capacity: capacity, rng: rand.New(rand.NewPCG(1, 1))}
}

// The search could stop at a rate that one bad run spoilt, or call one good that one good run did. p99 is 5 ms at 80%
// of the capacity.
func TestFinds(t *testing.T) {
	for _, capacity := range []float64{30, 1250, 5000, 1e6} {
		for _, flaky := range []int{0, 10} {
			s := newSystem(capacity)
			s.flaky = flaky
			r, err := Run(context.Background(), s.run, bench.DefaultConfig(), plan(t), nil)
			if err != nil || r.Verdict != Found {
				t.Fatalf("capacity %v: %+v, %v", capacity, r, err)
			}
			truth := 0.8 * capacity
			if r.Best > truth*1.001 || flaky == 0 && (r.Best < truth/1.06 || r.Missed/r.Best > 1.06) || r.Best < truth/2 {
				t.Errorf("capacity %v, %d%% flaky: found %v to %v, the truth is %v", capacity, flaky, r.Best, r.Missed, truth)
			}
			if s.runs > 70 {
				t.Errorf("capacity %v: %d runs", capacity, s.runs)
			}
			for i, p := range r.Curve[1:] {
				if p.Rate <= r.Curve[i].Rate || len(p.Runs) == 0 {
					t.Errorf("the curve is not in order: %v", p)
				}
			}
		}
	}
}

// The one run that met could be the exception; the search must then go on below, not give up.
func TestLucky(t *testing.T) {
	s, n := newSystem(1500), 0 // the first rate, 1000, meets at every third run only
	slo, err := result.ParseSLO("p99<2ms")
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t)
	p.SLOs = []result.SLO{slo}
	r, err := Run(context.Background(), func(ctx context.Context, c bench.Config) (*result.Result, error) {
		r, err := s.run(ctx, c)
		if n++; n == 1 {
			r.Latency.Response.P99 = 1
		}
		return r, err
	}, bench.DefaultConfig(), p, nil)
	if err != nil || r.Verdict != Found || r.Best > 750 || r.Best < 700 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Where there is no answer, or not the cluster's, saying a rate would be a lie.
func TestNoAnswer(t *testing.T) {
	ctx, c := context.Background(), bench.DefaultConfig()
	if r, err := Run(ctx, newSystem(0.5).run, c, plan(t), nil); err != nil || r.Verdict != None || r.Best != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	p := plan(t)
	p.To = 3000
	if r, err := Run(ctx, newSystem(1e6).run, c, p, nil); err != nil || r.Best != 3000 || r.Missed != 0 || len(r.Notes) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	s := newSystem(1e4)
	s.generator = true
	if r, err := Run(ctx, s.run, c, plan(t), nil); err != nil || r.Verdict != Generator || r.Best < 7000 || !strings.Contains(r.Notes[0], "generator is the limit") {
		t.Errorf("%+v, %v", r, err)
	}
	always, err := result.ParseSLO("p99<2s") // what ends the search are runs that are invalid
	if err != nil {
		t.Fatal(err)
	}
	p = plan(t)
	p.SLOs[0] = always
	if r, err := Run(ctx, newSystem(1e4).run, c, p, nil); err != nil || r.Verdict != Found || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2 of 2 runs were invalid, which counts as not met: saturated") {
		t.Errorf("%+v, %v", r, err)
	}
	s = newSystem(1e4)
	s.lost = true
	r, err := Run(ctx, s.run, c, plan(t), nil)
	if err != nil || r.Verdict != Violated || r.Best != 0 || r.Curve != nil {
		t.Errorf("%+v, %v", r, err)
	}
	s, n := newSystem(1e4), 0
	stopped := func(after int) (*Report, error) {
		n = 0
		return Run(ctx, func(ctx context.Context, c bench.Config) (*result.Result, error) {
			if n++; n > after {
				return nil, bench.ErrInterrupted
			}
			return s.run(ctx, c)
		}, c, plan(t), nil)
	}
	if r, err := stopped(3); err != nil || !r.Partial || r.Best != 4000 || len(r.Curve) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := stopped(0); !errors.Is(err, bench.ErrInterrupted) {
		t.Error(err)
	}
}

// A report whose table and JSON say different things is worse than one alone.
func TestFormats(t *testing.T) {
	r, err := Run(context.Background(), newSystem(1e4).run, bench.DefaultConfig(), plan(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var text, markdown, encoded bytes.Buffer
	if err := errors.Join(r.Page().Text(&text), r.Page().Markdown(&markdown), r.JSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || back.Best != r.Best || len(back.Curve) != len(r.Curve) {
		t.Errorf("%v\n%s", err, &encoded)
	}
	for _, want := range []string{"best", result.Count(r.Best), "p99<5ms", "service p99"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s\n%s", want, &text, &markdown)
		}
	}
	t.Logf("\n%s", &text)
}

// What cannot be searched must be refused with a way out.
func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"--slo": func(p *Plan) { p.SLOs = nil }, "--from": func(p *Plan) { p.From = 0 }, "--to": func(p *Plan) { p.To = 10 },
		"--repeats": func(p *Plan) { p.Repeats = 2 }, "--precision": func(p *Plan) { p.Precision = 1 },
	} {
		p := plan(t)
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
