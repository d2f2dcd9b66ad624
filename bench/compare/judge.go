// Package compare says whether one of two sides of measurements is slower or costlier than the other: settings,
// builds, or recorded sets.
package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/stats"
	"golang.org/x/perf/benchmath"
)

// Bounds of what can be concluded. They follow from the tests: with fewer values, even the most lopsided outcome is
// not rare enough.
const (
	confidence = 0.95
	// RunsMin is the number of runs a side, or pairs, without which there is no finite interval of a median at 95%.
	RunsMin = 6
	// exactMin is the number of runs a side that show whether a count repeats.
	exactMin = 2
)

// Options are how sides are compared. The zero value is not usable: take DefaultOptions.
type Options struct {
	// Threshold is the relative change that matters: 0.03 is 3%.
	Threshold float64
	// Gates are the names of the times that can fail a comparison; nil: DefaultGates of the load.
	Gates []string
}

// DefaultOptions is a threshold of 3%.
func DefaultOptions() Options { return Options{Threshold: 0.03} }

// DefaultGates are the times that tell something about a load. In a closed loop latency is the inverse of throughput
// but for its tail; in an open loop the throughput is what was asked for.
func DefaultGates(open bool) []string {
	if open {
		return []string{"p50", "p99", "cpu"}
	}
	return []string{"throughput", "p99", "cpu"}
}

// Sets are the runs of both sides. Of paired ones, A[i] and B[i] ran one after the other.
type Sets struct {
	A, B   []*result.Result
	Paired bool
	// LockA and LockB are the lockstep runs: one command in flight, so that next to nothing depends on timing.
	LockA, LockB []*result.Result
}

// Judge compares the sides. It depends on its arguments alone. Runs that violated safety decide the verdict; invalid
// ones must have been left out by the caller.
func Judge(s Sets, o Options) *Report {
	r := &Report{SchemaVersion: SchemaVersion, Kind: Kind, Threshold: o.Threshold, Paired: s.Paired, RunsA: len(s.A), RunsB: len(s.B), Verdict: OK}
	for i, all := range [][]*result.Result{s.A, s.LockA, s.B, s.LockB} {
		for _, run := range all {
			if run.Violates() {
				r.Verdict = Violated
				r.reason("side %s violated safety; seed %d", string("AB"[i/2]), run.Seed)
			}
		}
	}
	if r.Verdict == Violated {
		return r
	}
	for i := range counts {
		if m, ok := exact(&counts[i], Lockstep, s.LockA, s.LockB); ok {
			r.Metrics = append(r.Metrics, m)
		}
	}
	for i := range counts {
		if m, ok := exact(&counts[i], Load, s.A, s.B); ok {
			r.Metrics = append(r.Metrics, m)
		}
	}
	gates := o.Gates
	if gates == nil {
		gates = DefaultGates(len(s.A) > 0 && s.A[0].Config.Rate > 0)
	}
	level := s.level(len(gates))
	for i := range timings {
		if m, ok := s.timed(&timings[i], level, o.Threshold); ok {
			m.Gate = slices.Contains(gates, m.Name)
			r.Metrics = append(r.Metrics, m)
		}
	}
	r.decide()
	return r
}

// level is the confidence of each interval: so high that all of them together hold at 95% (Bonferroni), or as high as
// so many runs can give.
func (s *Sets) level(gates int) float64 {
	want, can := 1-(1-confidence)/float64(max(gates, 1)), stats.UnpairedConfidence(len(s.A), len(s.B))
	if s.Paired {
		can = stats.PairedConfidence(len(s.A))
	}
	return max(confidence, min(want, can))
}

// decide gives the verdict of the whole.
func (r *Report) decide() {
	for _, m := range r.Metrics {
		if m.Gate && m.Verdict == Worse {
			r.Verdict = Regression
			r.reason("%s", m.sentence(r.Threshold))
		}
	}
	if n := min(r.RunsA, r.RunsB); n < RunsMin && r.Verdict == OK {
		r.Verdict = Inconclusive
		r.reason("%d and %d usable runs: 6 a side are needed for a finite interval at 95%%, 4 for any p below 0.05; use more --rounds", r.RunsA, r.RunsB)
	}
}

