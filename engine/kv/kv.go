package kv

import (
	"bytes"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// KV is the key-value state machine. It implements engine.StateMachine and engine.Hasher and, like every state
// machine, is used by one goroutine; a Snapshot of it by one other.
type KV struct {
	// index finds the row of a key. Rows are never removed, so a view needs no index of its own: it knows how many
	// rows there were.
	index index
	rows  *table[row] // a pointer: views of a replaced state still count in theirs

	slot     wire.Slot // of the last run applied
	commands uint64    // applied since slot 1, malformed ones included
	hash     chain

	result []byte // of the command being applied
	part   []byte // of one command of a multi
	left   int    // bytes that the results of the block being applied may still take

	coming  [aheadMax][]byte // commands that are executed next
	touched byte             // so that the compiler leaves the loads of ahead alone
}

// row is a key: 56 bytes, so that with its place in the page it mostly lies in one cache line. Invariant: present or the value is
// empty; version counts the writes, so it is at least 1; data has room for at least one byte beyond its start, even if key
// and value are empty.
type row struct {
	data    []byte // key and value, one after the other
	keyLen  uint32
	present bool
	version uint64
	slot    wire.Slot // of the last write
	epoch   uint64    // of the table when data's memory was made
}

func (r *row) key() []byte { return r.data[:r.keyLen:r.keyLen] }

// value is nil if there is none.
func (r *row) value() []byte {
	if !r.present {
		return nil
	}
	return r.data[r.keyLen:len(r.data):len(r.data)]
}

var (
	_ engine.StateMachine = (*KV)(nil)
	_ engine.Hasher       = (*KV)(nil)
)

// New returns an empty store.
func New() *KV { return &KV{index: newIndex(), rows: &table[row]{}} }

// StateHash is the chained hash over every slot applied.
func (m *KV) StateHash() uint64 { return uint64(m.hash) }

// Apply implements engine.StateMachine.
func (m *KV) Apply(s wire.Slot, b wire.Batch, out *engine.Replies) {
	runLeft := runResultsMax
	for blocks := b.Blocks(); ; {
		blk, ok := blocks.Next()
		if !ok {
			break
		}
		m.left = min(blockResultsMax, runLeft)
		runLeft -= m.left
		for cmds := blk.Commands(); ; {
			n := 0
			for ; n < aheadMax; n++ {
				var ok bool
				if m.coming[n], ok = cmds.Next(); !ok {
					break
				}
			}
			if n == 0 {
				break
			}
			m.ahead(m.coming[:n])
			for _, cmd := range m.coming[:n] {
				m.result = m.apply(m.result[:0], s, cmd)
				if plant.Is(plant.RandomInApply) && plant.OneIn(100) {
					m.result = append(m.result, 0)
				}
				if plant.Enabled {
					m.result = varies(m.result)
				}
				out.Append(m.result)
			}
		}
		runLeft += m.left
	}
	clear(m.coming[:]) // b dies
	m.slot = s
	m.commands += uint64(b.Commands())
	m.hash.addRun(s, b, out)
}

// varies is for planted bugs: results that are not a function of the command and the state.
func varies(result []byte) []byte {
	if plant.Is(plant.ClockInApply) && time.Now().UnixNano()/100%100 == 0 {
		return append(result, 0)
	}
	if plant.Is(plant.MapOrderInApply) {
		for k := range map[int]bool{0: true, 1: true, 2: true, 3: true} {
			if k == 0 {
				result = append(result, 0)
			}
			break
		}
	}
	return result
}

// Bounds on the values returned to one block and to one run, in bytes. Without them many short gets of one long value
// would make a replica build a reply of gigabytes; beyond them a value is left out (StatusTooLarge). A block's reply,
// heads included, is one that the engine keeps for retries. Part of the replicated state's meaning.
const (
	blockResultsMax = wire.SessionReplyBytesMax - wire.BlockCommandsMax*16
	runResultsMax   = 4 * wire.SessionReplyBytesMax
)

// apply executes one command and appends its result.
func (m *KV) apply(dst []byte, s wire.Slot, cmd []byte) []byte {
	c, ok := DecodeCommand(cmd)
	if !ok {
		return appendResult(dst, StatusMalformed, 0)
	}
	if c.Op == OpMulti {
		return m.multi(dst, s, c.Multi)
	}
	hash := m.index.hash(c.Key)
	i, ok := m.index.find(m.rows, c.Key, hash)
	switch c.Op {
	case OpPut:
		if !ok {
			return m.create(dst, s, c.Key, hash, c.Value)
		}
		return m.write(dst, s, i, c.Value)
	case OpGet:
		return m.get(dst, i, ok)
	case OpDelete:
		return m.remove(dst, s, i, ok)
	case OpCAS:
		return m.cas(dst, s, c, hash, i, ok)
	default:
		return m.incr(dst, s, c, hash, i, ok)
	}
}

// create makes the row of a key that never existed.
func (m *KV) create(dst []byte, s wire.Slot, key []byte, hash uint64, value []byte) []byte {
	if uint64(m.rows.rows) >= rowsMax {
		return appendResult(dst, StatusTooLarge, 0)
	}
	i, r := m.rows.grow()
	r.make(key, len(value), m.rows.epoch)
	m.index.add(m.rows, uint32(i), hash)
	return m.set(dst, s, r, value)
}

// write replaces the value of row i.
func (m *KV) write(dst []byte, s wire.Slot, i uint32, value []byte) []byte {
	if plant.Is(plant.WriteLost) && s%64 == 0 {
		return appendResult(dst, StatusOK, m.rows.at(int(i)).version+1)
	}
	return m.set(dst, s, m.rows.edit(int(i)), value)
}

// set writes into a row that is owned. The memory is used again unless a view may see it, or it is too small, or much too
// large.
func (m *KV) set(dst []byte, s wire.Slot, r *row, value []byte) []byte {
	room := cap(r.data) - int(r.keyLen)
	if room < len(value) || room > 4*len(value)+64 || m.rows.shared(r.epoch) {
		r.make(r.key(), len(value), m.rows.epoch)
	}
	r.data = append(r.data[:r.keyLen], value...)
	r.version++
	r.slot, r.present = s, true
	return appendResult(dst, StatusOK, r.version)
}

// make gives the row memory of its own, with its key and room for a value.
func (r *row) make(key []byte, valueLen int, epoch uint64) {
	r.data, r.keyLen, r.epoch = append(make([]byte, 0, len(key)+roundUp(valueLen)), key...), uint32(len(key)), epoch
}

// roundUp makes values of similar size share a capacity, so that overwriting one by another allocates nothing.
func roundUp(n int) int {
	if n <= 16 {
		return 16
	}
	return (n + n/8 + 15) &^ 15
}

func (m *KV) get(dst []byte, i uint32, ok bool) []byte {
	if !ok {
		return appendResult(dst, StatusNotFound, 0)
	}
	r := m.rows.at(int(i))
	if !r.present {
		return appendResult(dst, StatusNotFound, r.version)
	}
	return m.returning(dst, StatusOK, r)
}

// returning appends a result that carries the row's value, as long as the block's reply has room.
func (m *KV) returning(dst []byte, status Status, r *row) []byte {
	if len(r.value()) > m.left {
		return appendResult(dst, StatusTooLarge, r.version)
	}
	m.left -= len(r.value())
	return append(appendResult(dst, status, r.version), r.value()...)
}

func (m *KV) remove(dst []byte, s wire.Slot, i uint32, ok bool) []byte {
	if !ok {
		return appendResult(dst, StatusNotFound, 0)
	}
	if r := m.rows.at(int(i)); !r.present {
		return appendResult(dst, StatusNotFound, r.version)
	}
	r := m.rows.edit(int(i))
	if r.present = false; cap(r.data) > int(r.keyLen)+64 { // else its memory waits for the next value
		r.make(r.key(), 0, m.rows.epoch)
	}
	r.data = r.data[:r.keyLen]
	r.version++
	r.slot = s
	return appendResult(dst, StatusOK, r.version)
}

func (m *KV) cas(dst []byte, s wire.Slot, c Command, hash uint64, i uint32, ok bool) []byte {
	if !ok {
		if c.Expect {
			return appendResult(dst, StatusMismatch, 0)
		}
		return m.create(dst, s, c.Key, hash, c.Value)
	}
	r := m.rows.at(int(i))
	if r.present == c.Expect && (!c.Expect || bytes.Equal(r.value(), c.Old)) {
		return m.write(dst, s, i, c.Value)
	}
	return m.returning(dst, StatusMismatch, r)
}

func (m *KV) incr(dst []byte, s wire.Slot, c Command, hash uint64, i uint32, ok bool) []byte {
	var v [8]byte
	if ok {
		r := m.rows.at(int(i))
		if r.present && len(r.value()) != 8 {
			return appendResult(dst, StatusBadValue, r.version)
		}
		copy(v[:], r.value())
	}
	le.PutUint64(v[:], le.Uint64(v[:])+uint64(c.Delta))
	n := len(dst)
	if ok {
		dst = m.write(dst, s, i, v[:])
	} else {
		dst = m.create(dst, s, c.Key, hash, v[:])
	}
	if Status(dst[n]) != StatusOK {
		return dst
	}
	return append(dst, v[:]...)
}
