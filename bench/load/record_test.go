package load

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The collector takes the interval's record while the worker writes: a count that goes missing in the exchange would
// show as intervals that do not add up.
func TestSwapLosesNothing(t *testing.T) {
	c := Config{}.withDefaults()
	r := &run{config: &c, timeline: newTimeline(time.Second)}
	r.stop.Store(never)
	rec := newRecorder(r)
	const rounds = 20_000
	var done sync.WaitGroup
	stop := make(chan struct{})
	var ops, samples uint64
	done.Go(func() {
		spare := newPulse()
		for last := false; !last; {
			select {
			case <-stop:
				last = true
			default:
			}
			p := rec.swap(spare)
			ops += p.ops
			samples += uint64(p.response.TotalCount())
			p.reset()
			spare = p
		}
	})
	f := &flight{count: 3, sent: 10, done: 1000}
	for range rounds {
		rec.begin()
		rec.record(f)
		rec.end()
	}
	close(stop)
	done.Wait()
	if want := uint64(rounds * 3); ops != want || samples != want || uint64(rec.response.TotalCount()) != want {
		t.Errorf("intervals hold %d operations and %d samples, the run %d; want %d", ops, samples, rec.response.TotalCount(), want)
	}
}

// Out-of-range samples are clamped and counted, never dropped.
func TestClamped(t *testing.T) {
	h := NewHistogram()
	if put(h, -5, 2) || put(h, latencyMax+1, 3) || !put(h, latencyMax, 1) || !put(h, 0, 1) {
		t.Error("a sample out of range is not told, or one in range is")
	}
	if h.TotalCount() != 7 {
		t.Errorf("%d samples of 7", h.TotalCount())
	}
}

// Workers in parallel, in real time: what they record must add up in the result, in the intervals and in the ledger.
func TestWorkersAddUp(t *testing.T) {
	for _, c := range []Config{
		{Clients: 8, Inflight: 256, Ops: 100_000, SM: Null, Workers: 4, Interval: 10 * time.Millisecond},
		{Clients: 8, Inflight: 256, Ops: 50_000, Workers: 4, Interval: 10 * time.Millisecond, Reads: 0.1, Keys: 100},
		{Clients: 8, Inflight: 256, Ops: 50_000, SM: Null, Workers: 4, Interval: 10 * time.Millisecond, API: APICall},
		{Clients: 8, Inflight: 256, Ops: 50_000, SM: Null, Workers: 4, Interval: 10 * time.Millisecond, Rate: 1e6},
	} {
		var shown uint64
		c.Progress = func(i Interval) { shown += i.Ops }
		var targets []Target
		for range c.Clients {
			targets = append(targets, NewDiscard())
		}
		r, err := Run(context.Background(), c, targets)
		if err != nil {
			t.Fatal(err)
		}
		acked := r.Ledger.Acked
		if c.Reads > 0 {
			acked = c.Ops
		}
		var done uint64
		for _, n := range r.Timeline.Done {
			done += uint64(n)
		}
		if got := uint64(r.Response.TotalCount()); got != c.Ops || acked != c.Ops || shown != c.Ops || done != c.Ops || r.Ops != c.Ops {
			t.Errorf("%+v: of %d operations %d have a latency, %d are in the ledger, %d in the intervals, %d in the timeline, %d in the throughput",
				c, c.Ops, got, acked, shown, done, r.Ops)
		}
	}
}

// The closed loop must not allocate per command: a collection in the generator stops the clock of what it measures.
func TestNoAllocationPerCommand(t *testing.T) {
	for _, c := range []Config{
		{SM: Null, Inflight: 1024},
		{SM: Null, Inflight: 1024, API: APICall},
		{SM: KV, Inflight: 1024, Keys: 1000, Dist: Zipf(0.99)},
		{SM: KV, Inflight: 1024, Keys: 1000, Reads: 0.5},
	} {
		c.Clients, c.Duration = 1, time.Hour
		c = c.withDefaults()
		r := newRun(&c, []Target{NewDiscard()})
		r.base = time.Now()
		w := r.workers[0]
		for range 20 {
			w.turn()
		}
		before := w.rec.response.TotalCount()
		allocs := testing.AllocsPerRun(200, func() { w.turn() })
		if n := w.rec.response.TotalCount() - before; n < 200*1000 {
			t.Fatalf("%+v: only %d commands in 200 turns", c, n)
		}
		if allocs != 0 {
			t.Errorf("%+v: %g allocations per 1024 commands", c, allocs)
		}
	}
}

