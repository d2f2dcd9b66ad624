package paxos

import "github.com/paxbench/paxbench/wire"

// Independent instances have no leader whose heartbeats tell how far the log goes. Every node says so itself (a beacon), which
// is also how holes, slow nodes and dead nodes are noticed.

// basicTick is the part of Tick that belongs to independent instances.
func (r *Replica) basicTick() {
	b := r.basic
	r.qualify()
	for i := 0; i < len(b.runs); i++ {
		u := b.runs[i]
		switch {
		case u.phase == waiting && r.now >= u.at:
			r.startRound(u)
		case u.phase == preparing && r.durable < u.lsn:
			u.at = r.now // as in repeatPrepare
		case u.phase == preparing && r.now-u.at >= uint64(r.c.RetransmitTicks):
			r.askSlot(u)
		case u.phase == accepting && r.now-u.at >= uint64(r.c.RetransmitTicks):
			u.at = r.now
			e := r.log.get(u.slot)
			missing := (r.configOf(u.slot).nodes &^ e.votes.nodes).without(r.self)
			r.resent += uint64(missing.size())
			r.broadcastFrame(e.frame, 0, missing)
		}
	}
	r.finishHoles()
	if r.now-r.beat >= uint64(r.c.HeartbeatTicks) {
		r.sendBeacon()
	}
}

// hears says that a quorum, this replica included, has been heard of lately.
func (r *Replica) hears() bool {
	n := 1
	for i := range r.peers {
		if i != r.self && r.now-r.peers[i].heard < uint64(r.c.ElectionTicks) {
			n++
		}
	}
	return n >= max(r.configs[0].prepare, r.configs[0].accept) && !r.stalled && !r.suspect.on && r.back.until == 0
}

// qualify finds out whether this replica takes proposals: only while it hears a quorum, and, with a distinguished proposer,
// only if it is the one: of the nodes that say that they hear a quorum, the first. That two think so at a time costs
// duels, nothing else.
func (r *Replica) qualify() {
	fit := r.hears()
	role, leader := Follower, wire.NodeID(0)
	if r.c.Backoff == BackoffDistinguished {
		for i, n := range r.nodes {
			if i == r.self && fit || i != r.self && r.peers[i].fit && r.now-r.peers[i].heard < uint64(r.c.ElectionTicks) {
				leader = n
				break
			}
		}
	} else if fit {
		leader = r.c.Self
	}
	if leader == r.c.Self {
		role = Proposer
	}
	was := r.role
	switch {
	case was == role:
	case role == Proposer:
		r.event(Event{Kind: EventProposing})
	case fit:
		r.retire("another node proposes")
	default:
		r.retire("no quorum answers")
	}
	r.role, r.leader = role, leader
}

// retire ends the taking of proposals.
func (r *Replica) retire(why string) {
	r.role, r.leader = Follower, 0
	r.failReads()
	r.event(Event{Kind: EventResting, Reason: why})
}

// sendBeacon tells the others how far this replica has come, whether it hears a quorum (the ballot's counter), and, while
// reads wait, asks how far they have voted.
func (r *Replica) sendBeacon() {
	r.beat = r.now
	m := wire.Message{Kind: wire.KindHeartbeat, Ballot: wire.NewBallot(0, r.c.Self), Slot: r.lastUsed(), Incarnations: r.stamp}
	if r.hears() {
		m.Ballot = wire.NewBallot(1, r.c.Self)
	}
	if len(r.reads) > 0 || r.roundOpen {
		m.Round = r.round
	}
	r.broadcast(&m, 0)
}

func (r *Replica) onBeacon(m *wire.Message, from int) {
	p := &r.peers[from]
	p.fit = m.Ballot.Counter() > 0
	r.heardChain(m)
	if m.Slot <= r.chosen+wire.SlotsAheadMax {
		r.basic.used = max(r.basic.used, m.Slot)
	}
	if m.Round != 0 {
		r.send(m.From, &wire.Message{Kind: wire.KindHeartbeatAck, Ballot: m.Ballot, Slot: r.lastVoted(), Round: m.Round}, 0)
	}
}

func (r *Replica) onBeaconAck(m *wire.Message, from int) {
	p := &r.peers[from]
	if m.Round > p.round && m.Round <= r.round && m.Slot <= r.chosen+wire.SlotsAheadMax {
		p.round, p.upTo = m.Round, m.Slot
		r.confirmReads()
	}
}

// readSlot is a slot whose applied state shows everything that was done before the reads of this round were asked for: what was
// done was voted for by a quorum, one of whom has answered (Paxos quorum reads: Charapko, Ailijiang, Demirbas, 2019).
func (r *Replica) readSlot() wire.Slot {
	s := r.lastVoted()
	for i := range r.peers {
		s = max(s, r.peers[i].upTo)
	}
	if r.basic != nil {
		r.basic.used = max(r.basic.used, s)
	} else {
		r.uses(s)
	}
	return s
}

// lastUsed is the highest slot in which anybody is known to have begun.
func (r *Replica) lastUsed() wire.Slot { return max(r.basic.used, r.log.last(), r.chosen) }

// lastVoted is the highest slot in which this replica has voted, or knows what was chosen.
func (r *Replica) lastVoted() wire.Slot {
	for s := r.log.last(); s > r.chosen; s-- {
		if e := r.log.get(s); e.frame != nil {
			return s
		}
	}
	return r.chosen
}

// heardOf notes a sign of life, and how far its sender has come.
func (r *Replica) heardOf(m *wire.Message, from int) {
	r.peers[from].heard, r.peers[from].chosen = r.now, m.Chosen
}

// whoIsAhead is a live node that has chosen slots which this replica lacks. Nodes take turns, as one may hear nothing.
func (r *Replica) whoIsAhead() (from wire.NodeID, upTo wire.Slot) {
	n := len(r.peers)
	for k := range n {
		i := (int(r.now/uint64(r.c.RetransmitTicks)) + k) % n
		if p := &r.peers[i]; i != r.self && p.chosen > r.chosen && r.now-p.heard < uint64(r.c.ElectionTicks) {
			return r.nodes[i], p.chosen
		}
	}
	return 0, 0
}

// finishHoles finishes slots that others have left open, or perhaps never begun, while later ones go on: the state machine
// cannot pass them. Each such slot is run like any other, with no value of its own: what phase 1 finds, else a no-op.
func (r *Replica) finishHoles() {
	b := r.basic
	last := r.lastUsed()
	switch {
	case r.role != Proposer || last <= r.chosen: // not here, or nothing to do
		b.open = 0
		return
	case b.open != r.chosen+1:
		b.open, b.since = r.chosen+1, r.now
		b.patience = uint64(r.c.HoleTicks) + r.rng.below(r.c.HoleTicks)
		return
	case r.now-b.since < b.patience:
		return
	}
	if _, upTo := r.whoIsAhead(); upTo > r.chosen && r.now-b.since < 4*b.patience {
		return // others know; but perhaps nobody who does can be asked
	}
	for s := b.open; s <= min(last, r.chosen+wire.Slot(r.c.Window)); s++ {
		e := r.log.ensure(s)
		began := max(e.sent, b.since)
		if u, _ := b.find(s); u != nil || e.chosen || r.now-began < b.patience {
			continue
		}
		r.event(Event{Kind: EventFinishing, Slot: s})
		r.begins(s, nil)
		u, _ := b.find(s)
		u.hole, u.began = true, began
	}
}
