package failover

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "failover"
)

// Report is the outcome. Durations are nanoseconds; result.Never stands for "not before the next loss or the end".
type Report struct {
	SchemaVersion int            `json:"schema_version"`
	Kind          string         `json:"kind"`
	Fault         string         `json:"fault"`
	Seed          uint64         `json:"seed"`
	Asked         int            `json:"losses_asked"`
	Losses        int            `json:"losses"`
	Distributions []Distribution `json:"distributions_ns"`
	Notes         []string       `json:"notes,omitempty"`
	Run           *result.Result `json:"run"`
}

// Distribution is one duration over all losses.
type Distribution struct {
	Name   string  `json:"name"`
	Words  string  `json:"meaning"`
	Count  int     `json:"count"`
	Never  int     `json:"never"` // how many did not end; they are the longest
	Min    int64   `json:"min"`
	P50    int64   `json:"p50"`
	Lo     int64   `json:"p50_lo"` // 95% bootstrap interval of the median
	Hi     int64   `json:"p50_hi"`
	P90    int64   `json:"p90"`
	Max    int64   `json:"max"`
	Values []int64 `json:"values"` // in ascending order
}

// JSON writes the report, with the run in it.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	if out.Distributions == nil {
		out.Distributions = []Distribution{}
	}
	var run strings.Builder
	if err := r.Run.Encode(&run); err != nil { // which withholds what may not be shown
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	type plain Report
	if err := e.Encode(struct {
		plain
		Run json.RawMessage `json:"run"`
	}{plain(out), json.RawMessage(run.String())}); err != nil {
		return fmt.Errorf("failover: %w", err)
	}
	return nil
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "paxbench failover: %s\n\n", r.title())
	if r.Distributions != nil {
		t := r.table()
		b.WriteString(t.Text() + "\n")
	}
	for _, line := range r.verdicts() {
		fmt.Fprintf(&b, "%-9s %s\n", line[0], line[1])
	}
	return write(w, b.String())
}

// Markdown writes the report for a CI step summary.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## paxbench failover: %s\n\n", r.title())
	if r.Distributions != nil {
		t := r.table()
		b.WriteString(t.Markdown() + "\n")
	}
	for _, line := range r.verdicts() {
		fmt.Fprintf(&b, "- %s: %s\n", strings.ToLower(line[0]), line[1])
	}
	return write(w, b.String())
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("failover: write report: %w", err)
	}
	return nil
}

func (r *Report) title() string {
	c := &r.Run.Config
	return fmt.Sprintf("%d of %d x %s on %d nodes, %s operations/s open loop, fsync %s, seed %d", r.Losses, r.Asked, r.Fault, c.Nodes, result.Count(c.Rate), c.Fsync, r.Seed)
}

func duration(d int64) string {
	if d == result.Never {
		return "never"
	}
	return result.Duration(d)
}

func (r *Report) table() table.Table {
	t := table.Table{Head: []string{"unavailable", "min", "p50", "95% interval of p50", "p90", "max", "count", "never", ""}, Left: map[int]bool{8: true}}
	for i := range r.Distributions {
		d := &r.Distributions[i]
		if d.Count == 0 {
			continue
		}
		t.Add(strings.ReplaceAll(strings.TrimSuffix(d.Name, "_95pct"), "_", " "), duration(d.Min), duration(d.P50), duration(d.Lo)+" to "+duration(d.Hi), duration(d.P90), duration(d.Max),
			fmt.Sprint(d.Count), fmt.Sprint(d.Never), d.Words)
	}
	return t
}

// verdicts are the lines at the end: a name and a sentence.
func (r *Report) verdicts() [][2]string {
	s, p := &r.Run.Safety, &r.Run.Throughput
	var out [][2]string
	say := func(name, format string, args ...any) {
		out = append(out, [2]string{name, fmt.Sprintf(format, args...)})
	}
	switch s.Verdict {
	case result.Violated:
		say("SAFETY", "VIOLATED: of %s acknowledged writes %d lost, %d doubled, %d otherwise wrong; performance numbers are withheld", result.Count(float64(s.Acked)), s.Lost, s.Duplicated, s.Wrong)
		for _, d := range s.Details {
			say("", "%s", d)
		}
		return out
	case result.OK:
		say("SAFETY", "ok: all %s acknowledged writes were read back from %d replicas: 0 lost, 0 doubled; %s of unknown outcome", result.Count(float64(s.Acked)), s.Replicas, result.Count(float64(s.Unknown)))
	default:
		say("SAFETY", "%s", s.Verdict)
	}
	say("OPS", "%s acknowledged, %s failed, %s of unknown outcome", result.Count(float64(p.Ops)), result.Count(float64(p.Failed)), result.Count(float64(p.Unknown)))
	for _, slo := range r.Run.SLOs {
		word := "met"
		if !slo.Met {
			word = "MISSED"
		}
		say("SLO", "%s: %s", word, slo.Text)
	}
	say("VALIDITY", "%s", r.Run.Validity.Verdict)
	for _, reason := range r.Run.Validity.Reasons {
		say("", "%s", reason)
	}
	for _, note := range r.Notes {
		say("NOTE", "%s", note)
	}
	return out
}
