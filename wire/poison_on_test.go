//go:build invariants

package wire

import "testing"

// TestPoison: under the invariants tag a view that outlives its buffer, a write to a shared buffer and the use of a
// released one go unnoticed, as without the tag.
func TestPoison(t *testing.T) {
	b := GetCopy([]byte("content"))
	view := b.Bytes()
	b.Retain()
	mustPanic(t, "append to a shared buffer", func() { b.Append([]byte("x")) })
	mustPanic(t, "extension of a shared buffer", func() { b.Extend(1) })
	mustPanic(t, "replacement of shared content", func() { b.SetBytes(nil) })
	b.Release()
	if string(view) != "content" {
		t.Fatalf("view is %q while a reference is left", view)
	}
	b.Release()
	for _, c := range view {
		if c != poisonByte {
			t.Fatalf("view is %q after the last release", view)
		}
	}
	mustPanic(t, "content of a released buffer", func() { b.Bytes() })

	b = GetCopy(make([]byte, 100))
	view = b.Bytes()
	b.Grow(1 << 16)
	if view[0] != poisonByte {
		t.Error("a view taken before the content moved still reads")
	}
	b.Release()

	f := NewNoopAccept()
	f.Retain()
	mustPanic(t, "sealing a shared frame", func() { SealAccept(f, testCluster, 1, 1, NewBallot(1, 1), 1, 0) })
	f.Release()
	f.Release()
}
