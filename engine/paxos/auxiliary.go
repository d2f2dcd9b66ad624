package paxos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Auxiliary acceptors (Lamport and Massa, Cheap Paxos, DSN 2004; PALF calls one an arbitration member). Of the nodes as many are main
// ones as must vote; they have logs and state, and one of them leads. The others, Config.Auxiliary, are acceptors and nothing else:
// they are asked for votes only while a main node does not answer, and keep only those votes that a main node may need.
//
//	all main nodes vote     Accept goes to them alone; auxiliaries hear heartbeats, write nothing
//	one is silent           after SuspectTicks: Accepts, also of the slots that are open, go to the auxiliaries as well (engage)
//	it is back              once every main node holds all that was chosen when it was heard again: to main nodes alone (release)
//	in any case             with heartbeats: Held(T), every main node holds what is chosen up to T: votes up to T are forgotten
//
// # Why it is safe
//
// An auxiliary promises and votes like any acceptor, durably before it tells, and quorums are of all nodes, auxiliaries among them: so
// all that is said of ballots and quorums holds. What is special is what it forgets: its votes in slots up to T.
//
//   - A1. T is at most what every main node holds: in each slot up to T a record, durable, of the chosen value, either as learned or as a vote
//     at a ballot at which it was proposed after it was chosen, or at which it was chosen (holds). A node keeps that until a snapshot of
//     its own has it. Who may have forgotten it is suspect, and a new incarnation begins from nothing (forget).
//   - A2. Only main nodes run phase 1. Whoever does is one of the quorum itself, and reports to itself, in each slot up to T, the chosen
//     value, as chosen or at a ballot that no vote for another value exceeds (P2c). So no vote of an auxiliary is missed there.
//   - A3. It need not ask for values there either: what it holds is what was chosen (heldHere). An auxiliary says T in its promises, and
//     to whoever fetches from it. A main node that has less has forgotten something, and becomes suspect.
//   - A4. Asked to vote in a slot up to T, an auxiliary says that it has without writing anything. The slot is chosen, any leader proposes that
//     value, and saying so again is true: what any node does with slots that are only in its snapshot.
//   - A5. T is written down with promises, and when votes are forgotten because of it. One that restarts may know a lower T, and hold votes
//     that it had forgotten: they are its votes, at the ballots at which it cast them.
//
// A suspect auxiliary begins to heal above T: below it has nothing to remember.
//
// # What it costs
//
// As few nodes keep the state as must vote, so that each of them counts: while one is away the auxiliaries keep every vote that it
// lacks, up to Config.LogBytesMax, beyond which they take no more and nothing is chosen until it is back. A node that is away for
// good must be brought back (under its id, Rejoin of the shell): memberships with auxiliaries do not change.
//
// A main node that comes back while the other one is gone learns from an auxiliary what it missed. There is one case in which it has
// to wait for the other: an auxiliary that lacks slots between T and those that it voted in, and could not be taught them (gap), cannot
// teach what lies above them, only report it, and a candidate more than wire.SlotsAheadMax behind gives up.
type auxiliaries struct {
	nodes nodeSet // 0: there are none
	self  bool    // this replica is one

	// Leader.
	engaged bool
	last    wire.Slot // the highest that an auxiliary may hold a vote in
	well    uint64    // tick since which the main nodes can do without; 0: they cannot
	goal    wire.Slot // what was chosen then
	chosen  wire.Slot // the chosen prefix as of the last tick
	moved   uint64    // tick at which that last grew, or nothing was open
	own     wire.Slot // this replica holds as much when record mark is durable
	mark    wire.LSN
}

// auxiliary sets up who is one.
func (r *Replica) auxiliary() {
	for i, n := range r.nodes {
		for _, a := range r.c.Auxiliary {
			if n == a {
				r.aux.nodes = r.aux.nodes.with(i)
			}
		}
	}
	r.aux.self = r.aux.nodes.has(r.self)
	if r.log.floats != r.aux.self {
		panic(fmt.Sprintf("BUG: paxos: node %d is an auxiliary: %v; its state was recovered as that of one: %v", r.c.Self, r.aux.self, r.log.floats))
	}
}

// CheckAuxiliary is the part of Validate that is about auxiliary nodes.
func (c Config) CheckAuxiliary() error {
	c = c.withDefaults()
	var errs []error
	c.checkAuxiliary(func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("paxos: "+format, args...))
		}
	})
	return errors.Join(errs...)
}

// ParseAuxiliary is the inverse of FormatAuxiliary: ids in ascending order, as in "4,5", or "none".
func ParseAuxiliary(s string) (nodes []wire.NodeID, err error) {
	if s == "none" {
		return nil, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil || n == 0 || len(nodes) > 0 && wire.NodeID(n) <= nodes[len(nodes)-1] {
			return nil, fmt.Errorf("paxos: auxiliary nodes %q: need none, or ids in ascending order, as in 4,5", s)
		}
		nodes = append(nodes, wire.NodeID(n))
	}
	return nodes, nil
}

