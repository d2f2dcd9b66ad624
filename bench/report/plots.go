package report

import (
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/result"
)

// curveTicks is how finely percentile curves are drawn: points per halving of the distance to 100%.
const curveTicks = 10

// few is how many runs a chart shows in all detail.
const few = 3

// curve is the points of a distribution over 1/(1-q). The last one is the maximum, at one in as many as there are.
func curve(h *hdrhistogram.Histogram) []point {
	n := float64(h.TotalCount())
	var out []point
	for _, b := range h.CumulativeDistributionWithTicks(curveTicks) {
		x := 1 / (1 - b.Quantile/100)
		if x > n { // beyond what so many samples can tell, and 100% itself
			break
		}
		out = append(out, point{x, float64(b.ValueAt)})
	}
	return append(out, point{max(n, 1), float64(h.Max())})
}

// curveOf is the curve of a series; of an old record, the few points that it has.
func curveOf(r *result.Result, series string) []point {
	if h, err := r.Distribution(series); err == nil && h != nil {
		return curve(h)
	}
	l := r.LatencyOf(series)
	if l.Count == 0 {
		return nil
	}
	out := []point{}
	for _, p := range []point{{2, float64(l.P50)}, {10, float64(l.P90)}, {100, float64(l.P99)}, {1000, float64(l.P999)}, {float64(l.Count), float64(l.Max)}} {
		if p.x <= float64(l.Count) {
			out = append(out, p)
		}
	}
	return out
}

// extent is the range of all values of some lines; only those above 0 if positive.
func extent(lines []line, positive bool) (xMax, low, high float64) {
	low = math.Inf(1)
	for _, l := range lines {
		for _, p := range l.points {
			xMax = max(xMax, p.x)
			if math.IsNaN(p.y) || positive && p.y <= 0 {
				continue
			}
			low, high = min(low, p.y), max(high, p.y)
		}
	}
	return xMax, low, high
}

// percentiles is latency by percentile: of one run all its series, of several their response times.
func percentiles(runs []Run) *chart {
	c := &chart{title: "Latency by percentile", xLabel: "percentile of operations"}
	for i, run := range runs {
		if len(runs) > 1 {
			c.addLine(line{name: run.Name, color: i, points: curveOf(run.Result, "response")})
			continue
		}
		for k, series := range result.Series {
			if series == "service" && run.Result.Config.Rate == 0 {
				continue // the same as response
			}
			c.addLine(line{name: series, color: k, dash: series != "response", points: curveOf(run.Result, series)})
		}
	}
	xMax, low, high := extent(c.lines, true)
	c.x, c.y = fit(percentile, true, 1, xMax), fit(nanos, true, low, high)
	return c.orNil()
}

func (c *chart) addLine(l line) {
	if len(l.points) > 0 {
		c.lines = append(c.lines, l)
	}
}

// orNil is nil if there is nothing to draw.
func (c *chart) orNil() *chart {
	if len(c.lines) == 0 {
		return nil
	}
	return c
}

// throughput is acknowledged operations over time.
func throughput(runs []Run) *chart {
	c := &chart{title: "Throughput over time", xLabel: "time since the end of warm-up"}
	for i, run := range runs {
		c.addLine(line{name: nameOf(runs, i, "acknowledged"), color: i, step: true, points: rates(run.Result)})
	}
	return c.overTime(runs, perSecond, false)
}

// rates are those of the intervals in full; a short one at the end would make the rate look like noise. One that was closed
// late is long.
func rates(r *result.Result) (points []point) {
	usual := int64(math.MaxInt64)
	for k, v := range r.Intervals {
		if last := k == len(r.Intervals)-1; v.Length <= 0 || last && k > 0 && v.Length < usual/2 {
			continue
		}
		usual = min(usual, v.Length)
		rate := float64(v.Ops) * 1e9 / float64(v.Length)
		if len(points) == 0 {
			points = append(points, point{float64(v.Start), rate})
		}
		points = append(points, point{float64(v.Start + v.Length), rate})
	}
	return points
}

// nameOf names the line of a run: of one run by what it shows, of several by the run as well.
func nameOf(runs []Run, i int, what string) string {
	switch {
	case len(runs) == 1:
		return what
	case what == "acknowledged":
		return runs[i].Name
	}
	return runs[i].Name + " " + what
}

