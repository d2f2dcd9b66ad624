package load

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// virtual runs a load in virtual time: sleeping costs nothing and every time is exact.
func virtual(t *testing.T, sm SM, latency time.Duration, c Config, prepare func(*fakeCluster)) (out *Result, cluster *fakeCluster) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cluster = newFakeCluster(sm, latency)
		if prepare != nil {
			prepare(cluster)
		}
		out = runVirtual(t, context.Background(), c, cluster)
	})
	return out, cluster
}

func runVirtual(t *testing.T, ctx context.Context, c Config, cluster *fakeCluster) *Result {
	t.Helper()
	c.SM, c.timers, c.Workers = cluster.sm, true, 2
	setDefault(&c.Interval, time.Second) // closing one costs real time, which adds up under the race detector
	c = c.withDefaults()
	r, err := Run(ctx, c, cluster.targets(c.Clients))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Coordinated omission: a generator that waits for a stalled target asks nothing during the stall and so measures
// nothing of it. It would show as a response p99 that does not know of a 2 s stall in a 20 s run, 10% of its time.
func TestStallIsNotOmitted(t *testing.T) {
	r, _ := virtual(t, Null, time.Millisecond, Config{
		Clients: 4, Inflight: 1, Rate: 1000, Duration: 20 * time.Second,
	}, func(c *fakeCluster) { c.stalled = [][2]time.Duration{{10 * time.Second, 12 * time.Second}} })
	response := time.Duration(r.Response.ValueAtQuantile(99))
	service := time.Duration(r.Service.ValueAtQuantile(99))
	lag := time.Duration(r.Lag.ValueAtQuantile(99))
	if response < time.Second || response > 2500*time.Millisecond {
		t.Errorf("response p99 = %v, want between 1 s and 2.5 s", response)
	}
	if service > 10*time.Millisecond {
		t.Errorf("service p99 = %v: it was to hide the stall", service)
	}
	if lag < time.Second {
		t.Errorf("lag p99 = %v, want the part of the response that service hides", lag)
	}
	if n := r.Response.TotalCount(); n != 20_000 {
		t.Errorf("%d latencies of 20000 operations that were due", n)
	}
	if reasons, _ := r.Judge(Limits{Faults: true}); len(reasons) > 0 {
		t.Errorf("the stall is the target's, but the run is called invalid: %q", reasons)
	}
	if own := time.Duration(r.OwnLag.Max()); own > time.Millisecond {
		t.Errorf("the generator's own lag is %v: the wait for the target was taken for it", own)
	}
}

// An election in an open loop whose blocks carry one operation each: after some tens of milliseconds the client has as many
// blocks under way as it may, and sends nothing until there is a leader again. That wait is the cluster's: taken for the
// generator's own lag it would make every run with a killed leader invalid.
func TestElectionIsNotOwnLag(t *testing.T) {
	r, c := virtual(t, Null, time.Millisecond, Config{
		Clients: 4, Rate: 5000, Duration: 6 * time.Second,
	}, func(c *fakeCluster) { c.stalled = [][2]time.Duration{{2 * time.Second, 2300 * time.Millisecond}} })
	if c.most < 4*64 {
		t.Errorf("at most %d blocks under way: the limit was not reached", c.most)
	}
	if lag := time.Duration(r.Lag.ValueAtQuantile(99)); lag < 100*time.Millisecond {
		t.Errorf("lag p99 = %v: nothing had to wait", lag)
	}
	if own := time.Duration(r.OwnLag.Max()); own > time.Millisecond {
		t.Errorf("the generator's own lag is %v", own)
	}
	if reasons, _ := r.Judge(Limits{Faults: true}); len(reasons) > 0 {
		t.Errorf("invalid: %q", reasons)
	}
}

// With room for everything that is due, the stall shows in the service time too; response and service are then the
// same. It would show as operations held back although Inflight allows them.
func TestOpenLoopSendsWhileTargetStalls(t *testing.T) {
	r, c := virtual(t, Null, time.Millisecond, Config{
		Clients: 1, Inflight: 10_000, Blocks: 128, Rate: 1000, Duration: 2 * time.Second,
	}, func(c *fakeCluster) { c.stalled = [][2]time.Duration{{time.Second, 1100 * time.Millisecond}} })
	if s := time.Duration(r.Service.Max()); s < 95*time.Millisecond {
		t.Errorf("service max = %v, want about 100 ms", s)
	}
	if l := time.Duration(r.Lag.Max()); l > 100*time.Microsecond {
		t.Errorf("lag max = %v with room to send", l)
	}
	if c.most < 90 {
		t.Errorf("at most %d blocks under way in a stall of 100 operations", c.most)
	}
}

// An open loop issues every operation that is due, once, at its time. It would show as a count that is off, or a lag.
func TestOpenLoopExact(t *testing.T) {
	for _, c := range []Config{
		{Clients: 3, Inflight: 100, Rate: 700, Duration: 3 * time.Second, Warmup: time.Second},
		{Clients: 3, Inflight: 100, Rate: 700, Duration: 3 * time.Second, Warmup: time.Second, API: APICall},
		{Clients: 3, Inflight: 100, Rate: 700, Duration: 3 * time.Second, Arrival: Poisson, Seed: 7},
		{Clients: 3, Inflight: 100, Rate: 700, Ops: 2100, Warmup: time.Second},
	} {
		r, _ := virtual(t, Null, time.Millisecond, c, nil)
		due := uint64(2100)
		if c.Arrival == Poisson {
			due = 0
			all := c.withDefaults()
			for i := range c.Clients {
				s := newSchedule(&all, i)
				n, _ := s.skip(int64(3*time.Second), 0)
				due += n
			}
			if math.Abs(float64(due)-2100) > 5*math.Sqrt(2100) {
				t.Errorf("%d operations due in 3 s at 700/s", due)
			}
		}
		if n := uint64(r.Response.TotalCount()); n != due || uint64(r.Lag.TotalCount()) != due || uint64(r.Service.TotalCount()) != due {
			t.Errorf("%+v: %d latencies, want %d", c, n, due)
		}
		if lag := time.Duration(r.Lag.Max()); lag > 2*quantum {
			t.Errorf("%+v: lag %v", c, lag)
		}
		if r.Unsent != 0 || r.Failed != 0 || r.Unknown != 0 || r.Partial {
			t.Errorf("%+v: unsent %d failed %d unknown %d partial %t", c, r.Unsent, r.Failed, r.Unknown, r.Partial)
		}
		if reasons, _ := r.Judge(Limits{}); len(reasons) > 0 {
			t.Errorf("%+v: %q", c, reasons)
		}
	}
}

// A closed loop keeps Inflight operations under way, in the blocks it was cut into. It would show as blocks that melt
// into one (the pipeline behind runs dry), or as a throughput that contradicts Little's law.
func TestClosedLoop(t *testing.T) {
	for _, api := range []API{APIBlock, APICall} {
		r, c := virtual(t, Null, 10*time.Millisecond, Config{
			Clients: 2, Inflight: 100, Warmup: 100 * time.Millisecond, Duration: time.Second, Interval: 100 * time.Millisecond, API: api,
		}, nil)
		if r.OpsPerSecond < 19_750 || r.OpsPerSecond > 20_000 {
			t.Errorf("%v: %.0f/s, want 200 under way / 10 ms", api, r.OpsPerSecond)
		}
		want := 8
		if api == APICall {
			want = 200
		}
		if c.most != want {
			t.Errorf("%v: %d submissions under way, want %d", api, c.most, want)
		}
		for _, n := range c.blocks {
			if n != 200/want {
				t.Fatalf("%v: a block of %d commands, want %d", api, n, 200/want)
			}
		}
		if r.OutstandingMean != 200 {
			t.Errorf("%v: %.0f under way, want 200", api, r.OutstandingMean)
		}
		if r.Lag.TotalCount() != 0 {
			t.Errorf("%v: a closed loop has no lag", api)
		}
		if reasons, _ := r.Judge(Limits{}); len(reasons) > 0 {
			t.Errorf("%v: %q", api, reasons)
		}
	}
}

// --ops means measured operations, exactly, whatever the warm-up and however it divides.
func TestOpsExact(t *testing.T) {
	for _, c := range []Config{
		{Clients: 3, Inflight: 64, Ops: 10_001},
		{Clients: 3, Inflight: 64, Ops: 10_001, Warmup: 50 * time.Millisecond},
		{Clients: 3, Inflight: 7, Ops: 2},
		{Clients: 3, Inflight: 64, Ops: 1000, API: APICall},
	} {
		r, _ := virtual(t, Null, time.Millisecond, c, nil)
		if n := uint64(r.Response.TotalCount()); n != c.Ops {
			t.Errorf("%+v: %d measured operations", c, n)
		}
		if c.Warmup == 0 && r.Ledger.Acked != c.Ops {
			t.Errorf("%+v: %d acknowledged", c, r.Ledger.Acked)
		}
	}
}

// Where a count ends the load before its time is over, the rest of that time is not measured: it would show as a rate
// that gets lower the longer --duration is. Where the time ends it, all of the time counts.
func TestWindowEndsWithOps(t *testing.T) {
	for _, c := range []Config{
		{Clients: 2, Inflight: 10, Ops: 20_000, Duration: 100 * time.Second},
		{Clients: 2, Inflight: 100, Rate: 20_000, Ops: 20_000, Warmup: time.Second, Duration: 100 * time.Second},
	} {
		r, _ := virtual(t, Null, time.Millisecond, c, nil)
		if r.Response.TotalCount() != int64(c.Ops) || r.Window > 1010*time.Millisecond || math.Abs(r.OpsPerSecond/20_000-1) > 0.01 {
			t.Errorf("%+v: %d operations in %v, %.0f/s, want 20,000/s", c, r.Ops, r.Window, r.OpsPerSecond)
		}
		c.Ops, c.Duration = 1<<40, 500*time.Millisecond
		if r, _ := virtual(t, Null, time.Millisecond, c, nil); r.Window != c.Duration {
			t.Errorf("%+v: the window is %v", c, r.Window)
		}
	}
}

// Warm-up is not measured: its latencies must not be in the histograms, and its completions not in the throughput.
func TestWarmupExcluded(t *testing.T) {
	for _, c := range []Config{
		{Clients: 1, Inflight: 10, Warmup: time.Second, Duration: time.Second},
		{Clients: 1, Inflight: 10, Rate: 1000, Warmup: time.Second, Duration: time.Second},
	} {
		r, _ := virtual(t, Null, time.Millisecond, c, func(f *fakeCluster) {
			f.stalled = [][2]time.Duration{{500 * time.Millisecond, 900 * time.Millisecond}}
		})
		if m := time.Duration(r.Response.Max()); m > 2*time.Millisecond {
			t.Errorf("%+v: response max %v comes from warm-up", c, m)
		}
		var sum uint64
		for _, i := range r.Intervals {
			sum += i.Ops
		}
		if sum < r.Ops || r.Intervals[0].Start != 0 {
			t.Errorf("%+v: intervals hold %d operations from %d on, the window %d", c, sum, r.Intervals[0].Start, r.Ops)
		}
		if r.Timeline.Start != -int64(time.Second) {
			t.Errorf("timeline starts at %d", r.Timeline.Start)
		}
	}
}

// A target that cannot take the rate: the backlog must be counted, reported as saturation, and bounded in time by the
// drain; what was never sent must be told.
func TestSaturationIsFlagged(t *testing.T) {
	c := Config{Clients: 2, Inflight: 1, Blocks: 1, Rate: 1000, Duration: 2 * time.Second, BlockCommands: 1, BacklogMax: 1000, Drain: time.Second}
	r, _ := virtual(t, Null, 10*time.Millisecond, c, nil) // takes 200/s
	if r.Unsent == 0 {
		t.Error("operations that were never sent are not told")
	}
	due := uint64(r.Response.TotalCount()) + r.Failed + r.Unknown + r.Unsent
	if due != 2000 {
		t.Errorf("%d operations accounted for, 2000 were due", due)
	}
	reasons, _ := r.Judge(Limits{})
	if len(reasons) == 0 {
		t.Error("a saturated run is called valid")
	}
	c.Drain = time.Minute
	r, _ = virtual(t, Null, 10*time.Millisecond, c, nil)
	if r.Unsent != 0 || r.Response.TotalCount() != 2000 {
		t.Errorf("with time to drain: %d unsent, %d latencies", r.Unsent, r.Response.TotalCount())
	}
	if p := time.Duration(r.Response.ValueAtQuantile(99)); p < 6*time.Second {
		t.Errorf("response p99 %v hides a backlog of 8 s", p)
	}
	if r.BacklogPeak < 1550 {
		t.Errorf("backlog peak %d, want about 1600", r.BacklogPeak)
	}
	if reasons, _ := r.Judge(Limits{}); len(reasons) == 0 {
		t.Error("a saturated run is called valid")
	}
}

// A burst must bring as many operations as its factor says, where it says, and leave the rest of the schedule at its
// rate; what an impatient user gives up must be counted and not be sent late.
func TestBursts(t *testing.T) {
	for _, arrival := range []Arrival{Uniform, Poisson} {
		r, _ := virtual(t, Null, time.Millisecond, Config{
			Clients: 3, Inflight: 1000, Rate: 2000, Arrival: arrival, Warmup: time.Second, Duration: 10 * time.Second,
			Bursts: []Burst{{2 * time.Second, 3 * time.Second, 2.5}, {7 * time.Second, time.Second, 0.5}},
		}, nil)
		want := map[int]float64{0: 2000, 1: 2000, 2: 5000, 3: 5000, 4: 5000, 5: 2000, 6: 2000, 7: 1000, 8: 2000, 9: 2000}
		slack := 5.0
		if arrival == Poisson {
			slack = 350 // five standard deviations
		}
		for _, i := range r.Intervals {
			n := int(i.Start / int64(time.Second))
			if math.Abs(float64(i.Ops)-want[n]) > slack && n < 10 {
				t.Errorf("%v: second %d has %d operations, want %.0f", arrival, n, i.Ops, want[n])
			}
		}
		if max := time.Duration(r.Response.Max()); max > 5*time.Millisecond || r.Expired != 0 {
			t.Errorf("%v: response max %v, %d expired", arrival, max, r.Expired)
		}
	}
	r, _ := virtual(t, Null, 10*time.Millisecond, Config{ // takes 200/s
		Clients: 2, Inflight: 1, Rate: 100, Warmup: time.Second, Duration: 20 * time.Second, Patience: 300 * time.Millisecond,
		Bursts: []Burst{{2 * time.Second, 5 * time.Second, 10}},
	}, nil)
	due := uint64(r.Response.TotalCount()) + r.Expired
	if due != 100*15+1000*5 || r.Expired < 3800 || r.Expired > 4000 || r.Unsent+r.Failed+r.Unknown != 0 {
		t.Errorf("%d operations accounted for, 6500 were due; %d expired, about 3900 could not be served", due, r.Expired)
	}
	if max := time.Duration(r.Response.Max()); max > 330*time.Millisecond {
		t.Errorf("response max %v: sent after users had given up", max)
	}
	last := r.Intervals[len(r.Intervals)-3]
	if time.Duration(last.P99) > 12*time.Millisecond || r.BacklogPeak > 400 {
		t.Errorf("after the burst p99 is %v; backlog up to %d", time.Duration(last.P99), r.BacklogPeak)
	}
}

// Failed and unknown operations have no latency and are told apart; a closed loop does not spin on failures.
func TestFailuresApart(t *testing.T) {
	r, c := virtual(t, Null, time.Millisecond, Config{Clients: 1, Inflight: 4, Duration: 2 * time.Second}, func(c *fakeCluster) {
		c.verdict = func(n int) (Outcome, bool) {
			switch {
			case n < 500:
				return Done, true
			case n < 600:
				return Unknown, n%2 == 0
			}
			return Failed, false
		}
	})
	if r.Response.TotalCount() != 500 || r.Unknown != 100 {
		t.Errorf("%d latencies, %d unknown; want 500 and 100", r.Response.TotalCount(), r.Unknown)
	}
	if len(c.blocks) > 2000 {
		t.Errorf("%d blocks: the generator spins on failures", len(c.blocks))
	}
	if r.Failed != uint64(len(c.blocks)-600) || len(r.Errors) != 1 || r.Errors[0].Count != r.Failed+r.Unknown {
		t.Errorf("failed %d of %d blocks, errors %v", r.Failed, len(c.blocks), r.Errors)
	}
	if f := r.Ledger.AuditSessions(c.sessionRows()); !f.OK() || !f.Complete {
		t.Errorf("audit: %+v", f)
	}
}

// The first cancel drains: nothing is lost and the result is marked partial.
func TestCancelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c := newFakeCluster(Null, 300*time.Millisecond)
		r := runVirtual(t, ctx, Config{Clients: 2, Inflight: 8, Duration: time.Hour}, c)
		if !r.Partial || r.Window != time.Second || r.Unknown != 0 {
			t.Errorf("partial %t, window %v, unknown %d", r.Partial, r.Window, r.Unknown)
		}
		sent := 0
		for _, n := range c.blocks {
			sent += n
		}
		if r.Ledger.Acked != uint64(sent) {
			t.Errorf("%d of %d operations drained", r.Ledger.Acked, sent)
		}
	})
}

