package report

import (
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// Scenario is the report of a command that makes many runs, or one with many faults: its page, the run that is in its
// record, if one is, and the curve that it measured, if it did.
type Scenario struct {
	Name  string
	Page  *table.Page
	Run   *result.Result
	Curve []CurvePoint
}

// CurvePoint is a point of a latency-throughput curve: operations per second acknowledged, and response times in
// nanoseconds.
type CurvePoint struct{ OpsPerSec, P50, P99, ServiceP99 float64 }

// ScenariosHTML is HTML of scenarios: their pages and curves, and the runs in them.
func ScenariosHTML(w io.Writer, scenarios []Scenario) error {
	p := page{Title: scenarios[0].Page.Name}
	var names []string
	var runs []Run
	for i := range scenarios {
		s := &scenarios[i]
		names = append(names, s.Name)
		var b strings.Builder
		if err := s.Page.HTML(&b); err != nil {
			return err
		}
		p.Sections = append(p.Sections, template.HTML(b.String())) //nolint:gosec // escaped by Page.HTML
		if c := curveChart(s.Curve); c != nil {
			p.Plots = append(p.Plots, c.plot("at each rate the run in the middle by p99; response counts from when an operation was due, service from when it was sent"))
		}
		if s.Run != nil {
			runs = append(runs, Run{s.Name, s.Run})
		}
	}
	p.Subtitle = strings.Join(names, " · ")
	if len(runs) == 0 && len(p.Plots) == 1 {
		p.Plots[0].Wide = true
	}
	if len(scenarios) > 1 {
		p.Title = fmt.Sprintf("%d reports", len(scenarios))
	}
	p.add(runs)
	return p.write(w)
}

// curveChart is latency over throughput.
func curveChart(points []CurvePoint) *chart {
	c := &chart{title: "Latency at a rate", xLabel: "acknowledged operations per second"}
	low, high := 0.0, 0.0
	lines := []line{{name: "p50"}, {name: "p99", color: 1}, {name: "service p99", color: 2, dash: true}}
	for _, p := range points {
		if p.OpsPerSec <= 0 {
			continue
		}
		if low == 0 || p.OpsPerSec < low {
			low = p.OpsPerSec
		}
		high = max(high, p.OpsPerSec)
		for i, y := range []float64{p.P50, p.P99, p.ServiceP99} {
			if y > 0 {
				lines[i].points = append(lines[i].points, point{p.OpsPerSec, y})
			}
		}
	}
	for _, l := range lines {
		c.addLine(l)
	}
	_, least, most := extent(c.lines, true)
	c.x, c.y = fit(perSecond, true, low, high), fit(nanos, true, least, most)
	return c.orNil()
}