// latencies is response times over time.
func latencies(runs []Run) *chart {
	c := &chart{title: "Response time over time", xLabel: "time since the end of warm-up"}
	for i, run := range runs {
		for k, q := range []struct {
			name string
			of   func(*result.Interval) int64
		}{
			{"p50", func(v *result.Interval) int64 { return v.P50 }}, {"p99", func(v *result.Interval) int64 { return v.P99 }},
			{"max", func(v *result.Interval) int64 { return v.Max }},
		} {
			if len(runs) > 1 && q.name == "max" || len(runs) > few && q.name == "p50" {
				continue
			}
			l := line{name: nameOf(runs, i, q.name), color: i, dash: q.name == "p50", thin: q.name == "p50"}
			if len(runs) == 1 {
				l.color, l.dash, l.thin = k, false, q.name == "max"
			}
			for j := range run.Result.Intervals {
				v := &run.Result.Intervals[j]
				p := point{float64(v.Start) + float64(v.Length)/2, math.NaN()}
				if v.Ops > 0 {
					p.y = float64(max(q.of(v), 1))
				}
				l.points = append(l.points, p)
			}
			c.addLine(l)
		}
	}
	return c.overTime(runs, nanos, true)
}

// overTime finishes a chart over time: axes, and the faults.
func (c *chart) overTime(runs []Run, u unit, log bool) *chart {
	xMax, low, high := extent(c.lines, log)
	for _, run := range runs {
		if n := len(run.Result.Intervals); n > 0 && len(c.lines) > 0 {
			last := run.Result.Intervals[n-1]
			xMax = max(xMax, float64(last.Start+last.Length))
		}
	}
	c.x, c.y = fit(clock, false, 0, xMax), fit(u, log, low, high)
	for i, run := range runs {
		for _, f := range run.Result.Faults {
			b := band{from: float64(f.At), to: float64(f.Healed), label: f.Kind + " " + f.Target, color: bandColor}
			if f.Healed == result.Never {
				b.to, b.open = xMax, true
			}
			if len(runs) > 1 {
				b.color = i
				b.label = ""
			}
			c.bands = append(c.bands, b)
		}
	}
	return c.orNil()
}

// backlog is what of one open-loop run was under way, or due and not sent, at the end of each interval.
func backlog(runs []Run) *chart {
	if len(runs) != 1 || runs[0].Result.Config.Rate == 0 {
		return nil
	}
	c := &chart{title: "Operations under way and waiting", xLabel: "time since the end of warm-up"}
	under, waiting := line{name: "under way"}, line{name: "due, not sent", color: 1}
	for _, v := range runs[0].Result.Intervals {
		at := float64(v.Start + v.Length)
		under.points = append(under.points, point{at, float64(v.Outstanding)})
		waiting.points = append(waiting.points, point{at, float64(v.Waiting)})
	}
	c.addLine(under)
	c.addLine(waiting)
	return c.overTime(runs, count, false)
}

// memory is what the nodes of one run held over time.
func memory(runs []Run) *chart {
	if len(runs) != 1 {
		return nil
	}
	c := &chart{title: "Heap of the nodes", xLabel: "time since the end of warm-up"}
	for i, n := range runs[0].Result.Nodes {
		l := line{name: fmt.Sprintf("node %d", n.Node), color: i}
		for _, s := range n.Samples {
			p := point{float64(s.At), float64(s.HeapBytes)}
			if s.HeapBytes == 0 {
				p.y = math.NaN() // down, or paused
			}
			l.points = append(l.points, p)
		}
		c.addLine(l)
	}
	for _, l := range c.lines {
		if len(l.points) < 3 {
			return nil
		}
	}
	return c.overTime(runs, octets, false)
}

// stages is where the time goes inside the cluster.
func stages(runs []Run) *rows {
	out := &rows{title: "Stages inside the cluster", unit: nanos, log: true, spans: true}
	for k, stage := range result.StageNames {
		for i, run := range runs {
			if run.Result.Stages == (result.Stages{}) {
				continue
			}
			w := row{label: stage, color: i, span: run.Result.Stages.StageOf(stage), group: i == 0}
			if len(runs) == 1 {
				w.color, w.group = k, false
			} else if len(runs) > 1 {
				w.label = stage + ", " + run.Name
			}
			out.rows = append(out.rows, w)
		}
	}
	if len(out.rows) == 0 {
		return nil
	}
	return out
}