// Abort ends at once; what is under way is unknown, keys and counts included, and a reply that comes later is ignored.
func TestAbort(t *testing.T) {
	for _, sm := range []SM{Null, KV} {
		synctest.Test(t, func(t *testing.T) {
			abort := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(abort) })
			c := newFakeCluster(sm, time.Hour)
			r := runVirtual(t, context.Background(), Config{Clients: 2, Inflight: 8, Duration: time.Hour, Keys: 10, Abort: abort}, c)
			if !r.Partial || r.Unknown != 16 || r.Ledger.Unknown != 16 {
				t.Errorf("partial %t, %d unknown, %d in the ledger", r.Partial, r.Unknown, r.Ledger.Unknown)
			}
			if sm == KV {
				if f := r.Ledger.AuditKeys(c.keyRows(true)); !f.OK() || f.Duplicated != 0 {
					t.Errorf("audit: %+v", f)
				}
			} else if f := r.Ledger.AuditSessions(c.sessionRows()); !f.OK() || f.Complete {
				t.Errorf("audit: %+v: the sessions of what was abandoned are not known", f)
			}
			time.Sleep(2 * time.Hour) // the late replies
		})
	}
}

// In an open loop, abort leaves behind what was due and not sent, and nothing of the future.
func TestAbortOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		abort := make(chan struct{})
		time.AfterFunc(time.Second-time.Nanosecond, func() { close(abort) })
		c := newFakeCluster(Null, time.Hour)
		r := runVirtual(t, context.Background(), Config{Clients: 2, Inflight: 5, Rate: 100, Duration: time.Hour, Abort: abort}, c)
		if r.Unknown != 10 || r.Unsent != 90 {
			t.Errorf("%d unknown, %d unsent of 100 due", r.Unknown, r.Unsent)
		}
	})
}

