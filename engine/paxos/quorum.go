package paxos

import (
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

// higherVote is the rule that picks a proposal's value: of all votes that a promise quorum reports for a slot, the one
// of the highest ballot must be proposed again (Paxos Made Simple, section 2.2, P2c). Votes of equal ballot have
// equal values, so a tie needs no rule.
func higherVote(a, b wire.Vote) wire.Vote {
	if b.Ballot > a.Ballot != (plant.Is(plant.LowestVoteWins) && a.Ballot != 0) {
		return b
	}
	return a
}
