package search

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "search"
)

// Verdicts of a search.
const (
	Found     = "found"
	None      = "none"      // no rate met the objectives
	Generator = "generator" // what was sent was served in time, but was sent late: the best rate is a lower bound
	Violated  = "violated"
)

// Report is the outcome. Best is the highest rate at which the majority of runs met the objectives, Missed the lowest
// above it at which they did not; 0: there is none.
type Report struct {
	SchemaVersion int            `json:"schema_version"`
	Kind          string         `json:"kind"`
	Partial       bool           `json:"partial"`
	Verdict       string         `json:"verdict"`
	SLOs          []string       `json:"slos"`
	Best          float64        `json:"best_ops_per_s"`
	Missed        float64        `json:"missed_ops_per_s"`
	Seed          uint64         `json:"seed"`
	Notes         []string       `json:"notes,omitempty"`
	Curve         []*Point       `json:"curve"` // by rate
	Violation     *result.Safety `json:"violation,omitempty"`
}

// Point is one rate.
type Point struct {
	Rate float64    `json:"rate"`
	Runs []Measured `json:"runs"`
}

// Measured is one run at a rate. Latencies are nanoseconds.
type Measured struct {
	Met       bool           `json:"met"` // valid, and all objectives
	Valid     bool           `json:"valid"`
	Reasons   []string       `json:"reasons,omitempty"`
	Missed    []string       `json:"missed,omitempty"`
	Generator bool           `json:"generator_late,omitempty"` // what was sent was served in time
	OpsPerSec float64        `json:"ops_per_s"`
	Response  result.Latency `json:"response_ns"`
	Service   result.Latency `json:"service_ns"`
	Lag       result.Latency `json:"lag_ns"`
}

func (p *Point) met() int { return p.count(func(m *Measured) bool { return m.Met }) }

// count is how many of the runs are like that.
func (p *Point) count(is func(*Measured) bool) (n int) {
	for i := range p.Runs {
		if is(&p.Runs[i]) {
			n++
		}
	}
	return n
}

func (m *Measured) words() string {
	s := fmt.Sprintf("%s ops/s, p50 %s, p99 %s: ", result.Count(m.OpsPerSec), result.Duration(m.Response.P50), result.Duration(m.Response.P99))
	switch {
	case m.Met:
		return s + "met"
	case !m.Valid:
		return s + "not met, invalid: " + strings.Join(m.Reasons, "; ")
	}
	return s + "missed " + strings.Join(m.Missed, ", ")
}

// Middle is the run in the middle by p99.
func (p *Point) Middle() *Measured {
	runs := slices.Clone(p.Runs)
	slices.SortFunc(runs, func(a, b Measured) int { return int(min(max(a.Response.P99-b.Response.P99, -1), 1)) })
	return &runs[(len(runs)-1)/2]
}

func (s *search) report(partial bool) *Report {
	r := &Report{SchemaVersion: SchemaVersion, Kind: Kind, Partial: partial, Best: s.best, Missed: s.missed, Seed: s.plan.Seed, Curve: s.points, Verdict: Found}
	for _, slo := range s.plan.SLOs {
		r.SLOs = append(r.SLOs, slo.Text)
	}
	slices.SortFunc(r.Curve, func(a, b *Point) int { return int(min(max(a.Rate-b.Rate, -1), 1)) })
	if partial { // the best that is known
		for _, p := range r.Curve {
			if p.met() > 0 && 2*p.met() > len(p.Runs) {
				r.Best = max(r.Best, p.Rate)
			}
		}
	}
	switch {
	case s.violated != nil:
		r.Verdict, r.Curve, r.Best, r.Missed, r.Violation = Violated, nil, 0, 0, &s.violated.Safety
		return r
	case r.Best == 0:
		r.Verdict = None
	case s.missed == 0 && !partial:
		r.Notes = append(r.Notes, "the objectives are met at the highest rate that --to allows")
	}
	for _, p := range s.points {
		if p.Rate != s.missed {
			continue
		}
		late := p.count(func(m *Measured) bool { return m.Generator })
		if late > 0 && 2*late >= len(p.Runs)-p.met() {
			r.Verdict = Generator
			r.Notes = append(r.Notes, fmt.Sprintf("at %s/s the generator is the limit, not the cluster: what was sent was served in time, but waited to be sent; give it more --inflight or --clients, or more processor",
				result.Count(p.Rate)))
		} else if n := p.count(func(m *Measured) bool { return !m.Valid }); n > 0 {
			bad := p.Runs[slices.IndexFunc(p.Runs, func(m Measured) bool { return !m.Valid })]
			r.Notes = append(r.Notes, fmt.Sprintf("at %s/s %d of %d runs were invalid, which counts as not met: %s. On a quieter machine the cluster may do more",
				result.Count(p.Rate), n, len(p.Runs), strings.Join(bad.Reasons, "; ")))
		}
	}
	return r
}

// JSON writes the report.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	out.Curve = table.List(out.Curve)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	p := &table.Page{Name: "paxbench search", Title: strings.Join(r.SLOs, ", ")}
	p.Add("", "", r.table())
	p.Say("RESULT", "%s", r.sentence())
	for _, note := range r.Notes {
		p.Say("NOTE", "%s", note)
	}
	return p
}

func (r *Report) sentence() string {
	tail := ""
	if r.Partial {
		tail = " (interrupted: this is what was known by then)"
	}
	switch {
	case r.Verdict == Violated:
		return fmt.Sprintf("SAFETY VIOLATED: %d lost, %d doubled, %d otherwise wrong; performance numbers are withheld", r.Violation.Lost, r.Violation.Duplicated, r.Violation.Wrong)
	case r.Best == 0:
		return "no rate was found that meets the objectives" + tail
	case r.Missed == 0:
		return fmt.Sprintf("%s operations/s or more meet the objectives%s", result.Count(r.Best), tail)
	}
	return fmt.Sprintf("%s operations/s meet the objectives, %s do not%s", result.Count(r.Best), result.Count(r.Missed), tail)
}

// table is the latency-throughput curve: of each rate the run in the middle by p99.
func (r *Report) table() table.Table {
	t := table.Table{Head: []string{"rate", "ops/s", "p50", "p90", "p99", "p99.9", "service p99", "met", ""}, Left: map[int]bool{8: true}}
	for _, p := range r.Curve {
		m, mark := p.Middle(), ""
		if p.Rate == r.Best {
			mark = "<- best"
		} else if n := p.count(func(m *Measured) bool { return !m.Valid }); n > 0 {
			mark = fmt.Sprintf("%d invalid", n)
		}
		l := &m.Response
		t.Add(result.Count(p.Rate), result.Count(m.OpsPerSec), result.Duration(l.P50), result.Duration(l.P90), result.Duration(l.P99), result.Duration(l.P999),
			result.Duration(m.Service.P99), fmt.Sprintf("%d of %d", p.met(), len(p.Runs)), mark)
	}
	return t
}