// A target that never answers is closed when the drain is over, and Run returns.
func TestDrainEnds(t *testing.T) {
	r, _ := virtual(t, Null, time.Hour, Config{Clients: 2, Inflight: 8, Duration: time.Second, Drain: time.Second}, nil)
	if r.Unknown != 16 || r.Partial {
		t.Errorf("%d unknown, partial %t", r.Unknown, r.Partial)
	}
	if reasons, _ := r.Judge(Limits{}); len(reasons) == 0 {
		t.Error("a run without an acknowledgement is called valid")
	}
}

// Reads that are queries share Inflight with the writes, keep the ratio, and have a histogram of their own.
func TestReads(t *testing.T) {
	for _, c := range []Config{
		{Clients: 2, Inflight: 16, Duration: time.Second, Reads: 0.25, Keys: 100},
		{Clients: 2, Inflight: 16, Duration: time.Second, Reads: 0.25, Keys: 100, ReadMode: ReadLog},
		{Clients: 2, Inflight: 16, Duration: time.Second, Reads: 1, Keys: 100},
		{Clients: 2, Inflight: 16, Duration: time.Second, Reads: 0.25, Keys: 100, API: APICall},
		{Clients: 2, Inflight: 16, Rate: 2000, Duration: time.Second, Reads: 0.25, Keys: 100},
	} {
		r, cluster := virtual(t, KV, time.Millisecond, c, nil)
		share := float64(r.Reads.TotalCount()) / float64(r.Response.TotalCount())
		if math.Abs(share-c.Reads) > 0.05 {
			t.Errorf("%+v: %.3f of the operations are reads", c, share)
		}
		if c.Rate == 0 && math.Abs(r.OpsPerSecond-32_000) > 2500 {
			t.Errorf("%+v: %.0f/s, want 32 under way / 1 ms", c, r.OpsPerSecond)
		}
		if f := r.Ledger.AuditKeys(cluster.keyRows(false)); !f.OK() || !f.Complete || f.Acked == 0 && c.Reads < 1 {
			t.Errorf("%+v: audit %+v", c, f)
		}
	}
}

