//go:build !race

package batching

import "testing"

// The race detector empties pools at random, so this test is left out under it.

// In steady state a batch must cost no allocation, compressed or not: the leader makes thousands a second.
func TestBatcherDoesNotAllocate(t *testing.T) {
	for _, compress := range []bool{false, true} {
		b := New[int](Config{Compress: compress})
		it := item(0, 100, 50)
		var waiters []int
		allocs := testing.AllocsPerRun(1000, func() {
			for range 10 {
				it.Frame.Retain()
				b.Add(1, it)
			}
			if !b.Ready(1, 0, 1) {
				t.Fatal("not ready")
			}
			f, w, _ := b.Take(waiters[:0])
			waiters = w
			f.Release()
		})
		it.Frame.Release()
		if allocs != 0 {
			t.Errorf("compress=%v: %v allocations for a batch of 10 blocks", compress, allocs)
		}
	}
}
