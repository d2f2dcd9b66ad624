package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// fetchSlots is how many slots a follower asks for at a time, fetchBytes how much a replica sends in answer at most:
// enough to keep a link busy for a round trip, little enough not to stand in the way of Accepts.
const (
	fetchSlots    = 128
	fetchSlotsMin = 4
	fetchBytes    = 4 << 20
)

// fetchState is a follower's catching up with slots that it missed.
type fetchState struct {
	stuck wire.Slot // the slot after the chosen prefix when it was last looked at
	since uint64    // tick at which stuck was first seen
	until wire.Slot // last slot asked for; 0: nothing asked
	sent  uint64    // tick of the last Fetch
	size  int       // bytes of the last Learn frame: what the next Fetch reckons with

	missed wire.Slot // the highest slot that the leader followed has proposed and this replica had no room for
	again  bool      // something was dropped since the last Fetch, and there is room now
}

// Missed tells that frames with values were dropped on their way to this replica, and that there is room again: proposals of
// ballot b up to slot s, or, with s 0, chosen values only. What is still wanted of them is asked for soon, and not when the leader's
// patience ends. Only the first frames of a burst may have found room, and a follower who is the last that a quorum needs
// would take one slot for each of the leader's repeats: so it was for seconds after an election with many open slots.
func (r *Replica) Missed(b wire.Ballot, s wire.Slot) {
	r.begin()
	if r.fetch.again = true; b == r.proposing() && r.basic == nil && s > r.chosen && s-r.chosen <= wire.SlotsAheadMax {
		r.fetch.missed = max(r.fetch.missed, s)
	}
}

// proposing is the ballot at which the leader that is followed, or this one, proposes again what others may have offered.
func (r *Replica) proposing() wire.Ballot {
	if r.fast != nil {
		return classicOf(r.ballot)
	}
	return r.ballot
}

// noteChosen takes the word of ballot b's leader that every slot up to s is chosen.
func (r *Replica) noteChosen(b wire.Ballot, s wire.Slot) {
	r.told.note(b, s)
	r.learnAnnounced()
}

// learnAnnounced extends the chosen prefix as far as it is known, and hands the slots out.
func (r *Replica) learnAnnounced() {
	from := r.chosen
	to := advance(&r.log, from, r.told)
	if r.fast != nil {
		r.uses(to)
	}
	for s := from + 1; s <= to; s++ {
		if r.fast != nil {
			r.endedFast(s, r.log.get(s)) // unless it has been: the watermark may be all that told of it
		}
		r.deliver(s)
	}
	if r.chosen >= r.fetch.until && r.fetch.until != 0 {
		r.fetch.until = 0
		if to > from {
			r.sendFetch()
		}
	}
}

// deliver appends slot s, the next of the chosen prefix, to the output.
func (r *Replica) deliver(s wire.Slot) {
	e := r.log.get(s)
	r.log.deliver(e)
	r.chosen = s
	r.extendChain(s, e)
	if r.aux.self { // nobody executes it here
		r.applied = s
		return
	}
	c, _ := r.ChosenAt(s)
	c.Frame.Retain()
	r.out.Chosen = append(r.out.Chosen, c)
	if c.Value.IsMembers() || len(r.configs) > 1 {
		r.delivered(s, c.Value)
	}
}

// ChosenAt returns slot s of the chosen prefix; not ok: it is not chosen yet, or trimmed. The frame stays the replica's:
// Retain it before the next call.
func (r *Replica) ChosenAt(s wire.Slot) (c Chosen, ok bool) {
	e := r.log.get(s)
	if e == nil || s > r.chosen {
		return c, false
	}
	return Chosen{Slot: s, Ballot: e.ballot, Own: e.own, Value: e.value(), Frame: e.frame}, true
}

// source is who has chosen slots that this replica lacks, and up to which one: the leader it follows, or, where values are chosen
// without one, whoever said so.
func (r *Replica) source() (from wire.NodeID, upTo wire.Slot) {
	upTo = r.told.upTo
	if r.hasRoom() { // else what is not chosen yet would be refused again
		upTo = max(upTo, r.fetch.missed)
	}
	switch {
	case r.basic != nil, r.fast != nil && (r.leader == r.c.Self || r.leader == 0 || upTo <= r.chosen):
		return r.whoIsAhead()
	case r.leader == r.c.Self:
		return 0, 0
	case r.aux.self:
		upTo = r.gap()
	}
	return r.leader, upTo
}

// checkFetch runs once a tick on a follower: a gap that nothing in flight has filled for two ticks is asked for, and so is what
// there was no room for.
func (r *Replica) checkFetch() {
	f := &r.fetch
	if from, upTo := r.source(); from == 0 || upTo <= r.chosen {
		f.until = 0
		return
	}
	if f.stuck != r.chosen+1 {
		f.stuck, f.since = r.chosen+1, r.now
		return
	}
	patience := uint64(2)
	if f.until != 0 && !f.again {
		patience = uint64(r.c.RetransmitTicks)
	}
	if r.now-f.since >= patience && (f.until == 0 || r.now-f.sent >= patience) {
		r.sendFetch()
	}
}

