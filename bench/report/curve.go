package report

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/peerstable"
)

const curvePrefix = "curve" // of the files' names

// curvesInOrder puts closed loops first, and then short delays. Of equal ones the newest is kept.
func curvesInOrder(a, b CurveFile) int {
	if a.Open() != b.Open() {
		if a.Open() {
			return 1
		}
		return -1
	}
	return cmp.Compare(a.Config.Delay, b.Config.Delay)
}

func (p *Peers) readCurves(dir fs.FS) error {
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
		found := CurveFile{c, name}
		at, old := slices.BinarySearchFunc(p.Curves, found, curvesInOrder)
		switch {
		case !old:
			p.Curves = slices.Insert(p.Curves, at, found)
		case c.Started.After(p.Curves[at].Started):
			p.Curves[at] = found
		}
	}
	return nil
}

// curveSection is the window over loads.
func (p Peers) curveSection(b *strings.Builder, where string, plots map[string]string) {
	b.WriteString("\n## The window over loads\n\n")
	if len(p.Curves) == 0 {
		b.WriteString("Nothing is recorded yet: `make curve` does.\n")
		return
	}
	b.WriteString("How many slots are in flight follows the round trip and the disk (`batching.Window`); here beside fixed windows.\n")
	for _, c := range p.Curves {
		title := "Closed loops"
		if c.Open() {
			title = "Open loops"
		}
		if d := c.Config.Delay; d > 0 {
			title += fmt.Sprintf(", round trips of %s", 2*d)
		}
		fmt.Fprintf(b, "\n### %s\n\nRecord: [%[2]s](%[3]s/%[2]s).\n\n", title, c.File, where)
		c.plot(b, where, plots)
		b.WriteString(c.Markdown())
	}
}

// plot adds a curve's plots, named after its file.
func (c CurveFile) plot(b *strings.Builder, where string, plots map[string]string) {
	for _, of := range []struct {
		name, title string
		unit        unit
		what        func(peerstable.CurveSample) float64
	}{
		{"throughput", "Throughput over load, commands per second", perSecond, peerstable.Rate},
		{"p50", "Latency over load, p50", nanos, func(s peerstable.CurveSample) float64 { return float64(s.Latency.P50) }},
		{"p99", "Latency over load, p99", nanos, func(s peerstable.CurveSample) float64 { return float64(s.Latency.P99) }},
	} {
		drawn := &chart{title: of.title, xLabel: "commands outstanding"}
		if c.Open() {
			if drawn.xLabel = "commands per second"; of.name == "throughput" {
				continue // it is the load itself
			}
		}
		for i, w := range c.Windows {
			l := line{name: "adapting", color: i}
			if w > 0 {
				l.name, l.dash = "window "+strconv.Itoa(w), true
			}
			for at, cell := range c.Cells {
				if v := c.Of(at, w, of.what); !math.IsNaN(v) {
					l.points = append(l.points, point{max(float64(cell.Outstanding), cell.PerSecond), v})
				}
			}
			drawn.addLine(l)
		}
		if drawn.orNil() == nil {
			continue
		}
		xMax, low, high := extent(drawn.lines, true)
		drawn.x, drawn.y = fit(count, true, max(1, c.Cells[0].PerSecond), xMax), fit(of.unit, true, low, high)
		file := strings.TrimSuffix(c.File, ".json") + "-" + of.name + ".svg"
		plots[file] = drawn.file()
		fmt.Fprintf(b, "![%s](%s/%s/%s)\n", cell(drawn.title), where, PlotsDir, file)
	}
}
