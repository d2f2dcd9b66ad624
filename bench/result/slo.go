package result

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/load"
)

// SLO is an objective and, after Check, whether it was met.
type SLO struct {
	Text  string  `json:"slo"`   // as given
	Value float64 `json:"value"` // measured: nanoseconds, operations per second, or a count
	Met   bool    `json:"met"`

	metric *metric
	op     string
	bound  float64
}

// metric is what an objective can be about.
type metric struct {
	name  string
	nanos bool // its bound is a duration
	value func(*Result) float64
}

var metrics = []metric{
	{"p50", true, func(r *Result) float64 { return float64(r.Latency.Response.P50) }},
	{"p90", true, func(r *Result) float64 { return float64(r.Latency.Response.P90) }},
	{"p99", true, func(r *Result) float64 { return float64(r.Latency.Response.P99) }},
	{"p999", true, func(r *Result) float64 { return float64(r.Latency.Response.P999) }},
	{"max", true, func(r *Result) float64 { return float64(r.Latency.Response.Max) }},
	{"mean", true, func(r *Result) float64 { return float64(r.Latency.Response.Mean) }},
	{"ops_per_s", false, func(r *Result) float64 { return r.Throughput.OpsPerSec }},
	{"failed", false, func(r *Result) float64 { return float64(r.Throughput.Failed) }},
	{"unknown", false, func(r *Result) float64 { return float64(r.Throughput.Unknown) }},
	{"unavailable", true, func(r *Result) float64 { return worst(r, func(f *Fault) int64 { return f.Unavailable }) }},
	{"recovered", true, func(r *Result) float64 { return worst(r, func(f *Fault) int64 { return f.Recovered }) }},
}

// worst is the longest of a duration over all faults; what never ended is longer than any bound.
func worst(r *Result, of func(*Fault) int64) (most float64) {
	for i := range r.Faults {
		v := of(&r.Faults[i])
		if v == Never {
			v = math.MaxInt64
		}
		most = max(most, float64(v))
	}
	return most
}

// ParseSLO reads the value of --slo: a metric, one of < <= > >=, and a bound, as in p99<5ms. Latencies are response
// times.
func ParseSLO(text string) (SLO, error) {
	fail := func(want string) (SLO, error) {
		return SLO{}, &load.SpecError{Flag: "slo", Given: text, Want: want}
	}
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return fail("want a metric, a comparison and a bound, as in p99<5ms or ops_per_s>100000")
	}
	s := SLO{Text: text, op: text[at : at+1]}
	bound := text[at+1:]
	if after, ok := strings.CutPrefix(bound, "="); ok {
		s.op, bound = s.op+"=", after
	}
	name, names := strings.TrimSpace(text[:at]), make([]string, len(metrics))
	for i := range metrics {
		names[i] = metrics[i].name
		if names[i] == name {
			s.metric = &metrics[i]
		}
	}
	if s.metric == nil {
		return fail("there is no metric " + strconv.Quote(name) + ": want one of " + strings.Join(names, ", "))
	}
	bound = strings.TrimSpace(bound)
	if s.metric.nanos {
		d, err := time.ParseDuration(bound)
		if err != nil || d < 0 {
			return fail("the bound of " + name + " is a duration with a unit, such as 5ms")
		}
		s.bound = float64(d)
		return s, nil
	}
	v, err := strconv.ParseFloat(bound, 64)
	if err != nil || !(v >= 0) {
		return fail("the bound of " + name + " is a number, such as 100000")
	}
	s.bound = v
	return s, nil
}

// Check holds the objectives against the result, records them in it, and says whether all were met. An objective
// about latencies is not met when nothing was acknowledged.
func (r *Result) Check(slos []SLO) (met bool) {
	met = true
	r.SLOs = nil
	for _, s := range slos {
		s.Value = s.metric.value(r)
		switch s.op {
		case "<":
			s.Met = s.Value < s.bound
		case "<=":
			s.Met = s.Value <= s.bound
		case ">":
			s.Met = s.Value > s.bound
		case ">=":
			s.Met = s.Value >= s.bound
		}
		if r.Latency.Response.Count == 0 {
			s.Met = false
		}
		met = met && s.Met
		r.SLOs = append(r.SLOs, s)
	}
	return met
}

// shown is the measured value with its unit. A recorded objective is parsed again: only its text was recorded.
func (s SLO) shown() string {
	m := s.metric
	if m == nil {
		if p, err := ParseSLO(s.Text); err == nil {
			m = p.metric
		}
	}
	switch {
	case m == nil:
		return strconv.FormatFloat(s.Value, 'g', 6, 64)
	case !m.nanos:
		return Count(s.Value)
	case s.Value >= math.MaxInt64:
		return "never"
	}
	return Duration(int64(s.Value))
}
