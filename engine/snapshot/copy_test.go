package snapshot

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// fixHeader makes the CRC of the header at the start of p sound.
func fixHeader(p []byte) { le.PutUint32(p[60:], crc32.Checksum(p[:60], wire.Castagnoli)) }

// source writes a snapshot and returns it verified, with its bytes.
func source(t testing.TB, m Meta, body []byte) (*File, []byte) {
	t.Helper()
	path := mustWrite(t, nil, t.TempDir(), m, body)
	f, err := Verify(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, p
}

func receiver(fs FS, dir string) *Receiver {
	return NewReceiver(ReceiverConfig{FS: fs, Dir: dir, Cluster: testMeta.Cluster, Group: testMeta.Group})
}

// pump copies over a network that loses, repeats and reorders both ways, until the receiver has installed.
func pump(t *testing.T, s *Sender, r *Receiver, rng *rand.Rand, piece int) *File {
	t.Helper()
	type msg struct {
		offset uint64
		data   []byte
	}
	var wires []msg
	var installed *File
	buf := make([]byte, piece)
	for round := 0; !s.Done(); round++ {
		if round > 100000 {
			t.Fatalf("no end: acked %d of %d", s.Acked(), s.Total())
		}
		offset, n, err := s.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && len(wires) == 0 {
			s.Retry()
		}
		if n > 0 && rng.IntN(10) > 0 {
			wires = append(wires, msg{offset, bytes.Clone(buf[:n])})
		}
		if len(wires) == 0 || rng.IntN(3) == 0 {
			continue
		}
		i := rng.IntN(len(wires))
		m := wires[i]
		if rng.IntN(5) > 0 {
			wires = append(wires[:i], wires[i+1:]...)
		}
		ack, err := r.Chunk(s.Slot(), s.Total(), m.offset, m.data)
		if err != nil {
			t.Fatal(err)
		}
		if ack.Installed != nil {
			installed = ack.Installed
		}
		if rng.IntN(10) > 0 {
			if err := s.Ack(ack.Offset, ack.Total); err != nil {
				t.Fatal(err)
			}
		}
	}
	return installed
}

// What can go wrong: lost, repeated or overtaken pieces or acknowledgements stop the copy or spoil the file.
func TestCopySurvivesABadNetwork(t *testing.T) {
	body := randomBody(5, 200_000)
	f, whole := source(t, testMeta, body)
	for seed := range uint64(50) {
		dir := t.TempDir()
		s, err := NewSender(f, 8000)
		if err != nil {
			t.Fatal(err)
		}
		installed := pump(t, s, receiver(nil, dir), rand.New(rand.NewPCG(seed, 0)), 1000)
		if installed == nil {
			t.Fatalf("seed %d: never installed", seed)
		}
		got, err := os.ReadFile(installed.Path)
		if err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("seed %d: copy differs, %v", seed, err)
		}
		if gotBody, err := readBody(installed); err != nil || !bytes.Equal(gotBody, body) {
			t.Fatalf("seed %d: body differs, %v", seed, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What can go wrong: a receiver that stops half way and comes back asks for everything again, or completes a file
// with a hole.
func TestInterruptedCopyIsResumed(t *testing.T) {
	f, whole := source(t, testMeta, randomBody(6, 50_000))
	dir := t.TempDir()
	total, half := uint64(len(whole)), uint64(len(whole)/2)
	r := receiver(nil, dir)
	if ack, err := r.Chunk(f.Meta.Slot, total, 0, whole[:half]); err != nil || ack.Offset != half {
		t.Fatalf("%+v, %v", ack, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Clean(nil, dir, testMeta.Group, testMeta.Slot-1); err != nil { // keeps the newer part file
		t.Fatal(err)
	}
	r = receiver(nil, dir)
	ack, err := r.Chunk(f.Meta.Slot, total, 0, whole[:100])
	if err != nil || ack.Offset != half {
		t.Fatalf("after restart: %+v, %v; want offset %d", ack, err, half)
	}
	ack, err = r.Chunk(f.Meta.Slot, total, half, whole[half:])
	if err != nil || ack.Installed == nil || ack.Offset != total {
		t.Fatalf("last piece: %+v, %v", ack, err)
	}
	if ack, err = r.Chunk(f.Meta.Slot, total, 0, whole[:100]); err != nil || ack.Offset != total {
		t.Fatalf("repeat after installation: %+v, %v", ack, err)
	}
}

// What can go wrong: a copy of the wrong cluster, group or slot, a damaged one, or one with a lying length is
// installed, or leaves the receiver unable to take a good one.
func TestReceiverRefusesBadCopies(t *testing.T) {
	_, whole := source(t, testMeta, randomBody(2, 2000))
	foreign := testMeta
	foreign.Cluster++
	_, foreignFile := source(t, foreign, randomBody(2, 2000))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	dir := t.TempDir()
	r := receiver(nil, dir)
	slot, total := testMeta.Slot, uint64(len(whole))
	for name, c := range map[string]struct {
		slot   wire.Slot
		total  uint64
		offset uint64
		data   []byte
		want   error
	}{
		"foreign":         {slot, uint64(len(foreignFile)), 0, foreignFile[:100], ErrForeign},
		"another slot":    {slot + 1, total, 0, whole[:100], ErrStale},
		"flipped":         {slot, total, 0, flipped, ErrDamaged},
		"not a snapshot":  {slot, 500, 0, make([]byte, 500), ErrDamaged},
		"too small":       {slot, 100, 0, whole[:100], ErrCut},
		"beyond its end":  {slot, total, total - 1, whole[:2], ErrCut},
		"offset overflow": {slot, total, 1 << 63, whole[:2], ErrCut},
		"senseless total": {slot, 1 << 62, 0, whole, ErrCut},
	} {
		ack, err := r.Chunk(c.slot, c.total, c.offset, c.data)
		if !errors.Is(err, c.want) || ack.Installed != nil {
			t.Fatalf("%s: %+v, %v; want %v", name, ack, err, c.want)
		}
	}
	if ack, err := r.Chunk(slot, total, 0, whole); err != nil || ack.Installed == nil {
		t.Fatalf("good copy after bad ones: %+v, %v", ack, err)
	}
	names, err := osFS{}.List(dir)
	if err != nil || len(names) != 1 || names[0] != Name(testMeta.Group, slot) {
		t.Fatalf("left over: %v, %v", names, err)
	}
}

// What can go wrong: a late piece of an older copy throws away the newer one, or a newer one is not preferred.
func TestNewerCopyReplacesOlder(t *testing.T) {
	newer := testMeta
	newer.Slot += 5
	_, a := source(t, testMeta, randomBody(3, 9000))
	_, b := source(t, newer, randomBody(4, 9000))
	dir := t.TempDir()
	r := receiver(nil, dir)
	mustChunk(t, r, testMeta.Slot, a, 0, 1000)
	mustChunk(t, r, newer.Slot, b, 0, 1000)
	if ack := mustChunk(t, r, testMeta.Slot, a, 1000, 2000); !ack.Ignored {
		t.Fatalf("late piece of the older copy: %+v", ack)
	}
	if ack := mustChunk(t, r, newer.Slot, b, 1000, len(b)); ack.Installed == nil {
		t.Fatalf("newer copy: %+v", ack)
	}
	if ack := mustChunk(t, r, testMeta.Slot, a, 0, 1000); ack.Offset != uint64(len(a)) {
		t.Fatalf("older than what is installed: %+v, want it to stop", ack)
	}
}

func mustChunk(t *testing.T, r *Receiver, slot wire.Slot, whole []byte, from, to int) Ack {
	t.Helper()
	ack, err := r.Chunk(slot, uint64(len(whole)), uint64(from), whole[from:to])
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// What can go wrong: two senders with different files of one slot are mixed, or starve each other.
func TestAnotherFileOfTheSameSlotStartsAnew(t *testing.T) {
	_, a := source(t, testMeta, randomBody(3, 9000))
	_, b := source(t, testMeta, randomBody(4, 9500))
	r := receiver(nil, t.TempDir())
	mustChunk(t, r, testMeta.Slot, a, 0, 1000)
	if ack := mustChunk(t, r, testMeta.Slot, b, 1000, 2000); ack.Offset != 0 {
		t.Fatalf("a middle piece of another file: %+v, want its sender to go back to 0", ack)
	}
	if ack := mustChunk(t, r, testMeta.Slot, a, 1000, 2000); ack.Offset != 2000 {
		t.Fatalf("the copy under way was lost: %+v", ack)
	}
	if ack := mustChunk(t, r, testMeta.Slot, b, 0, len(b)); ack.Installed == nil {
		t.Fatalf("the other file from its start: %+v", ack)
	}
}

// What can go wrong: a sender believes a receiver that speaks of another file, or never goes back after the receiver
// lost its part.
func TestSenderGoesBackOnlyOnRetry(t *testing.T) {
	f, whole := source(t, testMeta, randomBody(3, 9000))
	s, err := NewSender(f, 2000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	buf := make([]byte, 1000)
	next := func(want uint64, wantN int) {
		t.Helper()
		off, n, err := s.Next(buf)
		if err != nil || n != wantN || n > 0 && off != want {
			t.Fatalf("next: offset %d, %d bytes, %v; want %d, %d", off, n, err, want, wantN)
		}
	}
	next(0, 1000)
	next(1000, 1000)
	next(0, 0) // window full
	total := uint64(len(whole))
	if s.Ack(5, total+1) == nil || s.Ack(total+1, total) == nil {
		t.Fatal("senseless acknowledgements accepted")
	}
	if err := s.Ack(1500, total); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(0, total); err != nil { // overtaken, or the receiver starts anew
		t.Fatal(err)
	}
	next(2000, 1000)
	s.Retry()
	next(0, 1000)
}

// What can go wrong: memory is allocated by what a hostile file claims. A stream whose window exceeds the bound is
// refused, and a body longer than its stated length ends in an error.
func TestHostileStreamsAreBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name(testMeta.Group, testMeta.Slot))
	// A zstd frame header with a window descriptor of 128 MiB, then a last raw block of 4 bytes.
	big := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 17 << 3, 0x21, 0, 0, 1, 2, 3, 4}
	forge(t, path, testMeta, 4, big)
	f, err := Verify(nil, path)
	if err != nil {
		t.Fatal(err) // the file is sound; its stream is not acceptable
	}
	if _, err := readBody(f); !errors.Is(err, ErrDamaged) {
		t.Fatalf("window of 128 MiB: %v", err)
	}
	small := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0, 0x21, 0, 0, 1, 2, 3, 4}
	forge(t, path, testMeta, 3, small)
	if f, err = Verify(nil, path); err != nil {
		t.Fatal(err)
	}
	if _, err := readBody(f); !errors.Is(err, ErrDamaged) {
		t.Fatalf("body longer than it says: %v", err)
	}
	forge(t, path, testMeta, 4, small)
	if f, err = Verify(nil, path); err != nil {
		t.Fatal(err)
	}
	if p, err := readBody(f); err != nil || !bytes.Equal(p, []byte{1, 2, 3, 4}) {
		t.Fatalf("%v, %v", p, err)
	}
}

// forge writes a file with sound checksums around a stream of the test's making.
func forge(t testing.TB, path string, m Meta, raw uint64, stream []byte) {
	t.Helper()
	h, err := osFS{}.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.WriteAt(forged(m, raw, stream), 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
