package paxos

import (
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The coordinator of fast rounds: the leader. It counts votes like any learner, and settles, at the classic ballot above its
// fast one, the slots that the fast round leaves open: those with votes for several values (a collision), those that too few
// nodes have voted in, those that nobody has used. It knows what to propose there from a quorum whose members vote no
// more in that slot at the fast ballot: who has voted votes but once (coordinated recovery, Fast Paxos, section 3.2); who has
// not is asked for a promise for that slot alone.

// settling is a slot for which promises are collected.
//
// Invariant: classicOf(Replica.ballot) is this replica's promise for the slot.
type settling struct {
	slot   wire.Slot
	grants tally
	found  choice
	frames []*wire.Buffer // that found has views into; one reference each
	lsn    wire.LSN       // record of the own promise
	at     uint64         // tick of the last Prepare
	began  uint64         // tick of the last sign of life in the slot
}

// openRounds opens the fast round at the end of phase 1: every slot from here on takes any node's value.
func (r *Replica) openRounds(from wire.Slot) {
	f := r.fast
	f.led = r.now
	f.open = opening{r.ballot, from}
	f.used = from - 1
	r.sendAny()
}

func (r *Replica) sendAny() {
	r.broadcast(&wire.Message{Kind: wire.KindAny, Ballot: r.fast.open.ballot, Slot: r.fast.open.from}, 0)
}

// reachable says that enough nodes answer for a fast quorum. As long as they do not, waiting for one is in vain.
func (r *Replica) reachable() bool {
	alive := nodeSet(0).with(r.self)
	for i := range r.peers {
		if i != r.self && r.now-r.peers[i].seen < uint64(r.c.ElectionTicks) {
			alive = alive.with(i)
		}
	}
	for c := range r.configs {
		if m := &r.configs[c]; (alive & m.nodes).size() < m.fast {
			return false
		}
	}
	return true
}

// settleEarly settles slot s if a quorum has voted there and no value can get a fast quorum any more.
func (r *Replica) settleEarly(s wire.Slot, e *entry) {
	m, voters := r.configOf(s), e.fast.voters()
	if !m.prepared(voters) || e.ballot >= classicOf(r.ballot) || r.findSettling(s) != nil {
		return
	}
	best := 0
	for _, v := range e.fast.values {
		best = max(best, v.nodes.size())
	}
	if best+(m.nodes&^voters).size() < m.fast || !r.reachable() {
		r.settleVoted(s, e)
	}
}

// settleVoted settles slot s by the votes that a quorum has told of: they are promises for the classic ballot as well. If the
// value is not at hand phase 1 asks for it.
func (r *Replica) settleVoted(s wire.Slot, e *entry) {
	v := e.fast
	counts := make([]int, len(v.values))
	for i := range v.values {
		counts[i] = v.values[i].nodes.size()
	}
	i, must := chooseFast(counts, r.rule(s, v.voters()))
	f := r.valueAt(e, v.values[i].tag)
	if f == nil && !must { // any will do
		f = e.frame
		if e.ballot != v.ballot {
			f = nil
		}
	}
	if f == nil {
		r.startSettling(s, e)
		return
	}
	r.fast.stats.Recovered++
	r.proposeClassic(s, copyAccept(wire.TrustedValue(f).Bytes()))
}

// valueAt is a frame with the value that has a tag, among those that this replica got for a slot; nil: it has none.
func (r *Replica) valueAt(e *entry, tag uint64) *wire.Buffer {
	if e.frame != nil && e.ballot == e.fast.ballot && e.tag() == tag {
		return e.frame
	}
	return e.fast.keeps(tag)
}

// keptMax bounds the values kept of one slot: more than two that collide are rare, and can be asked for.
const keptMax = 2

// collided keeps the value of an Accept that came second, if this replica has to settle the slot.
func (r *Replica) collided(m *wire.Message, e *entry) {
	if r.role != Leader || m.Ballot != r.ballot {
		return
	}
	v := r.votesAt(e, m.Ballot)
	if v == nil || len(v.kept) == keptMax || v.keeps(m.Value.Tag()) != nil || r.fast.kept+int64(m.Frame.Len()) > r.c.AheadBytesMax {
		return
	}
	v.kept = append(v.kept, m.Frame.Retain())
	r.fast.kept += int64(m.Frame.Len())
}

// keeps is the kept frame of the value with a tag, or nil.
func (v *fastVotes) keeps(tag uint64) *wire.Buffer {
	for _, f := range v.kept {
		if wire.TrustedValue(f).Tag() == tag {
			return f
		}
	}
	return nil
}

// unkeep takes what v keeps out of the account; reset releases it.
func (r *Replica) unkeep(v *fastVotes) {
	for _, f := range v.kept {
		r.fast.kept -= int64(f.Len())
	}
}

// findSettling returns the run of promises for slot s, or nil.
func (r *Replica) findSettling(s wire.Slot) *settling {
	for _, u := range r.fast.settling {
		if u.slot == s {
			return u
		}
	}
	return nil
}

// dropSettling ends it.
func (r *Replica) dropSettling(s wire.Slot) {
	f := r.fast
	for i, u := range f.settling {
		if u.slot == s {
			u.release()
			f.settling = slices.Delete(f.settling, i, i+1)
			return
		}
	}
}

func (u *settling) release() {
	for _, f := range u.frames {
		f.Release()
	}
	u.frames = nil
}

// dropAllSettling ends all: this replica leads no more.
func (r *Replica) dropAllSettling() {
	for _, u := range r.fast.settling {
		u.release()
	}
	r.fast.settling = r.fast.settling[:0]
}

// startSettling asks for promises in slot s alone.
func (r *Replica) startSettling(s wire.Slot, e *entry) {
	b := classicOf(r.ballot)
	u := &settling{slot: s, grants: tally{ballot: b}, at: r.now, began: e.sent}
	r.fast.settling = append(r.fast.settling, u)
	u.lsn = r.recordSlotPromise(s, e, b)
	r.own.push(ownRecord{slot: s, ballot: b, lsn: u.lsn, promise: true})
	r.fast.stats.Prepared++
	r.event(Event{Kind: EventFinishing, Ballot: b, Slot: s})
	r.askSettling(u)
}

func (r *Replica) askSettling(u *settling) {
	u.at = r.now
	r.sendTo((r.configOf(u.slot).nodes &^ u.grants.nodes).without(r.self), &wire.Message{
		Kind: wire.KindPrepare, Scope: wire.ScopeSlot, Ballot: u.grants.ballot, Slot: u.slot, Incarnations: r.stamp,
	}, u.lsn)
}

// onSettlePromise takes a promise for one slot.
func (r *Replica) onSettlePromise(m *wire.Message, from int) {
	u := r.findSettling(m.Slot)
	if !r.fresh(m, from) || u == nil || r.role != Leader || u.grants.ballot != m.Ballot || m.First > m.Slot || m.Last < m.Slot {
		return
	}
	if m.Trimmed >= u.slot { // it is only in that peer's snapshot
		r.send(m.From, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: max(m.Trimmed, r.chosen+1)}, 0)
		return
	}
	if u.grants.nodes.has(from) || !r.configOf(u.slot).nodes.has(from) {
		return
	}
	for it := m.IterVotes(); ; {
		v, ok := it.Next()
		if !ok {
			break
		}
		if v.Slot == u.slot {
			u.found.add(v)
			u.frames = append(u.frames, m.Frame.Retain())
		}
	}
	r.promisedFor(u, from)
}

