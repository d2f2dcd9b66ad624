package kv

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// overwrites is a run of n puts to keys 0..keys-1 with values of size bytes.
func overwrites(t testing.TB, seed uint64, n, keys, size int) wire.Batch {
	rng := rand.New(rand.NewPCG(1, seed))
	cmds := make([][]byte, n)
	for i := range cmds {
		cmds[i] = AppendPut(nil, key(rng.IntN(keys)), bytes.Repeat([]byte{byte(i)}, size))
	}
	return batch(t, block(1, 1, cmds...))
}

// What can go wrong: the hot path allocates per command or per block, and the garbage collector takes the processor.
func TestApplyDoesNotAllocate(t *testing.T) {
	for name, m := range map[string]engine.StateMachine{"kv": New(), "null": NewNull()} {
		b := overwrites(t, 2, 1000, 100, 16)
		var out engine.Replies
		slot := wire.Slot(0)
		run := func() {
			slot++
			out.Reset(b)
			m.Apply(slot, b, &out)
		}
		run()
		if n := testing.AllocsPerRun(50, run); n != 0 {
			t.Errorf("%s: %v allocations per run of 1000 commands", name, n)
		}
	}
}

// What can go wrong: after a view is released, every overwrite goes on copying.
func TestReleaseMakesWritesCheapAgain(t *testing.T) {
	m := New()
	b := overwrites(t, 2, 1000, 100, 16)
	var out engine.Replies
	run := func() {
		out.Reset(b)
		m.Apply(m.slot+1, b, &out)
	}
	run()
	for range 3 {
		freeze(t, m)
	}
	if n := testing.AllocsPerRun(50, run); n != 0 {
		t.Errorf("%v allocations per run after views were released", n)
	}
}

// What can go wrong: Snapshot stops Apply for a time that grows with the state.
func TestSnapshotIsCheap(t *testing.T) {
	m := filled(t, 1<<18)
	best := time.Hour
	for range 5 {
		start := time.Now()
		v, err := m.Snapshot()
		best = min(best, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
		v.Release()
	}
	if best > 5*time.Millisecond {
		t.Fatalf("a view of 262144 keys takes %v", best)
	}
}

func filled(t testing.TB, keys int) *KV {
	m := New()
	var out engine.Replies
	for i := 0; i < keys; i += 1024 {
		cmds := make([][]byte, 1024)
		for j := range cmds {
			cmds[j] = AppendPut(nil, key(i+j), make([]byte, 16))
		}
		b := batch(t, block(1, 1, cmds...))
		out.Reset(b)
		m.Apply(m.slot+1, b, &out)
	}
	return m
}

func BenchmarkApply(b *testing.B) {
	for name, m := range map[string]engine.StateMachine{"kv": New(), "null": NewNull()} {
		for _, keys := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("%s/keys=%d", name, keys), func(b *testing.B) {
				// Enough runs that they, and the keys, are not in the caches when their turn comes again.
				runs := make([]wire.Batch, 100)
				for i := range runs {
					runs[i] = overwrites(b, uint64(i), 1024, keys, 16)
				}
				var out engine.Replies
				b.ReportAllocs()
				slot := wire.Slot(0)
				for b.Loop() {
					slot++
					run := runs[int(slot)%len(runs)]
					out.Reset(run)
					m.Apply(slot, run, &out)
				}
				b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "commands/s")
			})
		}
	}
}

// BenchmarkApplyUnderView is the worst case of copy-on-write: a view is taken anew before each run, so that nearly
// every write copies its page.
func BenchmarkApplyUnderView(b *testing.B) {
	m := filled(b, 1<<17)
	run := overwrites(b, 2, 1024, 1<<17, 16)
	var out engine.Replies
	for b.Loop() {
		v, _ := m.Snapshot()
		out.Reset(run)
		m.Apply(m.slot+1, run, &out)
		v.Release()
	}
	b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "commands/s")
}

func BenchmarkSnapshotView(b *testing.B) {
	m := filled(b, 1<<20)
	for b.Loop() {
		v, _ := m.Snapshot()
		v.Release()
	}
}

func BenchmarkWriteTo(b *testing.B) {
	m := filled(b, 1<<17)
	v, _ := m.Snapshot()
	defer v.Release()
	for b.Loop() {
		n, _ := v.WriteTo(io.Discard)
		b.SetBytes(n)
	}
}
