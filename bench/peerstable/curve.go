package peerstable

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
)

// KindCurve is the kind of a Curve.
const KindCurve = "curve"

// Curve is the engine over loads, with the window that it chooses and with fixed ones: additive changes only, times in
// nanoseconds.
type Curve struct {
	SchemaVersion int           `json:"schema_version"`
	Kind          string        `json:"kind"` // KindCurve
	Partial       bool          `json:"partial"`
	Started       time.Time     `json:"started"`
	Elapsed       time.Duration `json:"elapsed_ns"`
	Config        CurveConfig   `json:"config"`
	Env           env.Info      `json:"env"`
	Cells         []Cell        `json:"cells"`   // the loads
	Windows       []int         `json:"windows"` // slots; 0: adapting
	Samples       []CurveSample `json:"samples"`
	Invalid       []Invalid     `json:"invalid"` // sessions without samples, and why
}

// CurveConfig is how a curve was made.
type CurveConfig struct {
	Sessions int           `json:"sessions"` // clusters, one after the other
	Rounds   int           `json:"rounds"`   // in each, of all loads with all windows
	Replicas int           `json:"replicas"`
	Fixed    int           `json:"default_fixed"` // the window that is the engine's bound, and was its default before it adapted
	GOGC     int           `json:"gogc"`
	Procs    int           `json:"procs,omitempty"` // as in Engine
	Warmup   time.Duration `json:"warmup_ns"`
	Length   time.Duration `json:"length_ns"`
	Delay    time.Duration `json:"delay_ns,omitempty"` // of what a replica sends to another
}

// CurveSample is one load with one window in one round.
type CurveSample struct {
	Round     int     `json:"round"`
	Cell      int     `json:"cell"`
	Window    int     `json:"window"`
	PerSecond float64 `json:"commands_per_s"`
	Latency   Times   `json:"latency_ns"`
}

// DecodeCurve reads a record; where names it in errors.
func DecodeCurve(b []byte, where string) (*Curve, error) {
	c, err := decode[Curve](b, where, KindCurve)
	if err != nil {
		return nil, err
	}
	for i, s := range c.Samples {
		if s.Cell < 0 || s.Cell >= len(c.Cells) || !slices.Contains(c.Windows, s.Window) {
			return nil, fmt.Errorf("%s: sample %d is of load %d and window %d, which are not among those of the record", where, i, s.Cell, s.Window)
		}
	}
	return c, nil
}

// Of is the median of a value over the rounds; NaN: there is none.
func (c *Curve) Of(cell, window int, what func(CurveSample) float64) float64 {
	var v []float64
	for _, s := range c.Samples {
		if s.Cell == cell && s.Window == window {
			v = append(v, what(s))
		}
	}
	if len(v) == 0 {
		return math.NaN()
	}
	return median(v)
}

// Rate is what a closed loop is judged by.
func Rate(s CurveSample) float64 { return s.PerSecond }

// Open says whether the loads are open loops, at a rate each. Otherwise they are closed ones.
func (c *Curve) Open() bool { return len(c.Cells) > 0 && c.Cells[0].PerSecond > 0 }

// worth is what a window is judged by, the more the better: the rate that a closed loop reaches; of an open one, which has its rate,
// the inverse of the p50.
func (c *Curve) worth(s CurveSample) float64 {
	if c.Open() {
		return 1e9 / max(p50(s), 1)
	}
	return s.PerSecond
}

// shown is that as a reader knows it.
func (c *Curve) shown(cell, window int) string {
	if c.Open() {
		return nanos(c.Of(cell, window, p50))
	}
	return count(c.Of(cell, window, Rate))
}

// between is a median of ratios and where it is to be looked for, with a chance of about 19 in 20.
type between struct{ median, low, high float64 }

func (r between) String() string {
	if math.IsNaN(r.median) {
		return ""
	}
	return fmt.Sprintf("%s (%s - %s)", significant(r.median), significant(r.low), significant(r.high))
}

// verdict holds it against what is asked. A median below it may still be chance: then the question is open.
func (r between) verdict(least float64) string {
	switch {
	case math.IsNaN(r.median):
		return ""
	case r.median >= least:
		return "yes"
	case r.high >= least:
		return "open"
	}
	return "**no**"
}

// overall is a window's worth by that of the bound over all loads and rounds: the geometric mean, and 1.96 of its standard errors.
func (c *Curve) overall(window int) (mean, bound float64) {
	var logs []float64
	for cell := range c.Cells {
		for _, ratio := range c.ratios(cell, window, c.Config.Fixed) {
			logs = append(logs, math.Log(ratio))
		}
	}
	n := float64(len(logs))
	var sum, squares float64
	for _, v := range logs {
		sum += v / n
	}
	for _, v := range logs {
		squares += (v - sum) * (v - sum)
	}
	return math.Exp(sum), 1.96 * math.Sqrt(squares/max(n-1, 1)/n)
}

