package failover

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
	out.Distributions = table.List(out.Distributions)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	p := &table.Page{Name: "paxbench failover", Title: r.title()}
	p.Add("", "", r.table())
	r.Run.Say(p.Say)
	for _, note := range r.Notes {
		p.Say("NOTE", "%s", note)
	}
	return p
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
