package explore

import (
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// op is a kind of thing that happens to a node.
type op uint8

const (
	opDeliver  op = iota + 1 // message arg arrives
	opSync                   // the first arg records that are not durable become so
	opCrash                  // it stops, arg of those records survive, and it starts again
	opCampaign               // time passes until it starts an election, whatever it was before
	opPropose                // it is given a value
	opBeat                   // the leader sends a heartbeat
	opFetch                  // time passes until it asks for what it missed
	opHush                   // time passes until its leader has been silent for too long
	opRead                   // it is asked for a read, when arg slots were done
	opLate                   // fast rounds: time passes until the coordinator settles the slots that are open
	opOutput                 // it puts out what it has
)

// input is one step of one node. With open set the node does not put out what comes of it yet: more comes first.
type input struct {
	op   op
	open bool
	arg  uint16
}

// take applies an input. It says false if nothing of the kind can happen now.
func (n *node) take(in input) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			n.fail("BUG", 0, "%v", p)
			ok = true
		}
	}()
	switch in.op {
	case opDeliver:
		n.deliver(msgID(in.arg))
	case opSync:
		n.durable(int(in.arg))
	case opCrash:
		n.crash(int(in.arg))
		return true
	case opCampaign:
		return n.campaign()
	case opPropose:
		ok = n.propose()
		n.collect()
		return ok
	case opBeat:
		n.tick()
		if n.r.Status().Role != paxos.Leader {
			panic("BUG: explore: a heartbeat's tick ended a leadership: electionTicks is too small")
		}
	case opFetch:
		return n.askMissing()
	case opLate:
		n.settleLate()
	case opHush:
		for n.r.Status().Role == paxos.Follower && !quiet(n.r) {
			n.lose(n.tick)
		}
		return n.r.Status().Role == paxos.Follower
	case opRead:
		n.reads++
		n.readFloor = wire.Slot(in.arg)
		if n.r.Read(uint64(n.reads)) != paxos.Taken {
			return false
		}
	case opOutput:
	}
	if in.open {
		n.open++
		return true
	}
	n.collect()
	return true
}

// tick gives the replica a tick. Within a scope nothing is ever repeated or given up because so many have passed.
func (n *node) tick() {
	if n.ticks++; n.ticks >= lateTicks {
		panic("BUG: explore: lateTicks is too small for this scope")
	}
	n.r.Tick()
}

// deliver gives the replica a message.
func (n *node) deliver(id msgID) {
	msg := &n.v.messages[id]
	if n.c.Repeats != Any {
		at, found := slices.BinarySearch(n.got, id)
		if found {
			n.repeats++
		} else {
			n.got = slices.Insert(n.got, at, id)
		}
	}
	f := wire.GetCopy(msg.frame)
	defer f.Release()
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic("BUG: explore: " + err.Error())
	}
	n.r.Step(&m)
}

// crash stops the node and starts it again: the first keep records that were not durable survive, what it had not sent does
// not. Down for a while is the same as not being chosen for a while.
func (n *node) crash(keep int) {
	lost := len(n.disk) - n.synced - keep
	n.close()
	n.waiting = n.waiting[:0]
	n.disk = n.disk[:n.synced+keep]
	n.durable(keep)
	n.crashes++
	n.readFloor = 0
	for _, id := range n.sent {
		if m := &n.v.messages[id].m; m.Kind == wire.KindPrepare && !slices.Contains(n.spent, m.Ballot) {
			n.spent = append(n.spent, m.Ballot)
		}
	}
	if n.promise != 0 {
		n.count("restarts with a durable ballot")
	}
	if lost > 0 {
		n.count("restarts that lost records")
	}
	if len(n.voted) > 0 {
		n.count("restarts with durable votes")
	}
	n.start()
}

// lose runs f and loses what it sends.
func (n *node) lose(f func()) {
	n.hushing = true
	f()
	n.collect()
	n.hushing = false
}

