package paxos

import (
	"fmt"
	"math"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// A replica that starts on a log cannot see whether the directory is an older copy of itself (FAULTS.md, F21): such a log is good,
// it only ends too early. Others may know. So it asks them, and until they have answered it is as good as suspect: it
// learns and serves what is chosen, and does not promise, vote, refuse, grant or lead.
//
//	started X                               every other member Y
//	Back(number)                        ->
//	                                    <-  Seen(number, highest ballot X promised it, highest slot X told it a vote for)
//	X had promised less, or its log ends before: suspect, to be healed (suspect.go)
//	all have answered, or half of ElectionTicks are over: takes part
//
// When all are up this takes a round trip. When one is down it takes half of ElectionTicks. X would not have begun an election before
// ElectionTicks, so that a cluster that was restarted whole elects no later; and a leader whose last follower X is has not given up
// by then. A replica that never ran, and one alone, do not wait.
//
// # What is promised
//
// What Y tells was durable at X before X said it, so that a log that ends before it is an older copy: nobody is suspect for nothing.
// An older copy is found before it can vote or promise if somebody who has been running since
//
//   - was told of a vote of X's for a slot behind the end of the copy's log: the leader of then, with other Learn others too; or
//   - was promised a ballot above the copy's, or told of a vote at one (ModeMulti),
//
// and answers within half of ElectionTicks. A leader tells nobody of its own votes. What X said and what is still under way to Y when Y answers is not known to Y; over
// connections that end with the process there is nothing under way. A leader that is heard of later still tells (heardVote), but
// X may have voted by then. If all who knew have been restarted nobody can tell.
type comeback struct {
	until  uint64 // tick at which it ends; 0: it takes part
	number uint64 // of this start: answers to questions of an earlier one are older than what was said since
	asked  uint64 // tick of the last question
}

// startBack has a replica that ran before ask what others have seen of it.
func (r *Replica) startBack() {
	if r.c.Fresh || r.suspect.on || r.members.without(r.self) == 0 || plant.Is(plant.BackAtOnce) {
		return
	}
	r.back = comeback{until: r.now + uint64(r.c.ElectionTicks+1)/2, number: 1 + r.rng.below(math.MaxInt64)}
	r.askSeen()
}

func (r *Replica) askSeen() {
	r.back.asked = r.now
	ask := r.members.without(r.self)
	for i := range r.peers {
		if r.peers[i].answered {
			ask = ask.without(i)
		}
	}
	r.sendTo(ask, &wire.Message{Kind: wire.KindBack, Round: r.back.number, Incarnations: r.stamp}, 0)
}

// backTick is Tick while it waits.
func (r *Replica) backTick() {
	switch {
	case r.now >= r.back.until:
		r.back.until = 0
	case r.now-r.back.asked >= uint64(r.c.HeartbeatTicks):
		r.askSeen()
	}
}

// onBack tells a replica that has started what it said before, as far as this one was told and has not been restarted since.
// A suspect one tells as well: it was told all the same.
func (r *Replica) onBack(m *wire.Message, from int) {
	p := &r.peers[from]
	r.send(m.From, &wire.Message{
		Kind: wire.KindSeen, Ballot: p.promised, Slot: p.voted, Round: m.Round, Incarnations: r.stamp,
	}, 0)
}

// onSeen compares what another node has seen of this replica with what is on its disk. An answer that does not know in which
// incarnation it lives tells of an earlier one, and what was said then does not count any more.
func (r *Replica) onSeen(m *wire.Message, from int) {
	if r.back.until == 0 || m.Round != r.back.number || number(m, r.c.Self) < r.incarnations[r.self] {
		return
	}
	if m.Ballot > r.promised {
		r.becomeSuspect(fmt.Sprintf("node %d has its promise of ballot %v, its log knows of %v", m.From, m.Ballot, r.promised))
		return
	}
	if r.heardVote(m); r.suspect.on {
		return
	}
	r.peers[from].answered = true
	for i := range r.peers {
		if i != r.self && r.members.has(i) && !r.peers[i].answered {
			return
		}
	}
	r.back.until = 0
}

// stepBack is Step of a replica that waits.
func (r *Replica) stepBack(m *wire.Message, from int) {
	switch m.Kind {
	case wire.KindHealRequest: // it may not know enough to heal others: it is asked again
		r.serve(m)
		return
	case wire.KindHeartbeat:
		if r.basic == nil && m.Ballot.Counter() != 0 {
			r.heardVote(m)
		}
	}
	r.stepSuspect(m, from)
}
