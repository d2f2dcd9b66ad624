package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The acceptor: promises and votes. Whatever it tells leaves only when the records that back it are durable: each answer
// is gated by the number of the last record made so far, which covers its own.

// onPrepare answers phase 1 (Paxos Made Simple, section 2.2, P1a): promise and report the votes, or refuse.
func (r *Replica) onPrepare(m *wire.Message) {
	if m.Scope == wire.ScopeSlot {
		if r.fast == nil || r.settles(m) {
			r.onPrepareSlot(m)
		}
		return
	}
	if r.refuses(m.Ballot) {
		r.reject(m, r.promised)
		return
	}
	if m.Ballot > r.promised {
		if r.leasedFrom(m.From) {
			r.leased++
			return // no answer: it asks again
		}
		r.raise(m.Ballot, "another node prepares")
		r.leader = 0
	}
	r.restartElection()
	// Once for each output: a promise is large, and a repeat that waited beside the first asks for the same.
	if i := r.index(m.From); !r.promisedTo.has(i) {
		r.promisedTo = r.promisedTo.with(i)
		r.promise(wire.KindPromise, m.From, m.Ballot, m.Slot)
	}
}

// refuses says whether a higher ballot than b was promised for all slots.
func (r *Replica) refuses(b wire.Ballot) bool { return refuses(r.promised, b) }

// onPrepareSlot is onPrepare for one slot alone. A proposer who asks about a slot that is known to be chosen is told what it
// asks for.
func (r *Replica) onPrepareSlot(m *wire.Message) {
	if m.Slot <= r.trimmed {
		r.promiseSlot(m.From, m.Ballot, m.Slot) // says so
		return
	}
	e := r.log.ensure(m.Slot)
	if e.chosen {
		r.teach(m.From, m.Slot, e)
		return
	}
	higher, news := e.prepare(m.Ballot, r.promised)
	if higher != 0 {
		r.reject(m, higher)
		return
	}
	if news {
		r.recordSlotPromise(m.Slot, e, m.Ballot)
	}
	r.promiseSlot(m.From, m.Ballot, m.Slot)
	r.overtaken(m.Slot, m.Ballot)
}

// promisedIn is the promise that holds in a slot.
func (r *Replica) promisedIn(e *entry) wire.Ballot { return e.promisedUnder(r.promised) }

// raiseSlot lifts the promise for one slot to b.
func (r *Replica) raiseSlot(e *entry, b wire.Ballot) {
	e.promised, e.sent = b, r.now
	r.highest = max(r.highest, b)
}

// recordSlotPromise lifts the promise for one slot to b and records it together with the chosen prefix, for which see
// recordPromise.
func (r *Replica) recordSlotPromise(s wire.Slot, e *entry, b wire.Ballot) wire.LSN {
	r.raiseSlot(e, b)
	if plant.Is(plant.SlotPromiseNotRecorded) {
		return r.lsn
	}
	r.stampRecorded = true
	return r.record(wire.SlotPromiseRecord(r.c.Cluster, r.c.Group, r.c.Self, b, s, r.chosen, r.stamp))
}

// promiseSlot reports to a proposer the vote in one slot.
func (r *Replica) promiseSlot(to wire.NodeID, b wire.Ballot, s wire.Slot) {
	m := wire.Message{Kind: wire.KindPromise, Ballot: b, Slot: s, Trimmed: r.trimmed, Parts: 1, First: s, Last: s, Incarnations: r.stamp}
	if e := r.log.get(s); e != nil && e.frame != nil {
		m.Votes = wire.AppendVote(nil, wire.Vote{Slot: s, Ballot: e.ballot, Value: e.value()})
	}
	r.send(to, &m, r.lsn)
}

// raise lifts the promise to b, ending whatever this replica was doing at a lower ballot.
func (r *Replica) raise(b wire.Ballot, why string) {
	if r.role != Follower {
		r.lease.granted = false
		r.stepDown(why)
	}
	r.recordPromise(b)
}

// recordPromise lifts the promise to b and records it together with the chosen prefix. The prefix must go with it: slots
// that were learned from an announcement at the old ballot will not be voted for again at the new one, so no later record
// would tell a restarted replica that they are chosen, and everything above them would count as uncertain for ever. An auxiliary, which
// forgets what it voted in slots that are chosen, records how far.
func (r *Replica) recordPromise(b wire.Ballot) wire.LSN {
	r.promised = b
	r.stampRecorded = true
	if plant.Is(plant.PromiseNotRecorded) || plant.Is(plant.BallotNotRecorded) && b.Node() == r.c.Self {
		return r.lsn
	}
	learned := r.chosen
	if r.aux.self {
		learned = r.trimmed
	}
	return r.record(wire.PromiseRecord(r.c.Cluster, r.c.Group, r.c.Self, b, learned, r.stamp))
}

