package report

import (
	"fmt"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
)

// Between these two lines of a document stands the text report of one record, DefaultRun.
const (
	readmeBegin = "<!-- run:begin (made by make report) -->\n"
	readmeEnd   = "<!-- run:end -->\n"

	// DefaultRun is the name of the record of a run without any argument, or nearly so.
	DefaultRun = "default"
)

// Readme returns the document with the report of the record DefaultRun between its two marks. Without such a record
// nothing stands there.
func Readme(document string, runs []Run) (string, error) {
	head, rest, ok := strings.Cut(document, readmeBegin)
	_, tail, ended := strings.Cut(rest, readmeEnd)
	if !ok || !ended {
		return "", fmt.Errorf("report: the document lacks the lines %q and %q", strings.TrimSpace(readmeBegin), strings.TrimSpace(readmeEnd))
	}
	var b strings.Builder
	b.WriteString(head + readmeBegin)
	for _, run := range runs {
		if run.Name != DefaultRun {
			continue
		}
		b.WriteString("\n```\n")
		if err := run.Result.Text(&b, result.TextOptions{}); err != nil {
			return "", err
		}
		b.WriteString("```\n\n")
	}
	b.WriteString(readmeEnd + tail)
	return b.String(), nil
}
