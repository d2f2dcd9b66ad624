package load

import "testing"

// A log of a run's distributions that loses a sample, or leaves a gap where pairs were joined, does not add up to the
// run; nobody would see it in a picture.
func TestStretches(t *testing.T) {
	for _, n := range []int{1, 9, 10, 11, 640, 641, 650, 1281, 10_000} {
		var s stretches
		const width = int64(100e6)
		for i := range n {
			h := NewHistogram()
			put(h, int64(i+1)*1000, 3)
			s.add(Interval{Start: int64(i) * width, Length: width}, h)
		}
		if len(s.done) > stretchesMax {
			t.Fatalf("%d intervals: %d stretches", n, len(s.done))
		}
		if n > 2*stretchIntervals*stretchesMax && len(s.done) < stretchesMax/2 {
			t.Errorf("%d intervals: only %d stretches", n, len(s.done))
		}
		at, all := int64(0), NewHistogram()
		for _, x := range s.done {
			if x.Start != at || x.Length <= 0 {
				t.Fatalf("%d intervals: a stretch of %d at %d, want one at %d", n, x.Length, x.Start, at)
			}
			if got, want := x.Response.TotalCount(), 3*x.Length/width; got != want {
				t.Fatalf("%d intervals: the stretch at %d holds %d samples, want %d", n, x.Start, got, want)
			}
			at += x.Length
			merge(all, x.Response)
		}
		if at != int64(n)*width || all.TotalCount() != int64(3*n) {
			t.Errorf("%d intervals: stretches reach %d and hold %d samples", n, at, all.TotalCount())
		}
	}
}
