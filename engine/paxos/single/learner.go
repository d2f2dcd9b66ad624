package single

import (
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Learner finds out what was chosen: by counting votes, or from another learner. It needs no disk: what it forgets it can learn
// again.
type Learner struct {
	c      Config
	votes  paxos.Tally  // at the highest ballot heard of
	frame  *wire.Buffer // the value proposed at the highest ballot, one reference; nil: none
	ballot wire.Ballot  // of it
	chosen bool         // it is frame's value
}

// NewLearner makes a learner that knows nothing.
func NewLearner(c Config) *Learner {
	c.check()
	return &Learner{c: c}
}

// Step takes Accept (the value) and Accepted (the votes), Learn, and Fetch, a question of another learner; other messages are for
// others. It retains what it keeps of m.
func (l *Learner) Step(m *wire.Message) (o Out) {
	if m.Group != l.c.Group || m.Slot != Slot {
		return o
	}
	switch m.Kind {
	case wire.KindAccept:
		if m.Ballot.Node() == m.From {
			l.keep(m)
			l.settle()
		}
	case wire.KindAccepted:
		if i := l.c.acceptor(m.From); i >= 0 {
			if m.Ballot > l.votes.Ballot() {
				l.votes.Reset(m.Ballot)
			}
			l.votes.Add(m.Ballot, i)
			l.settle()
		}
	case wire.KindLearn:
		l.keep(m)
		l.chosen = true
	case wire.KindFetch:
		if v, ok := l.Chosen(); ok {
			o.send(&l.c, wire.Message{Kind: wire.KindLearn, Ballot: l.ballot, Value: v}, m.From)
		}
	}
	return o
}

// keep holds the value of the highest ballot. What is chosen stays: a higher ballot's value is the same (P2b).
func (l *Learner) keep(m *wire.Message) {
	if !l.chosen && m.Ballot >= l.ballot {
		f := m.Frame.Retain()
		l.frame.Release()
		l.frame, l.ballot = f, m.Ballot
	}
}

// settle takes the value as chosen if a quorum voted at one ballot, and the value at hand was proposed at it or at a higher one.
func (l *Learner) settle() {
	if l.frame != nil && l.ballot >= l.votes.Ballot() && l.votes.Size() >= l.c.Quorums.Of(len(l.c.Acceptors)).Accept {
		l.chosen = true
	}
}

// Ask asks other learners.
func (l *Learner) Ask() (o Out) {
	for _, n := range l.c.learners() {
		if n != l.c.Self {
			o.send(&l.c, wire.Message{Kind: wire.KindFetch, Until: Slot}, n)
		}
	}
	return o
}

// Chosen is the decree, a view that is valid until Close; not ok: it is not known yet.
func (l *Learner) Chosen() (v wire.Batch, ok bool) {
	if !l.chosen {
		return v, false
	}
	return wire.TrustedValue(l.frame), true
}

// Close releases the value.
func (l *Learner) Close() {
	l.frame.Release()
	l.frame, l.chosen = nil, false
}