// sendFetch asks the source for the next slots above the chosen prefix.
func (r *Replica) sendFetch() {
	from, upTo := r.source()
	if from == 0 || upTo <= r.chosen {
		return
	}
	n := fetchSlots
	if r.fetch.size > 0 {
		n = min(max(fetchBytes/r.fetch.size, fetchSlotsMin), fetchSlots)
	}
	r.fetch.until = min(upTo, r.chosen+wire.Slot(n))
	r.fetch.sent, r.fetch.again = r.now, false
	r.send(from, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: r.fetch.until}, 0)
}

// onFetch sends a lagging replica the chosen values it asks for. Any replica that has them may: what is chosen is chosen. Those
// that this leader still proposes it is asked again to vote for; values that others offer come again from there.
func (r *Replica) onFetch(m *wire.Message, from int) {
	if m.Slot == 0 {
		return
	}
	if m.Slot <= r.trimmed {
		switch {
		case r.aux.self:
			r.send(m.From, &wire.Message{Kind: wire.KindHeld, Slot: r.trimmed}, 0)
		case !r.aux.nodes.has(from): // those have no use for a snapshot
			r.event(Event{Kind: EventPeerBehind, Peer: m.From, Slot: m.Slot})
		}
		return
	}
	sent := 0
	for s := m.Slot; s <= min(m.Until, r.chosen, m.Slot+fetchSlots) && sent < 2*fetchBytes; s++ {
		e := r.log.get(s)
		sent += e.frame.Len()
		r.teach(m.From, s, e)
	}
	if r.role != Leader || r.aux.nodes.has(from) && !r.aux.engaged {
		return
	}
	for s := max(m.Slot, r.chosen+1); s <= min(m.Until, r.log.last(), m.Slot+fetchSlots) && sent < 2*fetchBytes; s++ {
		if e := r.log.get(s); e.frame != nil && e.ballot == r.proposing() && !e.votes.nodes.has(from) {
			sent += e.frame.Len()
			r.resent++
			r.sendFrame(m.From, e.frame.Retain(), 0)
		}
	}
}

// teach sends a replica the chosen value of slot s.
func (r *Replica) teach(to wire.NodeID, s wire.Slot, e *entry) {
	r.send(to, &wire.Message{Kind: wire.KindLearn, Ballot: e.ballot, Slot: s, Value: e.value()}, 0)
}

// learners is the set of nodes that acceptors tell of a vote which node index owner asked for.
func (r *Replica) learners(owner int) nodeSet {
	switch n := len(r.nodes); {
	case r.c.Learn == LearnOne:
		return nodeSet(0).with(owner)
	case r.c.Learn == LearnAll:
		return r.members
	default:
		set := nodeSet(0)
		for i := range int(r.c.Learn) {
			set = set.with((owner + i) % n)
		}
		return set
	}
}

// counted takes the word of node index i, this one included, that it voted in slot s at ballot b.
func (r *Replica) counted(s wire.Slot, b wire.Ballot, i int) {
	e := r.log.get(s)
	if e == nil {
		if s <= r.trimmed || r.c.Mode == ModeMulti {
			return
		}
		e = r.log.ensure(s) // the vote asked for here is late, or lost
	}
	if e.chosen {
		return
	}
	if b > e.votes.ballot {
		e.votes.reset(b)
	}
	if plant.Is(plant.AuxiliaryCounted) && r.aux.nodes != 0 && i != r.self {
		e.votes.add(b, r.aux.nodes.first())
	}
	if r.configOf(s).nodes.has(i) {
		r.settle(s, e, e.votes.add(b, i))
	}
}

// settle marks slot s as chosen if votes, how many of them are counted at one ballot, are a quorum and this replica has the value:
// that of its own vote at the quorum's ballot, or at a higher one, which is for the same value (P2b).
func (r *Replica) settle(s wire.Slot, e *entry, votes int) {
	if e.chosen || e.frame == nil || votes < r.configOf(s).accept || e.ballot < e.votes.ballot {
		return
	}
	b, told := e.votes.ballot, e.told
	r.nowChosen(s, e)
	switch {
	case told:
	case r.basic != nil, r.fast != nil && r.role == Leader && b == classicOf(r.ballot):
		r.announce(s, b)
	}
}

// nowChosen marks slot s, the value of which is known, as chosen.
func (r *Replica) nowChosen(s wire.Slot, e *entry) {
	e.chosen = true
	switch {
	case r.basic != nil:
		r.ended(s, e)
	case r.fast != nil:
		r.endedFast(s, e)
	}
}

// onLearn takes a chosen value. It is recorded like a vote: an acceptor that reports it to a later proposer reports what is
// chosen, whatever ballot it names, and a vote of its own in that slot is not needed any more.
func (r *Replica) onLearn(m *wire.Message) {
	r.fetch.size = m.Frame.Len()
	if m.Slot <= r.chosen {
		return
	}
	if r.full(m.Slot) && !r.log.get(m.Slot).fits(m.Frame) {
		r.refused++
		return
	}
	e := r.log.ensure(m.Slot)
	if e.chosen {
		return
	}
	r.log.put(e, m.Frame.Retain(), m.Ballot)
	r.nowChosen(m.Slot, e)
	r.record(wire.Record{
		Kind: wire.KindLearn, Group: r.c.Group, Ballot: m.Ballot, Slot: m.Slot, Chosen: m.Chosen,
		Frame: m.Frame.Retain(),
	})
	r.learnAnnounced()
}
