package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Word of what was chosen, among those who do not count votes, in all modes whose ballots are of single slots.

// announce tells the others, with those before it, that slot s was chosen at ballot b. Who counts votes himself is not told.
func (r *Replica) announce(s wire.Slot, b wire.Ballot) {
	owner := r.index(b.Node())
	if !r.learners(owner).has(r.self) {
		return
	}
	r.tellChosen(r.learners(owner), b, s, 0)
}

// tellChosen tells those who do not count votes themselves that slot s was chosen.
func (r *Replica) tellChosen(learners nodeSet, b wire.Ballot, s wire.Slot, tag uint64) {
	to := r.members &^ learners
	if t := &r.announced; !t.add(to, b, s, tag) {
		r.flushTold()
		*t = ackRun{to, b, s, 1, tag}
	}
}

// flushTold sends what tellChosen has gathered.
func (r *Replica) flushTold() {
	t := r.announced
	if t.count == 0 {
		return
	}
	r.announced = ackRun{}
	kind := wire.KindChosen
	if t.tag != 0 {
		kind = wire.KindFastChosen
	}
	r.sendTo(t.to, &wire.Message{Kind: kind, Ballot: t.ballot, Slot: t.first, Count: t.count, Tag: t.tag}, 0)
}

// onChosen takes the word of a learner that slots were chosen at a ballot. The value is known here if this replica voted at
// that ballot, or at a higher one; else it is asked for once it is in the way.
func (r *Replica) onChosen(m *wire.Message) {
	for s := m.Slot; s < m.Slot+wire.Slot(m.Count); s++ {
		if s <= r.trimmed {
			continue
		}
		if e := r.log.ensure(s); !e.chosen {
			e.votes = tally{ballot: m.Ballot, nodes: r.configOf(s).nodes}
			e.told, e.sent = true, r.now
			if plant.Is(plant.ChosenTakenForAnyVote) && e.frame != nil {
				e.votes.ballot = e.ballot
			}
			r.settle(s, e, e.votes.nodes.size())
		}
		if r.basic != nil {
			r.basic.used = max(r.basic.used, s)
		} else {
			r.uses(s)
		}
	}
	r.learnAnnounced()
}
