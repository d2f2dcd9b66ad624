// Package report writes recorded results in the forms that other programs and browsers open: one offline HTML file with
// plots, .hgrm and .hlog for the HdrHistogram tools, JUnit XML for objectives, and BENCHMARKS.md with its SVG plots.
//
// Everything is a function of the records alone: the same records give the same bytes. As in package result, a run that
// violated safety has no performance numbers in any of them, and an invalid one says first why its numbers must not be
// used.
package report

import (
	"fmt"
	"io"

	"github.com/paxbench/paxbench/bench/result"
)

// Run is a result and what it is called among others, such as its file's name.
type Run struct {
	Name   string
	Result *result.Result
}

// write hands a finished report over.
func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}