// A count is exact if it repeats: if on each side all runs lie within its tolerance. Then no statistics are needed,
// and it is worse if the best run of B is worse than the worst run of A by more than the tolerance again. A count
// that does not repeat depends on timing here, and cannot gate; that is shown, not hidden.
func exact(c *count, stage string, a, b []*result.Result) (Metric, bool) {
	va, vb := values(a, c.value), values(b, c.value)
	if len(va) == 0 || len(vb) == 0 {
		return Metric{}, false
	}
	m := Metric{Name: c.name, Stage: stage, Better: lower, Tolerance: c.tolerance, Verdict: Info}
	if c.higher {
		m.Better = higher
	}
	sa, sb := sample(va), sample(vb)
	m.A, m.B = summary(sa, benchmath.AssumeExact), summary(sb, benchmath.AssumeExact)
	m.Ratio = number(m.B.Center / m.A.Center)
	m.Exact = len(va) >= exactMin && len(vb) >= exactMin && spread(va) <= c.tolerance && spread(vb) <= c.tolerance
	if !m.Exact {
		return m, true
	}
	m.Gate = true
	rises, falls := m.B.Lo/m.A.Hi-1 > c.tolerance, m.A.Lo/m.B.Hi-1 > c.tolerance
	m.Verdict = verdictOf(rises, falls, !rises && !falls, c.higher)
	return m, true
}

// timed compares a time. Ratios are B/A of pairs where there are pairs, and intervals are taken over their logarithms.
func (s *Sets) timed(t *timing, level, threshold float64) (Metric, bool) {
	va, vb := values(s.A, t.value), values(s.B, t.value)
	if len(va) == 0 || len(vb) == 0 || len(va) < len(s.A) || len(vb) < len(s.B) {
		return Metric{}, false // also what not all runs have
	}
	m := Metric{Name: t.name, Stage: Load, Better: lower}
	if t.higher {
		m.Better = higher
	}
	la, lb := logs(va), logs(vb)
	var e stats.Estimate
	if s.Paired {
		for i := range lb {
			lb[i] -= la[i]
		}
		e = stats.Paired(lb, level)
	} else {
		e = stats.Unpaired(la, lb, level)
	}
	sa, sb := sample(va), sample(vb)
	m.A, m.B = summary(sa, benchmath.AssumeNothing), summary(sb, benchmath.AssumeNothing)
	m.P = number(benchmath.AssumeNothing.Compare(sa, sb).P)
	m.Ratio, m.Verdict = number(math.Exp(e.Center)), Few
	if !e.Finite() {
		return m, true
	}
	m.Lo, m.Hi, m.Confidence = number(math.Exp(e.Lo)), number(math.Exp(e.Hi)), e.Confidence
	up, down := math.Log1p(threshold), math.Log1p(-threshold)
	m.Verdict = verdictOf(e.Lo > up, e.Hi < down, e.Lo >= down && e.Hi <= up, t.higher)
	if t.higher { // worse is downwards
		m.Detectable = number(1 - math.Exp(-e.Detectable(-down)))
	} else {
		m.Detectable = number(math.Exp(e.Detectable(up)) - 1)
	}
	return m, true
}

func verdictOf(rises, falls, same, higher bool) string {
	switch {
	case rises != falls && rises == higher:
		return Better
	case rises != falls:
		return Worse
	case same:
		return Same
	}
	return Unclear
}

// values are those of all runs that have one.
func values(runs []*result.Result, of func(*result.Result) float64) []float64 {
	var out []float64
	for _, r := range runs {
		if v := of(r); v > 0 && !math.IsInf(v, 0) {
			out = append(out, v)
		}
	}
	return out
}

