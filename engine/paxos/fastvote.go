package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The acceptor and the learner of fast rounds: who votes for what comes first in a slot, and who counts the votes, by value.

// fastVotes is who voted for what in a slot at a fast ballot, as far as this replica was told.
type fastVotes struct {
	ballot wire.Ballot
	values []taggedVotes  // in the order in which they were heard of; more than one: a collision
	won    uint64         // tag of the value that a fast quorum voted for; 0: none yet
	kept   []*wire.Buffer // coordinator: Accepts of values that it did not vote for; one reference each
}

// taggedVotes are the votes for one value, known by its tag: no other proposal has it.
type taggedVotes struct {
	tag   uint64
	nodes nodeSet
}

func (v *fastVotes) reset(b wire.Ballot) {
	v.ballot, v.values, v.won = b, v.values[:0], 0
	for _, f := range v.kept {
		f.Release()
	}
	v.kept = v.kept[:0]
}

// add counts node i's vote for a tag and returns how many nodes voted for it.
func (v *fastVotes) add(tag uint64, i int) int {
	for k := range v.values {
		if t := &v.values[k]; t.tag == tag {
			t.nodes = t.nodes.with(i)
			return t.nodes.size()
		}
	}
	v.values = append(v.values, taggedVotes{tag, nodeSet(0).with(i)})
	return 1
}

// voters is who voted at all.
func (v *fastVotes) voters() (set nodeSet) {
	for _, t := range v.values {
		set |= t.nodes
	}
	return set
}

// votersAt is who is known to have voted in a slot at fast ballot b.
func (e *entry) votersAt(b wire.Ballot) nodeSet {
	if e.fast == nil || e.fast.ballot != b {
		return 0
	}
	return e.fast.voters()
}

// tag is the tag of the entry's value; 0: it has none.
func (e *entry) tag() uint64 { return e.value().Tag() }

// votesAt is the tally of a slot at fast ballot b; nil: it has one of a higher ballot.
func (r *Replica) votesAt(e *entry, b wire.Ballot) *fastVotes {
	f := r.fast
	if e.fast == nil {
		if n := len(f.spare); n > 0 {
			e.fast, f.spare = f.spare[n-1], f.spare[:n-1]
		} else {
			e.fast = new(fastVotes)
		}
	}
	switch v := e.fast; {
	case v.ballot > b:
		return nil
	case v.ballot < b:
		r.unkeep(v)
		v.reset(b)
	}
	return e.fast
}

// spareMax bounds the tallies kept for reuse.
const spareMax = 256

// dropVotes ends the tally of a slot.
func (r *Replica) dropVotes(e *entry) {
	if e.fast == nil {
		return
	}
	r.unkeep(e.fast)
	e.fast.reset(0)
	if len(r.fast.spare) < spareMax {
		r.fast.spare = append(r.fast.spare, e.fast)
	}
	e.fast = nil
}

// voteFast records this replica's vote at fast ballot b: its first and only one in slot s.
func (r *Replica) voteFast(e *entry, s wire.Slot, b wire.Ballot, frame *wire.Buffer, chosen wire.Slot) {
	r.log.put(e, frame.Retain(), b)
	if e.sent == 0 {
		e.sent = r.now
	}
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: b, Slot: s, Chosen: chosen, Scope: wire.ScopeAny, Frame: frame.Retain(),
	})
}

// onAcceptFast is onAccept. A proposer's word that ballot b is open is as good as Any: it has it from there.
func (r *Replica) onAcceptFast(m *wire.Message, from int) {
	base := fastOf(m.Ballot)
	if r.refuses(base) {
		if m.From == base.Node() {
			r.reject(m, r.promised)
		} else {
			r.stale++
		}
		return
	}
	if base > r.promised && !plant.Is(plant.AcceptKeepsPromise) {
		r.raise(base, "another node leads")
		r.leader = 0
	}
	if m.From == base.Node() {
		r.follow(m.From, base)
		r.noteChosen(r.announces(base), m.Chosen)
	}
	if m.Slot <= r.trimmed {
		return // what was voted there is forgotten; see onAcceptSlot
	}
	r.uses(m.Slot)
	e := r.log.ensure(m.Slot)
	if e.chosen {
		r.teach(m.From, m.Slot, e)
		return
	}
	if m.Ballot < r.promisedIn(e) {
		r.stale++ // its slot is being settled
		return
	}
	if m.Scope == wire.ScopeAny {
		r.onOffer(m, from, e)
	} else if r.vote(m) {
		r.raiseSlot(e, m.Ballot)
		r.acked(from, m.Ballot, m.Slot, 0)
		r.settle(m.Slot, e, e.votes.nodes.size())
	}
	r.learnAnnounced()
}

