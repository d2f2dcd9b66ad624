package explore

// stateSet is the states met so far, in the order they were met, each with the state that it was first reached from: 12 bytes for
// a state and 4 to 8 for finding it. The numbers of states are the search's queue as well.
type stateSet struct {
	keys    [][]key    // chunks, so that growing copies nothing
	parents [][]uint32 // number of the state before
	table   []uint32   // open addressing; number+1, 0 is free
	n       uint32
}

const chunkBits = 20

func (t *stateSet) init() { t.table = make([]uint32, 1<<16) }

func (t *stateSet) len() uint32 { return t.n }

func (t *stateSet) bytes() int64 {
	return int64(len(t.keys))*12<<chunkBits + int64(len(t.table))*4
}

func (t *stateSet) key(at uint32) key { return t.keys[at>>chunkBits][at&(1<<chunkBits-1)] }

func (t *stateSet) parent(at uint32) uint32 { return t.parents[at>>chunkBits][at&(1<<chunkBits-1)] }

func hashKey(k key) uint64 {
	h := uint64(k) * 0x9e3779b97f4a7c15
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// add notes state k, reached from parent, and says whether it is new.
func (t *stateSet) add(k key, parent uint32) bool {
	mask := uint64(len(t.table) - 1)
	at := hashKey(k) & mask
	for ; t.table[at] != 0; at = (at + 1) & mask {
		if t.key(t.table[at]-1) == k {
			return false
		}
	}
	if t.n&(1<<chunkBits-1) == 0 {
		t.keys = append(t.keys, make([]key, 1<<chunkBits))
		t.parents = append(t.parents, make([]uint32, 1<<chunkBits))
	}
	t.keys[t.n>>chunkBits][t.n&(1<<chunkBits-1)] = k
	t.parents[t.n>>chunkBits][t.n&(1<<chunkBits-1)] = parent
	t.n++
	t.table[at] = t.n
	if int(t.n) > len(t.table)/4*3 {
		t.grow()
	}
	return true
}

func (t *stateSet) grow() {
	t.table = make([]uint32, 2*len(t.table)) // the old one is garbage at once: nothing is read from it
	mask := uint64(len(t.table) - 1)
	for n := range t.n {
		at := hashKey(t.key(n)) & mask
		for t.table[at] != 0 {
			at = (at + 1) & mask
		}
		t.table[at] = n + 1
	}
}
