package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The leader's part in a change of the membership. It goes through these steps, and is aborted, having changed nothing, when one
// before the last does not end:
//
//	catching up   a new node hears heartbeats and fetches what is chosen, snapshot included; it votes nowhere
//	covering      nodes of the new configuration promise the leader's ballot until they are a quorum of promises there
//	proposing     the change is the value of a slot, decided by the members of today
//	waiting       no-ops fill the slots up to the first one that the new members decide
//	settling      a quorum of them learns all slots before it, durably
//
// Why settling: a slot is held by a quorum of those who decided it. Without it a few changes, one node each, could lead to members of
// whom none was ever among those: {2}, {2,3}, {3} loses what 2 had decided alone, and 3 cannot even know that it is a
// member. A change begins when the last one has settled, and only if a quorum of the members that it leads to has
// learned what former members decided.

// MembersMax is the most members that a change may make: their sets, the members that leave, and a node that joins, fit into
// wire.NodesMax bits.
const MembersMax = wire.NodesMax - 4

// Change asks for one node more, or for one less: one of the two.
type Change struct {
	Add    wire.Member
	Remove wire.NodeID
}

// changing is a change under way here.
type changing struct {
	on     bool
	next   wire.Membership
	join   int       // index of the node that joins; -1: none
	slot   wire.Slot // in which it was proposed; 0: not yet
	since  uint64    // tick at which it began
	better uint64    // tick at which it last got nearer
	best   wire.Slot // chosen prefix of the node that joins, the highest
	mark   wire.LSN  // record that holds all that this leader had learned
}

// closeSlots is how far behind a node may be that is let in: what it misses between two heartbeats under load is less.
const closeSlots = wire.WindowMax

// How long a change may stand still, and last, before it is proposed, in ElectionTicks.
const (
	changeStuck = 20
	changeLong  = 1000
)

// ChangeError: what was asked of ChangeMembers is not possible. Nothing was done.
type ChangeError struct{ Reason string }

func (e *ChangeError) Error() string { return "paxos: membership not changed: " + e.Reason }

// ChangeMembers begins a change of the membership. Taken: EventChanged will say that it is done, or EventChangeFailed why not. Busy: another change is under way, or this leader is new. NotLeader: not here.
// An error (*ChangeError) says why it is not possible; the outcome is then Busy.
func (r *Replica) ChangeMembers(ch Change) (Outcome, error) {
	r.begin()
	switch {
	case r.c.Mode != ModeMulti:
		return Busy, &ChangeError{fmt.Sprintf("mode %v has a fixed membership, mode %v can change it", r.c.Mode, ModeMulti)}
	case r.c.Learn != LearnOne:
		return Busy, &ChangeError{fmt.Sprintf("with learners %v the membership is fixed, learners %v can change it", r.c.Learn, LearnOne)}
	case r.aux.nodes != 0:
		return Busy, &ChangeError{"with auxiliary nodes the membership is fixed"}
	case r.role != Leader:
		return NotLeader, nil
	case r.changing.on || len(r.configs) > 1 || len(r.proposed) > 0 || r.chosen < r.barrier || !r.settled:
		return Busy, nil
	}
	next, err := r.plan(ch)
	if err != nil {
		return Busy, err
	}
	g := changing{on: true, next: next, join: -1, since: r.now, better: r.now, mark: r.lsn}
	if ch.Add.Node != 0 {
		g.join = r.contact(ch.Add)
		p := &r.peers[g.join]
		p.seen, p.chosen = 0, 0
		r.joining = nodeSet(0).with(g.join)
	}
	r.changing = g
	r.driveChange()
	return Taken, nil
}

