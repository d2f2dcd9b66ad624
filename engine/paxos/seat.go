package paxos

import (
	"bytes"
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// What an acceptor has to say about one slot, and what a proposer makes of it: the rules that Replica applies to each of its slots,
// and package single to the one that it has. They are here once.

// refuses is P1a and P2a's other half: an acceptor that has promised a ballot answers no lower one (Paxos Made Simple, section
// 2.2). An equal one it does: it is the one that it promised.
func refuses(promised, b wire.Ballot) bool {
	if plant.Is(plant.TieWithoutNode) {
		return b.Counter() < promised.Counter()
	}
	if plant.Is(plant.EqualBallotRefused) {
		return b <= promised
	}
	return b < promised
}

// promisedUnder is the promise that holds in the slot: of the one for all slots and the one for this slot alone, the higher.
func (e *entry) promisedUnder(all wire.Ballot) wire.Ballot { return max(all, e.promised) }

// prepare is the answer to phase 1 at ballot b: 0 is a promise, to be recorded first if it is news; else it names the
// ballot to exceed.
func (e *entry) prepare(b, all wire.Ballot) (higher wire.Ballot, news bool) {
	if p := e.promisedUnder(all); refuses(p, b) {
		return p, false
	}
	return 0, b > e.promised
}

// accept is the answer to phase 2 at ballot b: 0 is leave to vote, which raises the promise to b; else it names the ballot to exceed.
func (e *entry) accept(b, all wire.Ballot) (higher wire.Ballot) {
	if p := e.promisedUnder(all); refuses(p, b) {
		return p
	}
	return 0
}

// agrees is Replica.consistent, without its counters.
func (e *entry) agrees(m *wire.Message) bool {
	if bytes.Equal(e.value().Bytes(), m.Value.Bytes()) {
		return true
	}
	if m.Ballot < e.ballot {
		return false
	}
	panic(fmt.Sprintf("BUG: paxos: slot %d: node %d proposes another value at ballot %v than is held at ballot %v (chosen: %v)",
		m.Slot, m.From, m.Ballot, e.ballot, e.chosen))
}

// Seat is the acceptor of one slot by itself: what it promised and how it voted, without a log of slots around it. The zero value
// has promised nothing. It holds a reference to the frame of its vote, which Release gives back.
type Seat struct{ e entry }

// Seat takes one slot's acceptor out of what was recovered; the rest of s is released, and s must not be used again.
func (s *State) Seat(slot wire.Slot) Seat {
	var seat Seat
	if e := s.log.get(slot); e != nil {
		if seat.e = *e; e.frame != nil {
			e.frame.Retain()
		}
	}
	seat.e.promised = max(seat.e.promised, s.promised)
	s.log.dropTo(s.log.last())
	return seat
}

// Prepare answers phase 1 at ballot b. higher is 0: it is promised; with news, a record of that has to be durable before it is told.
// Else higher is the ballot that b would have to exceed.
func (s *Seat) Prepare(b wire.Ballot) (higher wire.Ballot, news bool) {
	if higher, news = s.e.prepare(b, 0); news {
		s.e.promised = b
	}
	return higher, news
}

// Accept answers phase 2 for the Accept message m. higher is 0: it has voted; with news, the record, which is m's frame, has to
// be durable before it is told. The frame is retained. It panics if m has another value than the vote at the same ballot.
func (s *Seat) Accept(m *wire.Message) (higher wire.Ballot, news bool) {
	if higher = s.e.accept(m.Ballot, 0); higher != 0 {
		return higher, false
	}
	if s.e.frame != nil && s.e.ballot == m.Ballot {
		s.e.agrees(m) // or panics
		return 0, false
	}
	s.e.frame.Release()
	s.e.frame, s.e.ballot, s.e.promised = m.Frame.Retain(), m.Ballot, m.Ballot
	return 0, true
}

// Promised is the highest ballot that was promised; 0: none.
func (s *Seat) Promised() wire.Ballot { return s.e.promised }

// Vote is the last vote, its value a view into the frame held; ok is false before the first. The slot is not filled in.
func (s *Seat) Vote() (v wire.Vote, ok bool) {
	if s.e.frame == nil {
		return v, false
	}
	return wire.Vote{Ballot: s.e.ballot, Value: s.e.value()}, true
}

// Release gives back the frame of the vote.
func (s *Seat) Release() {
	s.e.frame.Release()
	s.e.frame = nil
}

// Tally is what nodes granted at one ballot. See tally.
type Tally struct{ t tally }

// Reset starts the tally of ballot b; what was counted for another ballot is forgotten.
func (t *Tally) Reset(b wire.Ballot) { t.t.reset(b) }

// Ballot is the one that is counted.
func (t *Tally) Ballot() wire.Ballot { return t.t.ballot }

// Add counts the i-th member (0 to 63) at ballot b and returns how many granted b: a repeat counts once, another ballot nothing.
func (t *Tally) Add(b wire.Ballot, i int) int { return t.t.add(b, i) }

// Has says whether the i-th member was counted.
func (t *Tally) Has(i int) bool { return t.t.nodes.has(i) }

// Size is how many were counted.
func (t *Tally) Size() int { return t.t.nodes.size() }

// HigherVote is the rule that picks a proposal's value. See higherVote.
func HigherVote(a, b wire.Vote) wire.Vote { return higherVote(a, b) }

// Of fills in majorities of n nodes, and the least fast quorum.
func (q Quorums) Of(n int) Quorums { return q.of(n) }
