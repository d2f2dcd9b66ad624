package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// Other programs read these forms; a change that nobody meant would show here first.
func TestGolden(t *testing.T) {
	for name, r := range map[string]*result.Result{"closed": closed(), "faulty": faulty()} {
		var hgrm, hlog bytes.Buffer
		if err := errors.Join(Hgrm(&hgrm, r, "response"), Hlog(&hlog, r)); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".hgrm", hgrm.Bytes())
		// How well a histogram is compressed is the library's; TestHlogReadBack holds the content against the record.
		golden(t, name+".hlog", regexp.MustCompile(`HIST\S+`).ReplaceAll(hlog.Bytes(), []byte("HIST...")))
	}
	var junit bytes.Buffer
	if err := JUnit(&junit, []Run{{"closed", closed()}, {"slow", slow()}, {"faulty", faulty()}, {"violated", violated()}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "all.junit.xml", junit.Bytes())
	var markdown bytes.Buffer
	if err := Markdown(&markdown, []Run{{"closed", closed()}, {"slow", slow()}, {"faulty", faulty()}, {"violated", violated()}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "all.md", markdown.Bytes())
	golden(t, "stages.svg", []byte(stages([]Run{{"closed", closed()}, {"faulty", faulty()}}).file()))
	golden(t, "latency.svg", []byte(latencies([]Run{{"faulty", faulty()}}).file()))
}

// A percentile file that the HdrHistogram plotter reads differently from how it is meant draws a wrong curve. This
// reads it as the plotter's script does: four fields, value and 1/(1-percentile) as numbers, "inf" left out.
func TestHgrmPlotter(t *testing.T) {
	r := reread(t, faulty())
	for _, series := range []string{"response", "service", "lag"} {
		h, err := r.Distribution(series)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Hgrm(&b, r, series); err != nil {
			t.Fatal(err)
		}
		points, last := 0, 0.0
		for _, text := range strings.Split(b.String(), "\n") {
			fields := regexp.MustCompile(" +").Split(strings.TrimSpace(text), -1)
			if strings.HasPrefix(text, "#") || len(fields) != 4 {
				continue
			}
			value, err := strconv.ParseFloat(fields[0], 64)
			x, err2 := strconv.ParseFloat(fields[3], 64)
			q, err3 := strconv.ParseFloat(fields[1], 64)
			if err := errors.Join(err, err2, err3); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			points++
			if value < last || x < 1 {
				t.Fatalf("%s: not a curve at %q", series, text)
			}
			last = value
			low, high := valueAt(h, q-1e-6), valueAt(h, q+1e-6) // the printed q is rounded
			if value < low/1e6-0.001 || value > high/1e6+0.001 {
				t.Errorf("%s: %v ms at %v, the histogram has %v to %v", series, value, q, low, high)
			}
		}
		if points < 30 {
			t.Errorf("%s: only %d points", series, points)
		}
	}
}

// valueAt is the smallest value that at least a share q of the samples does not exceed.
func valueAt(h *hdrhistogram.Histogram, q float64) float64 {
	n := 0.0
	for _, bar := range h.Distribution() {
		if n += float64(bar.Count); bar.Count > 0 && n >= q*float64(h.TotalCount()) {
			return float64(bar.To)
		}
	}
	return float64(h.Max())
}

// A log that loses samples or puts them at the wrong time says something else than the run did.
func TestHlogReadBack(t *testing.T) {
	for name, r := range map[string]*result.Result{"closed": reread(t, closed()), "faulty": reread(t, faulty())} {
		var b bytes.Buffer
		if err := Hlog(&b, r); err != nil {
			t.Fatal(err)
		}
		log := hdrhistogram.NewHistogramLogReader(&b)
		merged, tags, k := load.NewHistogram(), map[string]bool{}, 0
		for {
			h, err := log.NextIntervalHistogram()
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if h == nil {
				break
			}
			if tag := h.Tag(); tag != "" {
				want, err := r.Distribution(tag)
				if err != nil || want == nil || !h.Equals(want) {
					t.Errorf("%s: %s is not what was recorded (%v)", name, tag, err)
				}
				tags[tag] = true
				continue
			}
			want := r.Histograms.Stretches[k]
			if start := r.Started.UnixMilli() + want.Start/1e6; h.StartTimeMs() != start || h.EndTimeMs() != start+want.Length/1e6 {
				t.Errorf("%s: stretch %d is at %d to %d, want %d", name, k, h.StartTimeMs(), h.EndTimeMs(), start)
			}
			if dropped := merged.Merge(h); dropped != 0 {
				t.Errorf("%s: %d samples dropped", name, dropped)
			}
			k++
		}
		var acked int64
		for _, i := range r.Intervals {
			acked += int64(i.Ops)
		}
		if k != len(r.Histograms.Stretches) || merged.TotalCount() != acked {
			t.Errorf("%s: %d stretches with %d samples, want %d with %d", name, k, merged.TotalCount(), len(r.Histograms.Stretches), acked)
		}
		if want, _ := r.Distribution("response"); name == "closed" && !merged.Equals(want) {
			t.Error("the stretches of a run without warm-up and drain do not merge to its response times")
		}
		if want := map[string]int{"closed": 2, "faulty": 3}[name]; len(tags) != want {
			t.Errorf("%s: series %v", name, tags)
		}
	}
}

// An old record, or one whose numbers are withheld, must be told apart from an empty distribution.
func TestNoHistogram(t *testing.T) {
	old := closed()
	old.Histograms = nil
	for name, r := range map[string]*result.Result{"old": old, "violated": violated()} {
		var none *NoHistogramError
		if err := Hgrm(io.Discard, r, "response"); !errors.As(err, &none) {
			t.Errorf("%s: hgrm: %v", name, err)
		}
		if err := Hlog(io.Discard, r); !errors.As(err, &none) {
			t.Errorf("%s: hlog: %v", name, err)
		}
	}
	if err := Hgrm(io.Discard, closed(), "p99"); err == nil {
		t.Error("a series that does not exist")
	}
	if c := percentiles([]Run{{"old", old}}); c == nil || len(c.lines[0].points) != 5 {
		t.Error("an old record has no curve of its five points")
	}
}

// CI systems count what the suites say: a count that is not that of the cases hides a failure.
func TestJUnitCounts(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(&b, []Run{{"a<b", closed()}, {"slow", slow()}, {"faulty", faulty()}, {"violated", violated()}}); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 14 || got.Failures != 2 || got.Errors != 2 || got.Skipped != 4 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped", got.Tests, got.Failures, got.Errors, got.Skipped)
	}
	if got.Suites[0].Name != "a<b" || got.Suites[1].Cases[2].Failure == nil || got.Suites[3].Cases[0].Failure == nil {
		t.Error("a name was garbled, or the missed objective or the violation is not a failure")
	}
}

