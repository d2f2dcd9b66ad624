package sweep

import (
	"fmt"
	"io"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "sweep"
)

// Report is the table at the end. The files have all that was recorded.
type Report struct {
	SchemaVersion int    `json:"schema_version"`
	Kind          string `json:"kind"`
	Partial       bool   `json:"partial"`
	Dir           string `json:"dir"`
	Rows          []Row  `json:"rows"`
}

// Row is one point. Of a run that violated safety the numbers are 0; of one that failed, there is only Error.
type Row struct {
	Settings []Setting      `json:"settings"`
	Repeat   int            `json:"repeat"`
	File     string         `json:"file"`
	Recorded bool           `json:"recorded"` // was there already
	Error    string         `json:"error,omitempty"`
	Validity string         `json:"validity,omitempty"`
	Reasons  []string       `json:"reasons,omitempty"`
	Safety   string         `json:"safety,omitempty"`
	SLOsMet  *bool          `json:"slos_met,omitempty"`
	Ops      float64        `json:"ops_per_s"`
	Response result.Latency `json:"response_ns"`
	Cost     result.Cost    `json:"cost_per_op"`

	result *result.Result
}

// Violated says whether the run of a row violated safety.
func (r *Row) Violated() bool { return r.Safety == result.Violated }

func (r *Row) set(run *result.Result) {
	r.result = run
	r.Validity, r.Reasons, r.Safety = run.Validity.Verdict, run.Validity.Reasons, run.Safety.Verdict
	if run.Safety.Linearizable == result.Violated {
		r.Safety = result.Violated
	}
	if r.Violated() {
		return
	}
	r.Ops, r.Response, r.Cost = run.Throughput.OpsPerSec, run.Latency.Response, run.Cost
	if len(run.SLOs) > 0 {
		met := true
		for _, s := range run.SLOs {
			met = met && s.Met
		}
		r.SLOsMet = &met
	}
}

func (r *Row) summary() string {
	if r.Violated() {
		return "SAFETY VIOLATED"
	}
	return fmt.Sprintf("%s ops/s, p99 %s, %s", result.Count(r.Ops), result.Duration(r.Response.P99), r.verdict())
}

// verdict is the gravest that is to be said.
func (r *Row) verdict() string {
	switch {
	case r.Error != "":
		return "FAILED"
	case r.Violated():
		return "SAFETY VIOLATED"
	case r.Validity == result.Invalid:
		return "invalid"
	case r.SLOsMet != nil && !*r.SLOsMet:
		return "SLO missed"
	}
	return "ok"
}

// JSON writes the report.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	out.Rows = table.List(out.Rows)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	p := &table.Page{Name: "paxbench sweep", Title: r.title()}
	p.Add("", "", r.table())
	for _, remark := range r.remarks() {
		p.Say("NOTE", "%s", remark)
	}
	return p
}

func (r *Report) title() string {
	s := fmt.Sprintf("%d runs, recorded in %s", len(r.Rows), r.Dir)
	if r.Partial {
		s += ", interrupted"
	}
	return s
}

func (r *Report) table() table.Table {
	var t table.Table
	if len(r.Rows) == 0 {
		return t
	}
	repeats := false
	for i := range r.Rows {
		repeats = repeats || r.Rows[i].Repeat > 1
	}
	for _, s := range r.Rows[0].Settings {
		t.Head = append(t.Head, s.Name)
	}
	if repeats {
		t.Head = append(t.Head, "repeat")
	}
	t.Head = append(t.Head, "ops/s", "p50", "p99", "p99.9", "cpu/op", "fsyncs/op", "log/op", "")
	t.Left = map[int]bool{len(t.Head) - 1: true}
	for i := range r.Rows {
		row := &r.Rows[i]
		var cells []string
		for _, s := range row.Settings {
			cells = append(cells, s.Value)
		}
		if repeats {
			cells = append(cells, fmt.Sprint(row.Repeat))
		}
		if row.Response.Count == 0 {
			cells = append(cells, "-", "-", "-", "-", "-", "-", "-")
		} else {
			l, c := &row.Response, &row.Cost
			cells = append(cells, result.Count(row.Ops), result.Duration(l.P50), result.Duration(l.P99), result.Duration(l.P999),
				result.Duration(int64(c.CPU+0.5)), fmt.Sprintf("%.3g", c.Fsyncs), result.Bytes(c.WALBytes))
		}
		t.Add(append(cells, row.verdict())...)
	}
	return t
}

// remarks say why rows are not ok.
func (r *Report) remarks() []string {
	var out []string
	for i := range r.Rows {
		row := &r.Rows[i]
		p := Point{Settings: row.Settings, Repeat: row.Repeat}
		if row.Error != "" {
			out = append(out, fmt.Sprintf("%s: failed: %s", p.String(), row.Error))
		}
		if row.Validity == result.Invalid {
			out = append(out, fmt.Sprintf("%s: invalid: %s", p.String(), strings.Join(row.Reasons, "; ")))
		}
	}
	return out
}
