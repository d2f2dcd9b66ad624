package paxos

import (
	"bytes"
	"math"
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// Fast Paxos (Lamport, 2006): the leader, here called coordinator as well, runs phase 1 once for all slots and then lets any
// node's value into any slot above those that it had to finish (Any). Proposers send their values straight to the acceptors,
// each of which votes in a slot for what comes first; a fast quorum of equal votes chooses it, two message delays after any
// node's proposal. This file is the ballots and the proposer; fastvote.go is the acceptor and the learner, settle.go the coordinator. See the package
// comment, "Fast rounds", for what makes it safe.

// A ballot of this mode has an even counter and is a fast one; the next counter is its owner's as well and is the classic
// ballot that settles what the fast one leaves open. Both counters belong to that node alone, whatever the other half of the
// number: node i owns the pairs k with k = i modulo wire.NodesMax. So nothing lies between a fast ballot and the classic one
// above it, which is what makes a vote at the first a promise for the second (Fast Paxos, section 3.2).

// isFast says whether b is a fast ballot.
func isFast(b wire.Ballot) bool { return b.Counter()&1 == 0 }

// classicOf is the ballot that settles the slots of fast ballot b, or b itself if it is that.
func classicOf(b wire.Ballot) wire.Ballot { return b | 1<<32 }

// fastOf is the fast ballot of a pair.
func fastOf(b wire.Ballot) wire.Ballot { return b &^ (1 << 32) }

// pairOwner says whether the owner of b may own it.
func pairOwner(b wire.Ballot) bool {
	return b.Counter()>>1%wire.NodesMax == uint32(b.Node())%wire.NodesMax
}

// ownBallot is the lowest ballot of this replica with a counter above one; 0: there is none.
func (r *Replica) ownBallot(above uint32) wire.Ballot {
	if r.fast == nil {
		if above == math.MaxUint32 {
			return 0
		}
		return wire.NewBallot(above+1, r.c.Self)
	}
	pair := uint64(above)>>1 + 1
	pair += (uint64(r.c.Self)%wire.NodesMax + wire.NodesMax - pair%wire.NodesMax) % wire.NodesMax
	if pair > math.MaxUint32>>1 {
		return 0
	}
	return wire.NewBallot(uint32(pair<<1), r.c.Self)
}

// fast is a replica's part in fast rounds.
type fast struct {
	// Proposer.
	open   opening
	taking wire.Ballot // the fast ballot at which proposals are taken here; 0: none are
	offers []offer     // own values under way, by slot
	tag    uint64      // of the last value
	asked  uint64      // tick at which askVoted last asked
	used   wire.Slot   // highest slot that anybody is known to have used at the open ballot

	// Coordinator (settle.go).
	led      uint64 // tick at which it began to lead
	settling []*settling
	kept     int64 // bytes of the frames kept in tallies

	spare []*fastVotes // for reuse
	stats FastStats
}

// opening is what the coordinator of a fast ballot has said with Any: slots from here on take any node's value.
type opening struct {
	ballot wire.Ballot
	from   wire.Slot
}

// offer is an own value that was sent to the acceptors.
type offer struct {
	slot   wire.Slot
	ballot wire.Ballot
	frame  *wire.Buffer // as sent; one reference
	at     uint64       // tick of the last transmission
	tight  bool         // others are likely to have had no room for it then
}

func (r *Replica) startFast() {
	r.fast = &fast{tag: r.rng.below(1 << tagBits)}
	r.round = r.rng.below(1 << roundBits)
}

// openNow is the fast ballot at which this replica may offer values now; 0: none. Only while its coordinator is alive, because
// whatever collides, or is left half voted for, waits for it.
func (r *Replica) openNow() wire.Ballot {
	o := r.fast.open
	follows := r.role == Follower && r.leader == o.ballot.Node()
	if o.ballot == 0 || o.ballot != r.promised || r.suspect.on || r.back.until != 0 || r.stalled || !follows && r.role != Leader {
		return 0
	}
	return o.ballot
}

// qualifyFast finds out whether this replica takes proposals. What it had offered at a ballot that has ended is let go: it may be
// chosen or not, as with a leader that lost its place.
func (r *Replica) qualifyFast() {
	f := r.fast
	now := r.openNow()
	if now == f.taking {
		return
	}
	if f.taking != 0 {
		f.taking = 0
		for _, o := range f.offers {
			r.out.Moved = append(r.out.Moved, Moved{From: o.slot})
			o.frame.Release()
		}
		f.offers = f.offers[:0]
		r.failReads()
		r.event(Event{Kind: EventResting, Reason: "its fast round has ended"})
	}
	if f.taking = now; now != 0 {
		f.used = max(f.open.from-1, r.chosen)
		r.event(Event{Kind: EventProposing, Ballot: now})
	}
}

// proposeFast is Propose.
func (r *Replica) proposeFast(accept *wire.Buffer) (wire.Slot, Outcome) {
	f := r.fast
	r.qualifyFast()
	if f.taking == 0 {
		return 0, NotLeader
	}
	if len(f.offers) >= r.c.Window || r.chosen-r.applied > wire.Slot(r.c.ApplyLagMax) {
		return 0, Busy
	}
	s := r.unusedSlot()
	if s-r.chosen > r.reach() || r.full(s) {
		return 0, Busy
	}
	f.tag++
	wire.TagBatch(accept, uint64(r.self+1)<<tagBits|f.tag&(1<<tagBits-1))
	r.offer(s, accept)
	return s, Taken
}

// unusedSlot is the slot after all that anybody is known to have used. So no slot is left out, unless what was sent for it is lost, or
// late; and two who do not know of each other yet take the same one: a collision.
func (r *Replica) unusedSlot() wire.Slot {
	s := max(r.fast.used, r.chosen) + 1
	for e := r.log.get(s); e != nil && (e.chosen || e.ballot >= r.fast.taking || e.promised > r.fast.taking); e = r.log.get(s) {
		s++
	}
	return s
}

// uses notes that slot s is in use.
func (r *Replica) uses(s wire.Slot) { r.fast.used = max(r.fast.used, s) }

// offer sends a value to the acceptors, this replica among them, for slot s at the open ballot.
func (r *Replica) offer(s wire.Slot, accept *wire.Buffer) {
	f, b := r.fast, r.fast.taking
	wire.SealAcceptIn(accept, r.c.Cluster, r.c.Group, r.c.Self, b, s, r.chosen, wire.ScopeAny)
	i, _ := f.find(s)
	f.offers = slices.Insert(f.offers, i, offer{slot: s, ballot: b, frame: accept, at: r.now}) // it takes over the reference
	r.uses(s)
	e := r.log.ensure(s)
	r.voteFast(e, s, b, accept, r.chosen)
	f.offers[i].tight = s > r.chosen+1 && r.log.ahead() > r.c.AheadBytesMax
	r.broadcastFrame(accept, 0, r.configOf(s).nodes)
	r.acked(r.self, b, s, e.tag())
}

// find returns where in offers slot s is or belongs.
func (f *fast) find(s wire.Slot) (int, bool) {
	return slices.BinarySearchFunc(f.offers, s, func(o offer, s wire.Slot) int { return int(int64(o.slot) - int64(s)) })
}

// endedFast is called when slot s has been learned.
func (r *Replica) endedFast(s wire.Slot, e *entry) {
	f := r.fast
	r.dropVotes(e)
	r.dropSettling(s)
	i, ok := f.find(s)
	if !ok {
		return
	}
	o := f.offers[i]
	f.offers = slices.Delete(f.offers, i, i+1)
	if e.own = bytes.Equal(e.value().Bytes(), batchOf(o.frame)); e.own {
		f.stats.Won++
		o.frame.Release()
		return
	}
	r.displaceFast(o)
}

// displaceFast proposes a value again that has lost its slot for good. Not before: as long as the slot is not learned a later
// coordinator may find a vote for it there, and choose it.
func (r *Replica) displaceFast(o offer) {
	defer o.frame.Release()
	if r.openNow() == 0 || r.openNow() != r.fast.taking {
		r.out.Moved = append(r.out.Moved, Moved{From: o.slot})
		return
	}
	r.fast.stats.Displaced++
	to := r.unusedSlot()
	r.out.Moved = append(r.out.Moved, Moved{o.slot, to})
	r.event(Event{Kind: EventDisplaced, Slot: o.slot, To: to})
	r.offer(to, copyAccept(batchOf(o.frame)))
}

// skipFast drops the values under way in slots that a snapshot holds: whether they are in it is not known.
func (r *Replica) skipFast(s wire.Slot) {
	f := r.fast
	for k := r.chosen + 1; k <= min(s, r.log.last()); k++ {
		e := r.log.get(k)
		r.dropVotes(e)
		if e.own {
			r.out.Moved = append(r.out.Moved, Moved{From: k})
		}
	}
	for len(f.offers) > 0 && f.offers[0].slot <= s {
		r.out.Moved = append(r.out.Moved, Moved{From: f.offers[0].slot})
		f.offers[0].frame.Release()
		f.offers = slices.Delete(f.offers, 0, 1)
	}
	for i := len(f.settling) - 1; i >= 0; i-- {
		if u := f.settling[i]; u.slot <= s {
			r.dropSettling(u.slot)
		}
	}
	r.uses(s)
}

// onAny opens the fast round of a coordinator whose phase 1 has ended.
func (r *Replica) onAny(m *wire.Message) {
	if r.refuses(m.Ballot) {
		r.reject(m, r.promised)
		return
	}
	if m.Ballot > r.promised {
		r.raise(m.Ballot, "another node leads")
	}
	r.follow(m.From, m.Ballot)
	r.fast.open = opening{m.Ballot, m.Slot}
	r.noteChosen(r.announces(m.Ballot), m.Chosen)
	r.tellVoted(m.From, wire.NewBallot(0, m.From), 0) // of which its coordinator may have heard nothing
}

// fastTick repeats what has had no answer.
func (r *Replica) fastTick() {
	for i := range r.fast.offers {
		o := &r.fast.offers[i]
		e := r.log.get(o.slot)
		if next := o.tight && o.slot == r.chosen+1; !next && r.now-o.at < uint64(r.c.RetransmitTicks) || e.ballot > o.ballot {
			continue
		}
		// The next slot's value is taken whatever there is room for. Who waits with it for the end of a timeout finds that its slot was
		// settled without it, and so it goes in the next one.
		o.at, o.tight = r.now, false
		missing := (r.configOf(o.slot).nodes &^ e.votersAt(o.ballot)).without(r.self)
		r.resent += uint64(missing.size())
		r.broadcastFrame(o.frame, 0, missing)
	}
	if len(r.reads) > 0 && r.now-r.fast.asked >= uint64(r.c.HeartbeatTicks) {
		r.askVoted()
	}
}

// askVoted asks everybody how far it has voted, for the reads that wait. Heartbeats would say that this replica still leads, which
// says nothing here: values are chosen without their leader, and without its knowing.
func (r *Replica) askVoted() {
	r.fast.asked = r.now
	r.broadcast(&wire.Message{Kind: wire.KindHeartbeat, Ballot: wire.NewBallot(0, r.c.Self), Round: r.round, Incarnations: r.stamp}, 0)
}

// tellVoted says how far this replica has voted. It has told nobody of votes that are not durable yet, but it may.
func (r *Replica) tellVoted(to wire.NodeID, b wire.Ballot, round uint64) {
	r.send(to, &wire.Message{Kind: wire.KindHeartbeatAck, Ballot: b, Slot: r.lastVoted(), Round: round}, 0)
}

// onVoted takes the answer.
func (r *Replica) onVoted(m *wire.Message, from int) {
	if m.Ballot.Node() != r.c.Self || m.Slot > r.chosen+wire.SlotsAheadMax {
		return
	}
	r.uses(m.Slot)
	if p := &r.peers[from]; m.Round > p.round && m.Round <= r.round {
		p.round, p.upTo = m.Round, m.Slot
		r.confirmReads()
	}
}

// settles says whether a Prepare or an Accept for one slot comes from the coordinator that is promised, and notes it if it is
// a later one.
func (r *Replica) settles(m *wire.Message) bool {
	base := fastOf(m.Ballot)
	if r.refuses(base) {
		r.reject(m, r.promised)
		return false
	}
	if base > r.promised {
		r.raise(base, "another node leads")
	}
	r.follow(m.From, base)
	r.uses(m.Slot)
	return true
}

// announces is the ballot at which a coordinator's word of what is chosen is about votes: not its fast one, at which there may have
// been votes for other values.
func (r *Replica) announces(b wire.Ballot) wire.Ballot {
	if r.fast != nil {
		return classicOf(b)
	}
	return b
}

// closeFast releases what fast rounds hold.
func (r *Replica) closeFast() {
	for _, o := range r.fast.offers {
		o.frame.Release()
	}
	r.fast.offers = nil
	r.dropAllSettling()
	for s := r.chosen + 1; s <= r.log.last(); s++ {
		r.dropVotes(r.log.get(s))
	}
}

// fastMessage takes the messages of this mode; false: it is one of every mode with a leader.
func (r *Replica) fastMessage(m *wire.Message, from int) bool {
	switch {
	case m.Kind == wire.KindAny:
		r.onAny(m)
	case m.Kind == wire.KindFastAccepted:
		r.onFastAccepted(m, from)
	case m.Kind == wire.KindFastChosen:
		r.onFastChosen(m)
	case m.Kind == wire.KindChosen:
		r.onChosen(m)
	case m.Kind == wire.KindPromise && !isFast(m.Ballot):
		r.onSettlePromise(m, from)
	case m.Kind == wire.KindHeartbeat && m.Ballot.Counter() == 0:
		r.tellVoted(m.From, m.Ballot, m.Round)
	case m.Kind == wire.KindHeartbeatAck && m.Ballot.Counter() == 0:
		r.onVoted(m, from)
	default:
		return false
	}
	return true
}

// sensibleFast refuses ballots that break the rule of pairs, and scopes that do not fit them.
func sensibleFast(m *wire.Message) bool {
	for _, b := range [...]wire.Ballot{m.Ballot, m.Promised} {
		asks := b.Counter() == 0 && (m.Kind == wire.KindHeartbeat || m.Kind == wire.KindHeartbeatAck)
		if b != 0 && !asks && (!pairOwner(b) || b.Counter() == 0) {
			return false
		}
	}
	switch m.Kind {
	case wire.KindAccept:
		return isFast(m.Ballot) == (m.Scope == wire.ScopeAny) && m.Scope != wire.ScopeRange && (m.Scope != wire.ScopeAny || m.Value.Tag() != 0)
	case wire.KindPrepare:
		return isFast(m.Ballot) == (m.Scope == wire.ScopeRange)
	case wire.KindAny, wire.KindFastAccepted, wire.KindFastChosen, wire.KindHeartbeat, wire.KindProbe:
		return isFast(m.Ballot)
	case wire.KindAccepted, wire.KindChosen:
		return !isFast(m.Ballot)
	}
	return true
}
