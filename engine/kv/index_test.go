package kv

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/paxbench/paxbench/engine"
)

// What can go wrong: a key is lost when the table grows, or found under another key's entry (equal hashes, or the same place),
// also the empty key and keys that are prefixes of others; a row is looked at that a command of the same run is about to make.
func TestIndexAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m, model := New(), map[string]uint64{}
	var out engine.Replies
	for slot := range 200 {
		var cmds [][]byte
		var want []uint64
		for range 100 {
			k := ""
			if n := rng.IntN(20_000); n > 0 {
				k = strconv.Itoa(n)
			}
			model[k]++
			want = append(want, model[k])
			cmds = append(cmds, AppendPut(nil, []byte(k), []byte(k)[:rng.IntN(len(k)+1)]))
		}
		b := batch(t, block(1, 1, cmds...))
		out.Reset(b)
		m.Apply(m.slot+1, b, &out)
		results, _ := out.Block(0)
		for i, w := range want {
			p, rest, ok := cutBytes(results)
			results = rest
			r, err := DecodeResult(p)
			if !ok || err != nil || r.Status != StatusOK || r.Version != w {
				t.Fatalf("slot %d, command %d: %+v, %v; want version %d", slot, i, r, err, w)
			}
		}
	}
	if m.rows.rows != len(model) || m.index.used != len(model) {
		t.Errorf("%d rows, %d entries, %d keys", m.rows.rows, m.index.used, len(model))
	}
	for k, v := range model {
		i, ok := m.index.find(m.rows, []byte(k), m.index.hash([]byte(k)))
		if !ok || m.rows.at(int(i)).version != v {
			t.Fatalf("key %q: row %d, %v", k, i, ok)
		}
	}
	if _, ok := m.index.find(m.rows, []byte("absent"), m.index.hash([]byte("absent"))); ok {
		t.Error("a key that was never written is found")
	}
}

// What can go wrong: two keys with equal hashes share a row.
func TestIndexEqualHashes(t *testing.T) {
	x, rows := newIndex(), &table[row]{}
	for n, k := range []string{"a", "b", "c"} {
		if _, ok := x.find(rows, []byte(k), 77); ok {
			t.Fatalf("%q is found before it is there", k)
		}
		i, r := rows.grow()
		r.make([]byte(k), 0, 0)
		x.add(rows, uint32(i), 77)
		if got, ok := x.find(rows, []byte(k), 77); !ok || int(got) != n {
			t.Fatalf("%q: row %d, %v", k, got, ok)
		}
	}
}
