package kv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// block encodes one block.
func block(session wire.SessionID, first wire.Seq, cmds ...[]byte) []byte {
	var body []byte
	for _, c := range cmds {
		body = wire.AppendCommand(body, c)
	}
	return append(wire.AppendBlockHeader(nil, session, first, 0, len(cmds), len(body)), body...)
}

// batch makes a run of blocks.
func batch(t testing.TB, blocks ...[]byte) wire.Batch {
	t.Helper()
	commands := 0
	for _, b := range blocks {
		blk, _, err := wire.ParseBlock(b)
		if err != nil {
			t.Fatal(err)
		}
		commands += blk.Count()
	}
	return wire.Run(bytes.Join(blocks, nil), len(blocks), commands)
}

// apply applies one run and returns the results, decoded out of the reply's encoding.
func apply(t testing.TB, m engine.StateMachine, s wire.Slot, b wire.Batch) [][]byte {
	t.Helper()
	var out engine.Replies
	out.Reset(b)
	m.Apply(s, b, &out)
	if out.Len() != b.Commands() {
		t.Fatalf("%d results for %d commands", out.Len(), b.Commands())
	}
	var all [][]byte
	for i := range b.BlockCount() {
		p, n := out.Block(i)
		for range n {
			r, rest, ok := cutBytes(p)
			if !ok {
				t.Fatal("results are not well formed")
			}
			all, p = append(all, bytes.Clone(r)), rest
		}
		if len(p) != 0 {
			t.Fatalf("%d bytes after the results", len(p))
		}
	}
	return all
}

// do applies one command and returns its result.
func do(t testing.TB, m *KV, s wire.Slot, cmd []byte) Result {
	t.Helper()
	r, err := DecodeResult(apply(t, m, s, batch(t, block(1, 1, cmd)))[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func expect(t testing.TB, got Result, s Status, version uint64, value string) {
	t.Helper()
	if got.Status != s || got.Version != version || string(got.Value) != value {
		t.Fatalf("got %v version %d value %q; want %v version %d value %q", got.Status, got.Version, got.Value, s, version, value)
	}
}

// freeze writes a view of m out.
func freeze(t testing.TB, m engine.StateMachine) []byte {
	t.Helper()
	v, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	var b bytes.Buffer
	n, err := v.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d, buffer has %d, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func key(i int) []byte { return fmt.Appendf(nil, "key-%06d", i) }

func le64(v int64) string { return string(le.AppendUint64(nil, uint64(v))) }
