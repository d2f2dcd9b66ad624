package explore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// nodeState numbers the states that one node was seen in, from 0, the first one.
type nodeState uint32

// edge is a step of one node.
type edge struct {
	to nodeState
	in input
}

// local is a state of one node. What it does next depends on nothing else, so each of its steps is worked out once, with the real
// replica, however many states of the cluster it occurs in.
type local struct {
	parent  nodeState // the state, and the input, that it was first reached by
	in      input
	outbox  []uint32 // by node: number of the set of messages sent to it
	facts   uint32   // number of what the properties need to know
	inner   []edge   // nil: not worked out
	crash   []edge   // nil: not worked out
	crashes uint8
	reads   bool // may ask for a read
	reached uint8
	active  bool // is a candidate or a leader
	calm    bool // a follower whose disk has something to finish
	fault   *Violation
}

// space holds the states of the nodes, each node's apart.
type space struct {
	c       *Scope
	r       Reductions
	v       *vocabulary
	enc     *encoder
	disks   []map[string][]byte    // by node: canonical forms of recovered replicas
	locals  [][]local              // by node
	byForm  []map[string]nodeState // by node
	taken   []map[uint64]nodeState // by node: state and message to state
	arrive  []map[uint64][]edge    // by node: state and outbox of another node to the steps of it
	outbox  map[string]uint32      // sets of messages
	boxes   [][]msgID
	facts   map[string]uint32
	known   []facts
	counts  map[string]uint64 // coverage: distinct steps of one node in which something happened
	steps   uint64            // steps worked out with a real replica
	replays uint64            // inputs given again to get there
}

func newSpace(c *Scope, r Reductions, only []string) *space {
	s := &space{
		c: c, r: r, v: newVocabulary(c, r, only), outbox: map[string]uint32{}, facts: map[string]uint32{}, counts: map[string]uint64{},
	}
	s.enc = newEncoder(c, s.v, r)
	s.v.prelude = prelude(c, s.v)
	for i := range c.Nodes {
		s.disks = append(s.disks, map[string][]byte{})
		s.locals = append(s.locals, nil)
		s.byForm = append(s.byForm, map[string]nodeState{})
		s.taken = append(s.taken, map[uint64]nodeState{})
		s.arrive = append(s.arrive, map[uint64][]edge{})
		n := newNode(c, s.v, i)
		s.intern(n, 0, input{})
		n.close()
	}
	return s
}

func (s *space) close() { s.v.close() }

// materialize makes a node in a state, by giving a new one the inputs that first led there.
//
// Why not a copy of a replica: a copy has to know every field, and one that it forgets, or shares with the original, makes the
// search unsound without a word. Inputs are what the core promises to be a function of. The price is some tens of steps of less
// than a microsecond each, paid once for each step of a node and not once for each step of the cluster.
func (s *space) materialize(i int, at nodeState) *node {
	n := newNode(s.c, s.v, i)
	for _, in := range s.path(i, at) {
		n.take(in)
		s.replays++
	}
	return n
}

// path is the inputs that first led to a state.
func (s *space) path(i int, at nodeState) (inputs []input) {
	for ; at != 0; at = s.locals[i][at].parent {
		inputs = append(inputs, s.locals[i][at].in)
	}
	slices.Reverse(inputs)
	return inputs
}

// intern returns the number of the state that n is in, which was reached from parent by in.
func (s *space) intern(n *node, parent nodeState, in input) nodeState {
	i := n.i
	var form string
	if n.fault != nil {
		form = fmt.Sprint(parent, in, *n.fault)
	} else {
		form = string(n.encode(s.enc, s.disks[i]))
	}
	if at, ok := s.byForm[i][form]; ok {
		return at
	}
	at := nodeState(len(s.locals[i]))
	s.byForm[i][form] = at
	l := local{parent: parent, in: in, crashes: uint8(n.crashes), fault: n.fault}
	if n.fault == nil {
		st := n.r.Status()
		l.active = st.Role == paxos.Leader || st.Role == paxos.Preparing
		l.calm = st.Role == paxos.Follower && n.deaf() && n.open == 0 && n.synced < len(n.disk)
		l.reads = st.Role == paxos.Leader && n.reads < s.c.Reads
		l.reached = uint8(n.reached)
		l.facts = s.factsOf(n)
		for to := range s.c.Nodes {
			l.outbox = append(l.outbox, s.box(n, to))
		}
	}
	s.locals[i] = append(s.locals[i], l)
	return at
}

// box numbers the set of messages that n has sent to another node.
func (s *space) box(n *node, to int) uint32 {
	var ids []msgID
	key := []byte{}
	for _, id := range n.sent {
		if s.v.messages[id].to == to {
			ids = append(ids, id)
			key = binary.LittleEndian.AppendUint16(key, uint16(id))
		}
	}
	b, ok := s.outbox[string(key)]
	if !ok {
		b = uint32(len(s.boxes))
		s.outbox[string(key)] = b
		s.boxes = append(s.boxes, ids)
	}
	return b
}

// step works out what an input makes of a state. ok is false if nothing of the kind can happen.
func (s *space) step(i int, at nodeState, in input) (to nodeState, ok bool) {
	n := s.materialize(i, at)
	defer n.close()
	s.steps++
	n.coverage = s.counts
	if !n.take(in) {
		return 0, false
	}
	return s.intern(n, at, in), true
}

