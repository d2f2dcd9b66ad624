package scenario

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
)

// SchemaVersion is the version of the JSON form; Kind tells it from that of a run.
const (
	SchemaVersion = 1
	Kind          = "scenario"
)

// Verdicts.
const (
	Shown    = "shown"     // it happened, and was dealt with
	NotShown = "not shown" // it did not happen, or not as it should: Reasons say what is missing
	Violated = "violated"  // safety
)

// Report is the outcome. Durations are nanoseconds.
type Report struct {
	SchemaVersion int      `json:"schema_version"`
	Kind          string   `json:"kind"`
	Scenario      string   `json:"scenario"`
	Partial       bool     `json:"partial"`
	Seed          uint64   `json:"seed"`
	Rounds        int      `json:"rounds"`
	Verdict       string   `json:"verdict"`
	Reasons       []string `json:"reasons,omitempty"`
	Rows          []Row    `json:"rows"`
}

// Row is what one run counted, over all nodes.
type Row struct {
	Label   string  `json:"label"`
	Mode    string  `json:"mode"`
	Backoff string  `json:"backoff,omitempty"` // basic
	Safety  string  `json:"safety"`
	Acked   uint64  `json:"acked"` // acknowledged writes, all of them looked for
	Lost    uint64  `json:"lost"`
	OpsPerS float64 `json:"ops_per_s"`
	P50     int64   `json:"p50_ns"`
	P99     int64   `json:"p99_ns"`
	Slots   uint64  `json:"slots"` // chosen

	Ballots        uint64  `json:"ballots"` // begun: basic one or more a slot; multi one or more a leader
	BallotsPerSlot float64 `json:"ballots_per_slot"`
	Duels          uint64  `json:"duels"`     // ballots given up for a higher one
	Displaced      uint64  `json:"displaced"` // values that lost their slot and went to another
	Leaders        uint64  `json:"leaders"`   // leaderships won
	Refused        uint64  `json:"refused"`   // messages refused because of a higher promise

	Reproposed uint64 `json:"reproposed"` // open slots finished with the vote that was found
	Holes      uint64 `json:"holes"`      // basic: slots that others had left open; multi: filled with no-ops
	Fill       int64  `json:"fill_ns"`    // mean time to fill: basic from the last sign of life in a slot; multi from winning, all slots of a takeover

	// Of what was applied while the network was cut, after a grace; by those cut off, and by the others. -1: nothing was cut.
	MinoritySlots int64 `json:"minority_slots"`
	MajoritySlots int64 `json:"majority_slots"`
	TwoLeaders    int   `json:"two_leaders"` // samples in which two nodes took themselves for the leader

	Endless string `json:"endless,omitempty"` // there is no result: the duel did not even let the clients open their sessions

	Unavailable []int64 `json:"unavailable_ns,omitempty"` // after each loss or cut; result.Never: until the next or the end

	Run *result.Result `json:"run"` // nil: see Endless
}

// row takes a row from a run.
func row(label, mode, backoff string, r *result.Result) Row {
	w := Row{
		Label: label, Mode: mode, Safety: r.Safety.Verdict, Acked: r.Safety.Acked, Lost: r.Safety.Lost, OpsPerS: r.Throughput.OpsPerSec,
		P50: r.Latency.Response.P50, P99: r.Latency.Response.P99, Refused: r.Stale, MinoritySlots: -1, MajoritySlots: -1, Run: r,
	}
	if r.Violates() {
		w.Safety = result.Violated
	}
	again := uint64(0)
	for _, n := range r.Nodes { // a node that was away has applied less, or a snapshot; one that was restarted has applied some again
		if n.Restarts == 0 {
			w.Slots = max(w.Slots, n.Slots)
		}
		again = max(again, n.Slots)
	}
	if w.Slots == 0 {
		w.Slots = again
	}
	if mode == "basic" {
		w.Backoff = backoff
	}
	if i := r.Instances; i != nil {
		w.Ballots, w.Duels, w.Displaced, w.Holes = i.Ballots, i.Duels, i.Displaced, i.Holes
		w.Fill = int64(i.HoleNanos / max(i.Holes, 1))
	}
	if t := r.Takeovers; t != nil {
		w.Ballots, w.Leaders, w.Reproposed, w.Holes = t.Prepared, t.Won, t.Reproposed, t.Holes
		w.Fill = int64(t.FillNanos / max(t.Won, 1))
	}
	w.BallotsPerSlot = float64(w.Ballots) / float64(max(w.Slots, 1))
	for i := range r.Faults {
		f := &r.Faults[i]
		switch f.Kind {
		case "partition":
			w.cut(r, f)
			w.Unavailable = append(w.Unavailable, f.Unavailable)
		case "kill":
			w.Unavailable = append(w.Unavailable, f.Unavailable)
		}
	}
	return w
}

// cut counts what each side applied while the network was cut.
func (w *Row) cut(r *result.Result, f *result.Fault) {
	w.MinoritySlots, w.MajoritySlots = max(w.MinoritySlots, 0), max(w.MajoritySlots, 0)
	if f.Healed == result.Never {
		return
	}
	from, to := f.At+int64(grace), f.Healed-int64(margin)
	leading := map[int64]int{}
	for _, n := range r.Nodes {
		first, last := int64(-1), int64(-1)
		for k, s := range n.Samples {
			if s.Leads && s.At >= f.At && s.At < to {
				leading[int64(k)]++
			}
			if s.At < from || s.At >= to || s.HeapBytes == 0 {
				continue
			}
			if first < 0 {
				first = int64(s.Slots)
			}
			last = int64(s.Slots)
		}
		if first < 0 {
			continue
		}
		if slices.Contains(f.Nodes, n.Node) {
			w.MinoritySlots += last - first
		} else {
			w.MajoritySlots = max(w.MajoritySlots, last-first)
		}
	}
	for _, n := range leading {
		if n > 1 {
			w.TwoLeaders++
		}
	}
}

