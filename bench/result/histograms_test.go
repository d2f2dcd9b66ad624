package result

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/load"
)

// recorded is a measured load with distributions; open loop if rate is not 0.
func recorded(rate float64) *load.Result {
	l := &load.Result{
		Config: load.Config{Rate: rate, Clients: 1, Inflight: 1, Values: load.Values{Sizes: load.FixedSize(16)}}, Window: time.Second,
		Response: load.NewHistogram(), Service: load.NewHistogram(), Lag: load.NewHistogram(), Reads: load.NewHistogram(), OwnLag: load.NewHistogram(),
		Timeline: &load.Timeline{Width: 1e6}, Ledger: &load.Ledger{},
	}
	for i := range int64(10_000) {
		v := i * i * 37 % 90_000_000
		_ = l.Response.RecordValue(v)
		if rate > 0 {
			_ = l.Service.RecordValue(v / 2)
			_ = l.Lag.RecordValue(v - v/2)
			continue
		}
		_ = l.Service.RecordValue(v)
	}
	l.Stretches = []load.Stretch{{Start: 0, Length: 1e9, Response: l.Response}, {Start: 1e9, Length: 5, Response: load.NewHistogram()}}
	return l
}

// A distribution that comes back from the file otherwise than it went in makes curves and percentiles that contradict
// each other.
func TestHistograms(t *testing.T) {
	for _, rate := range []float64{0, 10_000} {
		l := recorded(rate)
		var b bytes.Buffer
		if err := New(l, load.Limits{}).Encode(&b); err != nil {
			t.Fatal(err)
		}
		r, err := Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]*hdrhistogram.Histogram{"response": l.Response, "service": l.Service} {
			if got, err := r.Distribution(name); err != nil || !got.Equals(want) {
				t.Errorf("rate %v: %s came back otherwise (%v)", rate, name, err)
			}
		}
		if lag, err := r.Distribution("lag"); err != nil || (lag != nil) != (rate > 0) {
			t.Errorf("rate %v: lag is %v (%v)", rate, lag != nil, err)
		}
		if (r.Histograms.Service == "") != (rate == 0) {
			t.Errorf("rate %v: service is stored twice, or not at all", rate)
		}
		if s := r.Histograms.Stretches; len(s) != 2 || s[0].Response != r.Histograms.Response || s[1].Response != "" {
			t.Errorf("rate %v: the stretches are %d", rate, len(s))
		}
	}
	empty := recorded(0)
	empty.Response.Reset()
	if New(empty, load.Limits{}).Histograms != nil {
		t.Error("distributions of nothing")
	}
}

// A file that was cut or edited must not become a report, nor a panic.
func TestHistogramsRefused(t *testing.T) {
	coarse := hdrhistogram.New(1, 1e9, 2)
	_ = coarse.RecordValue(5)
	for name, spoil := range map[string]func(*Result){
		"not base64":   func(r *Result) { r.Histograms.Response = "HIST!" },
		"cut":          func(r *Result) { r.Histograms.Response = r.Histograms.Response[:len(r.Histograms.Response)/8*4] },
		"another":      func(r *Result) { r.Histograms.Response = NewHistogram(coarse) },
		"service gone": func(r *Result) { r.Histograms.Service = "" },
		"no latency":   func(r *Result) { r.Latency.Lag = Latency{} },
		"stretch":      func(r *Result) { r.Histograms.Stretches[0].Response = "AAAA" },
		"backwards":    func(r *Result) { r.Histograms.Stretches[1].Start = -1 },
		"huge":         func(r *Result) { r.Histograms.Reads = Histogram(strings.Repeat("A", histogramBytesMax+4)) },
		"precise": func(r *Result) {
			h := hdrhistogram.New(1, 1e9, 5)
			_ = h.RecordValue(5)
			r.Histograms.Reads = NewHistogram(h)
		},
	} {
		r := New(recorded(10_000), load.Limits{})
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "histograms") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := New(recorded(10_000), load.Limits{})
	if _, err := r.Distribution("p99"); err == nil {
		t.Error("a series that does not exist")
	}
	r.Safety.Verdict = Violated
	if d, err := r.Distribution("response"); d != nil || err != nil || r.LatencyOf("response").Count != 0 {
		t.Error("a violated run has a distribution")
	}
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil || strings.Contains(b.String(), "HIST") {
		t.Errorf("a violated run's record has histograms (%v)", err)
	}
}