// innerSteps are the steps of a node by itself, crashes apart.
func (s *space) innerSteps(i int, at nodeState) []edge {
	if list := s.locals[i][at].inner; list != nil {
		return list
	}
	n := s.materialize(i, at)
	inputs := n.inner()
	n.close()
	list := s.edges(i, at, inputs)
	s.locals[i][at].inner = list
	return list
}

func (s *space) edges(i int, at nodeState, inputs []input) []edge {
	list := make([]edge, 0, len(inputs))
	for _, in := range inputs {
		if to, ok := s.step(i, at, in); ok && to != at {
			list = append(list, edge{to, in})
		}
	}
	return list
}

// crashSteps are the crashes of a node.
func (s *space) crashSteps(i int, at nodeState) []edge {
	if list := s.locals[i][at].crash; list != nil {
		return list
	}
	n := s.materialize(i, at)
	inputs := n.crashesNow()
	n.close()
	list := s.edges(i, at, inputs)
	s.locals[i][at].crash = list
	return list
}

// arrivals are the steps that a node can take with the messages of an outbox. Those that change nothing are left out.
func (s *space) arrivals(i int, at nodeState, box uint32) []edge {
	if len(s.boxes[box]) == 0 {
		return nil
	}
	key := uint64(at)<<32 | uint64(box)
	if list, ok := s.arrive[i][key]; ok {
		return list
	}
	list := []edge{}
	var probe *node // in state at, for as long as messages change nothing
	for _, id := range s.boxes[box] {
		for open := range 2 {
			in := input{op: opDeliver, arg: uint16(id), open: open == 1}
			if in.open && s.c.Turn < 2 {
				continue
			}
			to, ok := s.arrival(i, at, in, &probe)
			if ok && to != at {
				list = append(list, edge{to, in})
			}
		}
	}
	if probe != nil {
		probe.close()
	}
	s.arrive[i][key] = list
	return list
}

// arrival is one step of arrivals. probe is a node in state at, or nil; a message that changes nothing leaves it there.
func (s *space) arrival(i int, at nodeState, in input, probe **node) (to nodeState, ok bool) {
	key := uint64(at)<<32 | uint64(in.arg)<<1
	if in.open {
		key |= 1
	}
	if to, ok := s.taken[i][key]; ok {
		return to, true
	}
	if *probe == nil {
		*probe = s.materialize(i, at)
	}
	n := *probe
	if !n.takes(msgID(in.arg)) || in.open && n.open+1 >= s.c.Turn {
		return 0, false
	}
	n.coverage = s.counts
	s.steps++
	n.take(in)
	to = s.intern(n, at, in)
	if to != at || n.fault != nil {
		n.close()
		*probe = nil
	}
	s.taken[i][key] = to
	return to, true
}

// readStep is a read asked for when slots up to floor were done.
func (s *space) readStep(i int, at nodeState, floor uint8) (edge, bool) {
	key := uint64(at)<<32 | uint64(floor)<<1 | 1<<31
	in := input{op: opRead, arg: uint16(floor)}
	to, ok := s.taken[i][key]
	if !ok {
		if to, ok = s.step(i, at, in); !ok {
			return edge{}, false
		}
		s.taken[i][key] = to
	}
	return edge{to, in}, to != at
}

// facts is what the properties need to know of a node's state: the votes on its disk, what it proposed, what it takes for chosen
// and what it counts.
type facts struct {
	votes    []vote
	proposed []vote
	learned  []vote
	prefix   wire.Slot   // claimed or learned
	promise  wire.Ballot // durable
	counting wire.Ballot // the ballot of promised
	promised uint64
	accepted []tally

	// In fast rounds.
	slots   []wire.Ballot // durable, by slot
	counted []fastTally   // by anybody
	asked   []slotTally   // by a coordinator
}

// tally is a leader's count of votes.
type tally struct {
	slot   wire.Slot
	ballot wire.Ballot
	nodes  uint64
}

// factsOf numbers the facts of a node.
func (s *space) factsOf(n *node) uint32 {
	st := n.r.Status()
	f := facts{votes: slices.Clone(n.voted), prefix: max(st.Chosen, n.claimed), promise: n.promise}
	for _, id := range n.sent {
		if m := &s.v.messages[id].m; m.Kind == wire.KindAccept {
			f.proposed = append(f.proposed, vote{m.Slot, m.Ballot, s.v.value(m.Value)})
		}
	}
	slices.SortFunc(f.proposed, compareVotes)
	f.proposed = slices.Compact(f.proposed)
	for _, e := range entries(s.v, n.r) {
		if e.chosen {
			f.learned = append(f.learned, vote{e.slot, 0, e.value})
		} else if n.counts(&st, e.counts) && e.voters != 0 && !e.told {
			f.accepted = append(f.accepted, tally{e.slot, e.counts, e.voters})
		}
	}
	if s.c.Fast {
		f.slots = slices.Clone(n.slots)
		f.counted, f.asked = fastTallies(n.r)
	}
	if st.Role == paxos.Preparing {
		f.counting, f.promised = grants(n.r)
	}
	key := fmt.Sprint(f)
	id, ok := s.facts[key]
	if !ok {
		id = uint32(len(s.known))
		s.facts[key] = id
		s.known = append(s.known, f)
	}
	return id
}
