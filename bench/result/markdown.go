package result

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the report for a CI step summary.
func (r *Result) Markdown(w io.Writer) error {
	r = r.void()
	var b strings.Builder
	name := "paxbench"
	if r.Name != "" {
		name += " " + r.Name
	}
	fmt.Fprintf(&b, "## %s: %s\n\n", name, r.title())
	switch {
	case r.Voided:
		fmt.Fprintf(&b, "**SAFETY VIOLATED:** %s\n\n", escape(r.Safety.words()))
		list(&b, r.Safety.Details)
		b.WriteString("Performance numbers are withheld: a system that loses or doubles writes has none.\n\n")
	case r.Validity.Verdict == Invalid:
		b.WriteString("**INVALID, do not use these numbers:**\n\n")
		list(&b, r.Validity.Reasons)
	}
	if !r.Voided {
		r.markdownNumbers(&b)
	}
	table(&b, []string{"", ""}, [][]string{
		{"load", r.load()}, {"data", r.data()}, {"engine", r.engine()}, {"measured", r.span()}, {"machine", r.machine()},
	}, false)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("result: write report: %w", err)
	}
	return nil
}

func (r *Result) markdownNumbers(b *strings.Builder) {
	p := &r.Throughput
	fmt.Fprintf(b, "**%s operations/s** (%s acknowledged, %s failed, %s of unknown outcome)\n\n",
		Count(p.OpsPerSec), Count(float64(p.Ops)), Count(float64(p.Failed)), Count(float64(p.Unknown)))
	rows := [][]string{latencyRow("response", r.Latency.Response), latencyRow("service", r.Latency.Service)}
	if r.Config.Rate > 0 {
		rows = append(rows, latencyRow("lag", r.Latency.Lag))
	}
	if r.Latency.Reads != nil {
		rows = append(rows, latencyRow("reads", *r.Latency.Reads))
	}
	if r.Stages != (Stages{}) {
		for _, s := range stageWords {
			rows = append(rows, latencyRow("stage "+s.name, s.of(&r.Stages)))
		}
	}
	table(b, append([]string{"latency"}, latencyHead...), rows, true)
	if len(r.Faults) > 0 {
		rows = nil
		for i := range r.Faults {
			rows = append(rows, faultRow(&r.Faults[i]))
		}
		table(b, append([]string{"fault"}, faultHead...), rows, true)
		if rows := r.faultCostRows(); rows != nil {
			table(b, append([]string{"fault"}, faultCostHead...), rows, true)
		}
		list(b, r.faultNotes())
	}
	if len(r.SLOs) > 0 {
		rows = nil
		for _, s := range r.SLOs {
			rows = append(rows, []string{s.Text, map[bool]string{true: "met", false: "**missed**"}[s.Met], s.shown()})
		}
		table(b, []string{"SLO", "", "measured"}, rows, false)
	}
	if cells := r.Cost.cells(); cells != nil {
		table(b, []string{"cost per operation", ""}, cells, true)
	}
	if cells := r.limitCells(); cells != nil {
		table(b, []string{"limit of this machine", ""}, cells, false)
	}
	fmt.Fprintf(b, "Safety **%s**: %s. Validity **%s**.\n\n", r.Safety.Verdict, escape(r.Safety.words()), r.Validity.Verdict)
	list(b, r.Validity.Notes)
}

func list(b *strings.Builder, items []string) {
	for _, i := range items {
		fmt.Fprintf(b, "- %s\n", escape(i))
	}
	if len(items) > 0 {
		b.WriteByte('\n')
	}
}

// table writes a table; right aligns all columns but the first to the right.
func table(b *strings.Builder, head []string, rows [][]string, right bool) {
	write := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + escape(c) + " ")
		}
		b.WriteString("|\n")
	}
	write(head)
	for i := range head {
		if right && i > 0 {
			b.WriteString("| ---: ")
		} else {
			b.WriteString("| --- ")
		}
	}
	b.WriteString("|\n")
	for _, r := range rows {
		write(r)
	}
	b.WriteByte('\n')
}

// escape keeps a cell in its cell: error texts hold whatever a peer sent.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}
