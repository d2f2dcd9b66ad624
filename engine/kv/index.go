package kv

import (
	"bytes"
	"hash/maphash"
)

// index finds the row of a key: a table of row numbers, open addressing with linear probing. It has no keys of its own, so a
// lookup of a key that is not in the processor's caches waits for memory three times: for the entry, the row and the key, which
// lies before the value in one piece of memory. (A map of strings waits five times for a write, and nothing of it can be
// begun ahead.) Rows are never removed, and so are entries.
type index struct {
	entries []entry // length a power of two, at most 3/4 of them used
	used    int
	seed    maphash.Seed // of the process: nothing visible depends on the order of entries
}

// entry is 0, or the upper half of a key's hash and, in the lower 32 bits, the row's number plus 1.
type entry uint64

// rowsMax is how many rows there can be: their numbers plus 1 fit into 32 bits.
const rowsMax = 1<<32 - 2

const entriesMin = 64

func newIndex() index { return index{entries: make([]entry, entriesMin), seed: maphash.MakeSeed()} }

func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

// home is where the entry of a hash is looked for first. The lower half of the hash chooses it, so that the upper half, which
// the entry holds, tells those in the same place apart.
func (x *index) home(hash uint64) int { return int(uint32(hash)) & (len(x.entries) - 1) }

// find is the number of a key's row.
func (x *index) find(rows *table[row], key []byte, hash uint64) (i uint32, ok bool) {
	for at := x.home(hash); ; at = (at + 1) & (len(x.entries) - 1) {
		e := x.entries[at]
		if e == 0 {
			return 0, false
		}
		if uint32(e>>32) == uint32(hash>>32) && bytes.Equal(rows.at(int(uint32(e)-1)).key(), key) {
			return uint32(e) - 1, true
		}
	}
}

// add adds row i under a hash. The caller knows that its key is not there.
func (x *index) add(rows *table[row], i uint32, hash uint64) {
	if 4*(x.used+1) > 3*len(x.entries) {
		old := x.entries
		x.entries = make([]entry, 2*len(old))
		for _, e := range old {
			if e != 0 {
				x.put(e, x.hash(rows.at(int(uint32(e)-1)).key()))
			}
		}
	}
	x.used++
	x.put(entry(hash>>32<<32|uint64(i+1)), hash)
}

func (x *index) put(e entry, hash uint64) {
	at := x.home(hash)
	for x.entries[at] != 0 {
		at = (at + 1) & (len(x.entries) - 1)
	}
	x.entries[at] = e
}

// aheadMax is how many commands are looked at before they are executed. The loads of one step wait for nothing but the step
// before, so the processor has many of them under way at once; executed one by one, each command would wait for its own.
const aheadMax = 32

// ahead brings what commands will need into the processor's caches: entries, then rows, then keys and values. It changes
// nothing, and a guess that does not hold, because a command before makes or moves a row, costs no more than it would have.
func (m *KV) ahead(cmds [][]byte) {
	var homes [aheadMax]int
	var rows [aheadMax]*row
	n := 0
	for _, cmd := range cmds {
		if key := keyOf(cmd); key != nil {
			homes[n] = m.index.home(m.index.hash(key))
			n++
		}
	}
	found := 0
	for _, at := range homes[:n] {
		if e := m.index.entries[at]; e != 0 {
			rows[found] = m.rows.at(int(uint32(e) - 1))
			found++
		}
	}
	touched := byte(0)
	for _, r := range rows[:found] {
		touched += r.data[:1][0] // there is memory for it, see row
	}
	m.touched = touched
}

// keyOf is the key of a command, or nil: it is malformed, or has several.
func keyOf(cmd []byte) []byte {
	if len(cmd) < 2 || Op(cmd[0]) == OpMulti {
		return nil
	}
	key, _, _ := cutBytes(cmd[1:])
	return key
}
