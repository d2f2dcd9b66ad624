package batching

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// item is a block of count commands of size bytes each, inside a frame with something before it as in a Propose frame.
func item(waiter, count, size int) Item[int] {
	cmds := bytes.Repeat(wire.AppendCommand(nil, make([]byte, size)), count)
	f := wire.NewPropose(wire.BlockHeaderSize + len(cmds))
	p := wire.AppendBlockHeader(f.Bytes(), 1, wire.Seq(waiter+1), 0, count, len(cmds))
	f.SetBytes(append(p, cmds...))
	blk, _, err := wire.ParseBlock(f.Bytes()[wire.ProposeHeadroom:])
	if err != nil {
		panic(err)
	}
	return Item[int]{Frame: f, Block: blk, Waiter: waiter}
}

// value seals an Accept frame, checks it as a follower would, and returns its batch.
func value(t *testing.T, f *wire.Buffer) wire.Batch {
	t.Helper()
	wire.SealAccept(f, 1, 1, 1, wire.NewBallot(1, 1), 1, 0)
	if _, err := wire.CheckFrame(f.Bytes()); err != nil {
		t.Fatal(err)
	}
	v, err := wire.AcceptValue(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// firsts are the first sequence numbers of the batch's blocks, which item made from its waiter.
func firsts(t *testing.T, v wire.Batch) (w []int) {
	t.Helper()
	buf := wire.Get(v.RawLen())
	defer buf.Release()
	plain, err := v.Plain(buf)
	if err != nil {
		t.Fatal(err)
	}
	for it := plain.Blocks(); ; {
		blk, ok := it.Next()
		if !ok {
			return w
		}
		if err := blk.CheckCommands(); err != nil {
			t.Fatal(err)
		}
		w = append(w, int(blk.First())-1)
	}
}

// A batch must close at each of its limits by itself, hold at least one block, and leave the rest in order. Were a
// limit missed, a frame would exceed what peers take.
func TestBatcherCloses(t *testing.T) {
	const blockBytes = wire.BlockHeaderSize + 10*(1+9) // 10 commands of 9 bytes
	for name, c := range map[string]struct {
		config Config
		want   []int // blocks of each batch
	}{
		"bytes, exactly":    {Config{BytesMax: 3 * blockBytes}, []int{3, 3, 3, 1}},
		"bytes, one less":   {Config{BytesMax: 3*blockBytes - 1}, []int{2, 2, 2, 2, 2}},
		"bytes, below one":  {Config{BytesMax: 10}, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		"commands":          {Config{CommandsMax: 40}, []int{4, 4, 2}},
		"commands, odd":     {Config{CommandsMax: 39}, []int{3, 3, 3, 1}},
		"blocks":            {Config{BlocksMax: 6}, []int{6, 4}},
		"nothing: defaults": {Config{}, []int{10}},
	} {
		t.Run(name, func(t *testing.T) {
			mark := wire.Outstanding()
			b := New[int](c.config)
			for i := range 10 {
				if !b.Add(int64(100+i), item(i, 10, 9)) {
					t.Fatal("busy")
				}
			}
			next := 0
			for _, n := range c.want {
				f, waiters, oldest := b.Take(nil)
				v := value(t, f)
				if oldest != int64(100+next) {
					t.Errorf("oldest = %d, want %d", oldest, 100+next)
				}
				var want []int
				for range n {
					want, next = append(want, next), next+1
				}
				if got := firsts(t, v); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(waiters, want) {
					t.Errorf("batch of blocks %v, waiters %v, want %v", got, waiters, want)
				}
				if v.Commands() != 10*n || v.RawLen() != n*blockBytes || f.Len() != wire.AcceptHeadroom+wire.BatchHeaderSize+n*blockBytes {
					t.Errorf("%d commands, %d bytes, frame of %d", v.Commands(), v.RawLen(), f.Len())
				}
				f.Release()
			}
			if blocks, size := b.Len(); blocks != 0 || size != 0 || b.held != 0 || b.cmds != 0 {
				t.Errorf("left: %d blocks, %d bytes, %d held, %d commands", blocks, size, b.held, b.cmds)
			}
			if wire.Outstanding() != mark {
				t.Error("buffers leaked")
			}
		})
	}
}

// What can go wrong: what has expired is cut, or what has not is refused; the sums that bound the queue lose count; what is
// left changes its order.
func TestBatcherExpires(t *testing.T) {
	mark := wire.Outstanding()
	b := New[int](Config{QueueBytesMax: 1 << 20})
	add := func(waiter int, until int64) {
		it := item(waiter, 2, 9)
		it.Expires = until
		if !b.Add(1, it) {
			t.Fatal("busy")
		}
	}
	take := func() []int {
		f, waiters, _ := b.Take(nil)
		defer f.Release()
		if got := firsts(t, value(t, f)); !reflect.DeepEqual(got, waiters) {
			t.Errorf("blocks %v, waiters %v", got, waiters)
		}
		return waiters
	}
	expire := func(now int64) (late []int) {
		b.Expire(now, func(w int) { late = append(late, w) })
		return late
	}
	for i, until := range []int64{50, 0, 20, 30, 20, 90} {
		add(i, until)
	}
	if late := expire(19); late != nil {
		t.Errorf("%v expired early", late)
	}
	if late := expire(20); !reflect.DeepEqual(late, []int{2, 4}) {
		t.Errorf("%v expired at 20, want 2 and 4", late)
	}
	if late := expire(29); late != nil || b.soonest != 30 {
		t.Errorf("%v expired, the next is due at %d", late, b.soonest)
	}
	if blocks, size := b.Len(); blocks != 4 || size != 4*(wire.BlockHeaderSize+2*10) || b.cmds != 8 {
		t.Errorf("left: %d blocks, %d bytes, %d commands", blocks, size, b.cmds)
	}
	if late := expire(60); !reflect.DeepEqual(late, []int{0, 3}) {
		t.Errorf("%v expired at 60, want 0 and 3", late)
	}
	if got := take(); !reflect.DeepEqual(got, []int{1, 5}) {
		t.Errorf("took %v, want 1 and 5", got)
	}
	if late := expire(100); late != nil || b.soonest != math.MaxInt64 {
		t.Errorf("%v expired out of an empty queue", late)
	}
	add(6, 110)
	add(7, 110)
	if late := expire(110); len(late) != 2 || b.Held() != 0 || b.bytes != 0 || b.cmds != 0 {
		t.Errorf("%v expired, %d bytes held", late, b.Held())
	}
	if b.Ready(200, 0, 1) {
		t.Error("an empty queue is ready")
	}
	add(8, 0)
	if got := take(); !reflect.DeepEqual(got, []int{8}) {
		t.Errorf("took %v, want 8", got)
	}
	if wire.Outstanding() != mark {
		t.Error("buffers leaked")
	}
}

// An idle pipeline must send at once, a full window never, and in between the delay decides - or a limit, before it.
func TestBatcherReady(t *testing.T) {
	const delay = 100
	add := func(b *Batcher[int], now int64, n int) {
		for i := range n {
			b.Add(now, item(i, 10, 9))
		}
	}
	type when struct {
		now              int64
		inFlight, window int
	}
	for name, c := range map[string]struct {
		config Config
		blocks int
		yes    []when
		no     []when
	}{
		"empty": {Config{}, 0, nil, []when{{0, 0, 8}, {1000, 0, 8}}},
		"no delay": {
			Config{}, 1,
			[]when{{0, 0, 8}, {0, 7, 8}}, []when{{0, 8, 8}, {1000, 9, 8}},
		},
		"delay": {
			Config{Delay: delay}, 1,
			[]when{{0, 0, 8}, {delay, 1, 8}, {delay + 1, 7, 8}}, []when{{0, 1, 8}, {delay - 1, 7, 8}, {delay, 8, 8}, {delay, 0, 0}},
		},
		"bytes suffice":    {Config{Delay: delay, BytesMax: 2 * 132}, 2, []when{{0, 1, 8}}, []when{{0, 8, 8}}},
		"bytes do not":     {Config{Delay: delay, BytesMax: 2*132 + 1}, 2, nil, []when{{0, 1, 8}}},
		"commands suffice": {Config{Delay: delay, CommandsMax: 20}, 2, []when{{0, 1, 8}}, []when{{0, 8, 8}}},
		"blocks suffice":   {Config{Delay: delay, BlocksMax: 2}, 2, []when{{0, 1, 8}}, []when{{0, 8, 8}}},
		"blocks do not":    {Config{Delay: delay, BlocksMax: 3}, 2, nil, []when{{0, 1, 8}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := New[int](c.config)
			add(b, 0, c.blocks)
			for _, w := range c.yes {
				if !b.Ready(w.now, w.inFlight, w.window) {
					t.Errorf("not ready at %+v", w)
				}
			}
			for _, w := range c.no {
				if b.Ready(w.now, w.inFlight, w.window) {
					t.Errorf("ready at %+v", w)
				}
			}
			at, ok := b.Deadline()
			if want := c.blocks > 0 && c.config.Delay > 0; ok != want || ok && at != delay {
				t.Errorf("Deadline = %d, %v", at, ok)
			}
			b.Drain(func(int) {})
		})
	}
}

// The deadline must follow the oldest block that is left, or a block would wait up to twice the delay.
func TestBatcherDeadlineFollowsTheOldest(t *testing.T) {
	b := New[int](Config{Delay: 50 * time.Nanosecond, BlocksMax: 2})
	for i := range 3 {
		b.Add(int64(10*i), item(i, 1, 1))
	}
	f, _, _ := b.Take(nil)
	f.Release()
	if at, ok := b.Deadline(); !ok || at != 70 {
		t.Errorf("Deadline = %d, %v", at, ok)
	}
	if b.Ready(69, 1, 8) || !b.Ready(70, 1, 8) {
		t.Error("not ready exactly at the deadline")
	}
	b.Drain(func(int) {})
}

// A full queue must refuse and leave the reference with the caller; bytes taken must be given back exactly, or the
// queue would close or open a little more with each batch.
func TestBatcherQueueIsBounded(t *testing.T) {
	mark := wire.Outstanding()
	measure := item(0, 10, 9)
	one := measure.Frame.Cap()
	measure.Frame.Release()
	b := New[int](Config{QueueBytesMax: 5 * one, BlocksMax: 2})
	next := 0
	for range 100 {
		for {
			it := item(next, 10, 9)
			if !b.Add(0, it) {
				it.Frame.Release()
				break
			}
			next++
		}
		if blocks, _ := b.Len(); blocks != 5 {
			t.Fatalf("%d blocks fit", blocks)
		}
		f, _, _ := b.Take(nil)
		f.Release()
	}
	var left []int
	b.Drain(func(w int) { left = append(left, w) })
	if want := []int{next - 3, next - 2, next - 1}; !reflect.DeepEqual(left, want) {
		t.Errorf("drained %v, want %v", left, want)
	}
	if blocks, size := b.Len(); blocks != 0 || size != 0 || b.held != 0 {
		t.Errorf("after Drain: %d blocks, %d bytes, %d held", blocks, size, b.held)
	}
	huge := item(1, 1, 1<<20)
	small := New[int](Config{QueueBytesMax: 1000})
	if !small.Add(0, huge) {
		t.Error("a block larger than the bound can never be proposed")
	}
	small.Drain(func(int) {})
	if out := wire.Outstanding(); out != mark {
		t.Errorf("%d buffers outstanding, %d before", out, mark)
	}
}

// Compression must be used only above its size and only when it helps, must give the same blocks back, and must not
// keep the larger buffer.
func TestBatcherCompresses(t *testing.T) {
	noise := func(size int) Item[int] {
		it := item(0, 1, size)
		r := rand.New(rand.NewPCG(1, 2))
		p := it.Block.Bytes()[wire.BlockHeaderSize+3:]
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return it
	}
	for name, c := range map[string]struct {
		it       Item[int]
		compress bool
		want     bool
	}{
		"off":                {item(0, 100, 50), false, false},
		"on":                 {item(0, 100, 50), true, true},
		"too small":          {item(0, 1, wire.CompressMin-wire.BlockHeaderSize-3), true, false},
		"just large enough":  {item(0, 1, wire.CompressMin-wire.BlockHeaderSize-2), true, true},
		"does not get small": {noise(5000), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := New[int](Config{Compress: c.compress})
			raw := bytes.Clone(c.it.Block.Bytes())
			b.Add(0, c.it)
			f, _, _ := b.Take(nil)
			defer f.Release()
			v := value(t, f)
			if v.Compressed() != c.want {
				t.Fatalf("compressed: %v", v.Compressed())
			}
			if f.Len() != f.Cap() && f.Cap() > 2*f.Len() && f.Cap() > 256 {
				t.Errorf("frame of %d bytes in a buffer of %d", f.Len(), f.Cap())
			}
			buf := wire.Get(0)
			defer buf.Release()
			plain, err := v.Plain(buf)
			if err != nil || !bytes.Equal(plain.Payload(), raw) {
				t.Errorf("other blocks come back: %v", err)
			}
		})
	}
}

// Any mixture of adds, takes and drains must keep blocks in order, lose none and keep the sums right: the queue
// slides within its array, and a slip there shows as a lost or repeated block.
func TestBatcherRandomly(t *testing.T) {
	mark := wire.Outstanding()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	b := New[int](Config{BlocksMax: 7, QueueBytesMax: 200 << 10})
	added, taken := 0, 0
	for step := range 20_000 {
		switch k := r.IntN(100); {
		case k < 60:
			it := item(added, 1+r.IntN(3), r.IntN(200))
			if b.Add(int64(step), it) {
				added++
			} else {
				it.Frame.Release()
			}
		case k < 99 || step < 100:
			if !b.Ready(int64(step), 0, 1) {
				continue
			}
			f, waiters, _ := b.Take(nil)
			f.Release()
			for _, w := range waiters {
				if w != taken {
					t.Fatalf("seed %d: block %d in place of %d", seed, w, taken)
				}
				taken++
			}
		default:
			b.Drain(func(w int) {
				if w != taken {
					t.Fatalf("seed %d: drained %d in place of %d", seed, w, taken)
				}
				taken++
			})
		}
		if blocks, _ := b.Len(); blocks != added-taken {
			t.Fatalf("seed %d: %d blocks wait, want %d", seed, blocks, added-taken)
		}
	}
	b.Drain(func(int) {})
	if wire.Outstanding() != mark {
		t.Errorf("seed %d: buffers leaked", seed)
	}
}

// A configuration that cannot work must be refused with all its faults.
func TestBatcherConfig(t *testing.T) {
	err := Config{BytesMax: wire.BatchBytesMax + 1, CommandsMax: -1, BlocksMax: 1 << 20, QueueBytesMax: -5, Delay: -1}.Validate()
	for _, want := range []string{"BytesMax", "CommandsMax", "BlocksMax", "QueueBytesMax", "Delay"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not among the faults: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkBatcher(b *testing.B) {
	for _, c := range []struct{ blocks, size int }{{1, 64}, {16, 1 << 10}, {16, 16 << 10}} {
		for _, compress := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%dB/s2=%v", c.blocks, c.size, compress), func(b *testing.B) {
				q := New[int](Config{Compress: compress})
				it := item(0, c.size/16, 15)
				defer it.Frame.Release()
				var waiters []int
				b.SetBytes(int64(c.blocks * len(it.Block.Bytes())))
				b.ReportAllocs()
				for range b.N {
					for range c.blocks {
						it.Frame.Retain()
						q.Add(1, it)
					}
					f, w, _ := q.Take(waiters[:0])
					waiters = w
					f.Release()
				}
			})
		}
	}
}