// onOffer votes at a fast ballot: for the first value that comes, and for no other (Fast Paxos, section 3.1, action 2b). Whoever
// comes later is told which one has the vote.
func (r *Replica) onOffer(m *wire.Message, from int, e *entry) {
	switch {
	case e.frame != nil && e.ballot == m.Ballot && e.tag() != m.Value.Tag() && !plant.Is(plant.FastVotesTwice):
		r.collided(m, e)
	case e.frame != nil && e.ballot == m.Ballot && e.tag() == m.Value.Tag():
	case r.full(m.Slot) && !e.fits(m.Frame):
		r.refused++
		return
	default:
		r.voteFast(e, m.Slot, m.Ballot, m.Frame, m.Chosen)
	}
	r.acked(from, m.Ballot, m.Slot, e.tag())
	r.settleFast(m.Slot, e)
}

// onFastAccepted counts a peer's votes at a fast ballot.
func (r *Replica) onFastAccepted(m *wire.Message, from int) {
	if !r.fresh(m, from) {
		return
	}
	r.peers[from].voted = max(r.peers[from].voted, m.Slot+wire.Slot(m.Count-1))
	if r.role == Leader && m.Ballot == r.ballot {
		r.peers[from].seen = r.now
	}
	for i := range m.Count {
		r.countedFast(m.Slot+wire.Slot(i), m.Ballot, m.Tag+uint64(i), from)
	}
	r.learnAnnounced()
}

// countedFast takes the word of node index i, this one included, that it voted in slot s at fast ballot b for a value.
func (r *Replica) countedFast(s wire.Slot, b wire.Ballot, tag uint64, i int) {
	if s <= r.trimmed {
		return
	}
	r.uses(s)
	e := r.log.ensure(s)
	if e.chosen {
		return
	}
	v := r.votesAt(e, b)
	if v == nil {
		return
	}
	if e.sent == 0 {
		e.sent = r.now
	}
	values := len(v.values)
	if m := r.configOf(s); m.nodes.has(i) && v.add(tag, i) >= m.fast {
		v.won = tag
		r.settleFast(s, e)
	}
	if r.role != Leader || b != r.ballot || e.chosen {
		return
	}
	if values == 1 && len(v.values) == 2 {
		r.fast.stats.Collisions++
		r.event(Event{Kind: EventCollision, Ballot: b, Slot: s})
	}
	r.settleEarly(s, e)
}

// settleFast marks slot s as chosen if a fast quorum voted for one value there and this replica has it: that of its own vote at
// the quorum's ballot if it is for the same, or at a higher one, which is (P2b).
func (r *Replica) settleFast(s wire.Slot, e *entry) {
	v := e.fast
	if e.chosen || v == nil || v.won == 0 || e.frame == nil || e.ballot < v.ballot {
		return
	}
	if e.tag() != v.won {
		if e.ballot > v.ballot {
			panic(fmt.Sprintf("BUG: paxos: slot %d: tag %x was chosen at fast ballot %v, tag %x is held at ballot %v", s, v.won, v.ballot, e.tag(), e.ballot))
		}
		f := v.keeps(v.won)
		if f == nil {
			return // it comes yet, or is asked for
		}
		r.learn(s, &wire.Vote{Slot: s, Ballot: v.ballot, Value: wire.TrustedValue(f)})
		return
	}
	b, tag := v.ballot, v.won
	r.nowChosen(s, e)
	if e.own {
		r.fast.stats.Fast++
		r.tellChosen(r.audience(r.self, tag), b, s, tag)
	}
}

// onFastChosen takes the word of a learner that values were chosen at a fast ballot.
func (r *Replica) onFastChosen(m *wire.Message) {
	for i := range m.Count {
		s := m.Slot + wire.Slot(i)
		if s <= r.trimmed {
			continue
		}
		r.uses(s)
		e := r.log.ensure(s)
		if e.chosen {
			continue
		}
		if v := r.votesAt(e, m.Ballot); v != nil {
			v.won = m.Tag + uint64(i)
			r.settleFast(s, e)
		}
	}
	r.learnAnnounced()
}

// forgetFast drops what node i has voted from the tallies that are open.
func (r *Replica) forgetFast(i int) {
	r.dropAllSettling() // what is still needed begins again
	for s := r.chosen + 1; s <= r.log.last(); s++ {
		if e := r.log.get(s); e.fast != nil {
			for k := range e.fast.values {
				e.fast.values[k].nodes = e.fast.values[k].nodes.without(i)
			}
		}
	}
}