// The seed fixes what is sent; how it is cut and timed does not change it.
func TestSeedReproduces(t *testing.T) {
	state := func(c Config) map[string]uint64 {
		c.Keys, c.Ops, c.Clients = 50, 3000, 2
		_, cluster := virtual(t, KV, time.Millisecond, c, nil)
		out := make(map[string]uint64)
		for k, r := range cluster.rows {
			out[k] = r.Version
		}
		return out
	}
	same := func(a, b map[string]uint64) bool {
		for k, v := range a {
			if b[k] != v {
				return false
			}
		}
		return len(a) == len(b)
	}
	base := state(Config{Seed: 1, Inflight: 64, Dist: Zipf(0.9)})
	if !same(base, state(Config{Seed: 1, Inflight: 10, Dist: Zipf(0.9), API: APICall})) {
		t.Error("the same seed sent other commands")
	}
	if same(base, state(Config{Seed: 2, Inflight: 64, Dist: Zipf(0.9)})) {
		t.Error("another seed sent the same commands")
	}
}

// Progress comes once per interval, warm-up included, and adds up to what was acknowledged.
func TestProgress(t *testing.T) {
	var got []Interval
	r, _ := virtual(t, Null, time.Millisecond, Config{
		Clients: 1, Inflight: 10, Warmup: 250 * time.Millisecond, Duration: time.Second, Interval: 100 * time.Millisecond,
		Progress: func(i Interval) { got = append(got, i) },
	}, nil)
	var ops uint64
	for i, p := range got {
		ops += p.Ops
		if i > 0 && p.Start != got[i-1].Start+got[i-1].Length {
			t.Errorf("interval at %d after one that ends at %d", p.Start, got[i-1].Start+got[i-1].Length)
		}
	}
	if ops != r.Ledger.Acked {
		t.Errorf("progress showed %d operations, %d were acknowledged", ops, r.Ledger.Acked)
	}
	if got[0].Start != -int64(250*time.Millisecond) || got[2].Length != int64(50*time.Millisecond) {
		t.Errorf("first interval at %d, third of length %d", got[0].Start, got[2].Length)
	}
}

