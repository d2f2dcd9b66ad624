package paxos

import (
	"bytes"
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// Independent instances: every slot runs both phases on a ballot of its own, and any node proposes (Paxos Made Simple,
// section 2, once for each slot; section 3 is what a leader saves). A value that loses its slot is proposed again in a later
// one. A slot that a proposer has left open is finished by another. Acceptor, log, learner and the choice of a value are those
// of all modes: what differs is who may ask, and for which slots a ballot counts.

// basic is the proposer of one replica.
type basic struct {
	runs []*run    // under way, by slot
	own  int       // of them, those with a value of this replica's clients
	next wire.Slot // slots below are taken
	tag  uint64    // of the last value
	used wire.Slot // highest slot that anybody is known to have begun

	// Holes: the first slot that is open, since when it has been, and how long it may stay so.
	open     wire.Slot
	since    uint64
	patience uint64

	above uint32 // highest counter that was met: a node that was healed refuses what is lower in all slots
	pace  uint64 // ticks that a round takes, about: what back-offs are measured in

	stats BasicStats
}

// run is one slot's instance, as its proposer here sees it.
//
// Invariant: unless waiting, ballot is this replica's promise for the slot.
type run struct {
	slot   wire.Slot
	phase  phase
	ballot wire.Ballot
	grants tally        // promises
	found  wire.Vote    // the highest vote that they report, or the own one
	from   *wire.Buffer // what found is a view into, one reference; nil: nothing was found
	value  *wire.Buffer // what Propose gave, one reference; nil: the slot is being finished for others
	sent   wire.Ballot  // the last ballot at which value was proposed; 0: nobody has seen it, so it cannot be chosen
	above  uint32       // highest counter met in the slot: the next ballot exceeds it
	lost   int          // ballots given up
	at     uint64       // tick of the last transmission; waiting: when to begin again
	start  uint64       // tick at which the round began
	hole   bool         // others left the slot open
	began  uint64       // tick of the last sign of life in the slot, when it is being finished
	lsn    wire.LSN     // record of the own promise
}

type phase uint8

const (
	waiting   phase = iota // for the end of a back-off
	preparing              // phase 1
	accepting              // phase 2
)

func (b *basic) inFlight() int { return b.own }

func (b *basic) close() {
	for _, run := range b.runs {
		run.release()
	}
	b.runs = nil
}

func (u *run) release() {
	u.value.Release()
	u.from.Release()
	u.value, u.from = nil, nil
}

// find returns the run of slot s, or nil, and where in runs it is or belongs.
func (b *basic) find(s wire.Slot) (*run, int) {
	i, ok := slices.BinarySearchFunc(b.runs, s, func(u *run, s wire.Slot) int { return int(int64(u.slot) - int64(s)) })
	if !ok {
		return nil, i
	}
	return b.runs[i], i
}

func (r *Replica) startBasic() {
	r.basic = &basic{tag: r.rng.below(1 << tagBits)}
	r.round = r.rng.below(1 << roundBits)
	r.role, r.leader = Follower, 0
	r.qualify()
}

// reach is how far above the chosen prefix slots may be begun: a window for each node, all of which propose.
func (r *Replica) reach() wire.Slot {
	return wire.Slot(min(r.c.Window*len(r.nodes), wire.SlotsAheadMax/2))
}

// proposeBasic is Propose.
func (r *Replica) proposeBasic(accept *wire.Buffer) (wire.Slot, Outcome) {
	b := r.basic
	if r.role != Proposer {
		return 0, NotLeader
	}
	if b.own >= r.c.Window || r.chosen-r.applied > wire.Slot(r.c.ApplyLagMax) {
		return 0, Busy
	}
	s := r.freeSlot()
	if s-r.chosen > r.reach() || r.full(s) {
		return 0, Busy // a hole holds up the chosen prefix, or this replica is far behind
	}
	b.tag++
	wire.TagBatch(accept, uint64(r.self+1)<<tagBits|b.tag&(1<<tagBits-1))
	r.begins(s, accept)
	return s, Taken
}

// roundBits is how large a number the rounds of reads begin with: a random one, so that an answer to a question of an earlier life,
// which knows nothing of what was done since, is not taken for one to a question of this one. (A leader has its ballot for that.)
const roundBits = 60

// tagBits is how many bits of a tag count a node's proposals, from a random number on that is drawn at its start, so that those
// of an earlier life are others.
const tagBits = 56

// chosenElsewhere is the highest chosen prefix that another node has told of.
func (r *Replica) chosenElsewhere() (s wire.Slot) {
	for i := range r.peers {
		s = max(s, r.peers[i].chosen)
	}
	return s
}

// freeSlot is the lowest slot in which nobody is known to have begun anything. Others may pick the same: then one value is
// displaced.
func (r *Replica) freeSlot() wire.Slot {
	s := max(r.basic.next, r.chosen+1, min(r.chosenElsewhere(), r.chosen+r.reach())+1)
	for e := r.log.get(s); e != nil && (e.frame != nil || e.promised != 0 || e.votes.ballot != 0); e = r.log.get(s) {
		s++
	}
	return s
}

// begins starts the instance of slot s; value is nil to finish it for others.
func (r *Replica) begins(s wire.Slot, value *wire.Buffer) {
	b := r.basic
	u := &run{slot: s, value: value}
	_, i := b.find(s)
	b.runs = slices.Insert(b.runs, i, u)
	if value != nil {
		b.own++
		b.next = max(b.next, s+1)
	}
	b.used = max(b.used, s)
	r.startRound(u)
}

// startRound begins phase 1 on a ballot higher than any met in the slot. The own promise is recorded first and Prepare waits
// for the disk, so that no ballot is used twice in a slot, also not after a crash.
func (r *Replica) startRound(u *run) {
	e := r.log.ensure(u.slot)
	counter := max(u.above, r.basic.above, r.promisedIn(e).Counter(), u.ballot.Counter()) + 1
	u.ballot = wire.NewBallot(counter, r.c.Self)
	r.counter = max(r.counter, counter)
	u.phase, u.at, u.start = preparing, r.now, r.now
	u.grants.reset(u.ballot)
	u.forget()
	if e.frame != nil {
		u.see(wire.Vote{Slot: u.slot, Ballot: e.ballot, Value: e.value()}, e.frame)
	}
	u.lsn = r.recordSlotPromise(u.slot, e, u.ballot)
	r.own.push(ownRecord{slot: u.slot, ballot: u.ballot, lsn: u.lsn, promise: true})
	r.basic.stats.Rounds++
	r.askSlot(u)
}

// askSlot sends Prepare to those who have not promised.
func (r *Replica) askSlot(u *run) {
	u.at = r.now
	r.sendTo(r.members&^u.grants.nodes, &wire.Message{
		Kind: wire.KindPrepare, Scope: wire.ScopeSlot, Ballot: u.ballot, Slot: u.slot, Incarnations: r.stamp,
	}, u.lsn)
}

// see takes a vote that phase 1 found; f holds it.
func (u *run) see(v wire.Vote, f *wire.Buffer) {
	if best := higherVote(u.found, v); best.Ballot != u.found.Ballot || u.from == nil {
		u.from.Release()
		u.found, u.from = best, f.Retain()
	}
}

func (u *run) forget() {
	u.from.Release()
	u.found, u.from = wire.Vote{}, nil
}

// basicStep takes what only proposers of independent instances are told.
func (r *Replica) basicStep(m *wire.Message, from int) {
	switch m.Kind {
	case wire.KindPromise:
		r.onSlotPromise(m, from)
	case wire.KindReject:
		r.onSlotReject(m)
	case wire.KindChosen:
		r.onChosen(m)
	case wire.KindHeartbeat:
		r.onBeacon(m, from)
	case wire.KindHeartbeatAck:
		r.onBeaconAck(m, from)
	default:
		r.ignored++
	}
}

// onSlotPromise takes a promise for one slot.
func (r *Replica) onSlotPromise(m *wire.Message, from int) {
	u, _ := r.basic.find(m.Slot)
	if !r.fresh(m, from) || u == nil || u.phase != preparing || u.ballot != m.Ballot || m.First > m.Slot || m.Last < m.Slot {
		return
	}
	if m.Trimmed >= u.slot {
		// The slot is only in that peer's snapshot: ask for it.
		u.phase, u.at = waiting, r.now+uint64(r.c.RetransmitTicks)
		r.send(m.From, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: max(m.Trimmed, r.chosen+1)}, 0)
		return
	}
	for it := m.IterVotes(); ; {
		v, ok := it.Next()
		if !ok {
			break
		}
		if v.Slot == u.slot {
			u.see(v, m.Frame)
		}
	}
	r.granted1(u, from)
}