// Open is the slots that were left open and were finished.
func (w *Row) Open() uint64 { return w.Reproposed + w.Holes }

// judge says whether the scenario has shown what it is about.
func (r *Report) judge() {
	r.Verdict = Shown
	missing := func(ok bool, format string, args ...any) {
		if !ok {
			r.Verdict = NotShown
			r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
		}
	}
	missing(!r.Partial && len(r.Rows) > 0, "it was interrupted")
	rows := map[string]*Row{}
	open := map[string]uint64{}
	for i := range r.Rows {
		w := &r.Rows[i]
		rows[w.Backoff] = w
		missing(w.Safety == result.OK || w.Endless != "", "%s: safety is %s", w.Label, w.Safety)
		switch r.Scenario {
		case SplitBrain:
			missing(w.MinoritySlots == 0, "%s: the side without a majority applied %d slots while it was cut off", w.Label, w.MinoritySlots)
			missing(w.MajoritySlots > 0, "%s: the majority got nothing chosen while the network was cut", w.Label)
		case Holes:
			open[w.Mode] += w.Open()
		case Duel:
			if w.Mode == "multi" {
				missing(w.Leaders > 0 && w.Ballots >= w.Leaders, "%s: no leader was lost", w.Label)
			}
		}
	}
	for _, mode := range slices.Sorted(maps.Keys(open)) {
		missing(open[mode] > 0, "%s: no slot was left open", mode)
	}
	if none, random, one := rows["none"], rows["random"], rows["distinguished"]; r.Scenario == Duel && none != nil && random != nil && one != nil {
		missing(none.BallotsPerSlot > random.BallotsPerSlot && none.Duels > 0 || none.Endless != "", "without back-off it takes %.2f ballots a slot, with random pauses %.2f", none.BallotsPerSlot, random.BallotsPerSlot)
		missing(one.BallotsPerSlot < random.BallotsPerSlot && one.BallotsPerSlot < distinguishedBallots, "a distinguished proposer takes %.2f ballots a slot", one.BallotsPerSlot)
		missing(none.OpsPerS < one.OpsPerS, "without back-off %.0f operations/s, with a distinguished proposer %.0f", none.OpsPerS, one.OpsPerS)
	}
	for _, w := range r.Rows {
		if w.Safety == result.Violated {
			r.Verdict = Violated
		}
	}
}

// distinguishedBallots is how many ballots a slot may take on average when one node proposes: one, but for the moments in which who that
// is changes.
const distinguishedBallots = 1.2

// JSON writes the report, with the runs in it.
func (r *Report) JSON(w io.Writer) error {
	out := *r
	out.Rows = table.List(out.Rows)
	return table.JSON(w, &out)
}

// Page is the report for people.
func (r *Report) Page() *table.Page {
	p := &table.Page{Name: "paxbench scenario " + r.Scenario, Title: Words[r.Scenario]}
	var t table.Table
	number := func(v uint64) string { return result.Count(float64(v)) }
	for _, w := range r.Rows {
		cells := []string{w.Label, result.Count(w.OpsPerS), result.Duration(w.P50), result.Duration(w.P99), number(w.Slots), number(w.Ballots), fmt.Sprintf("%.4g", w.BallotsPerSlot)}
		switch r.Scenario {
		case SplitBrain:
			t.Head = []string{"", "ops/s", "p50", "p99", "slots", "ballots", "per slot", "minority's slots", "majority's slots", "two leaders seen", "refused", "unavailable"}
			cells = append(cells, fmt.Sprint(w.MinoritySlots), fmt.Sprint(w.MajoritySlots), fmt.Sprint(w.TwoLeaders), number(w.Refused), durations(w.Unavailable))
		case Holes:
			t.Head = []string{"", "ops/s", "p50", "p99", "slots", "ballots", "per slot", "with a vote", "holes", "time to fill", "unavailable"}
			cells = append(cells, number(w.Reproposed), number(w.Holes), result.Duration(w.Fill), durations(w.Unavailable))
		case Duel:
			t.Head = []string{"", "ops/s", "p50", "p99", "slots", "ballots", "per slot", "duels", "displaced", "leaders"}
			cells = append(cells, number(w.Duels), number(w.Displaced), number(w.Leaders))
		}
		t.Add(append(cells, fmt.Sprintf("%d acked, %d lost", w.Acked, w.Lost), w.Safety)...)
	}
	t.Head = append(t.Head, "audit", "safety")
	p.Add("", "", t)
	p.Say("VERDICT", "%s", r.Verdict)
	for _, reason := range r.Reasons {
		p.Say("MISSING", "%s", reason)
	}
	for _, w := range r.Rows {
		if w.Endless != "" {
			p.Say("ENDLESS", "%s: nothing was chosen: %s", w.Label, w.Endless)
		}
		if w.Run == nil {
			continue
		}
		for _, reason := range w.Run.Validity.Reasons {
			p.Say("NOTE", "%s: as a measurement it is invalid: %s", w.Label, reason)
		}
		for _, d := range w.Run.Safety.Details {
			p.Say("SAFETY", "%s: %s", w.Label, d)
		}
	}
	return p
}

func durations(all []int64) string {
	text := ""
	for i, d := range all {
		if i > 0 {
			text += ", "
		}
		if d == result.Never {
			text += "never"
		} else {
			text += result.Duration(d)
		}
	}
	return text
}
