package result

import (
	"fmt"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/load"
)

// Histogram is a full distribution of nanoseconds as HdrHistogram tools exchange them: V2, compressed, base64. Empty:
// nothing was recorded.
type Histogram string

// Histograms are the full distributions that Latencies sum up. Service is left out where it equals Response: in a
// closed loop.
type Histograms struct {
	Response Histogram `json:"response,omitempty"`
	Service  Histogram `json:"service,omitempty"`
	Lag      Histogram `json:"lag,omitempty"`
	Reads    Histogram `json:"reads,omitempty"`

	// Stretches hold the response times of what was acknowledged in successive parts of the run, whenever it was due:
	// merged, they are all acknowledgements of Intervals.
	Stretches []Stretch `json:"stretches,omitempty"`
}

// Stretch is the distribution of a part of the run.
type Stretch struct {
	Start    int64     `json:"start_ns"`
	Length   int64     `json:"length_ns"`
	Response Histogram `json:"response"`
}

// NewHistogram encodes a distribution; nil and empty ones become "".
func NewHistogram(h *hdrhistogram.Histogram) Histogram {
	if h == nil || h.TotalCount() == 0 {
		return ""
	}
	b, err := h.EncodeV2()
	if err != nil {
		panic("BUG: result: encode histogram: " + err.Error())
	}
	return Histogram(b)
}

// Limits of what Decode takes, so that a file from elsewhere cannot ask for gigabytes.
const (
	histogramBytesMax = 4 << 20
	digitsMax         = 3
)

// Decode gives the distribution; nil of an empty Histogram.
func (h Histogram) Decode() (*hdrhistogram.Histogram, error) {
	if h == "" {
		return nil, nil
	}
	if len(h) > histogramBytesMax {
		return nil, fmt.Errorf("result: histogram of %d bytes", len(h))
	}
	d, err := hdrhistogram.Decode([]byte(h))
	if err != nil {
		return nil, fmt.Errorf("result: histogram: %w", err)
	}
	if d.SignificantFigures() > digitsMax {
		return nil, fmt.Errorf("result: histogram of %d digits, this program reads %d", d.SignificantFigures(), digitsMax)
	}
	return d, nil
}

// histogramsOf encodes what a load recorded.
func histogramsOf(l *load.Result) *Histograms {
	h := &Histograms{
		Response: NewHistogram(l.Response), Service: NewHistogram(l.Service), Lag: NewHistogram(l.Lag), Reads: NewHistogram(l.Reads),
	}
	if h.Response == "" {
		return nil
	}
	if h.Service == h.Response {
		h.Service = ""
	}
	for _, s := range l.Stretches {
		h.Stretches = append(h.Stretches, Stretch{Start: s.Start, Length: s.Length, Response: NewHistogram(s.Response)})
	}
	return h
}

// Series names the distributions that Distribution gives.
var Series = []string{"response", "service", "lag", "reads"}

// Distribution gives a recorded distribution by its name in Series; nil: it was not recorded.
func (r *Result) Distribution(name string) (*hdrhistogram.Histogram, error) {
	h := r.void().Histograms
	if h == nil {
		return nil, nil
	}
	switch name {
	case "response":
		return h.Response.Decode()
	case "service":
		if h.Service == "" {
			return h.Response.Decode()
		}
		return h.Service.Decode()
	case "lag":
		return h.Lag.Decode()
	case "reads":
		return h.Reads.Decode()
	}
	return nil, fmt.Errorf("result: no series %q; there are %s", name, strings.Join(Series, ", "))
}

// LatencyOf gives the summary of a series.
func (r *Result) LatencyOf(name string) Latency {
	l := &r.void().Latency
	switch name {
	case "response":
		return l.Response
	case "service":
		return l.Service
	case "lag":
		return l.Lag
	case "reads":
		if l.Reads != nil {
			return *l.Reads
		}
	}
	return Latency{}
}

// checkHistograms reports distributions that cannot be read, or are not those that the summaries were made of.
func (r *Result) checkHistograms(bad func(format string, args ...any)) {
	if r.Histograms == nil || r.Voided {
		return
	}
	for _, name := range Series {
		d, err := r.Distribution(name)
		if err != nil {
			bad("histograms.%s: %v", name, err)
		} else if d != nil && FromHistogram(d) != r.LatencyOf(name) {
			bad("histograms.%s is not what latency_ns.%s sums up", name, name)
		}
	}
	for i, s := range r.Histograms.Stretches {
		if _, err := s.Response.Decode(); err != nil {
			bad("histograms.stretches[%d]: %v", i, err)
		}
		if i > 0 && s.Start < r.Histograms.Stretches[i-1].Start {
			bad("histograms.stretches[%d] starts before the one ahead of it", i)
		}
	}
}