// promisedHere counts the own promise once it is on the disk.
func (r *Replica) promisedHere(s wire.Slot, b wire.Ballot) {
	if u, _ := r.basic.find(s); u != nil && u.phase == preparing && u.ballot == b {
		r.granted1(u, r.self)
	}
}

// granted1 counts node i's promise; a quorum begins phase 2.
func (r *Replica) granted1(u *run, i int) {
	if u.grants.add(u.ballot, i) >= r.configOf(u.slot).prepare {
		r.startAccept(u)
	}
}

// startAccept proposes: the highest vote that phase 1 found, else the own value, else a no-op (P2c). An own value that nobody
// has seen goes elsewhere at once if something was found; one that was proposed here before may yet be chosen here, and
// waits for the end of the slot.
func (r *Replica) startAccept(u *run) {
	var f *wire.Buffer
	switch {
	case u.from != nil:
		f = copyAccept(u.found.Value.Bytes())
		u.forget()
		if u.value != nil && u.sent == 0 {
			r.displace(u)
		}
	case u.value == nil:
		f = wire.NewNoopAccept()
	default:
		if u.sent != 0 { // the buffer was shared with the network and the log
			again := copyAccept(batchOf(u.value))
			u.value.Release()
			u.value = again
		}
		f, u.sent = u.value, u.ballot
	}
	e := r.log.ensure(u.slot)
	wire.SealAcceptIn(f, r.c.Cluster, r.c.Group, r.c.Self, u.ballot, u.slot, r.chosen, wire.ScopeSlot)
	if f == u.value {
		f.Retain()
	}
	r.log.put(e, f, u.ballot)
	u.phase, u.at = accepting, r.now
	e.sent = r.now
	r.broadcastFrame(f, 0, r.configOf(u.slot).nodes)
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: u.ballot, Slot: u.slot, Chosen: r.chosen, Scope: wire.ScopeSlot,
		Frame: f.Retain(),
	})
	r.acked(r.self, u.ballot, u.slot, 0)
}