// A machine that is too slow to close the intervals in time could have what was done meanwhile in the first of those that are
// due, and call the others empty: an outage and a peak that were none, and times that are wrong by ever more.
func TestIntervalsClosedLate(t *testing.T) {
	closed := 0
	r, _ := virtual(t, Null, time.Millisecond, Config{
		Clients: 1, Inflight: 10, Rate: 1000, Warmup: 250 * time.Millisecond, Duration: 3 * time.Second, Interval: 100 * time.Millisecond,
		Progress: func(i Interval) {
			if closed++; i.Start >= 0 && i.Start < int64(2*time.Second) {
				time.Sleep(350 * time.Millisecond)
			}
		},
	}, nil)
	next := int64(0)
	for _, i := range r.Intervals {
		if i.Start != next {
			t.Fatalf("an interval begins at %v, the last one ended at %v", time.Duration(i.Start), time.Duration(next))
		}
		next += i.Length
		// It is closed by less than an interval too late.
		if want := float64(i.Length) / 1e6; math.Abs(float64(i.Ops)-want) > 100 {
			t.Errorf("%d operations in %v from %v on, of 1000 a second", i.Ops, time.Duration(i.Length), time.Duration(i.Start))
		}
	}
	if len(r.Intervals) > 20 || closed < len(r.Intervals) {
		t.Errorf("%d intervals", len(r.Intervals))
	}
}
