package wire

import "fmt"

// Incarnation says which life of a node's memory of its votes and promises is meant: it grows each time the node was healed
// after it may have forgotten some (package paxos, suspect.go). 0 is the first life, and is never written.
//
// A frame's reserved header bytes count the incarnations that stand at the end of its body, so that as long as no node was
// ever healed nothing is added to any frame:
//
//	0       4               12
//	| node  | number        | ...   in ascending order of nodes, numbers not 0
type Incarnation struct {
	Node   NodeID
	Number uint64 // counter<<32 | random, so that no two attempts of one node share a number
}

const (
	incarnationSize = 12
	incarnationsMax = incarnationSize * NodesMax
)

// AppendIncarnation appends in to the incarnations of a message or record. Nodes must come in ascending order.
func AppendIncarnation(dst []byte, in Incarnation) []byte {
	if in.Node == 0 || in.Number == 0 {
		panic(fmt.Sprintf("BUG: wire: incarnation %d of node %d", in.Number, in.Node))
	}
	return le.AppendUint64(le.AppendUint32(dst, uint32(in.Node)), in.Number)
}

// IterIncarnations walks the incarnations of a decoded message or record.
func IterIncarnations(p []byte) IncarnationIter { return IncarnationIter{p} }

// IncarnationIter walks incarnations.
type IncarnationIter struct{ rest []byte }

// Next returns the next one; ok is false at the end.
func (it *IncarnationIter) Next() (in Incarnation, ok bool) {
	if len(it.rest) < incarnationSize {
		return in, false
	}
	in = Incarnation{NodeID(le.Uint32(it.rest)), le.Uint64(it.rest[4:])}
	it.rest = it.rest[incarnationSize:]
	return in, true
}

// cutIncarnations splits n incarnations off the end of a body, which is long enough (ParseHeader), and checks them.
func cutIncarnations(body []byte, n int) (rest, incarnations []byte, err error) {
	if n == 0 {
		return body, nil, nil
	}
	at := len(body) - n*incarnationSize
	rest, incarnations = body[:at:at], body[at:]
	last := NodeID(0)
	for it := IterIncarnations(incarnations); ; {
		in, ok := it.Next()
		if !ok {
			return rest, incarnations, nil
		}
		if in.Node <= last || in.Number == 0 {
			return nil, nil, fmt.Errorf("%w: incarnation %d of node %d after node %d", ErrFormat, in.Number, in.Node, last)
		}
		last = in.Node
	}
}

// putIncarnations puts incarnations at the end of the frame p and their count into its header.
func putIncarnations(p, incarnations []byte) {
	if len(incarnations) > 0 {
		le.PutUint16(p[6:], uint16(len(incarnations)/incarnationSize))
		copy(p[len(p)-len(incarnations):], incarnations)
	}
}