// FormatAuxiliary writes the ids of auxiliary nodes.
func FormatAuxiliary(nodes []wire.NodeID) string {
	if len(nodes) == 0 {
		return "none"
	}
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(words, ",")
}

// checkAuxiliary joins every fault of Config.Auxiliary, zero values counting as their defaults.
func (c Config) checkAuxiliary(fault func(bad bool, format string, args ...any)) {
	if len(c.Auxiliary) == 0 {
		return
	}
	for i, a := range c.Auxiliary {
		known := false
		for _, n := range c.Nodes {
			known = known || n == a
		}
		fault(!known, "auxiliary node %d is not among the nodes %v", a, c.Nodes)
		fault(i > 0 && a <= c.Auxiliary[i-1], "auxiliary nodes %v: need ascending order without repeats", c.Auxiliary)
	}
	n, mains := len(c.Nodes), len(c.Nodes)-len(c.Auxiliary)
	need := c.Quorums.of(n).Accept
	fault(mains < 1, "all of %d nodes are auxiliary: need one that keeps the state and leads", n)
	fault(mains >= 1 && mains != need, "%d main nodes and %d auxiliary ones, of which %d must vote: need as many main nodes as must vote: with fewer auxiliary ones would always be asked, with more hardly ever",
		mains, len(c.Auxiliary), need)
	fault(c.Mode != ModeMulti, "auxiliary nodes in mode %v: only mode %v has a leader that decides whom to ask", c.Mode, ModeMulti)
	fault(c.Learn != LearnOne, "auxiliary nodes with learners %v: need %v", c.Learn, LearnOne)
	fault(c.Lease != 0, "auxiliary nodes with leases of %d ns: not supported together", c.Lease)
	fault(c.Join, "a node cannot join a cluster with auxiliary nodes")
	fault(c.SuspectTicks < 2*c.HeartbeatTicks, "main nodes suspected after %d ticks: need at least two heartbeats (%d ticks)", c.SuspectTicks, 2*c.HeartbeatTicks)
}

// asked is the nodes that are asked to vote in slot s.
func (r *Replica) asked(s wire.Slot) nodeSet {
	nodes := r.configOf(s).nodes
	switch {
	case r.aux.nodes == 0:
	case r.aux.engaged:
		r.aux.last = max(r.aux.last, s)
	default:
		nodes &^= r.aux.nodes
	}
	return nodes
}

// leadMains starts the count of a new leader. If main nodes are not among those that promised, the auxiliaries are asked from the start:
// one of the last leader's nodes is probably gone. found is the slot after those in which somebody may have voted.
func (r *Replica) leadMains(found wire.Slot) {
	a := &r.aux
	if a.nodes == 0 {
		return
	}
	*a = auxiliaries{nodes: a.nodes, last: found, chosen: r.chosen, moved: r.now}
	if !r.canChoose(r.grants.nodes &^ a.nodes) {
		a.engaged = true
		r.event(Event{Kind: EventEngaged, Ballot: r.ballot, Slot: r.prepFrom})
	}
}

// mainsUp is the main nodes that seem able to vote: they answer, have room, and are not far behind.
func (r *Replica) mainsUp() nodeSet {
	up := nodeSet(0).with(r.self)
	for i := range r.peers {
		p := &r.peers[i]
		if i != r.self && !r.aux.nodes.has(i) && r.now-p.seen < uint64(r.c.SuspectTicks) && !p.crowded && p.chosen+closeSlots >= r.chosen {
			up = up.with(i)
		}
	}
	return up & r.members
}

// auxTick decides whether auxiliaries are asked. That a main node answers is not enough: what it is sent may be lost all the same, so
// slots that stay open count as well.
func (r *Replica) auxTick() {
	a := &r.aux
	if a.nodes == 0 {
		return
	}
	if a.chosen != r.chosen || r.inFlight() == 0 {
		a.chosen, a.moved = r.chosen, r.now
	}
	patience := uint64(r.c.SuspectTicks)
	switch well := r.canChoose(r.mainsUp()) && r.now-a.moved < patience; {
	case !well:
		a.well = 0
		if !a.engaged {
			r.engage()
		}
	case a.engaged && a.well == 0:
		a.well, a.goal = r.now, r.chosen
	case a.engaged && r.now-a.well >= patience && r.held() >= a.goal:
		a.engaged, a.well = false, 0
		r.event(Event{Kind: EventReleased, Ballot: r.ballot, Slot: r.next})
	}
	if upTo := min(a.last, r.chosen); r.held() < upTo { // an idle cluster hears no votes that say how much their nodes hold
		behind := nodeSet(0)
		for i := range r.peers {
			if i != r.self && !a.nodes.has(i) && r.holds(i) < upTo {
				behind = behind.with(i)
			}
		}
		r.askLate(behind, upTo)
	}
}

