package vfs

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// What can go wrong: a write that is not aligned goes past the page cache and fails, or one that is and one that is not
// undo each other on the same page, or the pieces of a long one are put in the wrong place. The model is a byte slice.
func TestDirectWrites(t *testing.T) {
	const size = 4 << 20
	f, err := Direct().Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Preallocate(size); err != nil {
		t.Fatal(err)
	}
	direct := &f.(*osFile).direct
	if direct.f == nil {
		t.Log("this file system has no direct writes: only the other way is tested")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	model := make([]byte, size)
	past := 0
	for range 300 {
		n := 1 + rng.IntN(3000)
		if rng.IntN(20) == 0 {
			n = 1 + rng.IntN(3<<20)
		}
		off := rng.IntN(size - n - 8192)
		if rng.IntN(3) > 0 { // aligned
			off &^= 4095
			n = (n + 4095) &^ 4095
		}
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		cut := rng.IntN(n + 1)
		bufs := [][]byte{p[:cut], nil, p[cut:]}
		if direct.takes(bufs, int64(off)) {
			past++
		}
		if err := f.Writev(bufs, int64(off)); err != nil {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
		copy(model[off:], p)
		if rng.IntN(10) == 0 {
			if err := f.Datasync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if direct.f != nil && past < 100 {
		t.Errorf("%d of 300 writes were direct", past)
	}
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("content differs from what was written (%v)", err)
	}
}

// What can go wrong: a direct write allocates, at each segment or even at each group.
func TestDirectAllocatesNothing(t *testing.T) {
	// A collection empties the pools, and filling them again would count here.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f, err := Direct().Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Preallocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	bufs := [][]byte{make([]byte, 5000), make([]byte, 3192)}
	if n := testing.AllocsPerRun(50, func() {
		if err := f.Writev(bufs, 8192); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
