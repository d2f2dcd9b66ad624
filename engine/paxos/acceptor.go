package paxos

import (
	"bytes"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// The acceptor: promises and votes. Whatever it tells leaves only when the records that back it are durable: each answer
// is gated by the number of the last record made so far, which covers its own.

// onPrepare answers phase 1 (Paxos Made Simple, section 2.2, P1a): promise and report the votes, or refuse.
func (r *Replica) onPrepare(m *wire.Message) {
	if m.Ballot < r.promised {
		r.reject(m)
		return
	}
	if m.Ballot > r.promised {
		r.raise(m.Ballot, "another node prepares")
		r.record(wire.PromiseRecord(r.c.Cluster, r.c.Group, r.c.Self, m.Ballot))
		r.leader = 0
	}
	r.restartElection()
	r.promise(m.From, m.Ballot, m.Slot)
}

// raise lifts the promise to b in memory, ending whatever this replica was doing at a lower ballot. The caller makes the
// record that will carry it: a promise record, or a vote at b.
func (r *Replica) raise(b wire.Ballot, why string) {
	if r.role != Follower {
		r.stepDown(why)
	}
	r.promised = b
}

// promise reports to a proposer every vote from slot from on, in parts. Part i covers a range of slots and the ranges of all
// parts join without a gap, so that parts of two answers, the second with more votes than the first, cannot be taken
// together for one answer that lacks a slot.
func (r *Replica) promise(to wire.NodeID, b wire.Ballot, from wire.Slot) {
	from = max(from, 1)
	gate := r.lsn
	parts := r.cutPromise(from)
	for i := range parts {
		p := &parts[i]
		r.send(to, &wire.Message{
			Kind: wire.KindPromise, Ballot: b, Slot: from, Trimmed: r.trimmed,
			Part: uint16(i), Parts: uint16(len(parts)), First: p.first, Last: p.last, Votes: p.votes,
		}, gate)
	}
}

// promisePart is a part of a promise: every vote in slots first..last, encoded.
type promisePart struct {
	first, last wire.Slot
	votes       []byte
}

// cutPromise encodes the votes from slot from on in parts of about Config.PromiseBytes.
func (r *Replica) cutPromise(from wire.Slot) []promisePart {
	parts := []promisePart{{first: from}}
	for s := max(from, r.log.base); s <= r.log.last(); s++ {
		e := r.log.get(s)
		if e.frame == nil {
			continue
		}
		v := wire.Vote{Slot: s, Ballot: e.ballot, Value: e.value()}
		p := &parts[len(parts)-1]
		if len(p.votes) > 0 && len(p.votes)+wire.VoteSize(v) > r.c.PromiseBytes && len(parts) < wire.PromisePartsMax {
			p.last = s - 1
			parts = append(parts, promisePart{first: s})
			p = &parts[len(parts)-1]
		}
		p.votes = wire.AppendVote(p.votes, v)
	}
	parts[len(parts)-1].last = ^wire.Slot(0)
	return parts
}

// reject tells a proposer which ballot it would have to exceed.
func (r *Replica) reject(m *wire.Message) {
	r.stale++
	r.send(m.From, &wire.Message{Kind: wire.KindReject, Ballot: m.Ballot, Slot: m.Slot, Promised: r.promised}, 0)
}

// onAccept answers phase 2 (P1a again: vote unless a higher ballot was promised).
func (r *Replica) onAccept(m *wire.Message) {
	if m.Ballot < r.promised {
		r.reject(m)
		return
	}
	raised := m.Ballot > r.promised
	if raised {
		r.raise(m.Ballot, "another node leads")
	}
	r.follow(m.From, m.Ballot)
	r.vote(m, raised)
	r.acked(m.From, m.Ballot, m.Slot)
	r.noteChosen(m.Ballot, m.Chosen)
}

// vote records the vote that m asks for, unless it was cast before. A slot that is only in a snapshot needs none: it is
// chosen, and saying so again is true; but the promise that m implies must still reach the disk.
func (r *Replica) vote(m *wire.Message, raised bool) {
	if m.Slot <= r.trimmed {
		if raised {
			r.record(wire.PromiseRecord(r.c.Cluster, r.c.Group, r.c.Self, m.Ballot))
		}
		return
	}
	e := r.log.ensure(m.Slot)
	if e.frame != nil && (e.chosen || e.ballot == m.Ballot) {
		mustEqual(e, m)
		if e.ballot == m.Ballot {
			return
		}
	}
	r.log.put(e, m.Frame.Retain(), m.Ballot)
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: m.Ballot, Slot: m.Slot, Chosen: m.Chosen,
		Frame: m.Frame.Retain(),
	})
}

// mustEqual stops the node when a proposer asks for another value than the one that is chosen in a slot, or that the same
// ballot already proposed there: agreement is broken already, and going on would spread it.
func mustEqual(e *entry, m *wire.Message) {
	if !bytes.Equal(e.value().Bytes(), m.Value.Bytes()) {
		panic(fmt.Sprintf("BUG: paxos: slot %d: node %d proposes another value at ballot %v than is held at ballot %v (chosen: %v)",
			m.Slot, m.From, m.Ballot, e.ballot, e.chosen))
	}
}

// ackRun is a run of neighbouring slots voted for in one output at one ballot: told with one Accepted. It holds the ballot
// of the votes, so what it says cannot change with a promise made later in the same output.
type ackRun struct {
	to     wire.NodeID
	ballot wire.Ballot
	first  wire.Slot
	count  uint32
}

// acked adds a vote to the run, telling the run before if it does not continue it.
func (r *Replica) acked(to wire.NodeID, b wire.Ballot, s wire.Slot) {
	a := &r.ack
	if a.count > 0 && a.to == to && a.ballot == b && s == a.first+wire.Slot(a.count) && a.count < wire.WindowMax {
		a.count++
		return
	}
	r.flushAck()
	*a = ackRun{to, b, s, 1}
}

// flushAck tells the run, gated by every record made so far: its votes are among them.
func (r *Replica) flushAck() {
	if a := r.ack; a.count > 0 {
		r.ack = ackRun{}
		r.send(a.to, &wire.Message{Kind: wire.KindAccepted, Ballot: a.ballot, Slot: a.first, Count: a.count}, r.lsn)
	}
}
