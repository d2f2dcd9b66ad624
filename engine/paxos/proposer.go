package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// promiseParts collects one peer's promise at the current ballot. It counts only when whole: when its parts cover every
// slot from the first asked for, whatever the order they came in.
type promiseParts struct {
	frames []*wire.Buffer // in slot order, without a gap; one reference each
	early  []*wire.Buffer // parts that overtook others; one reference each
	need   wire.Slot      // first slot not covered by frames
	asked  uint64         // tick of the last Prepare to this peer
	whole  bool
	ended  bool // the last part joined is the last of its burst
}

// earlyMax bounds the parts kept for later: more than a burst cannot overtake.
const earlyMax = 2 * PromiseBurst

func (p *promiseParts) restart(from wire.Slot) {
	for _, f := range p.frames {
		f.Release()
	}
	for _, f := range p.early {
		f.Release()
	}
	*p = promiseParts{frames: p.frames[:0], early: p.early[:0], need: from}
}

// add takes a part and those kept for after it. It says whether it got any further.
func (p *promiseParts) add(m *wire.Message) (moved bool) {
	if m.First > p.need && len(p.early) < earlyMax {
		p.early = append(p.early, m.Frame.Retain())
	}
	if m.First != p.need {
		return false
	}
	p.join(m.Frame.Retain(), m)
	for i := 0; i < len(p.early) && !p.whole; i++ {
		if e := mustDecode(p.early[i]); e.First == p.need {
			p.join(p.early[i], &e)
			p.early = append(p.early[:i], p.early[i+1:]...)
			i = -1
		}
	}
	return true
}

func (p *promiseParts) join(f *wire.Buffer, m *wire.Message) {
	p.frames = append(p.frames, f)
	p.whole = m.Last == ^wire.Slot(0)
	p.ended = m.Part == m.Parts-1
	p.need = m.Last + 1
}

// dropPending releases what was found and never proposed.
func (r *Replica) dropPending() {
	for _, f := range r.pending {
		f.Release()
	}
	r.pending = nil
}

func (r *Replica) dropPromises() {
	for i := range r.peers {
		r.peers[i].promise.restart(r.prepFrom)
	}
}

// startPrepare begins phase 1 for every slot above the chosen prefix at once (Paxos Made Simple, section 3: one prepare
// for infinitely many instances). The own promise is recorded first and Prepare waits for the disk, so that no ballot is
// ever used twice, also not after a crash.
func (r *Replica) startPrepare() {
	if r.ballot <= r.promised {
		r.stepDown("a higher ballot was promised")
		return
	}
	if r.leasedFrom(r.c.Self) {
		r.stepDown("it has granted a lease")
		return
	}
	r.role = Preparing
	r.counter = max(r.counter, r.ballot.Counter())
	r.prepLSN = r.recordPromise(r.ballot)
	r.prepFrom = r.chosen + 1
	r.dropPromises()
	if !plant.Is(plant.PromisesCarriedOver) {
		r.grants.reset(r.ballot)
	}
	r.restartElection()
	r.event(Event{Kind: EventPreparing, Ballot: r.ballot, Slot: r.prepFrom})
	for i := range r.peers {
		if r.members.has(i) {
			r.askPromise(i)
		}
	}
	r.plantAny()
}

// askPromise sends Prepare, or the like of it in healing, to a peer, for the slots that its promise does not cover yet.
func (r *Replica) askPromise(i int) {
	if p := &r.peers[i].promise; i != r.self && !p.whole {
		p.asked = r.now
		if r.suspect.on {
			r.askHeal(i)
			return
		}
		r.send(r.nodes[i], &wire.Message{Kind: wire.KindPrepare, Ballot: r.ballot, Slot: p.need, Incarnations: r.stamp}, r.prepLSN)
	}
}