// Axes decide what a reader sees: a value outside its axis, labels that go backwards or none at all mislead.
func TestAxes(t *testing.T) {
	for _, u := range []unit{nanos, clock, perSecond, percentile, octets, count} {
		for _, log := range []bool{false, true} {
			if u == percentile && !log {
				continue
			}
			for _, high := range []float64{1, 3, 999, 1000, 1.7e4, 2.56e5, 1e6, 7.3e8, 4e9, 3.6e12} {
				for _, low := range []float64{1, high / 3, high / 1e4} {
					a := fit(u, log, low, high)
					what := fmt.Sprint(u, log, low, high)
					if !(a.min < a.max) || a.max < high*(1-1e-9) || log && a.min > max(low, 1)*(1+1e-9) && u != percentile {
						t.Fatalf("%s: axis %v to %v", what, a.min, a.max)
					}
					labels, last := 0, math.Inf(-1)
					for _, k := range a.ticks(6) {
						if k.value <= last || a.at(k.value) < 0 || a.at(k.value) > 1 {
							t.Fatalf("%s: tick %v after %v", what, k.value, last)
						}
						last = k.value
						if k.label != "" {
							labels++
						}
						if strings.HasPrefix(k.label, "-") || strings.Contains(k.label, "NaN") {
							t.Errorf("%s: label %q", what, k.label)
						}
					}
					if labels < 2 && !(log && a.max/a.min < 5) || labels > 16 {
						t.Errorf("%s: %d labels from %v to %v", what, labels, a.min, a.max)
					}
				}
			}
		}
	}
}
