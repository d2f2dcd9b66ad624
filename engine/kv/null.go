package kv

import (
	"encoding/binary"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// Null is the state machine that executes nothing: every command gets an empty result. What it keeps costs a constant
// amount of work per block, none per command, and is enough for an audit: for each session the number of commands and
// the sum of their sequence numbers. It implements engine.StateMachine and engine.Hasher.
type Null struct {
	index map[wire.SessionID]uint32
	rows  *table[SessionRow]

	slot     wire.Slot
	commands uint64
	hash     chain
}

var (
	_ engine.StateMachine = (*Null)(nil)
	_ engine.Hasher       = (*Null)(nil)
)

// NewNull returns a Null that has counted nothing.
func NewNull() *Null {
	return &Null{index: make(map[wire.SessionID]uint32), rows: &table[SessionRow]{}}
}

// StateHash is the chained hash over every slot applied.
func (m *Null) StateHash() uint64 { return uint64(m.hash) }

// Apply implements engine.StateMachine.
func (m *Null) Apply(s wire.Slot, b wire.Batch, out *engine.Replies) {
	for blocks := b.Blocks(); ; {
		blk, ok := blocks.Next()
		if !ok {
			break
		}
		m.count(s, blk.Session(), blk.First(), uint64(blk.Count()))
	}
	out.AppendEmpty(b.Commands())
	m.slot = s
	m.commands += uint64(b.Commands())
	m.hash.add(s, b.Payload())
}

// count adds n commands with consecutive sequence numbers from first on.
func (m *Null) count(s wire.Slot, id wire.SessionID, first wire.Seq, n uint64) {
	if n == 0 {
		return
	}
	var r *SessionRow
	if i, ok := m.index[id]; ok {
		r = m.rows.edit(int(i))
	} else {
		var j int
		j, r = m.rows.grow()
		r.Session = id
		m.index[id] = uint32(j)
	}
	r.Count += n
	r.Sum += SeqSum(first, n)
	r.Slot = s
}

// SeqSum is first + (first+1) + ... of n terms, modulo 2^64.
func SeqSum(first wire.Seq, n uint64) uint64 {
	half := n * (n - 1) / 2 // n is at most a block's commands: no overflow before the division
	return uint64(first)*n + half
}

// Query implements engine.StateMachine: scan and digest. Its error is ErrQuery.
func (m *Null) Query(dst, req []byte) ([]byte, error) {
	if len(req) == 0 {
		return dst, ErrQuery
	}
	switch req[0] {
	case queryScan:
		from, limit, _, err := parseScan(req[1:], m.rows.rows)
		if err != nil {
			return dst, err
		}
		start := len(dst)
		dst = appendScanHead(dst, m.rows.rows)
		for i := from; i < from+limit; i++ {
			dst = appendSessionRow(dst, m.rows.at(i))
		}
		return endScan(dst, start, from+limit, m.rows.rows), nil
	case queryDigest:
		if len(req) == 1 {
			return appendDigest(dst, Digest{uint64(m.hash), m.slot, uint64(m.rows.rows), m.commands}), nil
		}
	}
	return dst, ErrQuery
}

func appendSessionRow(dst []byte, r *SessionRow) []byte {
	dst = le.AppendUint64(dst, uint64(r.Session))
	dst = binary.AppendUvarint(dst, r.Count)
	dst = le.AppendUint64(dst, r.Sum)
	return binary.AppendUvarint(dst, uint64(r.Slot))
}