// copyAccept is an Accept frame, not yet sealed, with a copy of a batch.
func copyAccept(batch []byte) *wire.Buffer {
	f := wire.NewAccept(len(batch))
	f.Append(batch)
	return f
}

// onSlotReject learns of a higher ballot in a slot.
func (r *Replica) onSlotReject(m *wire.Message) {
	if u, _ := r.basic.find(m.Slot); u != nil && u.ballot == m.Ballot && m.Promised > m.Ballot {
		r.basic.above = max(r.basic.above, m.Promised.Counter())
		r.giveUp(u, m.Promised)
	}
}

// overtaken is called when this replica has promised, or voted for, ballot b of another node in slot s.
func (r *Replica) overtaken(s wire.Slot, b wire.Ballot) {
	if r.basic == nil || b.Node() == r.c.Self {
		return
	}
	r.basic.used = max(r.basic.used, s)
	u, i := r.basic.find(s)
	if u == nil || b <= u.ballot {
		return
	}
	if e := r.log.get(s); e.frame != nil && e.ballot == b && u.sent == 0 {
		// The other value is likely to win, and nobody has seen the own one.
		if u.value != nil {
			r.displace(u)
		}
		r.remove(u, i)
		return
	}
	r.giveUp(u, b)
}

// giveUp ends a round that has met ballot b.
func (r *Replica) giveUp(u *run, b wire.Ballot) {
	u.above = max(u.above, b.Counter())
	if u.phase == waiting {
		return
	}
	u.lost++
	r.basic.pace = max(r.basic.pace, r.took(u)) // it was not over
	r.basic.stats.Duels++
	r.event(Event{Kind: EventDuel, Ballot: b, Slot: u.slot})
	u.forget()
	u.phase = waiting
	if r.c.Backoff == BackoffNone {
		r.startRound(u)
		return
	}
	u.at = r.now + 1 + r.rng.below(int(max(r.basic.pace, 1))<<min(u.lost, backoffDoublings))
}

