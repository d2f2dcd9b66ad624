package load

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Percentiles of percentiles are no percentiles: samples that went to several histograms, through the pipe and back,
// must be the same, bucket by bucket, as if one had recorded them all.
func TestMergeIsLossless(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	one, merged := NewHistogram(), NewHistogram()
	for range 4 {
		part := NewHistogram()
		for range 50_000 {
			v := int64(rng.ExpFloat64() * float64(time.Millisecond))
			if rng.IntN(1000) == 0 {
				v = rng.Int64N(latencyMax)
			}
			put(one, v, 1)
			put(part, v, 1)
		}
		if err := Pack(part).unpackInto(merged); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(one.Export().Counts, merged.Export().Counts) || one.TotalCount() != merged.TotalCount() || one.Max() != merged.Max() || one.Min() != merged.Min() {
		t.Error("the merged histogram is another")
	}
	for _, bad := range []Packed{{1}, Packed("nonsense"), Pack(one)[:100]} {
		if err := bad.unpackInto(NewHistogram()); err == nil {
			t.Errorf("%d bytes of nonsense were taken for a histogram", len(bad))
		}
	}
}

// A load cut into parts must be the same load: every operation once, at its time, and the measurements of one process.
// It would show as operations that two parts make or none does, times that do not fit, or writes that the audit misses.
func TestPartsAreTheWhole(t *testing.T) {
	for _, sm := range []SM{Null, KV} {
		c := Config{
			Clients: 5, Inflight: 100, Rate: 3000, Arrival: Poisson, Warmup: time.Second, Duration: 4 * time.Second, Keys: 300, Reads: 0.2, ReadMode: ReadLog, Seed: 3,
			Interval: 500 * time.Millisecond,
		}
		if sm == Null {
			c.Reads = 0
		}
		var whole, merged *Result
		var progress []Interval
		synctest.Test(t, func(t *testing.T) {
			cluster := newFakeCluster(sm, 3*time.Millisecond)
			c.SM, c.timers, c.Workers = sm, true, c.Clients // a worker for each: whose turn it is moves times by microseconds
			var err error
			if whole, err = Run(context.Background(), c, cluster.targets(c.Clients)); err != nil {
				t.Fatal(err)
			}
		})
		synctest.Test(t, func(t *testing.T) { merged, progress = runParts(t, c, sm) })
		if len(merged.Generators) != 3 || merged.Generators[0].Clients != 2 || merged.Generators[2].Clients != 1 {
			t.Errorf("%+v", merged.Generators)
		}
		if merged.Ops != whole.Ops || merged.Window != whole.Window || merged.OpsPerSecond != whole.OpsPerSecond || merged.Failed+merged.Unknown+merged.Unsent != 0 {
			t.Errorf("%v: %d operations in %v, of one process %d in %v", sm, merged.Ops, merged.Window, whole.Ops, whole.Window)
		}
		for _, h := range [][2][]int64{{merged.Response.Export().Counts, whole.Response.Export().Counts}, {merged.Lag.Export().Counts, whole.Lag.Export().Counts}, {merged.Reads.Export().Counts, whole.Reads.Export().Counts}} {
			if !slices.Equal(h[0], h[1]) {
				t.Errorf("%v: histograms differ", sm)
			}
		}
		if len(merged.Intervals) < 8 || !reflect.DeepEqual(merged.Intervals[:8], whole.Intervals[:8]) {
			t.Errorf("%v: intervals\n%+v\n%+v", sm, merged.Intervals, whole.Intervals)
		}
		if len(progress) != len(merged.Intervals)+2 {
			t.Errorf("%v: %d intervals were told, %d measured after two of warm-up", sm, len(progress), len(merged.Intervals))
		}
		if !slices.Equal(merged.Timeline.Done[:4000], whole.Timeline.Done[:4000]) || !slices.Equal(merged.Timeline.First[:4000], whole.Timeline.First[:4000]) {
			t.Errorf("%v: timelines differ", sm)
		}
		if merged.Ledger.Acked != whole.Ledger.Acked {
			t.Errorf("%v: %d acknowledged writes, of one process %d", sm, merged.Ledger.Acked, whole.Ledger.Acked)
		}
		if sm == KV {
			for k := range whole.Ledger.keys {
				if merged.Ledger.keys[k].acked != whole.Ledger.keys[k].acked {
					t.Fatalf("key %d: %d writes and %d", k, merged.Ledger.keys[k].acked, whole.Ledger.keys[k].acked)
				}
			}
		}
	}
}

// runParts makes a load of three parts at once; everything goes through the forms that it has in a pipe.
func runParts(t *testing.T, c Config, sm SM) (*Result, []Interval) {
	cluster := newFakeCluster(sm, 3*time.Millisecond)
	c.Begin = time.Now().Add(50 * time.Millisecond)
	c = c.withDefaults()
	parts := c.Parts(3)
	targets := cluster.targets(c.Clients)
	var progress []Interval
	whole := c
	whole.Progress = func(i Interval) { progress = append(progress, i) }
	gather := NewGather(whole, parts, c.Begin.Add(c.Warmup))
	pulses, shares := make([][]*Pulse, len(parts)), make([]*Share, len(parts))
	done := make(chan error)
	for i, p := range parts {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var own Config
		if err := json.Unmarshal(text, &own); err != nil {
			t.Fatal(err)
		}
		own.timers, own.Part = true, p
		own.Pulse = func(x *Pulse) { pulses[i] = append(pulses[i], x) }
		go func() {
			r, err := Run(context.Background(), own, targets[p.First:p.First+p.Clients])
			if err == nil {
				shares[i], err = r.Share(time.Second, 1)
			}
			done <- err
		}()
	}
	for range parts {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 20; n++ {
		for i := range parts {
			if n < len(pulses[i]) {
				if err := gather.Pulse(pulses[i][n]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	r, err := gather.End(shares)
	if err != nil {
		t.Fatal(err)
	}
	return r, progress
}

// One of several generators that is late, or out of processor time, must not hide behind the others.
func TestGeneratorsAreJudged(t *testing.T) {
	r, _ := virtual(t, Null, time.Millisecond, Config{Clients: 2, Inflight: 100, Rate: 2000, Duration: 4 * time.Second}, nil)
	for _, c := range []struct {
		generators []Generator
		valid      bool
	}{
		{[]Generator{{CPU: time.Second, Cores: 1}, {CPU: time.Second, Cores: 1}}, true},
		{[]Generator{{CPU: time.Second, Cores: 1}, {CPU: 3900 * time.Millisecond, Cores: 1}}, false},
		{[]Generator{{CPU: 3900 * time.Millisecond, Cores: 2}}, true},
		{[]Generator{{Cores: 1}, {Cores: 1, OwnLag: int64(20 * time.Millisecond)}}, false},
	} {
		r.Generators = c.generators
		if reasons, _ := r.Judge(Limits{}); (len(reasons) == 0) != c.valid {
			t.Errorf("%+v: %q", c.generators, reasons)
		}
	}
}