// campaign lets time pass until the node starts an election. A leader resigns first. The heartbeats and Fetches of that time are
// lost, as they may be. Unless the scope plays the probe, one peer grants it unasked: the probe is there to spare the others
// an election that cannot succeed, changes nothing at the one who grants it, and no safety may rest on it.
func (n *node) campaign() bool {
	n.campaigns++
	n.led = true
	n.electionOn = false
	for i := 0; ; i++ {
		if i > 5*electionTicks {
			panic("BUG: explore: an election does not start")
		}
		n.tick()
		st := n.r.Status()
		if st.Role == paxos.Probing {
			break
		}
		n.lose(func() {})
	}
	if n.c.Probes {
		n.collect()
		return true
	}
	n.lose(func() {})
	peer := wire.NodeID(1)
	if n.i == 0 {
		peer = 2
	}
	m := wire.Message{Kind: wire.KindProbeAck, Group: 1, From: peer, Ballot: n.r.Status().Ballot, Granted: true}
	f := m.Encode(clusterID)
	defer f.Release()
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic("BUG: explore: " + err.Error())
	}
	n.r.Step(&m)
	n.collect()
	return n.electionOn
}

// propose gives a leader, or a node in an open fast round, its next value, if it would go into one of the scope's slots.
func (n *node) propose() bool {
	f := proposal(n.c.valueName(n.i, n.values))
	s, outcome := n.r.Propose(f)
	if outcome != paxos.Taken {
		f.Release()
		return false
	}
	n.values++
	return s <= n.c.Slots
}

// valueName is the k-th value of node index i: a, b, ... for the first node, and on from there.
func (c *Scope) valueName(i, k int) string {
	for j := range i {
		k += of(c.Values, j)
	}
	return string(rune('a' + k))
}

// askMissing lets time pass until a follower asks for the chosen slots it missed.
func (n *node) askMissing() bool {
	before := len(n.sent)
	for range 4 {
		n.tick()
		if n.r.Status().Role != paxos.Follower {
			panic("BUG: explore: a fetch's ticks started an election: electionTicks is too small")
		}
		n.collect()
		if len(n.sent) > before {
			return true
		}
	}
	return false
}

// inner lists what can happen to the node by itself, crashes apart.
//
// Reductions.Sync: the disk of a node that was no candidate in this life finishes all or nothing. Such a node's memory does not depend
// on what is durable, so a part of what is to be written being durable, and what waited for it sent, is met as well in the
// schedule in which the disk finished before the rest was written; of what one message wrote, nothing is told before all of it is
// durable; and what a crash leaves is any prefix in any case.
func (n *node) inner() (list []input) {
	if n.open > 0 {
		return append(list, input{op: opOutput})
	}
	st := n.r.Status()
	from := 1
	if n.v.whole && !n.led && n.deaf() {
		from = max(from, len(n.disk)-n.synced)
	}
	for k := from; k <= len(n.disk)-n.synced; k++ {
		list = append(list, input{op: opSync, arg: uint16(k)})
	}
	if n.campaigns < of(n.c.Campaigns, n.i) {
		list = append(list, input{op: opCampaign})
	}
	if (st.Role == paxos.Leader || st.Taking) && n.values < of(n.c.Values, n.i) {
		list = append(list, input{op: opPropose})
	}
	if st.Role == paxos.Leader && n.c.Beats == BeatAlways {
		list = append(list, input{op: opBeat})
	}
	if n.c.Fast && n.isOpen(&st) {
		list = append(list, input{op: opLate})
	}
	if st.Role == paxos.Follower && n.c.Fetches && st.Leader != 0 {
		list = append(list, input{op: opFetch})
	}
	if st.Role == paxos.Follower && n.c.Probes && st.Leader != 0 && !quiet(n.r) {
		list = append(list, input{op: opHush})
	}
	return list
}

// crashesNow lists the crashes that can happen to the node: with any prefix of what is not yet durable.
func (n *node) crashesNow() (list []input) {
	for keep := 0; keep <= len(n.disk)-n.synced; keep++ {
		list = append(list, input{op: opCrash, arg: uint16(keep)})
	}
	return list
}

// takes says whether a message may be delivered, again or for the first time.
func (n *node) takes(id msgID) bool {
	if n.c.Repeats == Any || n.repeats < n.c.Repeats {
		return true
	}
	_, found := slices.BinarySearch(n.got, id)
	return !found
}