// settlePromised counts the own promise once it is on the disk.
func (r *Replica) settlePromised(s wire.Slot, b wire.Ballot) {
	u := r.findSettling(s)
	if u == nil || r.role != Leader || u.grants.ballot != b || u.grants.nodes.has(r.self) {
		return
	}
	if e := r.log.get(s); e.frame != nil {
		u.found.add(wire.Vote{Slot: s, Ballot: e.ballot, Value: e.value()})
		u.frames = append(u.frames, e.frame.Retain())
	}
	r.promisedFor(u, r.self)
}

// promisedFor counts node i's promise; a quorum is asked to vote for what the choice rule says, or else for a no-op.
func (r *Replica) promisedFor(u *settling, i int) {
	if u.grants.add(u.grants.ballot, i); !r.configOf(u.slot).prepared(u.grants.nodes) {
		return
	}
	f := wire.NewNoopAccept()
	if u.found.Ballot != 0 {
		f.Release()
		v, _ := u.found.pick(r.rule(u.slot, u.grants.nodes))
		f = copyAccept(v.Value.Bytes())
	} else {
		r.fast.stats.Holes++
		r.fast.stats.HoleTicks += r.now - u.began
	}
	s := u.slot
	r.fast.stats.Recovered++
	r.dropSettling(s)
	r.proposeClassic(s, f)
}