// repeatPrepare asks those again who have not answered for RetransmitTicks, and reminds those who have promised, as often as a
// leader would, with a Prepare for no slot. Without it a candidate that is far behind could not finish: the first who had
// promised everything heard nothing more, waited for a timeout and took a higher ballot, and if they were far behind as well, the
// first then did the same to them.
func (r *Replica) repeatPrepare() {
	for i := range r.peers {
		p := &r.peers[i].promise
		switch since := r.now - p.asked; {
		case i == r.self || !r.members.has(i):
		case r.role == Preparing && r.durable < r.prepLSN:
			p.asked = r.now // the first Prepare still waits for the disk: more would wait with it, as long as a disk may stall
		case !p.whole && since >= uint64(r.c.RetransmitTicks):
			r.askPromise(i)
		case p.whole && r.role == Preparing && since >= uint64(r.c.HeartbeatTicks):
			p.asked = r.now
			r.send(r.nodes[i], &wire.Message{Kind: wire.KindPrepare, Ballot: r.ballot, Slot: wire.SlotMax}, r.prepLSN)
		}
	}
}

// ownPromiseDurable counts the own promise once it is on the disk.
func (r *Replica) ownPromiseDurable() {
	if r.role == Preparing && r.durable >= r.prepLSN {
		r.countPromise(r.self)
	}
}

// countPromise counts node i's whole promise; a quorum makes this replica the leader.
func (r *Replica) countPromise(i int) {
	r.proposed = r.proposed[:0] // found again below
	if !r.grant(r.ballot, i) {
		return
	}
	found, ok := r.collect()
	if ok && r.findChanges(found) && !r.granting(r.proposed, 0) {
		for j := range r.peers {
			if r.members.has(j) && r.peers[j].promise.asked == 0 {
				r.askPromise(j)
			}
		}
		return
	}
	r.lead(found, ok)
}

// onPromise takes a part of a promise. The last part of a burst that is not the end asks for the next.
func (r *Replica) onPromise(m *wire.Message, from int) {
	p := &r.peers[from].promise
	if !r.fresh(m, from) {
		return
	}
	if r.c.Mode == ModeMulti {
		r.peers[from].promised = max(r.peers[from].promised, m.Ballot)
	}
	if r.role == Leader && m.Ballot == r.ballot {
		r.onLatePromise(m, from)
		return
	}
	if r.role != Preparing || m.Ballot != r.ballot || p.whole {
		return
	}
	if r.aux.nodes != 0 {
		r.peers[from].chosen = max(r.peers[from].chosen, m.Chosen)
	}
	if m.Trimmed >= p.need && r.aux.nodes.has(from) {
		if r.heldHere(m.Trimmed, m.From); r.role != Preparing {
			return
		}
	} else if m.Trimmed >= p.need {
		// What it asked for is only in that peer's snapshot: be a follower, and ask for the snapshot, unless those slots
		// were learned since.
		r.stepDown("it is behind a snapshot")
		r.fetchFrom(m)
		return
	}
	if !p.add(m) {
		return
	}
	if r.promiseBytes() > r.c.PromiseTotalMax {
		r.stepDown("its promises are too large")
		r.fetchFrom(m)
		return
	}
	r.restartElection() // it gets on, however much there is to report
	switch {
	case p.whole:
		r.peers[from].seen = r.now
		r.countPromise(from)
	case p.ended: // which is not to say that it came last
		r.askPromise(from)
	}
}

// fetchFrom asks the sender of m for chosen slots, by whichever way it has them: there will be less to promise.
func (r *Replica) fetchFrom(m *wire.Message) {
	if until := max(m.Trimmed, min(m.Chosen, r.chosen+fetchSlots)); until > r.chosen {
		r.send(m.From, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: until}, 0)
	}
}

// promiseBytes is the bytes of the frames that promises hold.
func (r *Replica) promiseBytes() (total int64) {
	for i := range r.peers {
		for _, fs := range [...][]*wire.Buffer{r.peers[i].promise.frames, r.peers[i].promise.early} {
			for _, f := range fs {
				total += int64(f.Len())
			}
		}
	}
	return total
}

// mustDecode decodes a frame that was decoded before.
func mustDecode(f *wire.Buffer) wire.Message {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic("BUG: paxos: " + err.Error())
	}
	return m
}

