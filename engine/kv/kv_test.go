package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: an operation does something else than its doc says, or a version misses a write, counts one that
// did not happen, or is reset by a deletion, so that the audit cannot see losses.
func TestOperationsAndVersions(t *testing.T) {
	m, k := New(), []byte("k")
	expect(t, do(t, m, 1, AppendGet(nil, k)), StatusNotFound, 0, "")
	expect(t, do(t, m, 2, AppendDelete(nil, k)), StatusNotFound, 0, "")
	expect(t, do(t, m, 3, AppendPut(nil, k, []byte("a"))), StatusOK, 1, "")
	expect(t, do(t, m, 4, AppendGet(nil, k)), StatusOK, 1, "a")
	expect(t, do(t, m, 5, AppendCAS(nil, k, []byte("b"), []byte("c"))), StatusMismatch, 1, "a")
	expect(t, do(t, m, 6, AppendCAS(nil, k, nil, []byte("c"))), StatusMismatch, 1, "a")
	expect(t, do(t, m, 7, AppendCAS(nil, k, []byte("a"), []byte("c"))), StatusOK, 2, "")
	expect(t, do(t, m, 8, AppendIncr(nil, k, 1)), StatusBadValue, 2, "")
	expect(t, do(t, m, 9, AppendDelete(nil, k)), StatusOK, 3, "")
	expect(t, do(t, m, 10, AppendDelete(nil, k)), StatusNotFound, 3, "")
	expect(t, do(t, m, 11, AppendGet(nil, k)), StatusNotFound, 3, "")
	expect(t, do(t, m, 12, AppendCAS(nil, k, []byte{}, []byte("x"))), StatusMismatch, 3, "")
	expect(t, do(t, m, 13, AppendIncr(nil, k, 5)), StatusOK, 4, le64(5))
	expect(t, do(t, m, 14, AppendIncr(nil, k, -7)), StatusOK, 5, le64(-2))
	expect(t, do(t, m, 15, AppendPut(nil, k, nil)), StatusOK, 6, "")
	expect(t, do(t, m, 16, AppendCAS(nil, k, []byte{}, []byte("e"))), StatusOK, 7, "")
	expect(t, do(t, m, 17, AppendCAS(nil, []byte("new"), nil, []byte("n"))), StatusOK, 1, "")
	expect(t, do(t, m, 18, AppendCAS(nil, []byte("none"), []byte("x"), []byte("n"))), StatusMismatch, 0, "")
	expect(t, do(t, m, 19, AppendIncr(nil, []byte("fresh"), 3)), StatusOK, 1, le64(3))
	a := lookup(t, m, k)
	if a.Status != StatusOK || a.Version != 7 || a.Slot != 16 || string(a.Value) != "e" {
		t.Fatalf("query: %+v", a)
	}
}

