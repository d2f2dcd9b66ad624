package history

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/paxbench/paxbench/engine/kv"
)

// randomCall is any call that the encoding can hold.
func randomCall(r *rand.Rand) Call {
	value := func() Value {
		if r.IntN(3) == 0 {
			return None
		}
		return Value{1 + r.Uint32N(1<<20), r.Uint64()}
	}
	c := Call{
		Client: r.Uint32N(1 << 16), Kind: Kind(r.IntN(int(kinds))), Unknown: r.IntN(5) == 0, Invoke: r.Int64N(1 << 40),
		Session: r.Uint64(), First: r.Uint64(), Count: r.Uint32N(1 << 16), Stamp: r.Uint64(), Reads: r.Uint32N(9),
	}
	c.Return = c.Invoke + r.Int64N(1<<30)
	if !c.Unknown {
		c.Slot, c.Index = r.Uint64N(1<<48), r.Uint32N(1<<16)
	}
	for range r.IntN(4) {
		o := Op{At: r.Uint32N(1 << 16), Kind: kv.Op(1 + r.IntN(5)), Key: r.Uint64()}
		switch o.Kind {
		case kv.OpPut:
			o.Arg = value()
		case kv.OpCAS:
			o.Arg, o.Old = value(), value()
		case kv.OpIncr:
			o.Delta = r.Int64() - 1<<62
		}
		if !c.Unknown {
			o.Status, o.Version, o.Value = kv.Status(r.IntN(6)), r.Uint64(), value()
			if c.Kind != Commands {
				o.Wrote = r.Uint64()
			}
		}
		c.Ops = append(c.Ops, o)
	}
	return c
}

func record(t *testing.T, h Head, l Limits, calls []Call) ([]byte, Tail) {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, h, l)
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBuffer()
	for i := range calls {
		b.Add(&calls[i])
	}
	b.Flush()
	tail, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), tail
}

func readAll(p []byte) (h Head, calls []Call, tail Tail, err error) {
	r, err := NewReader(bytes.NewReader(p))
	if err != nil {
		return h, nil, tail, err
	}
	tail, err = r.All(func(c *Call) error {
		kept := *c
		kept.Ops = append([]Op(nil), c.Ops...)
		calls = append(calls, kept)
		return nil
	})
	return r.Head, calls, tail, err
}

// What can go wrong: what is read back is not what was recorded, in any field of any call.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var calls []Call
	ops := uint64(0)
	for range 20_000 { // many frames
		calls = append(calls, randomCall(r))
		ops += uint64(len(calls[len(calls)-1].Ops))
	}
	head := Head{Seed: 7, SM: "kv", Keys: 9, Sampled: 3, Fresh: true, ReadMode: "log"}
	file, tail := record(t, head, Limits{}, calls)
	h, got, end, err := readAll(file)
	if err != nil {
		t.Fatal(err)
	}
	head.Version = FormatVersion
	if h != head || end != tail || end.Calls != 20_000 || end.Ops != ops || end.Cut != Never || end.Dropped != 0 {
		t.Errorf("%+v %+v, written %+v", h, end, tail)
	}
	for i := range calls {
		if !reflect.DeepEqual(got[i], calls[i]) {
			t.Fatalf("call %d: %+v, recorded %+v", i, got[i], calls[i])
		}
	}
}

// What can go wrong: of the recordings of several processes some calls go missing or are changed, the bound of one stops all, or
// what one did not record is taken for recorded.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	const slack = 100
	var want []Call
	var parts [][]byte
	for range 3 {
		var calls []Call
		for range 3000 {
			calls = append(calls, randomCall(rng))
		}
		p, _ := record(t, Head{SM: "kv"}, Limits{}, calls)
		parts = append(parts, p)
		for _, c := range calls {
			c.Invoke, c.Return = c.Invoke-slack, c.Return+slack
			want = append(want, c)
		}
	}
	limited, stopped := record(t, Head{SM: "kv"}, Limits{Ops: 1}, want[:50])
	var b bytes.Buffer
	w, err := NewWriter(&b, Head{SM: "kv", Fresh: true}, Limits{Ops: 1, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := w.Merge(bytes.NewReader(p), slack); err != nil {
			t.Fatal(err)
		}
	}
	if !w.Sampling() {
		t.Error("the bound of one recording is taken for that of all")
	}
	if err := w.Merge(bytes.NewReader(limited), slack); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if err := w.Merge(bytes.NewReader(parts[0][:len(parts[0])/2]), slack); !errors.As(err, &damage) {
		t.Errorf("half a recording: %v", err)
	}
	tail, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	head, got, _, err := readAll(b.Bytes())
	if err != nil || !head.Fresh || len(got) < len(want)+50 {
		t.Fatalf("%d calls, at least %d are due, %v", len(got), len(want)+50, err)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("call %d: %+v, recorded %+v", i, got[i], want[i])
		}
	}
	if stopped.Cut == Never || tail.Cut != stopped.Cut-slack {
		t.Errorf("operations are complete up to %d, the part that stopped says %d", tail.Cut, stopped.Cut)
	}
}

