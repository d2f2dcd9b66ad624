package sim

import (
	"fmt"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// entry is one line of the trace, not yet formatted: most are never read.
type entry struct {
	event   int
	at      int64
	node    wire.NodeID
	group   wire.GroupID // 0: of the node
	what    string
	a, b, c uint64
}

// note counts an event, adds it to the trace and to the hash. What a, b and c mean depends on what: see String.
func (w *world) note(node wire.NodeID, g wire.GroupID, what string, a, b, c uint64) {
	w.events++
	w.ring[w.events%len(w.ring)] = entry{w.events, w.now, node, g, what, a, b, c}
	h := w.hash
	for _, v := range [...]uint64{uint64(w.now), uint64(node)<<32 | uint64(g)<<8 | uint64(len(what)), a, b, c} {
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
	}
	w.hash = h
	if w.o.Trace != nil {
		w.o.Trace(w.ring[w.events%len(w.ring)].String())
	}
}

func (e *entry) String() string {
	where := fmt.Sprintf("node %d", e.node)
	if e.node == 0 {
		where = "cluster"
	}
	if e.group != 0 {
		where += fmt.Sprintf("/%d", e.group)
	}
	return strings.TrimRight(fmt.Sprintf("%6d %11.6fs %-9s %-18s %s", e.event, float64(e.at)/1e9, where, e.what, e.detail()), " ")
}

// detail says what the numbers mean.
func (e *entry) detail() string {
	switch {
	case strings.HasPrefix(e.what, "< Snap"):
		return fmt.Sprintf("from node %d, slot %d, offset %d", e.a, e.b, e.c)
	case strings.HasPrefix(e.what, "< "):
		return fmt.Sprintf("from node %d, ballot %v, slot %d", e.a, wire.Ballot(e.b), e.c)
	}
	switch e.what {
	case "chosen":
		return fmt.Sprintf("slot %d at ballot %v, value %016x", e.a, wire.Ballot(e.b), e.c)
	case "turn", "apply", "receive", "snapshot job", "transfer", "batch delay":
		return fmt.Sprintf("applied %d", e.a)
	case "leading":
		return fmt.Sprintf("at ballot %v, barrier slot %d, %d holes, %d proposed again", wire.Ballot(e.b), e.a, e.c>>32, uint32(e.c))
	case "lost leadership", "following", "probing", "preparing", "peer behind", "disk stall":
		return fmt.Sprintf("ballot %v, slot %d", wire.Ballot(e.b), e.a)
	case "request":
		return fmt.Sprintf("client %d, block %d, attempt %d", e.a, e.b, e.c)
	case "reply":
		return fmt.Sprintf("client %d, block %d, %v, slot %d", e.a, e.b, wire.Status(e.c>>56), e.c&wire.SlotMax)
	case "answer":
		return fmt.Sprintf("client %d, %v, slot %d", e.a, wire.Status(e.b), e.c)
	case "start":
		return fmt.Sprintf("life %d", e.a)
	}
	if e.a|e.b|e.c == 0 {
		return ""
	}
	return fmt.Sprint(e.a, " ", e.b, " ", e.c)
}