// lead ends phase 1: for every slot from prepFrom on that a promise quorum reports, learn what is known to be chosen,
// propose the highest-ballot vote again, fill holes with no-ops; then open the log with a slot of its own.
func (r *Replica) lead(found []foundVote, ok bool) {
	if !ok {
		r.stepDown("it is too far behind")
		return
	}
	r.role, r.leader = Leader, r.c.Self
	for i := range r.peers {
		p := &r.peers[i]
		p.seen, p.crowded, p.learned = r.now, false, 0
		if r.fast == nil {
			p.round = 0
		}
	}
	r.crowded = 0
	r.next = r.prepFrom
	r.settled, r.settleMark, r.lateAsked = r.newest().Slot == 0, 0, 0
	r.beginLease()
	r.leadMains(r.prepFrom + wire.Slot(len(found)))
	if r.fast == nil { // where others propose too, reads and own votes go on
		r.round, r.roundOpen = 0, false
		if r.c.Learn == LearnOne {
			r.own.clear()
		}
	}
	ev := Event{Kind: EventLeading, Ballot: r.ballot}
	for i := range found {
		v := &found[i]
		s := r.prepFrom + wire.Slot(i)
		switch {
		case s <= r.chosen:
			r.put(s, nil)
		case v.chosen:
			r.learn(s, &v.Vote)
			r.put(s, nil)
		case v.Ballot != 0 && !plant.Is(plant.BarrierOverVotes):
			f := wire.NewAccept(len(v.Value.Bytes()))
			f.Append(v.Value.Bytes())
			r.put(s, f)
			ev.Reproposed++
		case plant.Is(plant.GapsSkipped):
			r.put(s, nil)
		default:
			r.put(s, wire.NewNoopAccept())
			ev.Holes++
		}
	}
	r.dropPromises()
	r.learnAnnounced()
	for s := r.prepFrom + wire.Slot(len(found)); s <= r.chosen; s++ {
		r.put(s, nil)
	}
	r.barrier = max(r.prepFrom+wire.Slot(len(found)), r.chosen+1)
	r.put(r.barrier, wire.NewNoopAccept())
	r.proposePending()
	ev.Slot = r.barrier
	r.event(ev)
	if r.fast != nil {
		r.openRounds(r.next)
	}
	r.sendHeartbeat()
}

// put proposes what phase 1 found in slot s, the next one, if the slot's configuration is known, and keeps it for later otherwise.
// nil is for a slot that is known to be chosen.
func (r *Replica) put(s wire.Slot, f *wire.Buffer) {
	if s != r.next+wire.Slot(len(r.pending)) {
		panic(fmt.Sprintf("BUG: paxos: slot %d is found after slot %d, %d wait", s, r.next, len(r.pending)))
	}
	switch {
	case len(r.pending) > 0 || s > r.chosen+wire.Slot(r.c.Alpha) && r.fast == nil: // whose configuration does not change
		r.pending = append(r.pending, f)
	case f == nil:
		r.next++
	default:
		r.next++
		r.proposeIn(s, f)
	}
}

// foundVote is what phase 1 found in one slot: in the end Vote is what is to be proposed.
type foundVote struct {
	choice
	chosen bool // reported by a replica whose chosen prefix includes the slot
	must   bool // it may be chosen
}

// rule is what the choice of a value for slot s depends on, when these nodes have reported.
func (r *Replica) rule(s wire.Slot, reporters nodeSet) rule {
	if r.fast == nil {
		return rule{}
	}
	m := r.configOf(s)
	return rule{(reporters & m.nodes).size(), m.nodes.size(), m.fast}
}

