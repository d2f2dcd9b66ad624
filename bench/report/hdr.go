package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/result"
)

// NoHistogramError: a record has no full distribution.
type NoHistogramError struct{ Series string }

func (e *NoHistogramError) Error() string {
	return fmt.Sprintf("report: the record has no distribution of %s: it is of an older version, safety was violated, or there were no such operations", e.Series)
}

// hgrmTicks is the points per halving of the distance to 100%, as HdrHistogram's own tools have it.
const hgrmTicks = 5

// Hgrm writes one distribution (a name of result.Series) in the percentile format of the HdrHistogram plotter, in
// milliseconds, as the plotter takes them. What it is stands behind it as comments.
func Hgrm(w io.Writer, r *result.Result, series string) error {
	h, err := r.Distribution(series)
	if err != nil {
		return err
	}
	if h == nil {
		return &NoHistogramError{series}
	}
	var b strings.Builder
	if _, err := h.PercentilesPrint(&b, hgrmTicks, float64(time.Millisecond)); err != nil {
		return fmt.Errorf("report: hgrm: %w", err)
	}
	comments(&b, r)
	fmt.Fprintf(&b, "#[%s times in milliseconds]\n", series)
	return write(w, b.String())
}

// comments tells what a file of numbers is about, and what is wrong with them.
func comments(b *strings.Builder, r *result.Result) {
	line := func(s string) { fmt.Fprintf(b, "#[%s]\n", strings.Join(strings.Fields(s), " ")) }
	line("paxbench: " + r.Title())
	for _, f := range r.Facts() {
		line(f[0] + ": " + f[1])
	}
	for _, reason := range r.Validity.Reasons {
		line("INVALID, do not use these numbers: " + reason)
	}
}

// Hlog writes an HdrHistogram log (format 1.3, histograms V2) with absolute time stamps: lines without a tag are the
// response times of what was acknowledged in the successive stretches of the run, and add up to all acknowledgements
// of its intervals; lines with the tag of a series (result.Series) are its whole distribution, of the operations that
// were due in the measuring window.
func Hlog(w io.Writer, r *result.Result) error {
	r = r.Shown()
	if r.Histograms == nil {
		return &NoHistogramError{"response"}
	}
	var b strings.Builder
	log := hdrhistogram.NewHistogramLogWriter(&b)
	// The library writes whole seconds: the time of start is for people, and the stamps of the lines are absolute.
	start := r.Started.UnixMilli()
	for _, err := range []error{
		log.OutputComment("[Logged with paxbench]"), log.OutputLogFormatVersion(), log.OutputStartTime(start),
	} {
		if err != nil {
			return fmt.Errorf("report: hlog: %w", err)
		}
	}
	comments(&b, r)
	if err := log.OutputLegend(); err != nil {
		return fmt.Errorf("report: hlog: %w", err)
	}
	for _, name := range result.Series {
		h, err := r.Distribution(name)
		if err == nil && h != nil {
			h.SetTag(name)
			err = logHistogram(log, h, start, start+r.Throughput.Window/1e6)
		}
		if err != nil {
			return err
		}
	}
	for _, s := range r.Histograms.Stretches {
		h, err := s.Response.Decode()
		if err == nil && h == nil {
			h, err = hdrhistogram.New(1, int64(time.Hour), 3), nil // nothing was acknowledged: that is worth a line
		}
		if err == nil {
			err = logHistogram(log, h, start+s.Start/1e6, start+(s.Start+s.Length)/1e6)
		}
		if err != nil {
			return err
		}
	}
	return write(w, b.String())
}

func logHistogram(log *hdrhistogram.HistogramLogWriter, h *hdrhistogram.Histogram, from, to int64) error {
	h.SetStartTimeMs(from)
	h.SetEndTimeMs(to)
	if err := log.OutputIntervalHistogram(h); err != nil {
		return fmt.Errorf("report: hlog: %w", err)
	}
	return nil
}
