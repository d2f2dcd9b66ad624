package paxos

import (
	"bytes"
	"math/bits"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// nodeSet is a set of members: bit i is the i-th of Config.Nodes.
type nodeSet uint64

func (s nodeSet) has(i int) bool        { return s&(1<<i) != 0 }
func (s nodeSet) with(i int) nodeSet    { return s | 1<<i }
func (s nodeSet) without(i int) nodeSet { return s &^ (1 << i) }
func (s nodeSet) size() int             { return bits.OnesCount64(uint64(s)) }
func (s nodeSet) first() int            { return bits.TrailingZeros64(uint64(s)) }

// tally collects what nodes granted at one ballot. It is keyed by its ballot, counts a node once however often it
// repeats itself, and starts over when the ballot moves: promises kept across rounds are the classic way to lose a
// chosen value.
type tally struct {
	ballot wire.Ballot
	nodes  nodeSet
}

// reset starts the tally of ballot b.
func (t *tally) reset(b wire.Ballot) { *t = tally{ballot: b} }

// add counts node i at ballot b and returns how many nodes granted b. What belongs to another ballot counts nothing.
func (t *tally) add(b wire.Ballot, i int) int {
	if b != t.ballot {
		return 0
	}
	if plant.Is(plant.VotesCountedTwice) && t.nodes.has(i) {
		return t.nodes.size() + 1
	}
	t.nodes = t.nodes.with(i)
	return t.nodes.size()
}

// majority is the quorum size of n nodes: any two majorities share a node.
func majority(n int) int { return n/2 + 1 }

// fastQuorum is the smallest fast quorum of n nodes of which any two have a node in common with any prepare nodes; with
// majorities that is three quarters of n, rounded up (Fast Paxos, section 3.1, Quorum Requirement).
func fastQuorum(n, prepare int) int { return (2*n-prepare)/2 + 1 }

// higherVote is the rule that picks a proposal's value: of all votes that a promise quorum reports for a slot, the one
// of the highest ballot must be proposed again (Paxos Made Simple, section 2.2, P2c). Votes of equal ballot have
// equal values, so a tie needs no rule.
func higherVote(a, b wire.Vote) wire.Vote {
	if b.Ballot > a.Ballot != (plant.Is(plant.LowestVoteWins) && a.Ballot != 0) {
		return b
	}
	return a
}

// choice is what a promise quorum reports of one slot: the highest-ballot votes. One ballot has one value, unless it is fast.
type choice struct {
	wire.Vote             // the first value reported at the highest ballot; Ballot 0: nobody has voted
	votes     int         // reports of it
	others    []candidate // other values at that ballot
}

// candidate is a value and how many voted for it.
type candidate struct {
	wire.Vote
	votes int
}

// add takes a vote that one of the quorum reports.
func (c *choice) add(v wire.Vote) {
	switch {
	case v.Ballot != c.Ballot || c.Ballot == 0:
		if higherVote(c.Vote, v).Ballot == v.Ballot {
			*c = choice{Vote: v, votes: 1, others: c.others[:0]}
		}
	case bytes.Equal(v.Value.Bytes(), c.Value.Bytes()):
		c.votes++
	default:
		for i := range c.others {
			if o := &c.others[i]; bytes.Equal(v.Value.Bytes(), o.Value.Bytes()) {
				o.votes++
				return
			}
		}
		c.others = append(c.others, candidate{v, 1})
	}
}

// rule is what the choice depends on beside the votes.
type rule struct{ reporters, nodes, quorum int } // of promises; in all; that chooses at a fast ballot, 0: no ballot is fast

// pick is the value to be proposed: of the highest-ballot votes the one that may have been chosen, or any. must says that it may have
// been.
func (c *choice) pick(r rule) (v wire.Vote, must bool) {
	if r.quorum == 0 || !isFast(c.Ballot) {
		return c.Vote, true
	}
	counts := make([]int, 1, 1+len(c.others))
	counts[0] = c.votes
	for i := range c.others {
		counts = append(counts, c.others[i].votes)
	}
	i, must := chooseFast(counts, r)
	if i == 0 {
		return c.Vote, must
	}
	return c.others[i-1].Vote, must
}

// chooseFast is higherVote's rule for a fast ballot, at which several values may have votes (Fast Paxos, section 3.1, O4): a value
// may have been chosen if its votes and those of all nodes that have not reported make a fast quorum. There is at most one,
// because two fast quorums and the reporters have a node in common, and it must be proposed again. If there is none, any
// value may be: the one with most votes. counts is the votes for each value.
//
// The reporters have votes - quorum + nodes - (nodes - reporters): a value with less than quorum - (nodes - reporters) of them cannot
// have been chosen. That is never less than a majority of the reporters; a majority of the nodes is too much to ask for.
func chooseFast(counts []int, r rule) (best int, must bool) {
	for i, n := range counts {
		if n > counts[best] {
			best = i
		}
	}
	need := r.quorum - (r.nodes - r.reporters)
	if plant.Is(plant.FastMajority) {
		if need = majority(r.nodes); counts[best] < need {
			return 0, false
		}
	}
	return best, counts[best] >= need
}