// What can go wrong: a damaged file is judged as if it were whole. Every bit flipped and every length cut must be noticed, at
// the frame it is in.
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var calls []Call
	for range 12 {
		calls = append(calls, randomCall(r))
	}
	file, _ := record(t, Head{SM: "kv"}, Limits{}, calls)
	damaged := func(p []byte, at int) {
		t.Helper()
		_, _, _, err := readAll(p)
		var d *DamageError
		if !errors.As(err, &d) {
			t.Fatalf("damaged at %d of %d: %v", at, len(file), err)
		}
		if d.Offset > int64(at) {
			t.Fatalf("damaged at %d, said to be at %d", at, d.Offset)
		}
	}
	for at := range file {
		for bit := range 8 {
			p := bytes.Clone(file)
			p[at] ^= 1 << bit
			damaged(p, at)
		}
		damaged(file[:at], at)
	}
	damaged(append(bytes.Clone(file), 0), len(file))
}

// stuck is a file on a disk that does not answer.
type stuck struct {
	bytes.Buffer
	mu sync.Mutex
}

func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

// What can go wrong: a disk that stalls holds up the load, or calls are lost without a word, and a judge takes the gaps for
// lost writes.
func TestStalledDisk(t *testing.T) {
	var file stuck
	w, err := NewWriter(&file, Head{SM: "kv"}, Limits{Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	file.mu.Lock()
	b := w.NewBuffer()
	r := rand.New(rand.NewPCG(5, 6))
	added, complete := uint64(0), Never
	for i := int64(0); w.Sampling(); i++ {
		c := randomCall(r)
		c.Invoke, c.Return = i, i+10
		b.Add(&c)
		added++
		if len(c.Ops) > 0 {
			complete = i
		}
	}
	file.mu.Unlock()
	b.Flush()
	tail, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if tail.Dropped == 0 || tail.Calls+tail.Dropped != added || tail.Cut >= complete {
		t.Errorf("%d calls, %+v", added, tail)
	}
	kept := uint64(0)
	_, calls, _, err := readAll(file.Bytes())
	for _, c := range calls {
		if c.Invoke < tail.Cut {
			kept++
		}
	}
	if err != nil || kept != uint64(tail.Cut) {
		t.Errorf("%d of the %d calls before the cut are there, %v", kept, tail.Cut, err)
	}
}

// What can go wrong: a hot key fills disk and memory. The recording of operations ends at its limit, at a time before which
// it is whole.
func TestLimit(t *testing.T) {
	var calls []Call
	for i := range int64(1000) {
		calls = append(calls, Call{Invoke: i * 10, Return: i*10 + 5, Count: 1, Ops: []Op{{Kind: kv.OpGet}}})
	}
	_, tail := record(t, Head{}, Limits{Ops: 100}, calls)
	if tail.Cut != 1005 {
		t.Errorf("%+v", tail)
	}
}

type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// What can go wrong: a full disk ends the recording, and nobody is told.
func TestWriteError(t *testing.T) {
	w, err := NewWriter(&broken{after: 200}, Head{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBuffer()
	for i := range int64(10_000) {
		b.Add(&Call{Invoke: i, Return: i})
	}
	b.Flush()
	if _, err := w.Close(); err == nil {
		t.Error("no error")
	}
}

// What can go wrong: recording makes garbage, and the load pays for it.
func TestAddAllocatesNothing(t *testing.T) {
	w, err := NewWriter(&bytes.Buffer{}, Head{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBuffer()
	c := Call{Client: 3, Session: 1 << 16, Count: 256, Ops: []Op{{Kind: kv.OpPut, Key: 5, Arg: Int(7), Version: 8}}}
	if n := testing.AllocsPerRun(500, func() { // stays within one buffer
		c.Invoke += 1000
		c.Return, c.Slot, c.First = c.Invoke+700, c.Slot+1, c.First+256
		b.Add(&c)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	b.Flush()
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// What can go wrong: a file that somebody made makes the reader panic, or take memory without bound.
func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	var plain []byte
	var d coder
	for range 20 {
		c := randomCall(r)
		plain = d.append(plain, &c)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, p []byte) {
		var d coder
		var c Call
		for rest, err := p, error(nil); len(rest) > 0; {
			if rest, err = d.next(rest, &c); err != nil {
				break
			}
			if len(c.Ops) > len(p) || c.Return < c.Invoke {
				t.Fatalf("%d operations out of %d bytes", len(c.Ops), len(p))
			}
		}
		_, _, _, _ = readAll(p)
	})
}

func BenchmarkAdd(b *testing.B) {
	w, _ := NewWriter(&broken{after: 1 << 62}, Head{}, Limits{Ops: 1 << 60, Queue: 1 << 10})
	buf := w.NewBuffer()
	c := Call{Client: 3, Session: 1 << 16, Count: 256}
	b.ReportAllocs()
	for b.Loop() {
		c.Invoke += 1000
		c.Return, c.Slot, c.First, c.Stamp = c.Invoke+700, c.Slot+1, c.First+256, c.Stamp+256
		buf.Add(&c)
	}
	buf.Flush()
	_, _ = w.Close()
}