// proposeClassic runs phase 2 of slot s at the classic ballot, with an Accept that is not yet sealed.
func (r *Replica) proposeClassic(s wire.Slot, f *wire.Buffer) {
	b := classicOf(r.ballot)
	e := r.log.ensure(s)
	if e.chosen || e.frame != nil && e.ballot >= b {
		panic(fmt.Sprintf("BUG: paxos: settling slot %d at ballot %v over a vote at %v (chosen: %v)", s, b, e.ballot, e.chosen))
	}
	wire.SealAcceptIn(f, r.c.Cluster, r.c.Group, r.c.Self, b, s, r.chosen, wire.ScopeSlot)
	r.log.put(e, f, b)
	r.raiseSlot(e, b)
	r.broadcastFrame(f, 0, r.configOf(s).nodes)
	r.record(wire.Record{
		Kind: wire.KindAccept, Group: r.c.Group, Ballot: b, Slot: s, Chosen: r.chosen, Scope: wire.ScopeSlot, Frame: f.Retain(),
	})
	r.acked(r.self, b, s, 0)
}

// settleTick looks after the slots above the chosen prefix: phase 2 of those being settled is repeated, and those that have been
// open for too long are settled.
func (r *Replica) settleTick() {
	f := r.fast
	for s := r.chosen + 1; s <= min(f.used, r.chosen+r.reach()); s++ {
		e := r.log.ensure(s)
		switch u := r.findSettling(s); {
		case e.chosen:
		case u != nil:
			if r.now-u.at >= uint64(r.c.RetransmitTicks) {
				r.askSettling(u)
			}
		case e.frame != nil && e.ballot == classicOf(r.ballot):
			if r.now-e.sent >= uint64(r.c.RetransmitTicks) {
				e.sent = r.now
				missing := (r.configOf(s).nodes &^ e.votes.nodes).without(r.self)
				r.resent += uint64(missing.size())
				r.broadcastFrame(e.frame, 0, missing)
			}
		default:
			if e.sent < f.led || e.sent == 0 || e.frame == nil && r.full(s) {
				// Now it is known of; or its value was refused for lack of room: nobody can vote for it before it is the next slot.
				e.sent = r.now
			}
			if r.now-e.sent >= uint64(r.c.HoleTicks) {
				r.settleLate(s, e)
			}
		}
	}
}

// settleLate settles a slot that has been open for too long.
func (r *Replica) settleLate(s wire.Slot, e *entry) {
	if len(r.fast.settling) >= r.c.Window {
		return
	}
	if r.configOf(s).prepared(e.votersAt(r.ballot)) {
		r.settleVoted(s, e)
		return
	}
	r.startSettling(s, e)
}

// plantAny is the mistake of opening the fast round before phase 1 has ended.
func (r *Replica) plantAny() {
	if r.fast != nil && plant.Is(plant.AnyBeforePromises) {
		r.broadcast(&wire.Message{Kind: wire.KindAny, Ballot: r.ballot, Slot: r.prepFrom}, r.prepLSN)
	}
}