// collect merges the promises of the quorum and the own votes, slot by slot from prepFrom on. Not ok: a vote is so far above
// the chosen prefix that this replica has to catch up first. Leaving such a vote out would be wrong: its value may be
// chosen.
//
// Where ballots are fast, who reports must be known: only those whose promise is durable. The own votes count when that of this replica is
// (after a crash it would vote at a ballot for which it was taken to vote no more), and not in healing, when what is
// lost of them is what the others are asked for.
func (r *Replica) collect() (found []foundVote, ok bool) {
	own := r.fast == nil || !r.suspect.on && r.grants.nodes.has(r.self)
	add := func(v wire.Vote, chosen bool) {
		if v.Slot < r.prepFrom {
			return // learned since it was asked for
		}
		i := int(v.Slot - r.prepFrom)
		for len(found) <= i {
			found = append(found, foundVote{})
		}
		if f := &found[i]; chosen {
			*f = foundVote{choice: choice{Vote: v, votes: 1}, chosen: true}
		} else if !f.chosen {
			f.add(v)
		}
	}
	reporters := nodeSet(0)
	if own {
		reporters = reporters.with(r.self)
	}
	for s := max(r.prepFrom, r.log.base); s <= r.log.last(); s++ {
		if e := r.log.get(s); e.frame != nil && (own || e.chosen) {
			add(wire.Vote{Slot: s, Ballot: e.ballot, Value: e.value()}, e.chosen)
		}
	}
	for i := range r.peers {
		if !r.peers[i].promise.whole {
			continue
		}
		if plant.Is(plant.AuxiliaryVotesIgnored) && r.aux.nodes.has(i) {
			continue
		}
		reporters = reporters.with(i)
		for _, f := range r.peers[i].promise.frames {
			m := mustDecode(f)
			for it := m.IterVotes(); ; {
				v, ok := it.Next()
				if !ok {
					break
				}
				if v.Slot > r.chosen+wire.SlotsAheadMax {
					return nil, false
				}
				if v.Slot > m.Chosen && r.fast != nil && !r.configOf(v.Slot).nodes.has(i) {
					continue // it decides nothing there
				}
				add(v, v.Slot <= m.Chosen)
			}
		}
	}
	for i := range found {
		if f := &found[i]; !f.chosen && f.Ballot != 0 {
			f.Vote, f.must = f.pick(r.rule(r.prepFrom+wire.Slot(i), reporters))
		}
	}
	return found, true
}

// learn stores a value that phase 1 showed to be chosen.
func (r *Replica) learn(s wire.Slot, v *wire.Vote) {
	e := r.log.ensure(s)
	if e.chosen {
		return
	}
	m := wire.Message{Kind: wire.KindLearn, Group: r.c.Group, From: r.c.Self, Ballot: v.Ballot, Slot: s, Chosen: r.chosen, Value: v.Value}
	f := m.Encode(r.c.Cluster)
	r.log.put(e, f, v.Ballot)
	r.nowChosen(s, e)
	r.record(wire.Record{Kind: wire.KindLearn, Group: r.c.Group, Ballot: v.Ballot, Slot: s, Chosen: r.chosen, Frame: f.Retain()})
}

// Propose puts a batch into the next slot. accept was made by wire.NewAccept and holds the batch; the reference is taken
// only if the outcome is Taken. Nothing is checked of the batch: who made it vouches for it.
func (r *Replica) Propose(accept *wire.Buffer) (wire.Slot, Outcome) {
	r.begin()
	switch {
	case r.basic != nil:
		return r.proposeBasic(accept)
	case r.fast != nil:
		return r.proposeFast(accept)
	}
	if r.role != Leader {
		return 0, NotLeader
	}
	if r.inFlight() >= r.c.Window || len(r.pending) > 0 || r.chosen-r.applied > wire.Slot(r.c.ApplyLagMax) || r.full(r.next) {
		return 0, Busy
	}
	s := r.next
	r.next++
	r.proposeIn(s, accept)
	return s, Taken
}

// inFlight is the number of slots proposed and not yet in the chosen prefix.
func (r *Replica) inFlight() int { return int(r.next - 1 - r.chosen) }

// proposeIn runs phase 2 for one slot: the same bytes go to every peer and into the own log. Accept does not wait for the
// own disk; the own vote does (ownVotes).
func (r *Replica) proposeIn(s wire.Slot, f *wire.Buffer) {
	if r.fast != nil {
		r.proposeClassic(s, f)
		return
	}
	wire.SealAccept(f, r.c.Cluster, r.c.Group, r.c.Self, r.ballot, s, r.chosen)
	e := r.log.ensure(s)
	if e.chosen || e.frame != nil && e.ballot >= r.ballot {
		panic(fmt.Sprintf("BUG: paxos: proposing in slot %d at ballot %v over a vote at %v (chosen: %v)", s, r.ballot, e.ballot, e.chosen))
	}
	r.log.put(e, f, r.ballot)
	e.sent = r.now
	r.broadcastFrame(f, 0, r.asked(s))
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: r.ballot, Slot: s, Chosen: r.chosen, Frame: f.Retain(),
	})
	r.acked(r.self, r.ballot, s, 0)
}

