package batching

import (
	"testing"
	"time"
)

// What can go wrong: a window too small for the round trip leaves the disks idle, or full batches behind each other; one that does not
// follow a change stays so; a number that does not fit makes it 0, which stops the group.
func TestWindow(t *testing.T) {
	const us = int64(time.Microsecond)
	w := NewWindow(32)
	if w.Size() != 32 {
		t.Errorf("%d slots before anything is known, want the bound", w.Size())
	}
	for _, c := range []struct {
		name       string
		life, sync int64
		full, want int // with full batches, and with others
	}{
		{"one machine", 380 * us, 150 * us, 2, 1},
		{"a network of 1 ms", 1150 * us, 150 * us, 7, 5},
		{"a network of 2 ms", 2150 * us, 150 * us, 14, 12},
		{"a network of 50 ms", 50_000 * us, 150 * us, 32, 12},
		{"a slow disk", 12_000 * us, 10_000 * us, 2, 1},
		{"the disk is all there is", 10_500 * us, 10_000 * us, 2, 1},
		{"a quorum without this disk", 300 * us, 10_000 * us, 32, 32},
		{"no sync", 100 * us, 5 * us, 32, 32},
		{"back on one machine", 380 * us, 150 * us, 2, 1},
		{"a clock that stands still", 0, 0, 32, 32},
		{"a pause", 1 << 62, 150 * us, 32, 12},
	} {
		for range 200 {
			w.Chosen(c.life, c.sync, false)
		}
		if w.Size() != c.want {
			t.Errorf("%s: %d slots, want %d", c.name, w.Size(), c.want)
		}
		if w.Chosen(c.life, c.sync, true); w.Size() != c.full {
			t.Errorf("%s: %d slots for full batches, want %d", c.name, w.Size(), c.full)
		}
		if c.life == 1<<62 {
			w = NewWindow(32)
		}
	}
	// A queue before the processor makes some lives longer: that is no reason for more slots.
	for i := range int64(200) {
		w.Chosen((300+i%10*500)*us, (110+i%7*300)*us, false)
	}
	if w.Size() != 1 {
		t.Errorf("%d slots on a busy machine, want 1", w.Size())
	}
	one := NewWindow(1)
	one.Chosen(1<<62, 1<<40, true)
	if one.Size() != 1 {
		t.Errorf("%d slots, bound 1", one.Size())
	}
}