// The alarm must ring, close to its time and not before it, and stop when it is closed.
func TestAlarm(t *testing.T) {
	for name, make := range map[string]func(func()) alarm{"kernel": newAlarm, "timer": newTimer} {
		rang := make2(1)
		a := make(func() {
			select {
			case rang <- struct{}{}:
			default:
			}
		})
		for _, d := range []time.Duration{200 * time.Microsecond, 3 * time.Millisecond, -1} {
			start := time.Now()
			a.set(d)
			select {
			case <-rang:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: no ring", name)
			}
			if since := time.Since(start); since < d {
				t.Errorf("%s: rang after %v, set to %v", name, since, d)
			}
		}
		a.close()
	}
}

func make2(n int) chan struct{} { return make(chan struct{}, n) }

// In real time, with a target that answers at once, the lag of an open loop is what the machine's timers allow; the
// bound is far above that, and far below the 10 ms between two operations. A machine under load may need some tries.
func TestOpenLoopRealTime(t *testing.T) {
	for try := 1; ; try++ {
		lag := openLoopLag(t)
		if lag <= 5*time.Millisecond {
			return
		}
		if try == 10 {
			t.Fatalf("median lag %v in each of %d tries", lag, try)
		}
	}
}

func openLoopLag(t *testing.T) time.Duration {
	t.Helper()
	r, err := Run(context.Background(), Config{Clients: 2, SM: Null, Rate: 200, Duration: 300 * time.Millisecond}, []Target{NewDiscard(), NewDiscard()})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Response.TotalCount(); n != 60 {
		t.Errorf("%d operations, 60 were due", n)
	}
	return time.Duration(r.Lag.ValueAtQuantile(50))
}

// A rate that the generator itself cannot make must not pass for a valid run.
func TestGeneratorTooSlow(t *testing.T) {
	r, err := Run(context.Background(), Config{Clients: 2, SM: Null, Rate: 1e9, Duration: 5 * time.Millisecond, Drain: 10 * time.Millisecond, Workers: 1},
		[]Target{NewDiscard(), NewDiscard()})
	if err != nil {
		t.Fatal(err)
	}
	reasons, _ := r.Judge(Limits{})
	if len(reasons) == 0 || !strings.Contains(strings.Join(reasons, " "), "generator") {
		t.Errorf("a billion operations per second are called valid: %q", reasons)
	}
}

// No goroutine, timer or descriptor of a run may outlive it.
func TestRunLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		if _, err := Run(context.Background(), Config{Clients: 2, SM: Null, Rate: 1000, Ops: 10}, []Target{NewDiscard(), NewDiscard()}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestTargetCount(t *testing.T) {
	if _, err := Run(context.Background(), Config{Clients: 2}, []Target{NewDiscard()}); err == nil {
		t.Error("a run with too few targets started")
	}
}

// benchmark drives the generator against a target that takes everything at once: the generator's own limit.
func benchmark(b *testing.B, c Config) {
	c.Clients, c.Ops = 4, uint64(b.N)
	var targets []Target
	for range c.Clients {
		targets = append(targets, NewDiscard())
	}
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := Run(context.Background(), c, targets); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkBlockNull(b *testing.B) { benchmark(b, Config{SM: Null, Inflight: 4096}) }
func BenchmarkBlockKV(b *testing.B)   { benchmark(b, Config{Inflight: 4096, Dist: Zipf(0.99)}) }
func BenchmarkCallNull(b *testing.B) {
	benchmark(b, Config{SM: Null, Inflight: 4096, API: APICall})
}
func BenchmarkOpenNull(b *testing.B) {
	benchmark(b, Config{SM: Null, Inflight: 4096, Rate: 1e9})
}
