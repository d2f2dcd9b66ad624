package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// block is a parsed block of count one-byte commands.
func testBlock(t testing.TB, id wire.SessionID, first, acked wire.Seq, count int) wire.Block {
	t.Helper()
	p := wire.AppendBlockHeader(nil, id, first, acked, count, 2*count)
	for range count {
		p = wire.AppendCommand(p, []byte{'x'})
	}
	b, _, err := wire.ParseBlock(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judge admits a block and, if it is fresh, executes it with this result. It returns the verdict and what the client
// would be told.
func judge(t testing.TB, tb *sessionTable, slot wire.Slot, id wire.SessionID, first, acked wire.Seq, count int, result string) (verdict, wire.Reply) {
	t.Helper()
	v, kept, status := tb.admit(testBlock(t, id, first, acked, count), slot, 7)
	r := wire.Reply{Status: status}
	switch v {
	case verdictFresh:
		tb.executed(id, first, []byte(result), result == "")
	case verdictRepeat:
		kept.fill(&r)
		r.Results = append([]byte(nil), r.Results...)
	}
	return v, r
}

// A retry must get the first execution's reply, whatever came between: a lost block out of order, acknowledgements,
// and it must never be executed again. A table that forgets too early, or mixes blocks up, shows here.
func TestSessionWindow(t *testing.T) {
	tb := newSessionTable()
	defer tb.release()
	id := wire.NewSessionID(5, 0)
	tb.open(id)
	steps := []struct {
		what         string
		first, acked wire.Seq
		count        int
		want         verdict
		status       wire.Status
		results      string
		slot         wire.Slot
	}{
		{what: "first block", first: 1, count: 10, want: verdictFresh},
		{what: "third block overtakes", first: 21, count: 10, want: verdictFresh},
		{what: "second block, late", first: 11, count: 10, want: verdictFresh},
		{what: "retry of the second", first: 11, count: 10, want: verdictRepeat, results: "r11", slot: 3},
		{what: "retry of the first", first: 1, count: 10, want: verdictRepeat, results: "r1", slot: 1},
		{what: "retry cut differently", first: 11, count: 5, want: verdictRefused, status: wire.StatusInvalid},
		{what: "overlaps the next", first: 5, count: 10, want: verdictRefused, status: wire.StatusInvalid},
		{what: "overlaps the one before", first: 25, count: 10, want: verdictRefused, status: wire.StatusInvalid},
		{what: "acknowledges itself", first: 31, acked: 32, count: 1, want: verdictRefused, status: wire.StatusInvalid},
		{what: "acknowledges the first two", first: 31, acked: 21, count: 10, want: verdictFresh},
		{what: "late retry of what was acknowledged", first: 1, count: 10, want: verdictRefused, status: wire.StatusInvalid},
		{what: "retry of the third", first: 21, count: 10, want: verdictRepeat, results: "r21", slot: 2},
	}
	for i, s := range steps {
		v, r := judge(t, tb, wire.Slot(i+1), id, s.first, s.acked, s.count, fmt.Sprintf("r%d", s.first))
		if v != s.want || r.Status != s.status || string(r.Results) != s.results || r.Slot != s.slot {
			t.Fatalf("%s: verdict %d, reply %+v; want %+v", s.what, v, r, s)
		}
	}
	if v, r := judge(t, tb, 99, id+1, 1, 0, 1, ""); v != verdictRefused || r.Status != wire.StatusSessionGone {
		t.Fatalf("unknown session: %d %v", v, r.Status)
	}
}

// The window is bounded: a client that never acknowledges is refused, not remembered for ever, and goes on as soon as
// it acknowledges.
func TestSessionWindowBound(t *testing.T) {
	tb := newSessionTable()
	defer tb.release()
	id := wire.NewSessionID(1, 0)
	tb.open(id)
	next := wire.Seq(1)
	for range tb.blocksMax {
		if v, _ := judge(t, tb, 1, id, next, 0, 3, "abc"); v != verdictFresh {
			t.Fatalf("block at %d: verdict %d", next, v)
		}
		next += 3
	}
	if v, r := judge(t, tb, 2, id, next, 0, 3, ""); v != verdictRefused || r.Status != wire.StatusInvalid {
		t.Fatalf("beyond the window: %d %v", v, r.Status)
	}
	if v, _ := judge(t, tb, 3, id, next, 4, 3, ""); v != verdictFresh {
		t.Fatalf("after an acknowledgement: %d", v)
	}
}

// A repeat in the same batch as its original meets it while it is pending; answering then would answer before
// execution.
func TestSessionPending(t *testing.T) {
	tb := newSessionTable()
	defer tb.release()
	id := wire.NewSessionID(1, 0)
	tb.open(id)
	if v, _, _ := tb.admit(testBlock(t, id, 1, 0, 2), 1, 0); v != verdictFresh {
		t.Fatal(v)
	}
	if v, _, _ := tb.admit(testBlock(t, id, 1, 0, 2), 1, 1); v != verdictPending {
		t.Fatal(v)
	}
	tb.executed(id, 1, nil, true)
	if v, _, _ := tb.admit(testBlock(t, id, 1, 0, 2), 1, 1); v != verdictRepeat {
		t.Fatal(v)
	}
}

// The table is full: the least recently used session goes, by slot order and not by anything local, and its client is
// told instead of being executed twice.
func TestSessionEviction(t *testing.T) {
	tb := newSessionTable()
	tb.sessionsMax = 3
	defer tb.release()
	for i := range 3 {
		tb.open(wire.NewSessionID(1, i))
	}
	judge(t, tb, 2, wire.NewSessionID(1, 0), 1, 0, 1, "kept")
	tb.open(wire.NewSessionID(3, 0)) // evicts (1,1)
	for i, gone := range []bool{false, true, false} {
		v, _ := judge(t, tb, 4, wire.NewSessionID(1, i), 1, 0, 1, "")
		if (v == verdictRefused) != gone {
			t.Errorf("session %d: verdict %d, gone should be %v", i, v, gone)
		}
	}
	if !tb.close(wire.NewSessionID(3, 0)) || tb.close(wire.NewSessionID(3, 0)) {
		t.Error("close")
	}
}

// Reply bytes are bounded per session and in all; beyond, the reply is forgotten but never the fact of the execution.
func TestSessionReplyBounds(t *testing.T) {
	held := wire.Outstanding()
	tb := newSessionTable()
	tb.replyMax, tb.replyTotalMax = 100, 150
	a, b := wire.NewSessionID(1, 0), wire.NewSessionID(1, 1)
	tb.open(a)
	tb.open(b)
	judge(t, tb, 2, a, 1, 0, 1, strings.Repeat("a", 60))
	judge(t, tb, 3, a, 2, 0, 1, strings.Repeat("b", 60)) // the first reply must go
	if v, r := judge(t, tb, 4, a, 1, 0, 1, ""); v != verdictRepeat || r.Status != wire.StatusUnknown {
		t.Errorf("forgotten reply: %d %v", v, r.Status)
	}
	if v, r := judge(t, tb, 4, a, 2, 0, 1, ""); v != verdictRepeat || len(r.Results) != 60 {
		t.Errorf("kept reply: %d %+v", v, r)
	}
	judge(t, tb, 5, a, 3, 0, 1, strings.Repeat("c", 101)) // never kept
	if v, r := judge(t, tb, 5, a, 3, 0, 1, ""); v != verdictRepeat || r.Status != wire.StatusUnknown {
		t.Errorf("oversized reply: %d %v", v, r.Status)
	}
	judge(t, tb, 6, b, 1, 0, 1, strings.Repeat("d", 95)) // 155 bytes in all: a is evicted
	if tb.byID[a] != nil || tb.byID[b] == nil || tb.replyBytes != 95 {
		t.Errorf("total bound: %d sessions, %d bytes", len(tb.byID), tb.replyBytes)
	}
	tb.release()
	if n := wire.Outstanding() - held; n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}

// A snapshot must carry the table exactly, order of use included: a replica that restored it and one that did not have to
// judge every later block alike, or they diverge.
func TestSessionSnapshotEquivalence(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	one := newSessionTable()
	one.sessionsMax, one.blocksMax = 8, 4
	var ids []wire.SessionID
	two := one
	for slot := wire.Slot(1); slot < 2000; slot++ {
		if slot%100 == 0 {
			if two != one {
				two.release()
			}
			two = roundTrip(t, one)
			two.sessionsMax, two.blocksMax = one.sessionsMax, one.blocksMax
		}
		if len(ids) == 0 || rng.IntN(20) == 0 {
			id := wire.NewSessionID(slot, 0)
			ids = append(ids, id)
			one.open(id)
			if two != one {
				two.open(id)
			}
			continue
		}
		id := ids[max(0, len(ids)-10)+rng.IntN(min(10, len(ids)))]
		first := wire.Seq(1 + rng.IntN(30))
		acked := wire.Seq(rng.IntN(int(first) + 1))
		count, result := 1+rng.IntN(4), strings.Repeat("r", rng.IntN(20))
		v1, r1 := judge(t, one, slot, id, first, acked, count, result)
		if two == one {
			continue
		}
		v2, r2 := judge(t, two, slot, id, first, acked, count, result)
		if v1 != v2 || r1.Status != r2.Status || r1.Slot != r2.Slot || !bytes.Equal(r1.Results, r2.Results) {
			t.Fatalf("slot %d: %d %+v, restored %d %+v", slot, v1, r1, v2, r2)
		}
	}
	if two != one {
		two.release()
	}
	one.release()
}

func roundTrip(t *testing.T, tb *sessionTable) *sessionTable {
	t.Helper()
	tb.commands = 12345
	v := tb.view()
	var buf bytes.Buffer
	if err := v.writeTo(&buf); err != nil {
		t.Fatal(err)
	}
	v.release()
	size := buf.Len()
	buf.WriteString("state machine")
	got, err := readSessions(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if buf.String() != "state machine" {
		t.Fatalf("%d bytes of table: %d bytes left of what follows", size, buf.Len())
	}
	if got.commands != 12345 || got.replyBytes != tb.replyBytes {
		t.Fatalf("restored %d commands, %d reply bytes", got.commands, got.replyBytes)
	}
	return got
}

// A table that is cut short or senseless is an error, not a panic, and leaks nothing.
func TestSessionDecodeMalformed(t *testing.T) {
	held := wire.Outstanding()
	tb := newSessionTable()
	id := wire.NewSessionID(1, 0)
	tb.open(id)
	judge(t, tb, 2, id, 1, 0, 2, "some result")
	judge(t, tb, 3, id, 3, 0, 2, "")
	v := tb.view()
	var buf bytes.Buffer
	if err := v.writeTo(&buf); err != nil {
		t.Fatal(err)
	}
	v.release()
	tb.release()
	whole := buf.Bytes()
	for n := range whole {
		if _, err := readSessions(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("cut to %d of %d bytes: no error", n, len(whole))
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0xff
		if got, err := readSessions(bytes.NewReader(bad)); err == nil {
			got.release()
		}
	}
	if n := wire.Outstanding() - held; n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}
