package single

import (
	"errors"
	"math"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// ErrBallots: the counter of ballots is used up.
var ErrBallots = errors.New("single: no ballot is left")

// Phase is what a proposer waits for.
type Phase uint8

const (
	Idle      Phase = iota // nothing: it has not begun, or has met a higher ballot (Propose begins anew)
	Preparing              // promises
	Accepting              // votes, which it does not count: learners do
)

func (p Phase) String() string { return [...]string{"idle", "preparing", "accepting"}[p] }

// Proposer gets a value chosen: its own, or one that may have been chosen before. Whether there is any progress depends on
// proposers leaving each other alone (Fischer, Lynch, Paterson 1985): who calls Propose again after a higher ballot was met
// waits for a random while first.
type Proposer struct {
	c       Config
	phase   Phase
	counter uint32      // highest counter met or used: the next ballot exceeds it
	ballot  wire.Ballot // of this round
	grants  paxos.Tally // promises
	own     wire.Batch
	found   wire.Vote    // the highest that the promises reported; its value is a view into from
	from    *wire.Buffer // one reference; nil: nothing was found
	accept  *wire.Buffer // what was proposed at ballot, one reference
}

// NewProposer makes a proposer whose ballots exceed used, the highest that it can have used before or knows of (for a
// process that is an acceptor too: Acceptor.Promised); 0: none.
func NewProposer(c Config, used wire.Ballot) *Proposer {
	c.check()
	return &Proposer{c: c, counter: used.Counter()}
}

// Propose begins a round for value, a view that must stay as it is until the round's end, at a ballot higher than any met. The record
// of the ballot is made before it is used, so that no restart uses it again.
func (p *Proposer) Propose(value wire.Batch) (o Out, err error) {
	if p.counter == math.MaxUint32 {
		return o, ErrBallots
	}
	p.forget()
	p.counter++
	p.ballot, p.phase, p.own = wire.NewBallot(p.counter, p.c.Self), Preparing, value
	p.grants.Reset(p.ballot) // promises of the round before are worth nothing in this one
	o.Records = append(o.Records, wire.SlotPromiseRecord(p.c.Cluster, p.c.Group, p.c.Self, p.ballot, Slot, 0, nil))
	o.add(p.Repeat())
	return o, nil
}

// Repeat sends again what the round waits for an answer to, to those who have not promised, or to all: messages may be lost.
func (p *Proposer) Repeat() (o Out) {
	switch p.phase {
	case Preparing:
		var to []wire.NodeID
		for i, n := range p.c.Acceptors {
			if !p.grants.Has(i) {
				to = append(to, n)
			}
		}
		o.send(&p.c, wire.Message{Kind: wire.KindPrepare, Scope: wire.ScopeSlot, Ballot: p.ballot}, to...)
	case Accepting:
		o.frame(p.accept, p.c.Acceptors)
		for _, n := range p.c.learners() {
			if p.c.acceptor(n) < 0 {
				o.frame(p.accept, []wire.NodeID{n})
			}
		}
	}
	return o
}

// Step takes Promise and Reject; other messages are for others. It retains what it keeps of m.
func (p *Proposer) Step(m *wire.Message) (o Out) {
	i := p.c.acceptor(m.From)
	if i < 0 || m.Group != p.c.Group || m.Ballot != p.ballot || p.phase == Idle {
		return o
	}
	switch {
	case m.Kind == wire.KindReject && m.Promised > p.ballot:
		p.counter = max(p.counter, m.Promised.Counter())
		p.forget()
	case m.Kind == wire.KindPromise && p.phase == Preparing:
		for it := m.IterVotes(); ; {
			v, ok := it.Next()
			if !ok {
				break
			}
			p.see(v, m.Frame)
		}
		if p.grants.Add(m.Ballot, i) >= p.c.Quorums.Of(len(p.c.Acceptors)).Prepare {
			return p.propose()
		}
	}
	return o
}

// see keeps the higher of the votes found.
func (p *Proposer) see(v wire.Vote, f *wire.Buffer) {
	if best := paxos.HigherVote(p.found, v); v.Slot == Slot && (p.from == nil || best.Ballot != p.found.Ballot) {
		p.from.Release()
		p.found, p.from = best, f.Retain()
	}
}

// propose is phase 2: the highest vote that a quorum reports, else the own value (P2c).
func (p *Proposer) propose() Out {
	value := p.own
	if p.from != nil {
		value = p.found.Value
	}
	p.accept = wire.NewAccept(len(value.Bytes()))
	p.accept.Append(value.Bytes())
	wire.SealAcceptIn(p.accept, p.c.Cluster, p.c.Group, p.c.Self, p.ballot, Slot, 0, wire.ScopeSlot)
	p.phase = Accepting
	return p.Repeat()
}

// forget ends the round.
func (p *Proposer) forget() {
	p.from.Release()
	p.accept.Release()
	p.from, p.accept, p.found, p.phase = nil, nil, wire.Vote{}, Idle
}

// Phase is what the proposer waits for.
func (p *Proposer) Phase() Phase { return p.phase }

// Ballot is that of the last round; 0: there was none.
func (p *Proposer) Ballot() wire.Ballot { return p.ballot }

// Close releases what the proposer holds.
func (p *Proposer) Close() { p.forget() }
