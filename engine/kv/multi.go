package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// A multi is a guarded operation on several keys at once (Paxos Made Live, section 5.6, MultiOp): if all its guards hold,
// the commands of its first list are executed, else those of its second, in either case as one step of the log, between
// which and its guards nothing else happens.

// MultiMax bounds the guards of a multi, and the commands in each of its lists.
const MultiMax = 64

// GuardKind says what a guard asks of its key.
type GuardKind uint8

// Kinds of guards. Their numbers stand in logs.
const (
	GuardPresent GuardKind = iota // there is a value
	GuardAbsent                   // there is none
	GuardEquals                   // there is a value, equal to Value
	GuardVersion                  // the key's version is Version; 0: it was never written
	guardEnd
)

// Guard is one condition of a multi. Key and Value are views.
type Guard struct {
	Kind    GuardKind
	Key     []byte
	Value   []byte // GuardEquals
	Version uint64 // GuardVersion
}

// AppendMulti appends the command that executes then if all guards hold, and otherwise else. Both are lists of encoded
// commands other than multis. A multi with more than MultiMax of anything is malformed.
func AppendMulti(dst []byte, guards []Guard, then, otherwise [][]byte) []byte {
	dst = append(dst, byte(OpMulti))
	dst = binary.AppendUvarint(dst, uint64(len(guards)))
	for _, g := range guards {
		dst = append(dst, byte(g.Kind))
		dst = wire.AppendCommand(dst, g.Key)
		switch g.Kind {
		case GuardEquals:
			dst = wire.AppendCommand(dst, g.Value)
		case GuardVersion:
			dst = binary.AppendUvarint(dst, g.Version)
		}
	}
	for _, list := range [][][]byte{then, otherwise} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, c := range list {
			dst = wire.AppendCommand(dst, c)
		}
	}
	return dst
}

// MultiResult is the decoded result of a multi.
type MultiResult struct {
	Held    bool     // all guards held: Results are of the first list
	Results [][]byte // one for each command executed, for DecodeResult; views
}

// DecodeMultiResult decodes the result of a multi that has StatusOK or StatusGuard (DecodeResult says which it has).
func DecodeMultiResult(p []byte) (MultiResult, error) {
	r, err := DecodeResult(p)
	if err != nil || r.Status != StatusOK && r.Status != StatusGuard {
		return MultiResult{}, fmt.Errorf("%w: not the result of a multi that was executed (%v)", ErrMalformed, r.Status)
	}
	m := MultiResult{Held: r.Status == StatusOK}
	n, w := cutUvarint(r.Value)
	if w <= 0 || n > MultiMax {
		return MultiResult{}, fmt.Errorf("%w: results of a multi", ErrMalformed)
	}
	rest := r.Value[w:]
	for range n {
		var one []byte
		var ok bool
		if one, rest, ok = cutBytes(rest); !ok {
			return MultiResult{}, fmt.Errorf("%w: results of a multi", ErrMalformed)
		}
		m.Results = append(m.Results, one)
	}
	if len(rest) > 0 {
		return MultiResult{}, fmt.Errorf("%w: %d bytes after the results of a multi", ErrMalformed, len(rest))
	}
	return m, nil
}

// cutGuard splits a guard off p.
func cutGuard(p []byte) (g Guard, rest []byte, ok bool) {
	if len(p) == 0 || GuardKind(p[0]) >= guardEnd {
		return g, nil, false
	}
	g.Kind = GuardKind(p[0])
	if g.Key, rest, ok = cutBytes(p[1:]); !ok || len(g.Key) > KeyBytesMax {
		return g, nil, false
	}
	switch g.Kind {
	case GuardEquals:
		g.Value, rest, ok = cutBytes(rest)
	case GuardVersion:
		var w int
		if g.Version, w = cutUvarint(rest); w <= 0 {
			return g, nil, false
		}
		rest = rest[w:]
	}
	return g, rest, ok
}

// cutCount splits a count of at most MultiMax off p.
func cutCount(p []byte) (n int, rest []byte, ok bool) {
	v, w := cutUvarint(p)
	if w <= 0 || v > MultiMax {
		return 0, nil, false
	}
	return int(v), p[w:], true
}

// cutList splits a list of commands off p. Each of them is well formed and none is a multi.
func cutList(p []byte) (list multiList, rest []byte, ok bool) {
	if list.n, p, ok = cutCount(p); !ok {
		return list, nil, false
	}
	rest = p
	for range list.n {
		var c []byte
		if c, rest, ok = cutBytes(rest); !ok || len(c) == 0 || Op(c[0]) == OpMulti {
			return list, nil, false
		}
		if _, ok = DecodeCommand(c); !ok {
			return list, nil, false
		}
	}
	list.p = p[:len(p)-len(rest)]
	return list, rest, true
}

// multiList is a list of commands that was checked.
type multiList struct {
	n int
	p []byte
}

// checkMulti says whether p, the bytes after the op, is a well-formed multi.
func checkMulti(p []byte) bool {
	n, p, ok := cutCount(p)
	for ; ok && n > 0; n-- {
		_, p, ok = cutGuard(p)
	}
	for range 2 {
		if ok {
			_, p, ok = cutList(p)
		}
	}
	return ok && len(p) == 0
}

// multiResultMax is how many bytes the result of one command of a multi takes beside its value.
const multiResultMax = 32

// multi executes a multi, which is well formed: p is what follows the op. Without room in the block's reply for what it
// may have to say nothing is executed.
func (m *KV) multi(dst []byte, s wire.Slot, p []byte) []byte {
	n, p, _ := cutCount(p)
	held := true
	for range n {
		var g Guard
		g, p, _ = cutGuard(p)
		held = held && m.holds(g)
	}
	list, p, _ := cutList(p)
	status := StatusOK
	if !held {
		list, _, _ = cutList(p)
		status = StatusGuard
	}
	if m.left < list.n*multiResultMax {
		return appendResult(dst, StatusTooLarge, 0)
	}
	m.left -= list.n * multiResultMax
	dst = appendResult(dst, status, 0)
	dst = binary.AppendUvarint(dst, uint64(list.n))
	rest := list.p
	for range list.n {
		var c []byte
		c, rest, _ = cutBytes(rest)
		m.part = m.apply(m.part[:0], s, c)
		dst = wire.AppendCommand(dst, m.part)
	}
	return dst
}

// holds says whether a guard is met.
func (m *KV) holds(g Guard) bool {
	var r row // of a key that was never written: no value, version 0
	if i, ok := m.index.find(m.rows, g.Key, m.index.hash(g.Key)); ok {
		r = *m.rows.at(int(i))
	}
	switch g.Kind {
	case GuardPresent:
		return r.present
	case GuardAbsent:
		return !r.present
	case GuardEquals:
		return r.present && bytes.Equal(r.value(), g.Value)
	default:
		return r.version == g.Version
	}
}
