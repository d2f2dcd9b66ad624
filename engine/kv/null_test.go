package kv

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

func nullScan(t *testing.T, m *Null, limit int) []SessionRow {
	t.Helper()
	var rows []SessionRow
	for from := uint64(0); ; {
		p, err := m.Query(nil, AppendQueryScan(nil, from, limit, false))
		if err != nil {
			t.Fatal(err)
		}
		page, err := DecodeScanPage(p)
		if err != nil {
			t.Fatal(err)
		}
		for {
			r, ok := page.NextSession()
			if !ok {
				break
			}
			rows = append(rows, r)
		}
		if page.Err() != nil {
			t.Fatal(page.Err())
		}
		if from = page.NextRow; from == 0 {
			return rows
		}
	}
}

// What can go wrong: the closed form of a block's sum differs from adding its sequence numbers up, so that the audit
// sees losses that were none. Checked against the sum, one by one, over random blocks.
func TestNullSumsAreTheSumsOfSequenceNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := NewNull()
	want := map[wire.SessionID]SessionRow{}
	for s := wire.Slot(1); s <= 200; s++ {
		var blocks [][]byte
		for range 1 + rng.IntN(4) {
			id, first, n := wire.SessionID(rng.IntN(9)), wire.Seq(rng.Uint64()>>rng.IntN(60)), 1+rng.IntN(50)
			first = max(1, min(first, ^wire.Seq(0)-100))
			blocks = append(blocks, block(id, first, make([][]byte, n)...))
			w := want[id]
			w.Session, w.Slot = id, s
			for i := range n {
				w.Count++
				w.Sum += uint64(first) + uint64(i)
			}
			want[id] = w
		}
		b := batch(t, blocks...)
		for _, r := range apply(t, m, s, b) {
			if len(r) != 0 {
				t.Fatalf("a result: %q", r)
			}
		}
	}
	for _, limit := range []int{0, 1, 4, 100} {
		rows := nullScan(t, m, limit)
		if len(rows) != len(want) {
			t.Fatalf("limit %d: %d sessions, want %d", limit, len(rows), len(want))
		}
		for _, r := range rows {
			if want[r.Session] != r {
				t.Fatalf("got %+v, want %+v", r, want[r.Session])
			}
		}
	}
}

// What can go wrong: as for KV, snapshot then apply is not replay.
func TestNullSnapshotThenApplyIsReplay(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	whole, cut := NewNull(), NewNull()
	for s := wire.Slot(1); s <= 100; s++ {
		b := randomBatch(t, rng)
		apply(t, whole, s, b)
		apply(t, cut, s, b)
		if s%10 == 0 {
			p := freeze(t, cut)
			cut = NewNull()
			if err := cut.Restore(bytes.NewReader(p)); err != nil {
				t.Fatal(err)
			}
		}
		if whole.StateHash() != cut.StateHash() {
			t.Fatalf("hashes differ after slot %d", s)
		}
	}
	if !bytes.Equal(freeze(t, whole), freeze(t, cut)) {
		t.Fatal("states differ")
	}
}

// What can go wrong: a cut or foreign snapshot is restored, or spoils the state it should have replaced.
func TestRestoreRefusesWhatIsNotWhole(t *testing.T) {
	m, n := New(), NewNull()
	for i := range 20 {
		do(t, m, wire.Slot(i+1), AppendPut(nil, key(i), []byte("v")))
		apply(t, n, wire.Slot(i+1), batch(t, block(wire.SessionID(i+1), 1, nil)))
	}
	kvSnap, nullSnap := freeze(t, m), freeze(t, n)
	for cut := range kvSnap {
		if m.Restore(bytes.NewReader(kvSnap[:cut])) == nil {
			t.Fatalf("KV takes %d of %d bytes", cut, len(kvSnap))
		}
	}
	for cut := range nullSnap {
		if n.Restore(bytes.NewReader(nullSnap[:cut])) == nil {
			t.Fatalf("Null takes %d of %d bytes", cut, len(nullSnap))
		}
	}
	if m.Restore(bytes.NewReader(nullSnap)) == nil || n.Restore(bytes.NewReader(kvSnap)) == nil {
		t.Fatal("a snapshot of the other state machine is restored")
	}
	if m.Restore(bytes.NewReader(append(bytes.Clone(kvSnap), 0))) == nil || n.Restore(bytes.NewReader(append(bytes.Clone(nullSnap), 0))) == nil {
		t.Fatal("a snapshot with something behind it is restored")
	}
	if !bytes.Equal(freeze(t, m), kvSnap) || !bytes.Equal(freeze(t, n), nullSnap) {
		t.Fatal("a refused snapshot changed the state")
	}
}