// promise reports to a proposer, or to one who heals, every vote from slot from on, in parts, as far as one burst goes: the proposer asks again
// for what comes after it. Part i covers a range of slots and ranges join without a gap, so that parts of different answers
// cannot be taken together for one that lacks a slot.
//
// Why bursts: all at once was the plain design. A window of large batches made a promise larger than the queues between
// two nodes, which dropped its end each time; no leader was ever elected.
func (r *Replica) promise(kind wire.Kind, to wire.NodeID, b wire.Ballot, from wire.Slot) {
	from = max(from, 1)
	gate := r.lsn
	parts := r.cutPromise(from)
	for i := range parts {
		p := &parts[i]
		r.send(to, &wire.Message{
			Kind: kind, Ballot: b, Slot: from, Trimmed: r.trimmed,
			Part: uint16(i), Parts: uint16(len(parts)), First: p.first, Last: p.last, Votes: p.votes, Incarnations: r.stamp,
		}, gate)
	}
}

// promisePart is a part of a promise: every vote in slots first..last, encoded.
type promisePart struct {
	first, last wire.Slot
	votes       []byte
}

// PromiseBurst is how many parts an acceptor sends in answer to one Prepare.
const PromiseBurst = 4

// cutPromise encodes the votes from slot from on in parts of about Config.PromiseBytes, at most PromiseBurst of them.
func (r *Replica) cutPromise(from wire.Slot) []promisePart {
	parts := []promisePart{{first: from, last: ^wire.Slot(0)}}
	for s := max(from, r.log.base); s <= r.log.last(); s++ {
		e := r.log.get(s)
		if e.frame == nil {
			continue
		}
		v := wire.Vote{Slot: s, Ballot: e.ballot, Value: e.value()}
		p := &parts[len(parts)-1]
		if len(p.votes) > 0 && len(p.votes)+wire.VoteSize(v) > r.c.PromiseBytes {
			p.last = s - 1
			if len(parts) == PromiseBurst {
				return parts
			}
			parts = append(parts, promisePart{first: s, last: ^wire.Slot(0)})
			p = &parts[len(parts)-1]
		}
		p.votes = wire.AppendVote(p.votes, v)
	}
	return parts
}

// reject tells a proposer which ballot it would have to exceed.
func (r *Replica) reject(m *wire.Message, promised wire.Ballot) {
	r.stale++
	b := m.Ballot
	if r.fast != nil {
		b = fastOf(b) // the ballot that it leads at
	}
	r.send(m.From, &wire.Message{Kind: wire.KindReject, Ballot: b, Slot: m.Slot, Promised: promised}, 0)
}

// onAccept answers phase 2 (P1a again: vote unless a higher ballot was promised).
func (r *Replica) onAccept(m *wire.Message, from int) {
	switch {
	case r.fast != nil:
		r.onAcceptFast(m, from)
		return
	case m.Scope == wire.ScopeSlot:
		r.onAcceptSlot(m, from)
		return
	}
	if r.refuses(m.Ballot) {
		r.reject(m, r.promised)
		return
	}
	if m.Ballot > r.promised && !plant.Is(plant.AcceptKeepsPromise) {
		r.raise(m.Ballot, "another node leads")
	}
	r.follow(m.From, m.Ballot)
	r.noteChosen(m.Ballot, m.Chosen) // first: it makes room for the vote
	if r.vote(m) {
		r.acked(from, m.Ballot, m.Slot, 0)
	}
}

// onAcceptSlot is onAccept for a ballot that is of one slot alone.
//
// A slot that is only in a snapshot gets no answer: what was promised and voted there is forgotten, so that an Accept which
// was overtaken long ago, for a value that lost, cannot be told from one for the value that won. (A leader's Accept can: the
// promise for all slots refuses it.) Its proposer is behind, and finds out by itself.
func (r *Replica) onAcceptSlot(m *wire.Message, from int) {
	if m.Slot <= r.trimmed {
		if plant.Is(plant.TrimmedSlotAcked) {
			r.acked(from, m.Ballot, m.Slot, 0)
		}
		return
	}
	e := r.log.ensure(m.Slot)
	if e.chosen {
		r.teach(m.From, m.Slot, e)
		return
	}
	if higher := e.accept(m.Ballot, r.promised); higher != 0 {
		r.reject(m, higher)
		return
	}
	voted := r.vote(m)
	if voted || plant.Is(plant.PromiseWithoutVote) {
		r.raiseSlot(e, m.Ballot) // the vote's record is that of the promise: without it there is none
	}
	if voted {
		r.acked(from, m.Ballot, m.Slot, 0)
	}
	if plant.Is(plant.SlotBallotsAnnounce) {
		r.noteChosen(m.Ballot, m.Chosen)
	}
	r.settle(m.Slot, e, e.votes.nodes.size())
	r.overtaken(m.Slot, m.Ballot)
	r.learnAnnounced()
}

