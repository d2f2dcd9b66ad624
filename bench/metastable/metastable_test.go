package metastable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// system is a cluster as a queue of bounded length: it serves its capacity, and in a bad state, which an overload leads
// to, less.
type system struct {
	capacity float64       // operations per second
	fails    uint64        // of what is served in an interval, besides
	broken   float64       // capacity once it was overloaded; 0: the same
	heals    time.Duration // how long after the overload it is broken; 0: for ever
}

func (s *system) run(_ context.Context, c bench.Config) (*result.Result, error) {
	r := &result.Result{
		SchemaVersion: 1, Seed: 7, Config: result.Config{Nodes: 3, Fsync: "always"}, Validity: result.Validity{Verdict: result.Valid},
		Safety:     result.Safety{Verdict: result.OK, Linearizable: result.Unchecked, Acked: 10, Replicas: 3},
		Throughput: result.Throughput{OpsPerSec: s.capacity, Ops: 10},
	}
	if c.Load.Rate == 0 {
		return r, nil
	}
	const step = 100 * time.Millisecond
	b := c.Load.Bursts[0]
	queue := 0.0
	for at := time.Duration(0); at < c.Load.Duration; at += step {
		offered, capacity := c.Load.Rate, s.capacity
		if at >= b.At && at < b.At+b.For {
			offered *= b.Factor
		}
		if s.broken > 0 && at >= b.At && (s.heals == 0 || at < b.At+b.For+s.heals) {
			capacity = s.broken
		}
		queue += offered * step.Seconds()
		done := min(queue, capacity*step.Seconds())
		queue = min(queue-done, s.capacity*c.Load.Patience.Seconds())
		p99 := int64(2*time.Millisecond) + int64(queue/capacity*1e9)
		r.Intervals = append(r.Intervals, result.Interval{Start: int64(at), Length: int64(step), Ops: uint64(done + 0.5), Failed: s.fails, P50: p99 / 2, P99: p99, Max: p99})
	}
	return r, nil
}

// A cluster that stays down, or that is back for a moment only, must not pass for recovered; one that only needs to
// work off what piled up must not be called broken.
func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		system  system
		peak    float64
		verdict string
		from    time.Duration
		to      time.Duration
	}{
		"bounded queue":            {system{capacity: 1000}, 0, Recovered, 3 * time.Second, 6 * time.Second},
		"late":                     {system{capacity: 1000, broken: 500, heals: 10 * time.Second}, 0, Recovered, 12 * time.Second, 16 * time.Second},
		"never":                    {system{capacity: 1000, broken: 700}, 0, NotRecovered, result.Never, result.Never},
		"the peak was understated": {system{capacity: 1000}, 400, Invalid, result.Never, result.Never},
		"failures all the time":    {system{capacity: 1000, fails: 3}, 0, Invalid, result.Never, result.Never},
		"the peak was overstated":  {system{capacity: 1000}, 2000, Invalid, result.Never, result.Never},
	} {
		p := DefaultPlan()
		p.Peak = c.peak
		r, err := Run(context.Background(), c.system.run, bench.DefaultConfig(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Duration(r.Recovered)
		if r.Verdict != c.verdict || at < c.from || at > c.to {
			t.Errorf("%s: %s after %v, %q", name, r.Verdict, at, r.Reasons)
		}
		if len(r.Phases) != 4 || r.Phases[1].Offered < 1.99*r.Peak {
			t.Errorf("%s: %+v", name, r.Phases)
		}
	}
	relapse := &system{capacity: 1000}
	r, err := Run(context.Background(), func(ctx context.Context, c bench.Config) (*result.Result, error) {
		r, err := relapse.run(ctx, c)
		for i := len(r.Intervals) * 3 / 4; i < len(r.Intervals); i++ {
			r.Intervals[i].Ops = 0
		}
		return r, err
	}, bench.DefaultConfig(), DefaultPlan(), nil)
	if err != nil || r.Verdict != NotRecovered || r.Recovered == result.Never || !strings.Contains(strings.Join(r.Reasons, ""), "back once") {
		t.Errorf("%+v, %v", r, err)
	}
}

// The report must say what was found in every form, and nothing of a run that lost writes.
func TestReport(t *testing.T) {
	s := &system{capacity: 1000}
	lossy := false
	run := func(ctx context.Context, c bench.Config) (*result.Result, error) {
		r, err := s.run(ctx, c)
		if lossy {
			r.Safety.Verdict, r.Safety.Lost = result.Violated, 3
		}
		return r, err
	}
	for _, want := range []string{"recovered: ", "3 lost"} {
		r, err := Run(context.Background(), run, bench.DefaultConfig(), DefaultPlan(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var text, markdown, encoded bytes.Buffer
		if err := errors.Join(r.Page().Text(&text), r.Page().Markdown(&markdown), r.JSON(&encoded)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s%s", want, &text, &markdown)
		}
		var back Report
		if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || back.Verdict != r.Verdict || back.Run == nil || back.Kind != Kind {
			t.Errorf("%v\n%s", err, &encoded)
		}
		if lossy && (strings.Contains(text.String(), "overload  ") || len(back.Phases) != 0 || len(back.Run.Intervals) != 0) {
			t.Errorf("numbers of a lossy run:\n%s", &text)
		}
		lossy = true
	}
}