// plan works out the configuration that a change leads to.
func (r *Replica) plan(ch Change) (next wire.Membership, err error) {
	refuse := func(format string, args ...any) (wire.Membership, error) {
		return wire.Membership{}, &ChangeError{fmt.Sprintf(format, args...)}
	}
	now := &r.configs[0]
	next = wire.Membership{Base: now.Slot, Last: now.Last}
	n := len(now.Members)
	switch {
	case (ch.Add.Node == 0) == (ch.Remove == 0):
		return refuse("one node is added, or one removed, at a time")
	case ch.Add.Node != 0 && now.Has(ch.Add.Node):
		return refuse("node %d is a member already", ch.Add.Node)
	case ch.Add.Node != 0 && ch.Add.Node <= now.Last:
		return refuse("node id %d may have been used before: ids are never used again, the next is %d", ch.Add.Node, now.Last+1)
	case ch.Add.Node != 0 && n >= MembersMax:
		return refuse("%d nodes are members, the limit is %d", n, MembersMax)
	case ch.Remove != 0 && !now.Has(ch.Remove):
		return refuse("node %d is not a member", ch.Remove)
	case ch.Remove != 0 && n == 1:
		return refuse("node %d is the only member", ch.Remove)
	}
	for _, m := range now.Members {
		if m.Node != ch.Remove {
			next.Members = append(next.Members, m)
		}
	}
	if ch.Add.Node != 0 {
		next.Members = append(next.Members, ch.Add) // the highest id so far
		next.Last = ch.Add.Node
	}
	if err := r.c.Quorums.adjacent(n, len(next.Members)); err != nil {
		return refuse("%v", err)
	}
	if ch.Remove != 0 {
		alive, need := 0, r.c.Quorums.of(len(next.Members)).Accept
		for _, m := range next.Members {
			if i := r.index(m.Node); i == r.self || r.now-r.peers[i].seen < uint64(r.c.ElectionTicks) {
				alive++
			}
		}
		if alive < need {
			return refuse("without node %d only %d of %d nodes answer, and %d are needed", ch.Remove, alive, len(next.Members), need)
		}
	}
	return next, nil
}

// adjacent says what is wrong with the quorums of n nodes and of those that follow, one more or one less, showing the sum.
func (q Quorums) adjacent(n, next int) error {
	if err := q.Check(next); err != nil {
		return err
	}
	a, b, all := q.of(n), q.of(next), max(n, next)
	if sum := min(a.Prepare+b.Accept, b.Prepare+a.Accept); sum <= all {
		return fmt.Errorf("quorums p1=%d, p2=%d of %d nodes and p1=%d, p2=%d of %d may have no node in common: %d + %d = %d, need more than %d",
			a.Prepare, a.Accept, n, b.Prepare, b.Accept, next, min(a.Prepare, b.Prepare), sum-min(a.Prepare, b.Prepare), sum, all)
	}
	return nil
}

// driveChange takes a change a step further.
func (r *Replica) driveChange() {
	g := &r.changing
	if !g.on || g.slot != 0 {
		return
	}
	if g.join >= 0 {
		p := &r.peers[g.join]
		if p.chosen > g.best || p.seen > g.since && r.now-p.seen < uint64(r.c.ElectionTicks) {
			g.best, g.better = max(g.best, p.chosen), r.now
		}
		if p.seen <= g.since || p.chosen+closeSlots < r.chosen {
			r.checkStuckChange("node %d does not catch up")
			return
		}
	}
	c := r.configure(g.next)
	learned := r.learned(r.configs[0].From-1, g.mark)
	if !(c.prepared(r.grants.nodes) && c.chooses(learned)) && !plant.Is(plant.ChangeUncovered) {
		r.askLate(c.nodes&^(r.grants.nodes&learned), r.configs[0].From-1)
		r.checkStuckChange("not enough of the new members promise, or have learned what former members decided")
		return
	}
	if r.inFlight() >= r.c.Window || len(r.pending) > 0 || r.full(r.next) {
		return
	}
	s := r.next
	r.next++
	g.slot = s
	c.Slot, c.From = s, s+wire.Slot(r.c.Alpha)
	if plant.Is(plant.ConfigAtProposal) {
		c.From = s + 1
		r.configs = append(r.configs, c)
	}
	r.proposed = append(r.proposed, c)
	r.unite()
	r.event(Event{Kind: EventChanging, Slot: s, Ballot: r.ballot})
	r.proposeIn(s, wire.NewMembersAccept(&g.next))
}

// learned is the nodes that have learned every slot up to s, durably; those of this one are when record mark is.
func (r *Replica) learned(s wire.Slot, mark wire.LSN) (set nodeSet) {
	for i := range r.peers {
		if i == r.self && r.durable >= mark || i != r.self && r.peers[i].learned >= s {
			set = set.with(i)
		}
	}
	return set
}

// askLate asks nodes, now and then, for a promise of slots that lie beyond what is proposed: they tell how much they have
// learned as well. Those who have not learned slot s yet have nothing to tell.
func (r *Replica) askLate(nodes nodeSet, s wire.Slot) {
	for i := range r.peers {
		if r.peers[i].chosen < s {
			nodes = nodes.without(i)
		}
	}
	if g := &r.lateAsked; nodes != 0 && (*g == 0 || r.now-*g >= uint64(r.c.RetransmitTicks)) {
		*g = r.now
		m := wire.Message{Kind: wire.KindPrepare, Ballot: r.ballot, Slot: r.next + wire.Slot(r.c.Alpha), Incarnations: r.stamp}
		r.sendTo(nodes.without(r.self), &m, 0)
	}
}