// ratios are the worths of one window by those of another in the same round.
func (c *Curve) ratios(cell, window, other int) (v []float64) {
	for _, a := range c.Samples {
		if a.Cell != cell || a.Window != window || a.PerSecond == 0 {
			continue
		}
		for _, b := range c.Samples {
			if b.Cell == cell && b.Window == other && b.Round == a.Round && b.PerSecond > 0 {
				v = append(v, c.worth(a)/c.worth(b))
			}
		}
	}
	return v
}

// ratio is the worth of the adapting window by that of a fixed one: the median over the rounds' ratios, and the
// interval for it that order statistics give.
func (c *Curve) ratio(cell, window int) between {
	v := c.ratios(cell, 0, window)
	if len(v) == 0 {
		return between{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(v)
	n := float64(len(v))
	k := max(0, int((n-1.96*math.Sqrt(n))/2))
	return between{median(v), v[k], v[len(v)-1-k]}
}

// Markdown is the table: a row for each load.
func (c *Curve) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d replicas, one process each, fsync before every acknowledgement, null state machine, %s in the leader's process; %s%d sessions of %d rounds, in each of which all windows take turns at each load for %s on the same cluster; medians. %s, %d cores; commit %s; %s, took %s.\n",
		c.Config.Replicas, c.loop(), c.delay(), c.Config.Sessions, c.Config.Rounds, c.Config.Length, c.Env.CPU, c.Env.Cores, short(c.Env.Commit, c.Env.Modified), c.Started.Format(time.DateOnly), c.Elapsed.Round(time.Second))
	fmt.Fprintf(&b, "Ratio: %s of the best fixed window, and of that of %d slots, the bound; the median of the rounds' ratios, and its interval of 95%%. Asked: at least 0.95 and 1. The verdict on each: yes; no, when all of the interval is below; open, when the median is below and the rounds do not tell. That the best of several windows is partly luck counts against the adapting one.\n", c.compared(), c.Config.Fixed)
	if c.Partial {
		b.WriteString("\n**Partial: the run was interrupted.**\n")
	}
	b.WriteString("\n| load | adapting")
	for _, w := range c.fixed() {
		fmt.Fprintf(&b, " | window %d", w)
	}
	fmt.Fprintf(&b, " | best fixed | ratio | ratio to %d | within 5%% | never worse | p50 | p99 | p50, best fixed | p99, best fixed |\n|---|--:%s|--:|--:|--:|---|---|--:|--:|--:|--:|\n", c.Config.Fixed, strings.Repeat("|--:", len(c.fixed())))
	for i, cell := range c.Cells {
		best := c.Best(i)
		toBest, toFixed := c.ratio(i, best), c.ratio(i, c.Config.Fixed)
		fmt.Fprintf(&b, "| %s | %s", cell, c.shown(i, 0))
		for _, w := range c.fixed() {
			fmt.Fprintf(&b, " | %s", c.shown(i, w))
		}
		fmt.Fprintf(&b, " | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", best, toBest, toFixed, toBest.verdict(0.95), toFixed.verdict(1),
			nanos(c.Of(i, 0, p50)), nanos(c.Of(i, 0, p99)), nanos(c.Of(i, best, p50)), nanos(c.Of(i, best, p99)))
	}
	var overall []string
	for _, w := range c.Windows {
		name := "adapting"
		if w > 0 {
			name = fmt.Sprintf("window %d", w)
		}
		if mean, bound := c.overall(w); w != c.Config.Fixed && bound > 0 {
			overall = append(overall, fmt.Sprintf("%s %.3f ± %.3f", name, mean, bound))
		}
	}
	if len(overall) > 0 {
		fmt.Fprintf(&b, "\nAll loads together, by what it is with %d slots (geometric mean over all rounds, and 1.96 standard errors): %s.\n", c.Config.Fixed, strings.Join(overall, ", "))
	}
	for _, v := range c.Invalid {
		fmt.Fprintf(&b, "\n- %s\n", v)
	}
	return b.String()
}

// loop and compared say what the loads are, and what is compared at them.
func (c *Curve) loop() string {
	if c.Open() {
		return "open loop"
	}
	return "closed loop"
}

func (c *Curve) compared() string {
	if c.Open() {
		return "the p50, which stands in the columns, by the adapting window's: above 1 the adapting one is the faster. That"
	}
	return "the adapting window's rate by that"
}

// delay says what is between the replicas.
func (c *Curve) delay() string {
	if c.Config.Delay == 0 {
		return ""
	}
	return fmt.Sprintf("what a replica sends to another arrives %s later, through a proxy, which takes processor time of its own; ", c.Config.Delay)
}

func p50(s CurveSample) float64 { return float64(s.Latency.P50) }
func p99(s CurveSample) float64 { return float64(s.Latency.P99) }

func (c *Curve) fixed() (windows []int) {
	for _, w := range c.Windows {
		if w > 0 {
			windows = append(windows, w)
		}
	}
	return windows
}

// Best is the fixed window with the highest median worth at a load.
func (c *Curve) Best(cell int) (window int) {
	most := math.Inf(-1)
	for _, w := range c.fixed() {
		if v := c.Of(cell, w, c.worth); v > most {
			most, window = v, w
		}
	}
	return window
}
