package engine

import (
	"go.uber.org/atomic"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Reads by lease: the leader answers from what it has applied, without a message, as long as it holds the lease (paxos/lease.go). They
// do not pass through the loop.
//
//	connection   takes ballot and slot of the lease        (ask)
//	applier      waits until it has applied that slot      (take)
//	             asks the state machine
//	             takes the lease's end, then the time: over, or another leadership? then the loop asks a quorum  (byLease)
//
// The end and the time are taken after the state was read: the process may have stood still anywhere before, and what it
// remembered of the time is worth nothing then (FAULTS.md F9). If it stands still after that, what it answers was true when it
// took the time, and the question was under way.

// leaseState is the lease as the loop publishes it, at the end of each turn and before anything that the turn says is sent: so
// whoever sees another node elected with this one's promise, or a slot announced, sees it here.
//
// The loop stores until = 0, from, ballot, until, in this order; readers load ballot before from, and until before ballot. A reader
// that finds the ballot it began with then has an end of that ballot.
type leaseState struct {
	ballot atomic.Uint64 // of the leadership; 0: there is no lease
	from   atomic.Uint64 // slot
	until  atomic.Int64  // of Node.leaseTime
}

func (s *leaseState) publish(l paxos.Lease) {
	if s.ballot.Load() != uint64(l.Ballot) {
		s.until.Store(0)
	}
	s.from.Store(uint64(l.From))
	s.ballot.Store(uint64(l.Ballot))
	s.until.Store(l.Until)
}

// take returns what a question that has arrived needs; not ok: there is no lease.
func (s *leaseState) take(n *Node) (b wire.Ballot, from wire.Slot, ok bool) {
	b = wire.Ballot(s.ballot.Load())
	from = wire.Slot(s.from.Load())
	return b, from, s.holds(n, b)
}

// holds says whether the lease of ballot b holds now.
func (s *leaseState) holds(n *Node, b wire.Ballot) bool {
	until := s.until.Load()
	if b == 0 || wire.Ballot(s.ballot.Load()) != b {
		return false
	}
	return n.leaseTime() < until || plant.Is(plant.LeaseNotRechecked)
}

// leaseTime is the clock of leases, or the driver's.
func (n *Node) leaseTime() int64 {
	if n.driver != nil {
		return n.driver.c.Clock()
	}
	return leaseClock()
}

// publishLease is called at the end of a turn.
func (l *loop) publishLease() {
	if l.g.node.c.Lease > 0 {
		l.g.lease.publish(l.core.Lease())
	}
}

// byLease answers a question from the state as it is, if the lease that it was asked under still holds when it has been read. If not,
// a quorum is asked.
func (a *applier) byLease(q *query) {
	if a.expire(q) {
		return
	}
	ans := a.answerTo(q)
	if !a.g.lease.holds(a.g.node, q.ballot) {
		a.g.count.leaseLapses.Inc()
		if !a.g.mailbox.PutUrgent(event{kind: eventQuery, query: q}) {
			q.fail(a.g, wire.StatusClosed)
		}
		return
	}
	a.g.count.queries.Inc()
	a.g.count.leaseReads.Inc()
	ans.Epoch = q.ballot
	q.finish(a.g, &ans)
}