func lookup(t testing.TB, m *KV, k []byte) GetAnswer {
	t.Helper()
	p, err := m.Query(nil, AppendQueryGet(nil, k))
	if err != nil {
		t.Fatal(err)
	}
	a, err := DecodeGetAnswer(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What can go wrong: a malformed command panics, changes the state, shifts the results of its neighbours, or is treated
// differently on two replicas.
func TestMalformedCommandsGetAResult(t *testing.T) {
	long := bytes.Repeat([]byte("x"), KeyBytesMax+1)
	bad := [][]byte{
		{}, {1}, {99, 0}, {0, 0}, {byte(OpPut), 5, 'a'}, {byte(OpGet), 1, 'a', 'b'}, {byte(OpDelete), 0x80},
		{byte(OpCAS), 1, 'a'}, {byte(OpCAS), 1, 'a', 2, 0}, {byte(OpCAS), 1, 'a', 0, 1, 'x'}, {byte(OpCAS), 1, 'a', 1, 9},
		{byte(OpIncr), 1, 'a', 1, 2}, {byte(OpPut), 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		AppendPut(nil, long, nil),
	}
	m := New()
	do(t, m, 1, AppendPut(nil, []byte("a"), []byte("before")))
	cmds := append(append([][]byte{AppendGet(nil, []byte("a"))}, bad...), AppendGet(nil, []byte("a")))
	results := apply(t, m, 2, batch(t, block(1, 1, cmds...)))
	for i, p := range results {
		r, err := DecodeResult(p)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 || i == len(results)-1 {
			expect(t, r, StatusOK, 1, "before")
		} else {
			expect(t, r, StatusMalformed, 0, "")
		}
	}
	// A block whose bytes end before its commands do: wire hands out nil commands for the rest.
	broken := block(1, 50, []byte("xx"), []byte("yy"))
	copy(broken[wire.BlockHeaderSize:], []byte{9, 9, 9, 9})
	for _, p := range apply(t, m, 3, batch(t, broken)) {
		if Status(p[0]) != StatusMalformed {
			t.Fatalf("broken block: %v", Status(p[0]))
		}
	}
}

// What can go wrong: many short gets of a long value make a reply of gigabytes. Beyond the bound the value is left out,
// other results of the block are unharmed, and the next block has room again.
func TestResultsOfABlockAreBounded(t *testing.T) {
	m := New()
	do(t, m, 1, AppendPut(nil, []byte("long"), make([]byte, 1<<20)))
	gets := make([][]byte, 40)
	for i := range gets {
		gets[i] = AppendGet(nil, []byte("long"))
	}
	b := batch(t, block(1, 1, gets...), block(1, 100, gets...))
	var out engine.Replies
	out.Reset(b)
	m.Apply(2, b, &out)
	for i := range 2 {
		p, n := out.Block(i)
		if n != 40 || len(p) > wire.SessionReplyBytesMax || len(p) < wire.SessionReplyBytesMax/2 {
			t.Fatalf("block %d: %d results in %d bytes", i, n, len(p))
		}
		if p[len(p)-2] != byte(StatusTooLarge) || p[len(p)-1] != 1 {
			t.Fatalf("last result of block %d: %v", i, p[len(p)-2:])
		}
	}
	many := make([][]byte, 20)
	for i := range many {
		many[i] = block(1, wire.Seq(1000+100*i), gets...)
	}
	b = batch(t, many...)
	out.Reset(b)
	m.Apply(3, b, &out)
	total := 0
	for i := range many {
		p, _ := out.Block(i)
		total += len(p)
	}
	if total > runResultsMax+1<<20 {
		t.Fatalf("results of one run take %d bytes", total)
	}
}

// What can go wrong: replicas that apply the same slots end up with different hashes or snapshots; replicas that did
// not, with equal ones; a snapshot plus the rest of the log differs from the whole log. Random commands, cut at a
// random slot.
func TestSnapshotThenApplyIsReplay(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var log []wire.Batch
		for range 60 {
			log = append(log, randomBatch(t, rng))
		}
		whole, cut := New(), New()
		at := rng.IntN(len(log))
		for i, b := range log {
			a, c := apply(t, whole, wire.Slot(i+1), b), apply(t, cut, wire.Slot(i+1), b)
			if fmt.Sprint(a) != fmt.Sprint(c) {
				t.Fatalf("seed %d: results differ in slot %d", seed, i+1)
			}
			if i == at {
				p := freeze(t, cut)
				cut = New()
				do(t, cut, 1, AppendPut(nil, []byte("rubbish"), nil))
				if err := cut.Restore(bytes.NewReader(p)); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if whole.StateHash() != cut.StateHash() {
				t.Fatalf("seed %d: hashes differ after slot %d, snapshot at %d", seed, i+1, at+1)
			}
		}
		if !bytes.Equal(freeze(t, whole), freeze(t, cut)) {
			t.Fatalf("seed %d: states differ", seed)
		}
		apply(t, cut, 61, randomBatch(t, rng))
		if whole.StateHash() == cut.StateHash() {
			t.Fatalf("seed %d: one slot more and the same hash", seed)
		}
	}
}

func randomBatch(t testing.TB, rng *rand.Rand) wire.Batch {
	blocks := make([][]byte, 1+rng.IntN(3))
	for i := range blocks {
		cmds := make([][]byte, 1+rng.IntN(8))
		for j := range cmds {
			cmds[j] = randomCommand(rng)
		}
		blocks[i] = block(wire.SessionID(1+rng.IntN(4)), wire.Seq(1+rng.IntN(1000)), cmds...)
	}
	return batch(t, blocks...)
}

func randomCommand(rng *rand.Rand) []byte {
	k := key(rng.IntN(100))
	v := bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(200))
	switch rng.IntN(7) {
	case 0:
		return AppendGet(nil, k)
	case 1:
		return AppendDelete(nil, k)
	case 2:
		return AppendCAS(nil, k, nil, v)
	case 3:
		return AppendIncr(nil, k, rng.Int64())
	case 4:
		return v // mostly malformed
	default:
		return AppendPut(nil, k, v)
	}
}

// What can go wrong: a view sees a write that came after it (pages, directories or value memory are shared), misses
// one that came before, or two views disturb each other. Every kind of write follows while views are alive.
func TestViewsAreFrozen(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		m := New()
		slot := wire.Slot(0)
		step := func(n int) {
			for range n {
				slot++
				apply(t, m, slot, randomBatch(t, rng))
			}
		}
		type held struct {
			view engine.Snapshot
			want []byte
		}
		var views []held
		for range 30 {
			step(10)
			want := freeze(t, m)
			v, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, held{v, want})
			if rng.IntN(2) == 0 {
				i := rng.IntN(len(views))
				check := views[i]
				views = append(views[:i], views[i+1:]...)
				step(5)
				var b bytes.Buffer
				if _, err := check.view.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), check.want) {
					t.Fatalf("seed %d: a view changed, %v", seed, err)
				}
				check.view.Release()
			}
		}
		for _, h := range views {
			var b bytes.Buffer
			if _, err := h.view.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), h.want) {
				t.Fatalf("seed %d: a view changed, %v", seed, err)
			}
			h.view.Release()
		}
	}
}