func logs(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Log(x)
	}
	return out
}

// spread is the range of values in relation to the smallest.
func spread(v []float64) float64 { return slices.Max(v)/slices.Min(v) - 1 }

// sample copies the values, which benchmath sorts.
func sample(v []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(v), &benchmath.DefaultThresholds)
}

func summary(s *benchmath.Sample, assume benchmath.Assumption) Summary {
	sum := assume.Summary(s, confidence)
	out := Summary{Center: stats.Median(s.Values), Lo: sum.Lo, Hi: sum.Hi, N: len(s.Values)}
	if math.IsInf(out.Lo, 0) || math.IsInf(out.Hi, 0) {
		out.Lo, out.Hi = s.Values[0], s.Values[len(s.Values)-1] // the range: of so few values there is no interval
	}
	return out
}

// number is a pointer to v, nil if JSON cannot say it.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// throughput is the one time that is a rate; the others are durations.
const throughput = "throughput"

// timing is a metric that varies from run to run.
type timing struct {
	name   string
	higher bool
	value  func(*result.Result) float64
}

var timings = []timing{
	{throughput, true, func(r *result.Result) float64 { return r.Throughput.OpsPerSec }},
	{"p50", false, func(r *result.Result) float64 { return float64(r.Latency.Response.P50) }},
	{"p99", false, func(r *result.Result) float64 { return float64(r.Latency.Response.P99) }},
	{"cpu", false, func(r *result.Result) float64 { return r.Cost.CPU }},
}

// TimeNames are the names that Options.Gates may hold.
func TimeNames() []string {
	names := make([]string, len(timings))
	for i := range timings {
		names[i] = timings[i].name
	}
	return names
}

// count is a metric that a command costs, whatever the speed of the machine. The tolerances are what was seen of the
// influence of timing on lockstep runs: heartbeats are messages and bytes and come by the clock; fsyncs of a follower
// may fall together; the runtime allocates in the background.
type count struct {
	name      string
	higher    bool
	tolerance float64
	value     func(*result.Result) float64
}

var counts = []count{
	{"fsyncs", false, 0.10, func(r *result.Result) float64 { return perCommand(r, r.Cost.Fsyncs) }},
	{"messages", false, 0.03, func(r *result.Result) float64 { return perCommand(r, r.Cost.Messages) }},
	{"log bytes", false, 0.01, func(r *result.Result) float64 { return perCommand(r, r.Cost.WALBytes) }},
	{"network bytes", false, 0.03, func(r *result.Result) float64 { return perCommand(r, r.Cost.NetBytes) }},
	{"allocations", false, 0.10, func(r *result.Result) float64 { return perCommand(r, r.Cost.Allocs) }},
	{"batch occupancy", true, 0.02, occupancy},
}

// perCommand turns a cost per acknowledged operation into one per executed command. Operations are counted by the
// generator from the end of warm-up on, costs and commands by the nodes when they are asked, which on a busy machine is
// tens of milliseconds later: of a thousand commands in lockstep, several percent. Commands and costs of one reading go
// together. Reads are not commands; with them the cost stays what it is.
func perCommand(r *result.Result, cost float64) float64 {
	executed, counted := 0.0, 0.0
	for _, n := range r.Nodes {
		executed += float64(n.Commands) / float64(len(r.Nodes))
	}
	for _, i := range r.Intervals {
		if i.Start >= 0 {
			counted += float64(i.Ops)
		}
	}
	if r.Config.Reads > 0 || executed == 0 || counted == 0 {
		return cost
	}
	return cost * counted / executed
}

// occupancy is the commands per batch: what the node that executed most executed, by the batches that the leader
// built.
func occupancy(r *result.Result) float64 {
	most := uint64(0)
	for _, n := range r.Nodes {
		most = max(most, n.Commands)
	}
	if r.Stages.Batch.Count == 0 {
		return 0
	}
	return float64(most) / float64(r.Stages.Batch.Count)
}

func (r *Report) reason(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}