// ownRecordsDurable counts the own promises and votes that have reached the disk.
func (r *Replica) ownRecordsDurable() {
	for {
		o, ok := r.own.pop(r.durable)
		if !ok {
			break
		}
		switch {
		case o.promise && r.fast != nil:
			r.settlePromised(o.slot, o.ballot)
		case o.promise:
			r.promisedHere(o.slot, o.ballot)
		case o.tag != 0:
			r.countedFast(o.slot, o.ballot, o.tag, r.self)
		case r.countsAt(o.ballot):
			r.counted(o.slot, o.ballot, r.self)
		}
	}
	r.learnAnnounced()
	r.leadOn()
}

// countsAt says whether this replica counts votes at ballot b: a leader those of its own, unless others are told of votes too.
func (r *Replica) countsAt(b wire.Ballot) bool {
	return r.role == Leader && b == r.ballot || r.c.Mode != ModeMulti || r.c.Learn != LearnOne
}

// onAccepted counts a peer's votes. A quorum chooses a slot, in whatever order slots get there.
func (r *Replica) onAccepted(m *wire.Message, from int) {
	if !r.fresh(m, from) {
		return
	}
	r.peers[from].voted = max(r.peers[from].voted, m.Slot+wire.Slot(m.Count-1)) // whatever it counts for
	if r.c.Mode == ModeMulti && !plant.Is(plant.VoteNoPromise) {
		r.peers[from].promised = max(r.peers[from].promised, m.Ballot)
	}
	if !r.countsAt(m.Ballot) {
		return
	}
	if r.role == Leader && (m.Ballot == r.ballot || r.fast != nil && m.Ballot == classicOf(r.ballot)) {
		r.peers[from].seen = r.now
		r.peers[from].learned = max(r.peers[from].learned, m.Chosen)
	}
	for i := range wire.Slot(m.Count) {
		r.counted(m.Slot+i, m.Ballot, from)
	}
	r.learnAnnounced()
	r.leadOn()
}

// resend repeats the Accepts of slots in flight to the nodes that have not answered for RetransmitTicks. A follower that
// misses chosen slots asks for them itself (Fetch).
func (r *Replica) resend() {
	for s := r.chosen + 1; s < r.next; s++ {
		e := r.log.get(s)
		if e.chosen || r.now-e.sent < uint64(r.c.RetransmitTicks) {
			continue
		}
		e.sent = r.now
		missing := (r.asked(s) &^ e.votes.nodes).without(r.self)
		r.resent += uint64(missing.size())
		r.broadcastFrame(e.frame, 0, missing)
	}
}

// ownRecords queues the own votes, and the own promises for one slot, until they are durable, in the order of their records.
type ownRecords struct {
	q    []ownRecord
	head int
}

// ownRecord is an own vote, or a promise, at a ballot: the slot may have moved on to another when the record is durable.
type ownRecord struct {
	slot    wire.Slot
	ballot  wire.Ballot
	lsn     wire.LSN
	tag     uint64 // of the value, at a fast ballot; else 0
	promise bool
}

func (o *ownRecords) clear() { o.q, o.head = o.q[:0], 0 }

func (o *ownRecords) push(r ownRecord) {
	if o.head > 0 && o.head == len(o.q) {
		o.clear()
	}
	if o.head > 64 && o.head > len(o.q)/2 { // a pipeline that never runs empty must not grow the queue
		o.q = append(o.q[:0], o.q[o.head:]...)
		o.head = 0
	}
	o.q = append(o.q, r)
}

// pop returns the next one whose record is durable.
func (o *ownRecords) pop(durable wire.LSN) (ownRecord, bool) {
	if o.head == len(o.q) || o.q[o.head].lsn > durable {
		return ownRecord{}, false
	}
	o.head++
	return o.q[o.head-1], true
}
