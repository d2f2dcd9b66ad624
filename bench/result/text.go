package result

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// TextOptions are how a text report looks.
type TextOptions struct {
	Color bool
}

// UseColor says whether a report to f may be coloured: it is a terminal that is not dumb, and NO_COLOR is not set
// (no-color.org).
func UseColor(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), ioctlGetTermios)
	return err == nil
}

const (
	bold  = "\x1b[1m"
	red   = "\x1b[1;31m"
	green = "\x1b[32m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// text is a report being written.
type text struct {
	b     strings.Builder
	color bool
}

func (t *text) style(code, s string) string {
	if !t.color {
		return s
	}
	return code + s + plain
}

func (t *text) line(format string, args ...any) {
	fmt.Fprintf(&t.b, format+"\n", args...)
}

// head starts a section.
func (t *text) head(name, explanation string) {
	t.line("")
	if explanation != "" {
		explanation = "  " + t.style(faint, explanation)
	}
	t.line("%s%s", t.style(bold, name), explanation)
}

// table writes an indented table.
func (t *text) table(g *grid) {
	for _, l := range g.lines() {
		t.line("  %s", l)
	}
}

// Text writes the report for people.
func (r *Result) Text(w io.Writer, o TextOptions) error {
	t := &text{color: o.Color}
	r = r.void()
	name := "paxbench"
	if r.Name != "" {
		name += " " + r.Name
	}
	t.line("%s: %s", t.style(bold, name), r.title())
	g := &grid{left: map[int]bool{1: true}}
	g.add("load", r.load())
	g.add("data", r.data())
	g.add("engine", r.engine())
	g.add("measured", r.span())
	g.add("machine", r.machine())
	t.table(g)
	if r.Voided {
		t.violated(r)
	} else {
		t.performance(r)
		t.verdicts(r)
	}
	if _, err := io.WriteString(w, t.b.String()); err != nil {
		return fmt.Errorf("result: write report: %w", err)
	}
	return nil
}

// violated reports what was found instead of performance numbers.
func (t *text) violated(r *Result) {
	t.line("")
	t.line("%s %s", t.style(red, "SAFETY VIOLATED:"), r.Safety.words())
	for _, d := range r.Safety.Details {
		t.line("  - %s", d)
	}
	t.line("Performance numbers are withheld: a system that loses or doubles writes has none.")
	if len(r.Faults) > 0 {
		t.head("FAULTS", "injected before")
		g := &grid{}
		g.add(append([]string{""}, faultHead[:2]...)...)
		for i := range r.Faults {
			g.add(faultRow(&r.Faults[i])[:3]...)
		}
		t.table(g)
	}
}

func (t *text) performance(r *Result) {
	if r.Validity.Verdict == Invalid {
		t.line("")
		t.line("%s do not use these numbers:", t.style(red, "INVALID,"))
		for _, reason := range r.Validity.Reasons {
			t.line("  - %s", reason)
		}
	}
	p := &r.Throughput
	t.head("THROUGHPUT", "")
	line := fmt.Sprintf("%s operations/s", t.style(bold, Count(p.OpsPerSec)))
	line += fmt.Sprintf("   %s acknowledged, %s failed, %s of unknown outcome", Count(float64(p.Ops)), Count(float64(p.Failed)), Count(float64(p.Unknown)))
	if p.Unsent > 0 {
		line += fmt.Sprintf(", %s due but never sent", Count(float64(p.Unsent)))
	}
	t.line("  %s", line)
	for _, e := range r.Errors {
		t.line("  %s x %s", Count(float64(e.Count)), e.Text)
	}
	t.latencies(r)
	t.stages(r)
	if cells := r.Cost.cells(); cells != nil {
		t.head("COST PER OPERATION", "all nodes together")
		t.pairs(cells)
	}
	t.nodes(r)
	if cells := r.limitCells(); cells != nil {
		t.head("LIMITS OF THIS MACHINE", "measured next to the run")
		g := &grid{left: map[int]bool{1: true}}
		for _, c := range cells {
			g.add(c...)
		}
		t.table(g)
	}
	t.faults(r)
}

// pairs writes names over values, in one row.
func (t *text) pairs(cells [][]string) {
	g := &grid{}
	names, values := []string{""}, []string{""}
	for _, c := range cells {
		names, values = append(names, c[0]), append(values, c[1])
	}
	g.add(names[1:]...)
	g.add(values[1:]...)
	t.table(g)
}

func (t *text) latencies(r *Result) {
	if r.Config.Rate > 0 {
		t.head("LATENCY", "of acknowledged operations; response = service + lag, from when an operation was due")
	} else {
		t.head("LATENCY", "of acknowledged operations; closed loop: an operation is due when it is sent, so there is no lag")
	}
	g := &grid{}
	g.add(append([]string{""}, latencyHead...)...)
	g.add(latencyRow("response", r.Latency.Response)...)
	g.add(latencyRow("service", r.Latency.Service)...)
	if r.Config.Rate > 0 {
		g.add(latencyRow("lag", r.Latency.Lag)...)
	}
	if r.Latency.Reads != nil {
		g.add(latencyRow("reads", *r.Latency.Reads)...)
	}
	t.table(g)
}

func (t *text) stages(r *Result) {
	if r.Stages == (Stages{}) {
		return
	}
	t.head("STAGES", "inside the cluster, per batch; they overlap")
	g := &grid{left: map[int]bool{8: true}}
	g.add(append(append([]string{""}, latencyHead...), "")...)
	for _, s := range stageWords {
		g.add(append(latencyRow(s.name, s.of(&r.Stages)), s.words)...)
	}
	t.table(g)
}

func (t *text) faults(r *Result) {
	if len(r.Faults) == 0 {
		return
	}
	t.head("FAULTS", faultWords)
	g := &grid{}
	g.add(append([]string{""}, faultHead...)...)
	for i := range r.Faults {
		g.add(faultRow(&r.Faults[i])...)
	}
	t.table(g)
	if rows := r.faultCostRows(); rows != nil {
		t.head("WHAT THEY COST", faultCostWords)
		g := &grid{}
		g.add(append([]string{""}, faultCostHead...)...)
		for _, row := range rows {
			g.add(row...)
		}
		t.table(g)
	}
	for _, line := range r.faultNotes() {
		t.line("  %s", line)
	}
}

// verdicts end the report: what a reader remembers.
func (t *text) verdicts(r *Result) {
	t.line("")
	for _, s := range r.SLOs {
		verdict := t.style(green, "met")
		if !s.Met {
			verdict = t.style(red, "MISSED")
		}
		t.line("%s  %s: %s, measured %s", t.style(bold, "SLO     "), verdict, s.Text, s.shown())
	}
	verdict := r.Safety.Verdict
	if verdict == OK {
		verdict = t.style(green, verdict)
	}
	t.line("%s  %s: %s", t.style(bold, "SAFETY  "), verdict, r.Safety.words())
	switch {
	case r.Validity.Verdict == Invalid:
		t.line("%s  %s, for the reasons above", t.style(bold, "VALIDITY"), t.style(red, "invalid"))
	default:
		t.line("%s  %s", t.style(bold, "VALIDITY"), t.style(green, "valid"))
	}
	for _, n := range r.Validity.Notes {
		t.line("%s  %s", t.style(bold, "NOTE    "), n)
	}
}
