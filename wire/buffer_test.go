package wire

import (
	"bytes"
	"sync"
	"testing"
)

// TestClassArithmetic: a class too small hands out less than was asked for and the next write lands nowhere; a class
// too large wastes memory that the log holds for minutes. Every length is tried where it is cheap, and every boundary.
func TestClassArithmetic(t *testing.T) {
	largest := classSize(classCount - 1)
	if classSize(0) != 128 || largest != 24<<20 {
		t.Fatalf("classes from %d to %d bytes", classSize(0), largest)
	}
	for c := 1; c < classCount; c++ {
		if small, big := classSize(c-1), classSize(c); big <= small || big*2 > small*3 {
			t.Errorf("class %d has %d bytes, the one below %d", c, big, small)
		}
	}
	check := func(n int) {
		c := classFor(n)
		switch {
		case n > largest:
			if c != -1 {
				t.Errorf("%d bytes: class %d", n, c)
			}
		case c < 0 || c >= classCount || classSize(c) < n:
			t.Fatalf("%d bytes do not fit class %d", n, c)
		case c > 0 && classSize(c-1) >= n:
			t.Errorf("%d bytes fit class %d, got %d", n, c-1, c)
		case n > 128 && (classSize(c)-n)*3 > classSize(c):
			t.Errorf("%d bytes waste more than a third of %d", n, classSize(c))
		}
	}
	for n := range 1 << 20 {
		check(n)
	}
	for c := range classCount {
		for d := -2; d <= 2; d++ {
			check(classSize(c) + d)
		}
	}
	check(1 << 40)
	check(1<<63 - 1)
}

// TestGet: what is got is shorter than asked for, not empty, or not one's own.
func TestGet(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 192, 193, 4096, 4097, 1 << 20, 24 << 20, 24<<20 + 1} {
		a, b := Get(n), Get(n)
		if a.Len() != 0 || a.Cap() < n {
			t.Errorf("Get(%d): length %d, capacity %d", n, a.Len(), a.Cap())
		}
		if x, y := a.Extend(max(1, n)), b.Extend(max(1, n)); len(x) != max(1, n) || &x[0] == &y[0] {
			t.Errorf("Get(%d): two buffers share their memory", n)
		}
		a.Release()
		b.Release()
		if c := Get(n); c.Len() != 0 {
			t.Errorf("Get(%d) again: length %d", n, c.Len())
		} else {
			c.Release()
		}
	}
	p := []byte("content")
	b := GetCopy(p)
	defer b.Release()
	p[0] = 'x'
	if string(b.Bytes()) != "content" || b.Len() != 7 {
		t.Errorf("copy holds %q", b.Bytes())
	}
}

// TestOutstanding: a leak is not counted, or one release too few is, and no test of a Close means anything.
func TestOutstanding(t *testing.T) {
	before := Outstanding()
	var held []*Buffer
	for n := range 40 {
		held = append(held, Get(n*n*n))
	}
	held[0].Append(make([]byte, 1<<20)) // moving to a larger array is not another buffer
	if got := Outstanding() - before; got != 40 {
		t.Errorf("%d outstanding, 40 are held", got)
	}
	for _, b := range held {
		if b.Retain() != b {
			t.Fatal("Retain returns another buffer")
		}
		b.Release()
	}
	if got := Outstanding() - before; got != 40 {
		t.Errorf("%d outstanding after retaining and releasing 40", got)
	}
	for _, b := range held {
		b.Release()
	}
	if got := Outstanding() - before; got != 0 {
		t.Errorf("%d outstanding, none is held", got)
	}
}

// TestOneReleaseTooMany: the second release puts a buffer into its pool twice, two owners get it, and one sends the
// other's bytes.
func TestOneReleaseTooMany(t *testing.T) {
	b := Get(24<<20 + 1) // of no class, so that the broken buffer is not in a pool afterwards
	b.Release()
	mustPanic(t, "retain after release", func() { b.Retain() })
	b = Get(24<<20 + 1)
	b.Release()
	mustPanic(t, "second release", b.Release)
	(*Buffer)(nil).Release()
}

// TestGrowth: content is lost, cut or mixed up when a buffer moves to a larger array, or the pools fill up with arrays of
// a wrong size.
func TestGrowth(t *testing.T) {
	b := Get(0)
	var want []byte
	moves, last := 0, b.Cap()
	for i := 0; len(want) < 30<<20; i++ {
		piece := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 1+i%700)
		want = append(want, piece...)
		switch i % 3 {
		case 0:
			b.Append(piece)
		case 1:
			copy(b.Extend(len(piece)), piece)
		case 2:
			b.Grow(len(piece))
			b.SetBytes(append(b.Bytes(), piece...))
		}
		if b.Cap() != last {
			moves, last = moves+1, b.Cap()
		}
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Error("content changed while growing")
	}
	if moves > 45 {
		t.Errorf("moved %d times on the way to 30 MiB", moves)
	}
	b.Release()

	b = GetCopy([]byte("twice "))
	b.Append(make([]byte, b.Cap()-b.Len()))
	want = bytes.Repeat(b.Bytes(), 2)
	b.Append(b.Bytes()) // a part of itself, moving
	if !bytes.Equal(b.Bytes(), want) {
		t.Error("appending the content to itself changed it")
	}
	b.Release()

	b = Get(0)
	b.SetBytes(append(b.Bytes(), make([]byte, 1000)...)) // append made the array: no class's
	b.Release()
	for n := 0; n <= 1<<20; n = n*5/4 + 1 {
		b := Get(n)
		if b.class < 0 || b.Cap() != classSize(int(b.class)) {
			t.Errorf("Get(%d) gave an array of %d bytes of class %d", n, b.Cap(), b.class)
		}
		b.Release()
	}
}

// TestSharedRelease: references given back by many goroutines at once free the buffer early, twice or never. Early
// shows as changed bytes, or to the race detector.
func TestSharedRelease(t *testing.T) {
	before := Outstanding()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				b := Get(256)
				content := bytes.Repeat([]byte{byte(i), byte(j)}, 100)
				b.Append(content)
				var readers sync.WaitGroup
				for range 3 {
					b.Retain()
					readers.Go(func() {
						if !bytes.Equal(b.Bytes(), content) {
							t.Error("content changed under a reference")
						}
						b.Release()
					})
				}
				b.Release()
				readers.Wait()
			}
		})
	}
	wg.Wait()
	if got := Outstanding() - before; got != 0 {
		t.Errorf("%d outstanding", got)
	}
}

// TestNames: a log line or an error names the wrong kind, status or ballot.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range Kind(255) {
		s := k.String()
		if seen[s] {
			t.Errorf("two kinds are called %s", s)
		}
		seen[s] = true
		if k.known() != (k.IsPeer() || k.IsClient() || k.IsRecord()) || k.known() == (s[len(s)-1] == ')') {
			t.Errorf("kind %d: known %v, peer %v, client %v, record %v, name %s", k, k.known(), k.IsPeer(), k.IsClient(), k.IsRecord(), s)
		}
	}
	if s := Kind(200).String(); s != "Kind(200)" {
		t.Error(s)
	}
	if s := StatusUnknown.String() + Status(99).String(); s != "unknownStatus(99)" {
		t.Error(s)
	}
	b := NewBallot(7, 3)
	if s := b.String() + Ballot(0).String(); s != "7.3-" || b.Counter() != 7 || b.Node() != 3 || NewBallot(7, 4) < b || NewBallot(8, 1) < b {
		t.Errorf("ballot %s", s)
	}
	if id := NewSessionID(5, 2); id != 5<<16|2 {
		t.Errorf("session %d", id)
	}
}
