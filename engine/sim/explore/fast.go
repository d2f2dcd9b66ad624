package explore

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// What is different in scopes of mode fast. Ballots come in pairs: an even counter is a fast ballot, at which any node sends a value
// straight to the acceptors and each of them votes for what comes first; the next counter is the classic ballot of the same owner,
// which settles single slots of it (Fast Paxos, sections 3.1 and 3.2). So at a fast ballot a slot may have several values,
// it takes more votes to choose one, and a promise for the classic ballot holds in one slot.

// fast says whether b is a fast ballot.
func (v *vocabulary) fast(b wire.Ballot) bool { return v.scope.Fast && b.Counter()&1 == 0 }

// wide is the ballot that a node which promises b in one slot has promised in all.
func (n *node) wide(b wire.Ballot) wire.Ballot {
	if n.c.Fast {
		return b &^ (1 << 32)
	}
	return b
}

// quorum is how many votes at ballot b choose: a majority, at a fast ballot three quarters (Fast Paxos, section 3.1). It is worked out here
// anew: what is checked must not rest on the core's sum.
func (v *vocabulary) quorum(b wire.Ballot) int {
	n := v.scope.Nodes
	if v.fast(b) {
		return (3*n + 3) / 4
	}
	return n/2 + 1
}

// oneVote: a node votes once in a slot and a ballot (S2; action 2b of Fast Paxos, section 3.1).
func (t *truth) oneVote() *Violation {
	for i, f := range t.nodes {
		for k := 1; k < len(f.votes); k++ {
			if a, b := f.votes[k-1], f.votes[k]; a.slot == b.slot && a.ballot == b.ballot {
				return &Violation{"S2", wire.NodeID(i + 1), a.slot, fmt.Sprintf("votes for %s and for %s at ballot %v", t.v.name(a.value), t.v.name(b.value), a.ballot)}
			}
		}
	}
	return nil
}

// fastTally is a node's count of the votes for a value at a fast ballot.
type fastTally struct {
	slot   wire.Slot
	ballot wire.Ballot
	tag    uint64
	nodes  uint64
}

// slotTally is a coordinator's count of the promises for one slot.
type slotTally struct {
	slot   wire.Slot
	ballot wire.Ballot
	nodes  uint64
}

// fastTallies: who is counted in a fast round has made durable what he is counted for (T): the vote for that very value, the promise for that
// very slot.
func (t *truth) fastTallies(i int, f *facts) *Violation {
	for j, other := range t.nodes {
		for _, c := range f.counted {
			if c.nodes&(1<<j) != 0 && !slices.ContainsFunc(other.votes, func(v vote) bool {
				return v.slot == c.slot && v.ballot == c.ballot && t.v.tag(v.value) == c.tag
			}) {
				return &Violation{"T", wire.NodeID(i + 1), c.slot, fmt.Sprintf("counts a vote of node %d at ballot %v for tag %x that its disk does not hold", j+1, c.ballot, c.tag)}
			}
		}
		for _, c := range f.asked {
			if c.nodes&(1<<j) != 0 && other.slotPromise(c.slot) < c.ballot {
				return &Violation{"T", wire.NodeID(i + 1), c.slot, fmt.Sprintf("counts a promise of node %d at ballot %v, whose disk holds promise %v", j+1, c.ballot, other.slotPromise(c.slot))}
			}
		}
	}
	return nil
}

// slotPromise is the durable promise that holds in a slot.
func (f *facts) slotPromise(s wire.Slot) wire.Ballot { return max(f.promise, promiseAt(f.slots, s)) }

func promiseAt(list []wire.Ballot, s wire.Slot) wire.Ballot {
	if int(s) < len(list) {
		return list[s]
	}
	return 0
}

// tag is that of a value.
func (v *vocabulary) tag(id valueID) uint64 {
	b, err := wire.ParseBatch([]byte(v.values[id-1]))
	if err != nil {
		panic("BUG: explore: " + err.Error())
	}
	return b.Tag()
}

// keepSlot notes what a durable record promises in its slot (S5: it only grows).
func (n *node) keepSlot(r *record) {
	if !n.c.Fast || r.Slot == 0 {
		return
	}
	if was := promiseAt(n.slots, r.Slot); r.Ballot < was {
		n.fail("S5", r.Slot, "%v at ballot %v is recorded after a promise of ballot %v in that slot", r.Kind, r.Ballot, was)
	}
	for len(n.slots) <= int(r.Slot) {
		n.slots = append(n.slots, 0)
	}
	n.slots[r.Slot] = max(n.slots[r.Slot], r.Ballot)
}

// recoveredSlots checks that a restarted node remembers its promises for single slots.
func (n *node) recoveredSlots() {
	for s, want := range n.slots {
		if got := promisedIn(n.r, wire.Slot(s)); got < want {
			n.fail("S5", wire.Slot(s), "restarted with promise %v in the slot, its disk had made %v durable", got, want)
		}
	}
}

// emitFast is what emit checks of the messages that only this mode has (S3).
func (n *node) emitFast(m *wire.Message) {
	switch {
	case m.Scope == wire.ScopeSlot && m.Kind == wire.KindPrepare, m.Kind == wire.KindPromise && m.Ballot != n.wide(m.Ballot):
		if got := max(n.promise, promiseAt(n.slots, m.Slot)); got < m.Ballot {
			n.fail("S3", m.Slot, "%v at ballot %v leaves, its disk holds promise %v", m.Kind, m.Ballot, got)
		}
	case m.Kind == wire.KindFastAccepted:
		for i := range m.Count {
			if s := m.Slot + wire.Slot(i); !slices.ContainsFunc(n.voted, func(v vote) bool {
				return v.slot == s && v.ballot == m.Ballot && n.v.tag(v.value) == m.Tag+uint64(i)
			}) {
				n.fail("S3", s, "FastAccepted at ballot %v for tag %x leaves, its disk does not hold the vote", m.Ballot, m.Tag+uint64(i))
			}
		}
	}
}

