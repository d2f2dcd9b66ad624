package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Leadership: who runs phase 1, and when. None of it matters for safety, which rests on ballots and quorums alone.

// Tick is the passing of one unit of time.
func (r *Replica) Tick() {
	r.begin()
	r.now++
	r.jump = min(r.jump+ballotRefill, wire.BallotJumpMax)
	r.checkDisk()
	if r.role == Leader {
		r.leaderTick()
		return
	}
	r.checkFetch()
	if r.suspect.on {
		r.healTick()
		return
	}
	if r.back.until != 0 {
		r.backTick()
		return
	}
	switch {
	case r.basic != nil:
		r.basicTick()
		return
	case r.fast != nil:
		r.fastTick()
	}
	switch {
	case r.now >= r.deadline:
		r.startProbe()
	case r.role == Probing && (r.now-r.beat) >= uint64(r.c.HeartbeatTicks):
		r.sendProbe()
	case r.role == Preparing:
		r.repeatPrepare()
	}
}

// restartElection draws the tick at which silence becomes an election. The draw keeps two followers of a dead leader
// from preparing against each other again and again.
func (r *Replica) restartElection() {
	r.deadline = r.now + uint64(r.c.ElectionTicks) + r.rng.below(r.c.ElectionTicks)
}

// checkDisk notices a disk that has finished nothing for too long. Its node may not lead: nothing it accepts is durable,
// however lively its heartbeats (FAULTS.md, F22).
func (r *Replica) checkDisk() {
	if r.stalled || r.lsn == r.durable || r.now-r.moved < uint64(r.c.StallTicks) || plant.Is(plant.StalledDiskLeads) {
		return
	}
	r.stalled = true
	r.event(Event{Kind: EventDiskStall, Ballot: r.ballot})
	if r.role != Follower && r.basic == nil {
		r.stepDown("its disk stalls")
	}
}

// follow takes the leader of ballot b, already the promised one, as alive.
func (r *Replica) follow(leader wire.NodeID, b wire.Ballot) {
	if r.role != Follower {
		r.stepDown("another node leads")
	}
	if r.leader != leader || r.ballot != b {
		r.leader, r.ballot = leader, b
		r.fetch = fetchState{size: r.fetch.size}
		r.event(Event{Kind: EventFollowing, Peer: leader, Ballot: b})
	}
	r.heard = r.now
	r.restartElection()
}

// PeerGone tells that the process of node n was seen to be gone: its connections ended and its port is closed. It is a hint,
// which may be late, missing or wrong. If n leads, the others need not wait for its silence to last; a short random
// wait keeps two of them from the same tick. A leader that is alive after all is followed again at its next heartbeat,
// and as long as a quorum hears it no probe succeeds.
func (r *Replica) PeerGone(n wire.NodeID) {
	r.begin()
	r.leaderGone(n)
}

// leaderGone has a follower of node n try to elect another soon.
func (r *Replica) leaderGone(n wire.NodeID) {
	if r.role != Follower || n == 0 || r.leader != n {
		return
	}
	r.leader = 0
	soon := r.now + 1 + r.rng.below(2*r.c.HeartbeatTicks)
	r.deadline = min(r.deadline, soon)
}

// stepDown ends probing, preparing or leading. What was proposed stays voted for here; whether it will be chosen is for
// the next leader to find out.
func (r *Replica) stepDown(why string) {
	if r.role == Leader {
		r.event(Event{Kind: EventLost, Ballot: r.ballot, Reason: why})
		r.failReads()
		r.endLease()
	}
	if r.fast != nil {
		r.dropAllSettling()
	}
	r.dropPromises()
	r.dropPending()
	r.abortChange(why)
	r.proposed = nil
	r.unite()
	r.grants.reset(0)
	r.role, r.leader = Follower, 0
	r.restartElection()
}

// startProbe asks the others whether an election could succeed, before a ballot is used up and a working leader
// disturbed: a node that was cut off would otherwise depose the leader each time it comes back.
func (r *Replica) startProbe() {
	if r.role != Follower {
		r.stepDown("its election failed")
	}
	if r.leasedFrom(r.c.Self) {
		return // at the next tick again
	}
	r.restartElection()
	next := r.ownBallot(r.counter)
	if r.lsn != r.durable && r.stalled || next == 0 || !r.mayLead() {
		return
	}
	r.leader = 0
	r.role = Probing
	r.ballot = next
	r.grants.reset(r.ballot)
	r.event(Event{Kind: EventProbing, Ballot: r.ballot})
	r.sendProbe()
	r.granted(r.ballot, r.self)
}

func (r *Replica) sendProbe() {
	r.beat = r.now
	r.introduce(r.members)
	r.broadcast(&wire.Message{Kind: wire.KindProbe, Ballot: r.ballot, Incarnations: r.stamp}, 0)
}

// onProbe says whether this replica would promise: it hears no leader, and the prober is not so far behind that its
// Prepare would ask for slots that are only in a snapshot here, or for more than a window or two.
func (r *Replica) onProbe(m *wire.Message) {
	if m.Ballot <= r.promised {
		r.reject(m, r.promised)
		return
	}
	quiet := r.leader == 0 || r.now-r.heard+2*uint64(r.c.HeartbeatTicks) >= uint64(r.c.ElectionTicks)
	near := (m.Chosen >= r.trimmed || r.aux.self) && m.Chosen+2*wire.WindowMax >= r.chosen
	r.send(m.From, &wire.Message{
		Kind: wire.KindProbeAck, Ballot: m.Ballot, Granted: quiet && near && r.role != Leader && !r.leasedFrom(m.From),
	}, 0)
}

