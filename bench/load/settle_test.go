package load

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A warm-up that ends while the rate still moves measures the start of the machine; one that says that it has settled
// when it has not is worse. The target stalls here: measuring must begin when two seconds alike have followed, all
// times must count from there, and where time runs out first, the result must say so.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		stall   [2]time.Duration
		rate    float64
		settle  time.Duration
		from    time.Duration // of measuring, after the start
		to      time.Duration
		settled bool
	}{
		{[2]time.Duration{}, 0, 10 * time.Second, 2 * time.Second, 2500 * time.Millisecond, true},
		{[2]time.Duration{500 * time.Millisecond, 2600 * time.Millisecond}, 0, 10 * time.Second, 4600 * time.Millisecond, 5 * time.Second, true},
		{[2]time.Duration{500 * time.Millisecond, 2600 * time.Millisecond}, 2000, 20 * time.Second, 4600 * time.Millisecond, 6 * time.Second, true},
		{[2]time.Duration{time.Second, 2500 * time.Millisecond}, 0, 2900 * time.Millisecond, 3 * time.Second, 3 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := newFakeCluster(Null, time.Millisecond)
			if c.stall[1] > 0 {
				cluster.stalled = [][2]time.Duration{c.stall}
			}
			var told time.Time
			start := time.Now()
			config := Config{
				SM: Null, Clients: 2, Inflight: 10, Rate: c.rate, Warmup: 100 * time.Millisecond, Settle: c.settle, Duration: 2 * time.Second, Seed: 1, timers: true,
				Started: func(measuring time.Time) {
					if !told.IsZero() {
						t.Error("the start was told twice")
					}
					if told = measuring; measuring.Before(time.Now()) {
						t.Error("the start was told when it was over")
					}
				},
			}
			r, err := Run(context.Background(), config, cluster.targets(2))
			if err != nil {
				t.Fatal(err)
			}
			at := r.Started.Sub(start)
			if at < c.from || at > c.to || r.Unsettled == c.settled || (r.Settled > 0) != c.settled || !told.Equal(r.Started) {
				t.Errorf("%+v: measured from %v, settled after %v, unsettled %v, told %v", c, at, r.Settled, r.Unsettled, told.Sub(start))
			}
			if r.Window != 2*time.Second || r.Intervals[0].Start != 0 || r.Timeline.Start != -int64(at) {
				t.Errorf("%+v: window %v, first interval at %d, timeline from %d", c, r.Window, r.Intervals[0].Start, r.Timeline.Start)
			}
			want := 20_000.0 * 2
			if c.rate > 0 {
				want = c.rate * 2
			}
			if n := float64(r.Response.TotalCount()); n < 0.99*want || n > 1.01*want || r.Ops < uint64(0.99*want) {
				t.Errorf("%+v: %.0f latencies and %d operations, want %.0f", c, n, r.Ops, want)
			}
			word := "had settled"
			if !c.settled {
				word = "had not settled"
			}
			if _, notes := r.Judge(Limits{}); !strings.Contains(strings.Join(notes, " "), word) {
				t.Errorf("%+v: %q", c, notes)
			}
		})
	}
}