// beyond says whether m is about a slot above the scope's: then it is lost on the way.
func (c *Scope) beyond(m *wire.Message) bool {
	switch m.Kind {
	case wire.KindAccept, wire.KindLearn, wire.KindFetch:
	case wire.KindPrepare:
		if m.Scope != wire.ScopeSlot {
			return false
		}
	case wire.KindFastAccepted, wire.KindFastChosen, wire.KindChosen:
	default:
		return false
	}
	return m.Slot > c.Slots
}

// isOpen says whether a coordinator has a slot to settle that nothing yet happens to at its classic ballot.
func (n *node) isOpen(st *paxos.Status) bool {
	if st.Role != paxos.Leader {
		return false
	}
	f := fastOf(n.r)
	used, settling := wire.Slot(f.FieldByName("used").Uint()), f.FieldByName("settling")
	log := reflect.ValueOf(n.r).Elem().FieldByName("log")
	base := wire.Slot(log.FieldByName("base").Uint())
	for s := st.Chosen + 1; s <= min(used, n.c.Slots); s++ {
		if i := int(s - base); i < int(log.FieldByName("count").Int()) {
			e := entryAt(log, i)
			if e.FieldByName("chosen").Bool() || e.FieldByName("ballot").Uint() > uint64(st.Ballot) {
				continue
			}
		}
		found := false
		for i := range settling.Len() {
			found = found || settling.Index(i).Elem().FieldByName("slot").Uint() == uint64(s)
		}
		if !found {
			return true
		}
	}
	return false
}

// settleLate lets time pass until the coordinator has settled what is open, however short a while that has been. The heartbeats of
// that time are lost, as they may be.
func (n *node) settleLate() {
	n.quietBeats = true
	for range holeTicks + 1 {
		n.tick()
		if n.r.Status().Role != paxos.Leader {
			panic("BUG: explore: waiting for a slot ended a leadership: electionTicks is too small")
		}
		n.collect()
	}
	n.quietBeats = false
	n.count("slots settled late")
}

// counts says whether a node with this status counts votes at ballot b with Replica's tally for one value: so does everybody at a classic
// ballot of a fast round, else the leader at its own.
func (n *node) counts(st *paxos.Status, b wire.Ballot) bool {
	if n.c.Fast {
		return b != n.wide(b)
	}
	return st.Role == paxos.Leader && b == st.Ballot
}

func fastOf(r *paxos.Replica) reflect.Value {
	return reflect.ValueOf(r).Elem().FieldByName("fast").Elem()
}

// fastTallies reads what a replica counts at fast ballots, and the promises that it counts for single slots.
func fastTallies(r *paxos.Replica) (votes []fastTally, promises []slotTally) {
	log := reflect.ValueOf(r).Elem().FieldByName("log")
	base := wire.Slot(log.FieldByName("base").Uint())
	for i := range held(log) {
		v := entryAt(log, i).FieldByName("fast")
		if v.IsNil() {
			continue
		}
		values := v.Elem().FieldByName("values")
		for k := range values.Len() {
			t := values.Index(k)
			votes = append(votes, fastTally{
				slot: base + wire.Slot(i), ballot: wire.Ballot(v.Elem().FieldByName("ballot").Uint()),
				tag: t.FieldByName("tag").Uint(), nodes: t.FieldByName("nodes").Uint(),
			})
		}
	}
	for list, i := fastOf(r).FieldByName("settling"), 0; i < list.Len(); i++ {
		u := list.Index(i).Elem()
		g := u.FieldByName("grants")
		promises = append(promises, slotTally{wire.Slot(u.FieldByName("slot").Uint()), wire.Ballot(g.FieldByName("ballot").Uint()), g.FieldByName("nodes").Uint()})
	}
	return votes, promises
}

// promisedIn reads a replica's promise for a slot.
func promisedIn(r *paxos.Replica, s wire.Slot) wire.Ballot {
	v := reflect.ValueOf(r).Elem()
	all, log := wire.Ballot(v.FieldByName("promised").Uint()), v.FieldByName("log")
	base := log.FieldByName("base").Uint()
	if i := int(uint64(s) - base); uint64(s) >= base && i < int(log.FieldByName("count").Int()) {
		return max(all, wire.Ballot(entryAt(log, i).FieldByName("promised").Uint()))
	}
	return all
}

// blankFast blanks what nobody reads of the messages of this mode, as vocabulary.message does of the others: the chosen prefix, of which
// only the coordinator's word counts, and those who ask for what they missed (no such scope has Fetches).
func blankFast(m *wire.Message) {
	switch m.Kind {
	case wire.KindFastAccepted, wire.KindFastChosen, wire.KindChosen:
		m.Chosen = 0
	case wire.KindPromise:
		if m.Ballot.Counter()&1 == 1 {
			m.Chosen = 0
		}
	case wire.KindAccept:
		if m.From != m.Ballot.Node() {
			m.Chosen = 0
		}
	}
}

// deaf says that this node, while it follows, counts no votes, its own among them: so its memory does not depend on what is durable, which
// Reductions.Sync takes for granted. In fast rounds who proposes counts, and who may lead.
func (n *node) deaf() bool {
	return !n.c.Fast || n.i > 0 && of(n.c.Values, n.i) == 0 && of(n.c.Campaigns, n.i) == 0
}