func (r *Replica) onProbeAck(m *wire.Message, from int) {
	if m.Granted {
		r.granted(m.Ballot, from)
		return
	}
	// Refused by one that is ahead: perhaps for being too far behind, and perhaps nobody else can be reached by a quorum
	// (FAULTS.md F4). Any replica has what is chosen; the next refusal asks for more.
	if r.role == Probing && m.Ballot == r.ballot && m.Chosen > r.chosen {
		r.send(m.From, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: min(m.Chosen, r.chosen+fetchSlots)}, 0)
	}
}

// granted counts an answer to the probe; a quorum starts the prepare.
func (r *Replica) granted(b wire.Ballot, from int) {
	if r.role == Probing && r.grant(b, from) {
		r.startPrepare()
	}
}

// onReject learns of a higher ballot: this replica's own is spent. A prober, who has disturbed nobody yet, asks again above
// it; others stand back for a random while.
func (r *Replica) onReject(m *wire.Message) {
	if m.Ballot != r.ballot || r.role == Follower || m.Promised <= m.Ballot {
		return
	}
	if r.role == Probing {
		r.startProbe()
		return
	}
	r.stepDown("a higher ballot was promised")
}

// leaderTick sends heartbeats and repeats, and resigns when no quorum answers: a leader that is cut off must not let its
// clients wait for ever, nor keep a returning node from electing one that is connected.
func (r *Replica) leaderTick() {
	alive := nodeSet(0).with(r.self)
	for i := range r.peers {
		if i != r.self && r.now-r.peers[i].seen < uint64(r.c.ElectionTicks) {
			alive = alive.with(i)
		}
	}
	if !r.canChoose(alive) || r.fast != nil && !r.canPromise(alive) {
		r.stepDown("no quorum answers")
		return
	}
	if r.crowdedOut() {
		r.stepDown("its log is full, and those of others are not")
		r.deadline += 4 * uint64(r.c.ElectionTicks) // they come first
		return
	}
	if r.now-r.beat >= uint64(r.c.HeartbeatTicks) {
		r.sendHeartbeat()
		if r.removed && r.settled { // the members find a leader among themselves
			r.stepDown("it is no member any more")
			return
		}
		if r.fast != nil {
			r.sendAny()
		}
	}
	if r.fast != nil {
		r.checkFetch()
		r.settleTick()
		r.fastTick()
		return
	}
	r.auxTick()
	r.driveChange()
	r.settleMembers()
	r.leadOn()
	r.resend()
}

// hasRoom says that the log in memory can grow: what is chosen and not in a snapshot yet is within its bound.
func (r *Replica) hasRoom() bool { return r.log.prefixBytes <= r.c.LogBytesMax }

// crowdedOut says that this leader has had no room for StallTicks, while as many others as must vote have. Its snapshots fail, or the disk
// stalls under them: as there is nothing to write to the log meanwhile, checkDisk does not notice. If the others have no room either a
// new leader could do no more than this one.
func (r *Replica) crowdedOut() bool {
	if r.hasRoom() {
		r.crowded = 0
		return false
	}
	if r.crowded == 0 {
		r.crowded = r.now
	}
	roomy := nodeSet(0)
	for i := range r.peers {
		if p := &r.peers[i]; i != r.self && !p.crowded && r.now-p.seen < uint64(r.c.ElectionTicks) {
			roomy = roomy.with(i)
		}
	}
	return r.now-r.crowded >= uint64(r.c.StallTicks) && r.canChoose(roomy)
}

// sendHeartbeat tells each peer what was seen of it (heardVote), so that there is a frame for each.
func (r *Replica) sendHeartbeat() {
	r.beat = r.now
	round := r.round
	if r.fast != nil {
		round = 0 // it confirms no read: see askVoted
	}
	for i, n := range r.nodes {
		if (r.members | r.joining).has(i) && i != r.self {
			m := wire.Message{Kind: wire.KindHeartbeat, Ballot: r.ballot, Slot: r.peers[i].voted, Round: round, Incarnations: r.stamp}
			r.askLease(&m)
			r.send(n, &m, 0)
		}
	}
	r.introduce(r.members | r.joining)
	r.tellHeld()
}

// onHeartbeat keeps a follower following. A heartbeat of a ballot above the promise comes from a leader whose Prepare did
// not reach this replica: a quorum promised it, so it is one to follow, and the promise is recorded.
func (r *Replica) onHeartbeat(m *wire.Message) {
	if r.refuses(m.Ballot) {
		r.reject(m, r.promised)
		return
	}
	if r.heardVote(m); r.suspect.on {
		r.stepSuspect(m, r.index(m.From))
		return
	}
	if m.Ballot > r.promised {
		r.raise(m.Ballot, "another node leads")
	}
	r.follow(m.From, m.Ballot)
	r.noteChosen(r.announces(m.Ballot), m.Chosen)
	r.heardChain(m)
	ack := wire.Message{Kind: wire.KindHeartbeatAck, Ballot: m.Ballot, Round: m.Round}
	if !r.hasRoom() {
		ack.Slot = r.chosen + 1
	}
	r.grantLease(m, &ack)
	r.send(m.From, &ack, 0)
}

func (r *Replica) onHeartbeatAck(m *wire.Message, from int) {
	if r.role != Leader || m.Ballot != r.ballot {
		return
	}
	p := &r.peers[from]
	p.seen, p.chosen, p.crowded = r.now, max(p.chosen, m.Chosen), m.Slot != 0
	r.leaseGranted(m, from)
	if r.fast != nil {
		return // that it follows says nothing of what has been chosen: see askVoted
	}
	if m.Round > p.round && m.Round <= r.round {
		p.round = m.Round
		r.confirmReads()
	}
}
