package wire

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffer is a counted, pooled run of bytes. Get returns it with one reference; whoever keeps it beyond a call
// does Retain, and each reference is given back once by Release. The last Release returns the memory to its
// pool, after which every view into it is dead.
//
// The reference count may be used from several goroutines; the bytes are written by one owner before the
// buffer is shared and only read afterwards.
type Buffer struct {
	b     []byte
	refs  atomic.Int32
	class int8 // of the array's size (classSize); -1: made to measure, not pooled
}

// Size classes: powers of two and the midpoints between them, from 128 B to 24 MiB, so that at most a third of a
// buffer is unused. The log keeps a buffer for each vote, so waste here is memory held for a long time.
const (
	classMinBits = 7
	classMaxBits = 24
	classCount   = (classMaxBits - classMinBits + 1) * 2
)

var pools [classCount]sync.Pool

// outstanding counts buffers given out and not yet released. It is one add per Get and per last Release.
var outstanding atomic.Int64

// Outstanding is the number of buffers not yet released, in the whole process. Tests demand 0 after Close.
func Outstanding() int64 { return outstanding.Load() }

// classSize is the size in bytes of the arrays of class c.
func classSize(c int) int {
	base := 1 << (classMinBits + c/2)
	return base + (c&1)*(base/2)
}

// classFor is the smallest class that holds n bytes, or -1.
func classFor(n int) int {
	if n <= 1<<classMinBits {
		return 0
	}
	top := bits.Len(uint(n-1)) - 1 // 1<<top < n <= 1<<(top+1)
	if top > classMaxBits {
		return -1
	}
	c := (top - classMinBits) * 2
	if n <= 1<<top+1<<(top-1) {
		c++
	} else {
		c += 2
	}
	if c >= classCount {
		return -1
	}
	return c
}

// Get returns an empty buffer with one reference and a capacity of at least n bytes.
func Get(n int) *Buffer {
	outstanding.Add(1)
	b := take(n)
	b.refs.Store(1)
	return b
}

// take returns an empty buffer that nobody holds: from its class's pool, or made.
func take(n int) *Buffer {
	c := classFor(n)
	if c < 0 {
		return &Buffer{b: make([]byte, 0, n), class: -1}
	}
	if v := pools[c].Get(); v != nil {
		b := v.(*Buffer)
		b.b = b.b[:0]
		return b
	}
	return makeSome(c)
}

// slabBytes is how much memory is taken at once for small buffers: those of which it holds slabLeast or more.
const (
	slabBytes = 16 << 10
	slabLeast = 16
)

// makeSome makes buffers of class c. It returns one; the others, if they are small, go to the pool. A node's log keeps a buffer for each
// vote, mostly a small one, so that between two snapshots every slot needs a new one; made singly, they were two allocations a slot at
// every node. A slab is freed when none of its buffers is held.
func makeSome(c int) *Buffer {
	size := classSize(c)
	n := slabBytes / size
	if n < slabLeast {
		return &Buffer{b: make([]byte, 0, size), class: int8(c)}
	}
	buffers, bytes := make([]Buffer, n), make([]byte, n*size)
	for i := range buffers {
		b := &buffers[i]
		b.b, b.class = bytes[i*size:i*size:(i+1)*size], int8(c)
		if i > 0 {
			pools[c].Put(b)
		}
	}
	return &buffers[0]
}

// recycle gives a buffer that nobody holds back to its class's pool.
func (b *Buffer) recycle() {
	poison(b)
	if b.class >= 0 {
		pools[b.class].Put(b)
	}
}

// GetCopy returns a buffer with one reference that holds a copy of p.
func GetCopy(p []byte) *Buffer {
	b := Get(len(p))
	b.b = append(b.b, p...)
	return b
}

// Bytes is the content: a view, valid until the last Release, and until the content grows.
func (b *Buffer) Bytes() []byte {
	b.alive("Bytes")
	return b.b
}

// Len is the length of the content in bytes.
func (b *Buffer) Len() int { return len(b.b) }

// Cap is the capacity in bytes.
func (b *Buffer) Cap() int { return cap(b.b) }

// Append adds p, which may be a part of the content, at the end. The owner only, before the buffer is shared; views
// taken before are dead if the capacity did not suffice.
func (b *Buffer) Append(p []byte) {
	b.alone("Append")
	if cap(b.b)-len(b.b) >= len(p) {
		b.b = append(b.b, p...)
		return
	}
	old := b.enlarge(len(p))
	b.b = append(b.b, p...)
	old.recycle() // not before: p may point into it
}

// Extend adds n bytes of unspecified content at the end and returns them for writing. As for Append, views taken
// before may be dead.
func (b *Buffer) Extend(n int) []byte {
	b.Grow(n)
	l := len(b.b)
	b.b = b.b[:l+n]
	return b.b[l:]
}

// Grow makes room for n more bytes. As for Append, views taken before may be dead.
func (b *Buffer) Grow(n int) {
	b.alone("Grow")
	if cap(b.b)-len(b.b) < n {
		b.enlarge(n).recycle()
	}
}

// enlarge moves the content into an array with room for n more bytes and returns the former array, to be recycled.
//
// The plain design was to make a larger array and leave the old one to the collector. A buffer that collects many
// replies outgrew its class each time, so each time it left garbage and was lost to its pool.
func (b *Buffer) enlarge(n int) (old *Buffer) {
	need := len(b.b) + n
	if classFor(need) < 0 { // classes grow by a third or more by themselves; beyond them, repeated growth must too
		need = max(need, cap(b.b)+cap(b.b)/4)
	}
	old = take(need)
	old.b = append(old.b, b.b...)
	b.b, old.b = old.b, b.b
	b.class, old.class = old.class, b.class
	return old
}

// SetBytes replaces the content by p, which must be the result of appending to Bytes()[:k].
func (b *Buffer) SetBytes(p []byte) {
	b.alone("SetBytes")
	b.b = p
	b.grown()
}

// grown marks a buffer whose array was replaced by append as not pooled: a pool must hold one size only.
func (b *Buffer) grown() {
	if b.class >= 0 && cap(b.b) != classSize(int(b.class)) {
		b.class = -1
	}
}

// Retain adds a reference.
func (b *Buffer) Retain() *Buffer {
	if b.refs.Add(1) <= 1 {
		panic("BUG: wire: Retain of a released buffer")
	}
	return b
}

// Release gives one reference back. A nil buffer is nothing to release.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic(fmt.Sprintf("BUG: wire: buffer released %d times too often", -n))
	}
	outstanding.Add(-1)
	b.recycle()
}

// alive panics if no reference is left. It is checked under the invariants tag only, because Bytes is everywhere.
func (b *Buffer) alive(what string) {
	if invariants && b.refs.Load() <= 0 {
		panic("BUG: wire: " + what + " of a released buffer")
	}
}

// alone panics if the buffer is shared, or released, already: others may be reading what the caller is about to write.
// It is checked under the invariants tag only.
func (b *Buffer) alone(what string) {
	if invariants && b.refs.Load() != 1 {
		panic(fmt.Sprintf("BUG: wire: %s of a buffer with %d references", what, b.refs.Load()))
	}
}