// What can go wrong: writing a view out races with Apply (run with -race), or Restore disturbs a view of the state it
// replaces.
func TestViewIsWrittenWhileApplyGoesOn(t *testing.T) {
	m := New()
	for i := range 5000 {
		do(t, m, wire.Slot(i+1), AppendPut(nil, key(i), []byte("old value")))
	}
	want := freeze(t, m)
	for round := range 5 {
		v, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte)
		go func() {
			var b bytes.Buffer
			_, _ = v.WriteTo(&b)
			v.Release()
			got <- b.Bytes()
		}()
		for i := range 2000 {
			do(t, m, wire.Slot(6000+i), AppendPut(nil, key(i*3%7000), []byte("new value")))
		}
		if err := m.Restore(bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(<-got, want) {
			t.Fatalf("round %d: the view is not the state of its moment", round)
		}
	}
}

// What can go wrong: a scan misses a key or shows one twice, also when writes come between its pages; a page exceeds
// the limit of an answer; its hashes are not those of the values.
func TestScanShowsEveryKeyOnce(t *testing.T) {
	m := New()
	const n = 1000
	for i := range n {
		do(t, m, wire.Slot(i+1), AppendPut(nil, key(i), fmt.Appendf(nil, "value %d", i)))
	}
	do(t, m, n+1, AppendDelete(nil, key(5)))
	for _, values := range []bool{false, true} {
		seen := map[string]bool{}
		from := uint64(0)
		for pages := 0; ; pages++ {
			p, err := m.Query(nil, AppendQueryScan(nil, from, 64, values))
			if err != nil {
				t.Fatal(err)
			}
			page, err := DecodeScanPage(p)
			if err != nil {
				t.Fatal(err)
			}
			for {
				r, ok := page.Next()
				if !ok {
					break
				}
				if seen[string(r.Key)] {
					t.Fatalf("%s twice", r.Key)
				}
				seen[string(r.Key)] = true
				checkRow(t, m, r, values)
			}
			if page.Err() != nil {
				t.Fatal(page.Err())
			}
			if page.NextRow == 0 {
				break
			}
			from = page.NextRow
			do(t, m, wire.Slot(n+10+pages), AppendPut(nil, key(pages), []byte("again")))
		}
		if len(seen) != n {
			t.Fatalf("%d keys of %d", len(seen), n)
		}
	}
}

func checkRow(t *testing.T, m *KV, r Row, values bool) {
	t.Helper()
	a := lookup(t, m, r.Key)
	if r.Version != a.Version || r.Slot != a.Slot || r.Present != (a.Status == StatusOK) || r.Hash != ValueHash(a.Value) {
		t.Fatalf("%s: row %+v, query %+v", r.Key, r, a)
	}
	if values && !bytes.Equal(r.Value, a.Value) || !values && r.Value != nil {
		t.Fatalf("%s: value %q, want %q", r.Key, r.Value, a.Value)
	}
}

// What can go wrong: a page with long values does not fit an answer.
func TestScanPagesFitAnAnswer(t *testing.T) {
	m := New()
	for i := range 12 {
		do(t, m, wire.Slot(i+1), AppendPut(nil, key(i), make([]byte, 1<<20-100)))
	}
	rows, from := 0, uint64(0)
	for {
		p, err := m.Query(nil, AppendQueryScan(nil, from, 0, true))
		if err != nil || len(p) > wire.QueryBytesMax {
			t.Fatalf("page of %d bytes, %v", len(p), err)
		}
		page, err := DecodeScanPage(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := page.Next(); ok; _, ok = page.Next() {
			rows++
		}
		if from = page.NextRow; from == 0 {
			break
		}
	}
	if rows != 12 {
		t.Fatalf("%d rows of 12", rows)
	}
}

// What can go wrong: a digest does not tell two states apart, or a senseless query panics instead of failing.
func TestDigestAndBadQueries(t *testing.T) {
	m := New()
	do(t, m, 3, AppendPut(nil, key(1), nil))
	p, err := m.Query([]byte("prefix"), AppendQueryDigest(nil))
	if err != nil || string(p[:6]) != "prefix" {
		t.Fatalf("%q, %v", p, err)
	}
	d, err := DecodeDigest(p[6:])
	if err != nil || d != (Digest{Hash: m.StateHash(), Slot: 3, Rows: 1, Commands: 1}) {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, req := range [][]byte{nil, {}, {0}, {9}, {queryScan}, {queryScan, 0, 0, 2}, {queryScan, 0, 0, 0, 0}, {queryDigest, 0}} {
		if _, err := m.Query(nil, req); err == nil {
			t.Fatalf("query %v answered by KV", req)
		}
		if _, err := NewNull().Query(nil, req); err == nil {
			t.Fatalf("query %v answered by Null", req)
		}
	}
}
