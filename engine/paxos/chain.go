package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// The chain of sums: each replica sums up the values that it has learned, in slot order, and heartbeats carry the sum up to the sender's chosen
// prefix. A replica that has learned the same slots otherwise stops: what agreement promises is broken, by damage in memory
// that no frame's CRC saw or by a bug, and going on would spread it. (PhxPaxos carries such a checksum with its values.)
//
// A leader's sum reaches its followers, so one that differs stops alone; if it is the leader that differs, its followers stop, and
// nothing is acknowledged any more. The chain begins anew every wire.ChainLength slots: so it needs no place in snapshots, and a replica
// that has one, and not the slots before it, compares from the next beginning on.

// extendChain goes on over slot s, the next of the chosen prefix.
func (r *Replica) extendChain(s wire.Slot, e *entry) {
	if r.sum == 0 && s%wire.ChainLength != 1 {
		return // it has begun in slots that are not here
	}
	r.sum = wire.ChainCRC(r.sum, s, e.frame)
	e.sum = r.sum
}

// heardChain takes a sum that another replica tells. If this one has not learned so far, or holds the slot no more, a later one
// will do: they come with every heartbeat.
func (r *Replica) heardChain(m *wire.Message) {
	e := r.log.get(m.Chosen)
	if m.Chain == 0 || e == nil || !e.prefix || e.sum == 0 || e.sum == m.Chain {
		return
	}
	panic(fmt.Sprintf("BUG: paxos: node %d has learned other values than this one: the sums up to slot %d are %08x there and %08x here; one of the two must not go on: compare their logs",
		m.From, m.Chosen, m.Chain, e.sum))
}
