//go:build !race

// Not under the race detector: there sync.Pool drops buffers at random, on purpose.

package wire

import (
	"fmt"
	"runtime/debug"
	"testing"
)

// TestHotPathsAllocateNothing: one allocation a message, or worse a command, and the collector takes the processor that
// the commands need; throughput sinks and the tail grows by its pauses.
func TestHotPathsAllocateNothing(t *testing.T) {
	// A collection empties the pools, and filling them again would count here.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	paths, done := hotPaths(t)
	defer done()
	for _, p := range paths {
		p.run() // fills the pools
		runs := 200
		if p.size > 1<<18 {
			runs = 20
		}
		if n := testing.AllocsPerRun(runs, p.run); n != 0 {
			t.Errorf("%s: %v allocations", p.name, n)
		}
	}
}

// TestHotPathsLeakNothing: a path keeps a reference, and a node's memory grows with its traffic.
func TestHotPathsLeakNothing(t *testing.T) {
	before := Outstanding()
	paths, done := hotPaths(t)
	held := Outstanding()
	for _, p := range paths {
		p.run()
		if n := Outstanding() - held; n != 0 {
			t.Fatalf("%s: %d buffers outstanding", p.name, n)
		}
	}
	done()
	if n := Outstanding() - before; n != 0 {
		t.Errorf("%d buffers outstanding at the end", n)
	}
}

// TestRefusalIsCheap: refusing garbage costs more than sending it, so that a stranger's port scan is felt.
func TestRefusalIsCheap(t *testing.T) {
	garbage := []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n")
	damaged := forge(KindProbe, 1, 1, 1, make([]byte, MessageSize))
	damaged[40]++
	for what, p := range map[string][]byte{"garbage": garbage, "damaged": damaged} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := CheckFrame(p); err == nil {
				panic(fmt.Sprintf("%s taken for a frame", what))
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// TestSmallBuffersComeInSlabs: buffers that are kept, as a log keeps a slot's, cost the allocator and the collector something each.
func TestSmallBuffersComeInSlabs(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const runs = 4000
	held := make([]*Buffer, 0, runs+1)
	n := testing.AllocsPerRun(1, func() {
		for range runs / 2 { // it is called twice
			held = append(held, Get(200))
		}
	})
	for i, b := range held {
		b.Append(make([]byte, 256)[:200])
		b.Bytes()[0] = byte(i)
	}
	for i, b := range held {
		if b.Bytes()[0] != byte(i) || b.Cap() != 256 {
			t.Fatalf("buffer %d of %d bytes shares its memory", i, b.Cap())
		}
		b.Release()
	}
	if most := float64(runs/2) / (slabBytes / 256) * 4; n > most {
		t.Errorf("%d buffers took %v allocations, want at most %v", runs/2, n, most)
	}
}
