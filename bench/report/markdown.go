package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
)

// Markdown writes the runs for a CI step summary: of several, a table of all comes first and each one's report is
// folded away.
func Markdown(w io.Writer, runs []Run) error {
	if len(runs) == 1 {
		return runs[0].Result.Markdown(w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## paxbench: %d results\n\n| run | operations/s | p50 | p99 | p99.9 | safety | measurement | objectives |\n"+
		"| --- | ---: | ---: | ---: | ---: | --- | --- | --- |\n", len(runs))
	for _, run := range runs {
		r, l := run.Result.Shown(), run.Result.LatencyOf("response")
		numbers := "- | - | - | -"
		if !r.Voided {
			numbers = fmt.Sprintf("%s | %s | %s | %s", result.Count(r.Throughput.OpsPerSec), result.Duration(l.P50), result.Duration(l.P99), result.Duration(l.P999))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(run.Name), numbers, strong(r.Safety.Verdict, result.Violated), strong(r.Validity.Verdict, result.Invalid), met(r))
	}
	b.WriteString("\n")
	for _, run := range runs {
		fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n", cell(run.Name))
		if err := run.Result.Markdown(&b); err != nil {
			return err
		}
		b.WriteString("</details>\n\n")
	}
	return write(w, b.String())
}

func strong(verdict, bad string) string {
	if verdict == bad {
		return "**" + verdict + "**"
	}
	return verdict
}

// met counts the objectives that were met.
func met(r *result.Result) string {
	n := 0
	for _, o := range r.SLOs {
		if o.Met {
			n++
		}
	}
	switch {
	case len(r.SLOs) == 0:
		return "-"
	case n < len(r.SLOs):
		return fmt.Sprintf("**%d of %d met**", n, len(r.SLOs))
	}
	return fmt.Sprintf("%d of %d met", n, len(r.SLOs))
}
