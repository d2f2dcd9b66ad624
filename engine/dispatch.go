package engine

import (
	"sync"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// dispatch hands out what the core wants done. What waits for nothing goes to the transport; records and the messages that
// wait for them go to the syncer as one piece of work, so that an Accept travels while the own disk works. The network
// comes first: a slot waits for the slowest vote of its quorum, and the others' have the longer way. (Where disks and
// processors are shared, the own write would delay theirs as well.)
func (l *loop) dispatch(out *paxos.Output) {
	if len(out.Events) > 0 {
		l.contacts(out.Events)
	}
	for _, m := range out.Messages {
		if m.Gate == 0 {
			l.g.node.net.Send(m.To, m.Frame)
		}
	}
	l.dispatchRecords(out)
	for _, m := range out.Moved {
		l.moved(m)
	}
	l.dispatchChosen(out.Chosen)
	for _, r := range out.Reads {
		l.readReady(r)
	}
	// Events last: a slot that was learned before leadership was lost is answered, not unknown.
	if len(out.Events) > 0 {
		l.g.publish(l.core.Status())
		for i := range out.Events {
			l.event(&out.Events[i])
		}
	}
}

// dispatchRecords gives records and gated messages to the syncer.
func (l *loop) dispatchRecords(out *paxos.Output) {
	var w *work
	if len(out.Records) > 0 {
		w = getWork(l.g)
		w.records = append(w.records, out.Records...)
		for _, r := range out.Records {
			w.bytes += int64(r.Frame.Len())
		}
		w.last, w.handed = out.LastLSN, l.g.node.nanotime()
		l.voteRecorded(out.Records, w.handed)
	}
	for _, m := range out.Messages {
		if m.Gate == 0 {
			continue
		}
		if m.Gate > out.LastLSN {
			panic("BUG: engine: message gated by a record that does not exist")
		}
		if w == nil {
			w = getWork(l.g)
		}
		w.gated = append(w.gated, m)
		w.bytes += int64(m.Frame.Len()) // a promise waits with all the votes that it tells
	}
	if w != nil {
		l.g.syncBacklog.Add(w.bytes)
		l.g.node.syncer.put(w)
	}
}

// learnClock is for how many slots the moment of the vote is remembered: more than are in flight.
const learnClock = 2 * wire.WindowMax

// voteTime is when a vote was recorded.
type voteTime struct {
	slot wire.Slot
	at   int64
}

// voteRecorded remembers when the votes among records were handed to the disk.
func (l *loop) voteRecorded(records []wire.Record, now int64) {
	for i := range records {
		if r := &records[i]; r.Kind == wire.KindAccept {
			l.voted[r.Slot%learnClock] = voteTime{r.Slot, now}
		}
	}
}

// learnedAt records the learning delay of a slot for which this replica voted.
func (l *loop) learnedAt(s wire.Slot, now int64) {
	if v := l.voted[s%learnClock]; v.slot == s {
		l.g.stages.learn.record(now - v.at)
	}
}

// dispatchChosen gives learned slots to the applier, together with those who wait for them.
func (l *loop) dispatchChosen(chosen []paxos.Chosen) {
	if len(chosen) == 0 {
		return
	}
	now := l.g.node.nanotime()
	if last := chosen[len(chosen)-1].Slot; l.filling != 0 && last+1 >= l.filling {
		if l.leading {
			l.g.count.fillNanos.Add(uint64(now - l.fillSince))
		}
		l.filling = 0
	}
	for _, c := range chosen {
		l.learnedAt(c.Slot, now)
		item := applyItem{kind: applyChosen, chosen: c}
		for l.flights.len() > 0 && l.flights.first().slot <= c.Slot {
			f := l.flights.pop()
			if f.slot != c.Slot || !l.ours(f, &c) {
				// Somebody else's value, or ours by somebody else's ballot: not ours to answer.
				l.g.failFlight(f, wire.StatusUnknown)
				continue
			}
			f.learned = now
			l.g.stages.quorum.record(now - f.proposed)
			l.room.Chosen(now-f.proposed, l.g.node.syncNanos.Load(), f.full)
			item.flight = f
		}
		l.g.applyBacklog.Add(int64(c.Frame.Len()))
		l.g.applier.put(item)
	}
}

// ours says whether the value of a chosen slot is the flight's. With a leader the ballot says so: one ballot proposes one value
// in a slot. Without one the core knows it.
func (l *loop) ours(f *flight, c *paxos.Chosen) bool {
	if l.g.node.c.Mode == paxos.ModeMulti {
		return f.ballot == c.Ballot
	}
	return c.Own
}

// moved follows a batch that lost its slot to the one where it is proposed now. If the core has lost sight of it, it may be
// done or not.
func (l *loop) moved(m paxos.Moved) {
	f := l.flights.take(m.From)
	switch {
	case f == nil: // its clients were told when proposals were no longer taken
	case m.To == 0:
		l.g.failFlight(f, wire.StatusUnknown)
	default:
		f.slot = m.To
		l.flights.push(f)
	}
}

// readReady passes queries on to the applier, which answers when it has applied the slot.
func (l *loop) readReady(r paxos.ReadReady) {
	b := l.reads[r.Token]
	if b == nil {
		panic("BUG: engine: answer to a read that was not asked")
	}
	delete(l.reads, r.Token)
	if !r.OK {
		b.fail(l.g, wire.StatusNotLeader)
		return
	}
	b.slot = r.Slot
	l.g.applier.put(applyItem{kind: applyReads, reads: b})
}

// event logs a transition and acts upon it where the shell has a part in it.
func (l *loop) event(e *paxos.Event) {
	g := l.g
	if g.driver != nil {
		g.driver.d.c.Event(g.id, *e)
	}
	if e.Kind == paxos.EventPeerBehind {
		g.transfers.start(e.Peer, e.Slot)
		return
	}
	if e.Kind == paxos.EventDuel || e.Kind == paxos.EventDisplaced || e.Kind == paxos.EventCollision {
		return // many under load: they are counted (paxos.BasicStats, FastStats)
	}
	if l.membersEvent(e) {
		return
	}
	log := g.log.With("ballot", e.Ballot.String())
	switch e.Kind {
	case paxos.EventLeading:
		l.leading, l.ballot = true, e.Ballot
		g.epoch.Store(max(g.epoch.Load(), uint64(e.Ballot)))
		g.count.elections.Inc()
		g.count.reproposed.Add(uint64(e.Reproposed))
		g.count.holes.Add(uint64(e.Holes))
		if l.filling = 0; e.Holes+e.Reproposed > 0 {
			l.filling, l.fillSince = e.Slot, g.node.nanotime()
		}
		log.Info("leading", "slot", uint64(e.Slot), "holes", e.Holes, "reproposed", e.Reproposed)
	case paxos.EventLost:
		g.count.losses.Inc()
		log.Info("lost leadership", "reason", e.Reason)
		l.lost(wire.StatusUnknown, wire.StatusNotLeader)
	case paxos.EventProposing:
		l.leading = true
		log.Info("proposing")
	case paxos.EventResting:
		log.Info("not proposing", "reason", e.Reason)
		l.lost(wire.StatusUnknown, wire.StatusNotLeader)
	case paxos.EventFinishing:
		log.Debug("finishing a slot of others", "slot", uint64(e.Slot))
	case paxos.EventFollowing:
		g.epoch.Store(max(g.epoch.Load(), uint64(e.Ballot)))
		log.Info("following", "peer", uint32(e.Peer))
	case paxos.EventProbing:
		log.Debug("probing")
	case paxos.EventPreparing:
		g.count.prepared.Inc()
		log.Info("preparing", "slot", uint64(e.Slot))
	case paxos.EventDiskStall:
		log.Warn("disk stall")
	case paxos.EventEngaged:
		g.count.engaged.Inc()
		log.Warn("a main node does not answer: auxiliary nodes are asked to vote", "slot", uint64(e.Slot))
	case paxos.EventReleased:
		log.Info("all main nodes are back: auxiliary nodes are not asked any more", "slot", uint64(e.Slot))
	case paxos.EventForgot:
		log.Debug("votes forgotten", "slot", uint64(e.Slot))
		l.trimLog(e.Slot)
	default:
		l.suspicion(e)
	}
}

// suspicion handles the events of a replica that may have forgotten something.
func (l *loop) suspicion(e *paxos.Event) {
	g := l.g
	switch e.Kind {
	case paxos.EventSuspect:
		g.count.suspicions.Inc()
		if !g.suspect.Swap(true) {
			g.node.suspects.Inc()
		}
		g.log.Warn("suspect: it serves what is chosen and does not vote until a majority of the others has told it what it may have forgotten",
			"reason", e.Reason)
		w := getWork(g)
		w.suspect = e.Reason
		g.node.syncer.put(w)
	case paxos.EventCannotHeal:
		g.log.Error("cannot be healed: bring back other nodes; if the ends of their logs were torn by a power loss and not damaged,"+
			" start those that are suspect once with AcceptTornTail (serve --accept-torn-tail); what only damaged or lost logs held is lost", "reason", e.Reason)
	case paxos.EventHealed:
		g.count.heals.Inc()
		if g.suspect.Swap(false) {
			g.node.suspects.Dec()
		}
		g.log.Info("healed: it votes again", "ballot", e.Ballot.String())
		w := getWork(g)
		w.healed = true
		g.node.syncer.put(w)
	}
}

// flightPool holds flights between uses: loop to applier and back.
var flightPool = sync.Pool{New: func() any { return new(flight) }}

func getFlight() *flight { return flightPool.Get().(*flight) }

func putFlight(f *flight) {
	clear(f.waiters)
	*f = flight{waiters: f.waiters[:0]}
	flightPool.Put(f)
}

// failFlight tells all waiters of f the same and is done with it.
func (g *Group) failFlight(f *flight, s wire.Status) {
	for _, c := range f.waiters {
		g.refuse(c, s)
	}
	putFlight(f)
}

// refuse completes a block without a result.
func (g *Group) refuse(c Completion, s wire.Status) {
	r := Result{}
	r.Status, r.Epoch = s, wire.Ballot(g.epoch.Load())
	if s == wire.StatusNotLeader {
		r.Leader = wire.NodeID(g.leader.Load())
		r.Addr = g.addr(r.Leader)
	}
	c.Complete(&r)
}
