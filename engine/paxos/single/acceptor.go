package single

import (
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Acceptor is the memory of the decree. It is the engine's (paxos.Seat) with messages and records around it.
type Acceptor struct {
	c    Config
	seat paxos.Seat
}

// NewAcceptor makes an acceptor of what was recovered, which belongs to it from now on; nil: an empty disk.
func NewAcceptor(c Config, st *paxos.State) *Acceptor {
	c.check()
	a := &Acceptor{c: c}
	if st != nil {
		a.seat = st.Seat(Slot)
	}
	return a
}

// Step answers Prepare and Accept; other messages are for others. It retains what it keeps of m.
func (a *Acceptor) Step(m *wire.Message) (o Out) {
	if a.c.acceptor(a.c.Self) < 0 || m.Group != a.c.Group || m.Slot != Slot || m.Scope != wire.ScopeSlot || m.Ballot.Node() != m.From {
		return o
	}
	switch m.Kind {
	case wire.KindPrepare:
		higher, news := a.seat.Prepare(m.Ballot)
		if higher != 0 {
			return a.reject(m, higher)
		}
		if news {
			o.Records = append(o.Records, wire.SlotPromiseRecord(a.c.Cluster, a.c.Group, a.c.Self, m.Ballot, Slot, 0, nil))
		}
		p := wire.Message{Kind: wire.KindPromise, Ballot: m.Ballot, Parts: 1, First: Slot, Last: Slot}
		if v, ok := a.seat.Vote(); ok {
			v.Slot = Slot
			p.Votes = wire.AppendVote(nil, v)
		}
		o.send(&a.c, p, m.From)
	case wire.KindAccept:
		higher, news := a.seat.Accept(m)
		if higher != 0 {
			return a.reject(m, higher)
		}
		if news {
			o.Records = append(o.Records, wire.Record{
				Kind: wire.KindAccept, Group: m.Group, Ballot: m.Ballot, Slot: Slot, Scope: m.Scope, Frame: m.Frame.Retain(),
			})
		}
		o.send(&a.c, wire.Message{Kind: wire.KindAccepted, Ballot: m.Ballot, Count: 1}, a.c.learners()...)
	}
	return o
}

func (a *Acceptor) reject(m *wire.Message, higher wire.Ballot) (o Out) {
	o.send(&a.c, wire.Message{Kind: wire.KindReject, Ballot: m.Ballot, Promised: higher}, m.From)
	return o
}

// Close releases the vote's frame.
func (a *Acceptor) Close() { a.seat.Release() }
