package result

import "fmt"

// What follows gives the words and tables of a report to writers of other formats, so that all say the same.

// Shown is the result as it may be shown: without performance numbers, and Voided, if safety was violated.
func (r *Result) Shown() *Result { return r.void() }

// Title says what ran, in a line.
func (r *Result) Title() string { return r.title() }

// SafetyWords says what became of the acknowledged writes.
func (r *Result) SafetyWords() string { return r.Safety.words() }

// Facts are the circumstances of the run: name, words.
func (r *Result) Facts() [][]string {
	return [][]string{{"load", r.load()}, {"data", r.data()}, {"engine", r.engine()}, {"measured", r.span()}, {"machine", r.machine()}}
}

// Shown is the measured value with its unit.
func (s SLO) Shown() string { return s.shown() }

// Table is a part of a report: the first column names the rows.
type Table struct {
	Name string // of the part
	Note string // how to read it
	Head []string
	Rows [][]string
}

// Tables are the numbers of a report in cells; parts that the run does not have are left out.
func (r *Result) Tables() []Table {
	r = r.void()
	if r.Voided {
		return nil
	}
	var all []Table
	add := func(name, note string, head []string, rows [][]string) {
		if len(rows) > 0 {
			all = append(all, Table{name, note, append([]string{""}, head...), rows})
		}
	}
	note := "closed loop: an operation is due when it is sent, so there is no lag"
	var rows [][]string
	for _, name := range Series {
		if l := r.LatencyOf(name); l.Count > 0 {
			rows = append(rows, latencyRow(name, l))
		}
	}
	if r.Config.Rate > 0 {
		note = "response = service + lag, from when an operation was due"
	}
	add("Latency", "of acknowledged operations; "+note, latencyHead, rows)
	rows = nil
	for i := range r.Faults {
		rows = append(rows, faultRow(&r.Faults[i]))
	}
	add("Faults", faultWords, faultHead, rows)
	add("What faults cost", faultCostWords, faultCostHead, r.faultCostRows())
	rows = nil
	if r.Stages != (Stages{}) {
		for _, s := range stageWords {
			rows = append(rows, append(latencyRow(s.name, s.of(&r.Stages)), s.words))
		}
	}
	add("Stages", "inside the cluster, per batch; they overlap", append(latencyHead[:len(latencyHead):len(latencyHead)], ""), rows)
	if cells := r.Cost.cells(); cells != nil {
		add("Cost per operation", "all nodes together", []string{""}, cells)
	}
	add("Limits of this machine", "measured next to the run", []string{""}, r.limitCells())
	head, rows := r.nodeRows()
	add("Nodes", "while the load was measured", head, rows)
	rows = nil
	for _, e := range r.Errors {
		rows = append(rows, []string{e.Text, Count(float64(e.Count))})
	}
	add("Errors", "", []string{"operations"}, rows)
	return all
}

// StageNames are the names of the stages in their order, and StageOf gives one.
var StageNames = []string{"queue", "batch", "wal", "quorum", "apply"}

// StageOf gives a stage by its name.
func (s *Stages) StageOf(name string) Latency {
	for _, w := range stageWords {
		if w.name == name {
			return w.of(s)
		}
	}
	panic(fmt.Sprintf("BUG: result: no stage %q", name))
}
