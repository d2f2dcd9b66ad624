package kv

import (
	"bytes"
	"testing"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// FuzzApply applies arbitrary command bytes twice: no panic, one result each that decodes, the same on both replicas.
func FuzzApply(f *testing.F) {
	for _, c := range [][]byte{AppendGet(nil, key(1)), AppendPut(nil, key(1), key(2)), AppendDelete(nil, key(1)),
		AppendCAS(nil, key(1), nil, key(2)), AppendCAS(nil, key(1), key(2), key(3)), AppendIncr(nil, key(1), -1),
		AppendMulti(nil, []Guard{{Kind: GuardVersion, Key: key(1), Version: 1}}, [][]byte{AppendIncr(nil, key(2), 1)}, [][]byte{AppendDelete(nil, key(1))})} {
		f.Add(c, AppendPut(nil, key(1), key(2)))
	}
	f.Fuzz(func(t *testing.T, c1, c2 []byte) {
		if len(c1)+len(c2) > 1<<14 {
			return
		}
		a, b := New(), New()
		run := batch(t, block(1, 1, c1, c2, c1, c2))
		ra, rb := apply(t, a, 1, run), apply(t, b, 1, run)
		for i := range ra {
			if !bytes.Equal(ra[i], rb[i]) {
				t.Fatalf("results %x and %x", ra[i], rb[i])
			}
			if _, err := DecodeResult(ra[i]); err != nil {
				t.Fatal(err)
			}
		}
		if a.StateHash() != b.StateHash() || !bytes.Equal(freeze(t, a), freeze(t, b)) {
			t.Fatal("replicas differ")
		}
	})
}

// FuzzQuery asks both state machines arbitrary things.
func FuzzQuery(f *testing.F) {
	f.Add(AppendQueryGet(nil, key(1)))
	f.Add(AppendQueryScan(nil, 1, 2, true))
	f.Add(AppendQueryDigest(nil))
	f.Fuzz(func(t *testing.T, req []byte) {
		m, n := New(), NewNull()
		do(t, m, 1, AppendPut(nil, key(1), key(2)))
		for _, sm := range []engine.StateMachine{m, n} {
			if p, err := sm.Query(nil, req); err == nil && len(p) > wire.QueryBytesMax {
				t.Fatalf("answer of %d bytes", len(p))
			}
		}
	})
}

// FuzzDecoders gives every decoder of results and answers arbitrary bytes.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add(appendDigest(nil, Digest{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, p []byte) {
		_, _ = DecodeResult(p)
		_, _ = DecodeMultiResult(p)
		_, _ = DecodeGetAnswer(p)
		_, _ = DecodeDigest(p)
		for _, next := range []func(*ScanPage) bool{
			func(s *ScanPage) bool { _, ok := s.Next(); return ok },
			func(s *ScanPage) bool { _, ok := s.NextSession(); return ok },
		} {
			page, err := DecodeScanPage(p)
			for n := 0; err == nil && next(&page); n++ {
				if n > len(p) {
					t.Fatalf("more rows than bytes in %d bytes", len(p))
				}
			}
		}
	})
}

// FuzzRestore restores arbitrary bytes: refused, or a state whose snapshot is those bytes' meaning again.
func FuzzRestore(f *testing.F) {
	m, n := New(), NewNull()
	f.Add(freeze(f, m))
	do(f, m, 1, AppendPut(nil, key(1), key(2)))
	do(f, m, 2, AppendDelete(nil, key(1)))
	apply(f, n, 1, batch(f, block(1, 1, nil)))
	f.Add(freeze(f, m))
	f.Add(freeze(f, n))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, sm := range []engine.StateMachine{New(), NewNull()} {
			if sm.Restore(bytes.NewReader(p)) != nil {
				continue
			}
			again := freeze(t, sm)
			if err := sm.Restore(bytes.NewReader(again)); err != nil || !bytes.Equal(freeze(t, sm), again) {
				t.Fatalf("a state that was restored is not restored again: %v", err)
			}
		}
	})
}