// vote records the vote that m asks for, unless it was cast before, and says whether there is something to tell. A slot that
// is only in a snapshot needs no vote: it is chosen, and saying so again is true.
func (r *Replica) vote(m *wire.Message) bool {
	if m.Slot <= r.trimmed {
		return true
	}
	if e := r.log.get(m.Slot); (e == nil || !e.chosen && e.ballot != m.Ballot) && r.full(m.Slot) && !e.fits(m.Frame) {
		r.refused++
		r.Missed(m.Ballot, m.Slot)
		return false
	}
	e := r.log.ensure(m.Slot)
	if e.frame != nil && (e.chosen || e.ballot == m.Ballot) {
		if !r.consistent(e, m) {
			return false
		}
		if e.ballot == m.Ballot {
			return true
		}
	}
	r.log.put(e, m.Frame.Retain(), m.Ballot)
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: m.Ballot, Slot: m.Slot, Chosen: m.Chosen,
		Scope: m.Scope, Frame: m.Frame.Retain(),
	})
	return true
}

// full says that no value for slot s is taken now, because the log in memory has reached its bounds: it keeps too much that a
// snapshot has not taken over yet, or too much above the chosen prefix. In the second case the next slot's value is taken all the
// same, and what was asked for with Fetch: they make the prefix grow. What is refused comes again (resend, Fetch).
//
// What an auxiliary holds is bounded as a whole: which of it is chosen does not matter to it.
func (r *Replica) full(s wire.Slot) bool {
	if r.aux.self {
		return r.log.bytes > r.c.LogBytesMax
	}
	ahead := r.c.AheadBytesMax
	if s <= r.fetch.until {
		ahead += 2 * fetchBytes // an answer; the leader may repeat more
	}
	return !r.hasRoom() || s > r.chosen+1 && r.log.ahead() > ahead
}

// consistent says whether m asks for the value that is held in a slot that is chosen, or that m's ballot already proposed
// there. A proposer of a lower ballot than the chosen value was learned at may ask for another one: it has been
// overtaken, and gets no answer. One of the same or a higher ballot may not (P2c): agreement is broken already, and going
// on would spread it, so the node stops.
func (r *Replica) consistent(e *entry, m *wire.Message) bool {
	if e.agrees(m) {
		return true
	}
	r.stale++
	return false
}

// ackRun is a run of neighbouring slots voted for in one output at one ballot: told with one Accepted. It holds the ballot
// of the votes, so what it says cannot change with a promise made later in the same output.
type ackRun struct {
	to     nodeSet
	ballot wire.Ballot
	first  wire.Slot
	count  uint32
	tag    uint64 // at a fast ballot: of the first slot's value; the others' follow. Else 0
}

// add adds slot s to the run if it continues it.
func (a *ackRun) add(to nodeSet, b wire.Ballot, s wire.Slot, tag uint64) bool {
	if a.count == 0 || a.to != to || a.ballot != b || s != a.first+wire.Slot(a.count) || a.count >= wire.WindowMax {
		return false
	}
	if tag != 0 && tag != a.tag+uint64(a.count) || tag == 0 && a.tag != 0 {
		return false
	}
	a.count++
	return true
}

// acked adds to the run the vote that node index from asked for, telling the run before if it does not continue it. tag is the
// value's at a fast ballot, else 0.
func (r *Replica) acked(from int, b wire.Ballot, s wire.Slot, tag uint64) {
	to := r.audience(from, tag)
	if to.has(r.self) {
		if !r.hasCounted(s, b) {
			r.own.push(ownRecord{slot: s, ballot: b, lsn: r.lsn, tag: tag})
		}
		to &^= nodeSet(0).with(r.self)
	}
	if to != 0 && !r.ack.add(to, b, s, tag) {
		r.flushAck()
		r.ack = ackRun{to, b, s, 1, tag}
	}
}

// hasCounted says whether the own vote in slot s at ballot b was counted already: an Accept that comes again, as often as its proposer likes,
// must not queue it again until the next record is durable.
func (r *Replica) hasCounted(s wire.Slot, b wire.Ballot) bool {
	e := r.log.get(s)
	return e != nil && (e.votes.ballot == b && e.votes.nodes.has(r.self) || e.votersAt(b).has(r.self))
}

// audience is who is told of a vote that node index from asked for: at a fast ballot the coordinator too, whoever proposed.
func (r *Replica) audience(from int, tag uint64) nodeSet {
	to := r.learners(from)
	if i := r.index(r.promised.Node()); tag != 0 && i >= 0 {
		to = to.with(i)
	}
	return to
}

// flushAck tells the run, gated by every record made so far: its votes are among them.
func (r *Replica) flushAck() {
	if a := r.ack; a.count > 0 {
		r.ack = ackRun{}
		gate := r.lsn
		if plant.Is(plant.AckBeforeSync) {
			gate = 0
		}
		if plant.Is(plant.BallotReadLate) {
			a.ballot = r.promised
		}
		kind := wire.KindAccepted
		if a.tag != 0 {
			kind = wire.KindFastAccepted
		}
		r.sendTo(a.to, &wire.Message{Kind: kind, Ballot: a.ballot, Slot: a.first, Count: a.count, Tag: a.tag, Incarnations: r.stamp}, gate)
	}
}
