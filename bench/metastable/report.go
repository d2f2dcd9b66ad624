package metastable

import (
	"fmt"
	"io"
	"time"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "metastability"
)

// Verdicts.
const (
	Recovered    = "recovered"
	NotRecovered = "not recovered"
	Invalid      = "invalid" // the cluster could not do the usual load either
	Violated     = "violated"
)

// Report is the outcome. Durations are nanoseconds.
type Report struct {
	SchemaVersion int            `json:"schema_version"`
	Kind          string         `json:"kind"`
	Partial       bool           `json:"partial"`
	Verdict       string         `json:"verdict"`
	Reasons       []string       `json:"reasons,omitempty"`
	Seed          uint64         `json:"seed"`
	Peak          float64        `json:"peak_ops_per_s"`
	Usual         float64        `json:"usual"`        // share of the peak
	Overload      float64        `json:"overload"`     // likewise
	Recovered     int64          `json:"recovered_ns"` // from the end of the overload; result.Never
	Bound         int64          `json:"p99_bound_ns"` // below which the p99 is back
	Phases        []Phase        `json:"phases"`
	Run           *result.Result `json:"run"`

	better float64 // a better guess of the peak, if this one was wrong
}

// Phase is a part of the load.
type Phase struct {
	Name        string  `json:"name"`
	Start       int64   `json:"start_ns"`
	End         int64   `json:"end_ns"`
	Offered     float64 `json:"offered_ops_per_s"`
	Rate        float64 `json:"ops_per_s"` // acknowledged
	P50         int64   `json:"p50_ns"`    // response times: medians over the intervals
	P99         int64   `json:"p99_ns"`
	Max         int64   `json:"max_ns"`
	Failed      uint64  `json:"failed"`
	Unknown     uint64  `json:"unknown"`
	Outstanding int     `json:"outstanding_max"` // under way
	Waiting     uint64  `json:"waiting_max"`     // due and not sent
	HeapMax     uint64  `json:"heap_bytes_max"`  // of one node

	ops     uint64
	p99High int64 // the 90th percentile of the intervals' p99
}

// JSON writes the report, with the run in it.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	out.Phases = table.List(out.Phases)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	c := &r.Run.Config
	p := &table.Page{Name: "paxbench metastability", Title: fmt.Sprintf("%s operations/s, %.3g x the peak between times at %.3g x, %d nodes, fsync %s, seed %d",
		result.Count(r.Peak), r.Overload, r.Usual, c.Nodes, c.Fsync, r.Seed)}
	p.Add("", "", r.table())
	if r.Verdict == Violated {
		r.Run.Say(p.Say)
		return p
	}
	switch r.Verdict {
	case Recovered:
		p.Say("VERDICT", "recovered: %s after the overload the p99 was below %s again, and stayed there", time.Duration(r.Recovered), result.Duration(r.Bound))
	case NotRecovered:
		p.Say("VERDICT", "NOT RECOVERED:")
	default:
		p.Say("VERDICT", "%s:", r.Verdict)
	}
	for _, reason := range r.Reasons {
		p.Say("", "%s", reason)
	}
	t := &r.Run.Throughput
	p.Say("CLIENTS", "%s operations given up before they were sent; %s blocks sent again, %s times turned away as busy",
		result.Count(float64(t.Expired)), result.Count(float64(t.Resent)), result.Count(float64(t.Busy)))
	r.Run.Say(p.Say)
	return p
}

func (r *Report) table() table.Table {
	t := table.Table{Head: []string{"", "offered/s", "served/s", "p50", "p99", "max", "failed", "unknown", "under way", "not sent", "heap of a node"}}
	for i := range r.Phases {
		p := &r.Phases[i]
		t.Add(p.Name, result.Count(p.Offered), result.Count(p.Rate), result.Duration(p.P50), result.Duration(p.P99), result.Duration(p.Max), result.Count(float64(p.Failed)),
			result.Count(float64(p.Unknown)), result.Count(float64(p.Outstanding)), result.Count(float64(p.Waiting)), result.Bytes(float64(p.HeapMax)))
	}
	return t
}
