package report

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/peerstable"
)

const curvePrefix = "curve" // of the files' names

// readCurve keeps the newest curve of a directory.
func (p *Peers) readCurve(dir fs.FS) error {
	names, err := fs.Glob(dir, curvePrefix+"*.json")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		c, err := peerstable.DecodeCurve(b, name)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if p.Curve == nil || c.Started.After(p.Curve.Started) {
			p.Curve, p.CurveFile = c, name
		}
	}
	return nil
}

// curveSection is the window over loads.
func (p Peers) curveSection(b *strings.Builder, where string, plots map[string]string) {
	b.WriteString("\n## The window over loads\n\n")
	if p.Curve == nil {
		b.WriteString("Nothing is recorded yet: `make curve` does.\n")
		return
	}
	fmt.Fprintf(b, "How many slots are in flight follows the round trip and the disk (`batching.Window`); here beside fixed windows. Record: [%[1]s](%[2]s/%[1]s).\n\n", p.CurveFile, where)
	for _, of := range []struct {
		file, title string
		unit        unit
		what        func(peerstable.CurveSample) float64
	}{
		{"curve-throughput.svg", "Throughput over load, commands per second", perSecond, peerstable.Rate},
		{"curve-p50.svg", "Latency over load, p50", nanos, func(s peerstable.CurveSample) float64 { return float64(s.Latency.P50) }},
		{"curve-p99.svg", "Latency over load, p99", nanos, func(s peerstable.CurveSample) float64 { return float64(s.Latency.P99) }},
	} {
		c := &chart{title: of.title, xLabel: "commands outstanding"}
		for i, w := range p.Curve.Windows {
			l := line{name: "adapting", color: i}
			if w > 0 {
				l.name, l.dash = "window "+strconv.Itoa(w), true
			}
			for at, cell := range p.Curve.Cells {
				if v := p.Curve.Of(at, w, of.what); !math.IsNaN(v) {
					l.points = append(l.points, point{float64(cell.Outstanding), v})
				}
			}
			c.addLine(l)
		}
		if c.orNil() == nil {
			continue
		}
		xMax, low, high := extent(c.lines, true)
		c.x, c.y = fit(count, true, 1, xMax), fit(of.unit, true, low, high)
		plots[of.file] = c.file()
		fmt.Fprintf(b, "![%s](%s/%s/%s)\n", cell(c.title), where, PlotsDir, of.file)
	}
	b.WriteString(p.Curve.Markdown())
}