// engage asks the auxiliaries to vote in the slots that are open, and from now on.
func (r *Replica) engage() {
	r.aux.engaged = true
	r.event(Event{Kind: EventEngaged, Ballot: r.ballot, Slot: r.chosen + 1})
	r.tellHeld()
	for s := r.chosen + 1; s < r.next; s++ {
		if e := r.log.get(s); !e.chosen {
			r.broadcastFrame(e.frame, 0, r.asked(s)&r.aux.nodes)
		}
	}
}

// holds is how much of what is chosen node i, a main one, holds durably: as much as it said it had learned, when all that it told was
// durable, and the slots behind in which its vote was counted at this leader's ballot, at which they were chosen.
func (r *Replica) holds(i int) wire.Slot {
	p := &r.peers[i]
	for {
		e := r.log.get(p.learned + 1)
		if e == nil || !e.prefix || e.votes.ballot != r.ballot || !e.votes.nodes.has(i) {
			return p.learned
		}
		p.learned++
	}
}

// held is how much every main node holds.
func (r *Replica) held() wire.Slot {
	all := r.chosen
	for i := range r.peers {
		if !r.aux.nodes.has(i) && !(plant.Is(plant.HeldByOneMain) && i != r.self) {
			all = min(all, r.holds(i))
		}
	}
	return all
}

// tellHeld tells the auxiliaries what they may forget, and takes note of what this replica will hold when its disk has caught up.
func (r *Replica) tellHeld() {
	a := &r.aux
	if a.nodes == 0 {
		return
	}
	if r.durable >= a.mark {
		p := &r.peers[r.self]
		p.learned = max(p.learned, a.own)
		a.own, a.mark = r.chosen, r.lsn
	}
	if s := r.held(); s > 0 {
		r.sendTo(a.nodes, &wire.Message{Kind: wire.KindHeld, Slot: s}, 0)
	}
}

// onHeld takes the word that every main node holds what is chosen up to a slot. It is true for ever.
func (r *Replica) onHeld(m *wire.Message) {
	switch {
	case r.aux.nodes == 0:
		r.ignored++
	case r.aux.self:
		r.skip(m.Slot)
	case !r.suspect.on:
		r.heldHere(m.Slot, m.From)
	}
}

// heldHere takes what this replica, a main one, holds in slots up to s as chosen: A3.
func (r *Replica) heldHere(s wire.Slot, from wire.NodeID) {
	for t := r.chosen + 1; t <= min(s, r.log.last()); t++ {
		if e := r.log.get(t); e.frame != nil && !e.chosen {
			r.nowChosen(t, e)
		}
	}
	r.learnAnnounced()
	if r.chosen < s {
		r.becomeSuspect(fmt.Sprintf("node %d was told that this one holds what is chosen up to slot %d; it holds that up to slot %d", from, s, r.chosen))
	}
}

// skip forgets the votes of this replica, an auxiliary, in slots up to s.
func (r *Replica) skip(s wire.Slot) {
	if s <= r.trimmed {
		return
	}
	forgot := r.log.count > 0 && r.log.base <= s
	r.log.dropTo(s)
	r.trimmed = s
	if s > r.chosen {
		r.chosen, r.sum = s, 0
		r.fetch = fetchState{size: r.fetch.size}
	}
	r.applied = r.chosen
	if forgot {
		r.event(Event{Kind: EventForgot, Slot: s})
	}
	r.learnAnnounced()
	if r.suspect.on && r.suspect.attempt != 0 && r.suspect.lsn == 0 {
		for i := range r.peers {
			r.askPromise(i)
		}
	}
}

// reaches says whether an auxiliary can vote in slot m.Slot. It does not know how far its leader is, but for what m says, and its log
// begins where it was asked to vote: so what bounds it is the distance to what else it holds.
func (r *Replica) reaches(m *wire.Message) bool {
	if m.Slot == 0 || m.Slot <= m.Chosen || m.Slot-m.Chosen > wire.SlotsAheadMax {
		return false
	}
	return r.log.count == 0 || m.Slot+wire.SlotsAheadMax >= r.log.base && m.Slot <= r.log.last()+wire.SlotsAheadMax
}

// gap is the last slot that an auxiliary asks for to be taught: it needs only what lies between slots that it voted in and T, so that it
// can teach all of them to others. More than what was chosen between two words of T is not worth while.
func (r *Replica) gap() wire.Slot {
	if s := min(r.told.upTo, r.log.last()); s <= r.chosen+2*wire.WindowMax {
		return s
	}
	return 0
}