// settle waits for a quorum of the members in force to learn what others decided before them.
func (r *Replica) settleMembers() {
	if r.settled || len(r.configs) > 1 || len(r.proposed) > 0 {
		return
	}
	c := &r.configs[0]
	if r.settleMark == 0 {
		r.settleMark = r.lsn
	}
	learned := r.learned(c.From-1, r.settleMark)
	if !c.chooses(learned) && !plant.Is(plant.ChangeUncovered) {
		r.askLate(c.nodes&^learned, c.From-1)
		return
	}
	r.settled = true
	if r.changing.on && r.changing.slot == c.Slot {
		r.changing, r.joining = changing{}, 0
	}
	r.event(Event{Kind: EventChanged, Slot: c.Slot, To: c.From})
}

// checkStuckChange gives up a change that does not get on.
func (r *Replica) checkStuckChange(why string) {
	g := &r.changing
	if r.now-g.better < changeStuck*uint64(r.c.ElectionTicks) && r.now-g.since < changeLong*uint64(r.c.ElectionTicks) {
		return
	}
	if g.join >= 0 {
		why = fmt.Sprintf("node %d does not catch up: it has learned slots up to %d, chosen is %d", r.nodes[g.join], r.peers[g.join].chosen, r.chosen)
	}
	r.abortChange(why)
}

// abortChange ends a change that this replica cannot take further. Once proposed it may be made all the same, by the next
// leader.
func (r *Replica) abortChange(why string) {
	if r.changing.on {
		r.event(Event{Kind: EventChangeFailed, Slot: r.changing.slot, Reason: why})
	}
	r.changing, r.joining = changing{}, 0
}

// onLatePromise counts a promise to a leader, by a node of the configuration that is to come. It reports votes for slots from that
// configuration's first on. There are none: they could only be cast under a configuration that has yet to be proposed.
// If there are, this replica does not understand what is going on, and asks everybody, by a new phase 1.
func (r *Replica) onLatePromise(m *wire.Message, from int) {
	r.peers[from].learned = max(r.peers[from].learned, m.Chosen) // it was durable before the message left
	first := r.next + wire.Slot(r.c.Alpha)                       // or later
	if !r.changing.on || r.changing.slot != 0 || m.First > first || m.Last != ^wire.Slot(0) {
		return
	}
	for it := m.IterVotes(); ; {
		v, ok := it.Next()
		if !ok {
			break
		}
		if v.Slot >= first && v.Ballot != r.ballot {
			r.stepDown(fmt.Sprintf("node %d voted in slot %d at ballot %v, of which nothing is known", m.From, v.Slot, v.Ballot))
			return
		}
	}
	r.grants.add(r.ballot, from)
	r.driveChange()
}

// proposePending proposes what phase 1 found in slots whose configuration was not known then.
func (r *Replica) proposePending() {
	for len(r.pending) > 0 && r.next <= r.chosen+wire.Slot(r.c.Alpha) {
		f, s := r.pending[0], r.next
		r.pending = r.pending[1:]
		r.next++
		if f == nil {
			continue // it was known to be chosen
		}
		if e := r.log.get(s); e != nil && e.chosen {
			f.Release()
			continue
		}
		r.proposeIn(s, f)
	}
}

// fill proposes no-ops up to the first slot of the configuration to come, so that it comes without clients as well. Half of
// the window stays theirs.
func (r *Replica) fill() {
	for len(r.configs) > 1 && r.next < r.newest().From && r.inFlight() < (r.c.Window+1)/2 && len(r.pending) == 0 &&
		r.chosen-r.applied <= wire.Slot(r.c.ApplyLagMax) && !r.full(r.next) {
		s := r.next
		r.next++
		r.proposeIn(s, wire.NewNoopAccept())
	}
}

// leadOn is what a leader does when slots were chosen.
func (r *Replica) leadOn() {
	if r.role == Leader && (len(r.pending) > 0 || len(r.configs) > 1) {
		r.proposePending()
		r.fill()
	}
}

// findChanges looks for changes among what phase 1 found and is about to be proposed again: whoever leads needs promises of the
// configurations that they make as well, because slots of those may have been decided. It says whether there is any.
func (r *Replica) findChanges(found []foundVote) bool {
	h := r.Memberships()
	for i := range found {
		s, v := r.prepFrom+wire.Slot(i), &found[i]
		if s <= r.chosen || v.Ballot == 0 || !v.Value.IsMembers() {
			continue
		}
		h = h.After(s, v.Value, r.c.Alpha)
		if m := h[len(h)-1]; m.Slot == s {
			r.proposed = append(r.proposed, r.configure(m))
		}
	}
	r.unite()
	return len(r.proposed) > 0
}
