package compare

import (
	"fmt"
	"io"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "compare"
)

// Verdicts of a comparison.
const (
	OK           = "ok"           // no regression was shown; Metric.Detectable says how large one could have hidden
	Regression   = "regression"   // shown beyond the threshold
	Inconclusive = "inconclusive" // too few usable runs
	Violated     = "violated"     // a run violated safety: nothing else counts
)

// Verdicts of a metric.
const (
	Worse   = "worse"  // the interval lies wholly beyond the threshold
	Better  = "better" // the same to the other side
	Same    = "same"   // wholly within the threshold
	Unclear = "unclear"
	Few     = "too few runs"
	Info    = "varies" // a count that does not repeat, and so cannot gate
)

// Stages of measurement.
const (
	Lockstep = "lockstep"
	Load     = "load"
)

const (
	lower  = "lower"
	higher = "higher"
)

// Report is the outcome of a comparison.
type Report struct {
	SchemaVersion int      `json:"schema_version"`
	Kind          string   `json:"kind"`
	Partial       bool     `json:"partial"` // interrupted
	Verdict       string   `json:"verdict"`
	Reasons       []string `json:"reasons"`
	Notes         []string `json:"notes,omitempty"`
	LabelA        string   `json:"label_a"`
	LabelB        string   `json:"label_b"`
	RunsA         int      `json:"runs_a"` // usable
	RunsB         int      `json:"runs_b"`
	Paired        bool     `json:"paired"`
	Threshold     float64  `json:"threshold"`
	Seed          uint64   `json:"seed,omitempty"`
	Metrics       []Metric `json:"metrics"`
}

// Metric is one number of both sides. Ratios are B/A; durations are nanoseconds.
type Metric struct {
	Name       string   `json:"name"`
	Stage      string   `json:"stage"`
	Better     string   `json:"better"` // lower or higher
	Exact      bool     `json:"exact"`  // repeats within Tolerance: compared without statistics
	Gate       bool     `json:"gate"`   // can fail the comparison
	Tolerance  float64  `json:"tolerance,omitempty"`
	A          Summary  `json:"a"`
	B          Summary  `json:"b"`
	Ratio      *float64 `json:"ratio"`
	Lo         *float64 `json:"ratio_lo,omitempty"`
	Hi         *float64 `json:"ratio_hi,omitempty"`
	Confidence float64  `json:"confidence,omitempty"`                // of Lo to Hi
	P          *float64 `json:"mann_whitney_p,omitempty"`            // unpaired, for information
	Detectable *float64 `json:"minimum_detectable_effect,omitempty"` // a change for the worse, relative
	Verdict    string   `json:"verdict"`
}

// Summary is one side: the median, and its interval at 95% or, of counts and of fewer than six times, the range.
type Summary struct {
	Center float64 `json:"center"`
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
	N      int     `json:"n"`
}

// JSON writes the report.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	out.Reasons = table.List(out.Reasons)
	out.Metrics = table.List(out.Metrics)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	p := &table.Page{Name: "paxbench compare", Setup: []table.Line{{Name: "A", Text: r.LabelA}, {Name: "B", Text: r.LabelB}, {Text: r.design()}}}
	r.tables(p)
	p.Say("VERDICT", "%s", r.sentence())
	for _, reason := range r.Reasons {
		p.Say("", "%s", reason)
	}
	for _, note := range r.Notes {
		p.Say("NOTE", "%s", note)
	}
	return p
}

// design says what was done.
func (r *Report) design() string {
	if !r.Paired {
		return fmt.Sprintf("recorded sets of %d and %d runs, threshold %.3g%%", r.RunsA, r.RunsB, 100*r.Threshold)
	}
	noun := "pairs"
	if r.RunsA == 1 {
		noun = "pair"
	}
	return fmt.Sprintf("%d %s, interleaved A B, B A, ..., the same seed within a pair, threshold %.3g%%", r.RunsA, noun, 100*r.Threshold)
}

func (r *Report) sentence() string {
	switch r.Verdict {
	case OK:
		return "ok: no regression is shown. 'detects' is the smallest change for the worse that would be, four times in five"
	case Regression:
		return "REGRESSION: the interval lies wholly beyond the threshold, or an exact count has grown:"
	case Inconclusive:
		return "INCONCLUSIVE:"
	}
	return "SAFETY VIOLATED: performance is beside the point:"
}

// tables are the exact counts, those under load, and the times.
func (r *Report) tables(p *table.Page) {
	locked, loaded := countTable(), countTable()
	times := table.Table{Head: []string{"", "A", "B", "B/A", "interval", "confidence", "p", "detects", "verdict"}, Left: map[int]bool{8: true}}
	for i := range r.Metrics {
		m := &r.Metrics[i]
		switch {
		case m.Tolerance == 0:
			times.Add(m.timeRow()...)
		case m.Stage == Lockstep:
			locked.Add(m.countRow()...)
		default:
			loaded.Add(m.countRow()...)
		}
	}
	p.Add("EXACT COUNTS", "per command, one command in flight, over all nodes", locked)
	p.Add("COUNTS UNDER LOAD", "per command; those that vary depend on timing here and do not gate", loaded)
	p.Add("TIMES", "B/A with its interval; gates are marked", times)
}

func (m *Metric) timeRow() []string {
	name := m.Name
	if m.Gate {
		name += " (gate)"
	}
	interval, confidence, detects := "-", "-", "-"
	if m.Lo != nil {
		interval, confidence = fmt.Sprintf("%.3f to %.3f", *m.Lo, *m.Hi), fmt.Sprintf("%.1f%%", 100*m.Confidence)
	}
	if m.Detectable != nil {
		detects = fmt.Sprintf("%.1f%%", 100**m.Detectable)
	}
	return []string{name, m.show(m.A.Center), m.show(m.B.Center), decimals(m.Ratio, 3), interval, confidence, decimals(m.P, 3), detects, m.Verdict}
}

func countTable() table.Table {
	return table.Table{Head: []string{"", "A", "range", "B", "range", "B/A", "tolerance", "verdict"}, Left: map[int]bool{7: true}}
}

func (m *Metric) countRow() []string {
	spread := func(s Summary) string { return fmt.Sprintf("%.4g to %.4g", s.Lo, s.Hi) }
	return []string{
		m.Name, fmt.Sprintf("%.4g", m.A.Center), spread(m.A), fmt.Sprintf("%.4g", m.B.Center), spread(m.B),
		decimals(m.Ratio, 3), fmt.Sprintf("%.3g%%", 100*m.Tolerance), m.Verdict,
	}
}

func decimals(v *float64, digits int) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, *v)
}

func (m *Metric) show(v float64) string {
	if m.Name != throughput {
		return result.Duration(int64(v + 0.5))
	}
	return result.Count(v)
}

// sentence says in words that the metric is worse.
func (m *Metric) sentence(threshold float64) string {
	if m.Exact {
		where := "with one command in flight"
		if m.Stage == Load {
			where = "under load"
		}
		return fmt.Sprintf("%s per command %s: %.4g to %.4g became %.4g to %.4g, beyond the tolerance of %.3g%%",
			m.Name, where, m.A.Lo, m.A.Hi, m.B.Lo, m.B.Hi, 100*m.Tolerance)
	}
	return fmt.Sprintf("%s: B/A is %.3f, with %.1f%% confidence between %.3f and %.3f: wholly beyond %.3g%%",
		m.Name, *m.Ratio, 100*m.Confidence, *m.Lo, *m.Hi, 100*threshold)
}