// took is how many ticks u's round has taken, as far as it took no repeats.
func (r *Replica) took(u *run) uint64 { return min(r.now-u.start, 2*uint64(r.c.RetransmitTicks)) }

// backoffDoublings bounds the longest back-off, at 2^n rounds. Rounds, not ticks: a proposer wins when the others leave it alone for a
// round, so the back-offs of all have to be spread over some rounds for each of them. Five of them, with rounds of 20 ticks and
// back-offs of up to 64, chose nothing.
const backoffDoublings = 6

// displace moves the value of u to a slot of its own. u stays: its slot is to be finished. A replica that takes no proposals
// begins nothing with those it had taken either: those who wait were told that it will not be known. (When it did, one whose disk
// stalled, or who heard nobody, began slot after slot, each of which the others had to finish for it.)
func (r *Replica) displace(u *run) {
	f := u.value
	if r.role != Proposer {
		r.out.Moved = append(r.out.Moved, Moved{From: u.slot})
		f.Release()
		u.value = nil
		r.basic.own--
		return
	}
	if u.sent != 0 {
		f = copyAccept(batchOf(f))
		u.value.Release()
	}
	u.value = nil
	r.basic.own--
	r.basic.stats.Displaced++
	to := r.freeSlot()
	r.out.Moved = append(r.out.Moved, Moved{u.slot, to})
	r.event(Event{Kind: EventDisplaced, Slot: u.slot, To: to})
	r.begins(to, f)
}

func (r *Replica) remove(u *run, i int) {
	r.basic.runs = slices.Delete(r.basic.runs, i, i+1)
	if u.value != nil {
		r.basic.own--
	}
	u.release()
}

// ended is called when slot s has been learned.
func (r *Replica) ended(s wire.Slot, e *entry) {
	u, i := r.basic.find(s)
	if u == nil {
		return
	}
	if u.phase == accepting {
		r.basic.pace = (3*r.basic.pace + r.took(u)) / 4
	}
	if u.hole {
		r.basic.stats.Holes++
		r.basic.stats.HoleTicks += r.now - u.began
	}
	if u.value != nil {
		if e.own = u.sent != 0 && bytes.Equal(e.value().Bytes(), batchOf(u.value)); e.own {
			r.basic.stats.Won++ // by its tag it is no other's, whoever proposed it last
		} else {
			r.displace(u) // to a later slot: the order of runs holds
		}
	}
	r.remove(u, i)
}

// batchOf is the batch in an Accept frame, sealed or not.
func batchOf(f *wire.Buffer) []byte { return f.Bytes()[wire.AcceptHeadroom:] }

// abandon drops everything under way: this replica has become suspect, and does not know what it has promised.
func (r *Replica) abandon() {
	for _, u := range r.basic.runs {
		if u.value != nil {
			r.out.Moved = append(r.out.Moved, Moved{From: u.slot})
		}
		u.release()
	}
	r.basic.runs, r.basic.own, r.announced = nil, 0, ackRun{}
	if r.role == Proposer {
		r.retire("it is suspect")
	}
}

// forgetSlots drops what node i has promised or voted from the tallies that are open.
func (r *Replica) forgetSlots(i int) {
	for _, u := range r.basic.runs {
		u.grants.nodes = u.grants.nodes.without(i)
	}
}

// skipTo drops what is under way in slots that a snapshot holds. What was proposed there may be in it, and what was chosen
// there is.
func (r *Replica) skipTo(s wire.Slot) {
	for k := r.chosen + 1; k <= min(s, r.log.last()); k++ {
		if e := r.log.get(k); e.own {
			r.out.Moved = append(r.out.Moved, Moved{From: k})
		}
	}
	for len(r.basic.runs) > 0 && r.basic.runs[0].slot <= s {
		u := r.basic.runs[0]
		switch {
		case u.value != nil && u.sent == 0:
			r.basic.next = max(r.basic.next, s+1)
			r.displace(u)
		case u.value != nil:
			r.out.Moved = append(r.out.Moved, Moved{From: u.slot})
		}
		r.remove(u, 0)
	}
}
