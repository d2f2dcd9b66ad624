package load

import (
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func filled(nanos time.Duration, n int64) *hdrhistogram.Histogram {
	h := NewHistogram()
	put(h, int64(nanos), int(n))
	return h
}

// sound is an open-loop result without a flaw: 10,000/s for 10 s at 2 ms.
func sound() *Result {
	r := &Result{
		Config: Config{Clients: 2, Inflight: 100, Rate: 10_000, Duration: 10 * time.Second}.withDefaults(),
		Window: 10 * time.Second, Ops: 100_000, OpsPerSecond: 10_000,
		Response: filled(2*time.Millisecond, 100_000), Service: filled(2*time.Millisecond, 100_000),
		Lag: filled(10*time.Microsecond, 100_000), OwnLag: filled(10*time.Microsecond, 100_000), Reads: NewHistogram(),
		Ledger: NewLedger(Null, Values{}, 0), OutstandingMean: 20, BacklogPeak: 50,
	}
	for i := range int64(100) {
		r.Intervals = append(r.Intervals, Interval{Start: i * 1e8, Length: 1e8, Ops: 1000})
	}
	return r
}

// A verdict must name what is wrong, and nothing that is not: a flaw overlooked makes a wrong number official, a false
// alarm teaches people to ignore the verdict.
func TestJudge(t *testing.T) {
	if reasons, notes := sound().Judge(Limits{}); len(reasons)+len(notes) > 0 {
		t.Fatalf("a sound result: %q, %q", reasons, notes)
	}
	closed := func(r *Result) {
		r.Config.Rate = 0
		r.Config.Inflight = 10 // x 2 clients = 10,000/s x 2 ms
		r.OwnLag, r.Lag = NewHistogram(), NewHistogram()
	}
	for _, c := range []struct {
		name    string
		want    string // "": no reason
		faults  bool
		prepare func(*Result)
	}{
		{"closed loop", "", false, closed},
		{"nothing acknowledged", "no operation was acknowledged", false, func(r *Result) { r.Response = NewHistogram() }},
		{"few samples", "too few samples: 999", false, func(r *Result) { r.Response = filled(time.Millisecond, 999) }},
		{"unsent", "never sent", false, func(r *Result) { r.Unsent = 1 }},
		{"backlog", "had no outcome", false, func(r *Result) { r.BacklogPeak = r.Config.BacklogMax + 1 }},
		{"rate not sustained", "not sustained", false, func(r *Result) { r.BacklogEnd = 10_001 }},
		{"rate not sustained, with a fault", "", true, func(r *Result) { r.BacklogEnd = 10_001 }},
		{"late", "generator late", false, func(r *Result) { r.OwnLag = filled(1100*time.Microsecond, 100) }},
		{"late, and no matter", "", false, func(r *Result) {
			r.OwnLag, r.Response = filled(1100*time.Microsecond, 100), filled(4*time.Millisecond, 1000)
		}},
		{"clamped", "outside the range", false, func(r *Result) { r.OutOfRange = 1 }},
		{"refused", "did not execute", false, func(r *Result) { r.Refused = 1 }},
		{"target lies", "broke its promises", false, func(r *Result) { r.Ledger.fault("acknowledged twice") }},
		{"Little, open", "Little's law", false, func(r *Result) { r.OutstandingMean = 60 }},
		{"Little, few under way", "", false, func(r *Result) { r.OutstandingMean = 9 }},
		{"Little, with a fault", "", true, func(r *Result) { r.OutstandingMean = 60 }},
		{"with a burst", "", false, func(r *Result) { // beyond what the cluster can take, as it was meant
			r.Config.Bursts = []Burst{{At: time.Second, For: time.Second, Factor: 3}}
			r.OutstandingMean, r.BacklogEnd = 60, 10_001
		}},
		{"Little, closed, too few", "generator saturated: it was to keep 40", false, func(r *Result) { closed(r); r.Config.Inflight = 20 }},
		{"Little, closed, too many", "Little's law", false, func(r *Result) { closed(r); r.Config.Inflight = 5 }},
		{"Little, after failures", "", false, func(r *Result) { closed(r); r.Config.Inflight = 5; r.Failed = 2000 }},
	} {
		r := sound()
		c.prepare(r)
		reasons, _ := r.Judge(Limits{Faults: c.faults})
		if c.want == "" && len(reasons) > 0 || c.want != "" && (len(reasons) != 1 || !strings.Contains(reasons[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, reasons, c.want)
		}
	}
}

// A warm-up that was too short shows as a rate that moves through the window: noted, not condemned.
func TestDriftIsNoted(t *testing.T) {
	r := sound()
	for i := range r.Intervals[:33] {
		r.Intervals[i].Ops = 700
	}
	reasons, notes := r.Judge(Limits{})
	if len(reasons) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "7000/s") {
		t.Errorf("%q, %q", reasons, notes)
	}
	if _, notes := r.Judge(Limits{Faults: true}); len(notes) != 0 {
		t.Errorf("with faults: %q", notes)
	}
}
