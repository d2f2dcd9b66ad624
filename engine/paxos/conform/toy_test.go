package conform_test

import (
	"errors"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos/conform"
	"github.com/paxbench/paxbench/engine/paxos/conform/toy"
)

// What can go wrong: a case demands what Paxos does not promise.
func TestCorrectToyPasses(t *testing.T) {
	for _, c := range conform.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := conform.Run(c, func(n int) conform.Cluster { return toy.New(n, toy.None) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// caught says which case was written for a mistake.
var caught = map[toy.Mistake]string{
	toy.PromisesKept:        "promises-kept-across-rounds",
	toy.AnyRoundsPromise:    "late-promise",
	toy.AnswersCountedTwice: "promise-repeated",
	toy.HalfIsEnough:        "half-is-no-majority",
	toy.AnyAnswerPromises:   "refusal-is-no-promise",
	toy.OwnValueAlways:      "finds-the-vote",
	toy.LowestVote:          "highest-vote-wins",
	toy.CommonestVote:       "lone-high-vote",
	toy.FirstVote:           "highest-vote-wins",
	toy.VoteNotReported:     "finds-the-vote",
	toy.VotesBelowPromise:   "accept-held-against-promise",
	toy.PromiseGoesDown:     "prepare-held-against-promise",
	toy.AcceptKeepsPromise:  "vote-raises-promise",
	toy.EqualRefused:        "one-proposer",
	toy.TieWithoutNode:      "tie-broken-by-node",
	toy.PromiseForgotten:    "promise-survives-crash",
	toy.VoteForgotten:       "vote-survives-crash",
	toy.BallotReused:        "round-not-used-again",
	toy.ToldBeforeSync:      "vote-waits-for-disk",
	toy.PrepareBeforeSync:   "round-durable-before-use",
	toy.RoundReadLate:       "vote-told-at-its-round",
	toy.VotesOfAllRounds:    "one-round-chooses",
	toy.OneVoteChooses:      "one-vote-chooses-nothing",
	toy.ValueChangedInRound: "one-value-a-round",
}

// What can go wrong: the suite passes an implementation with a mistake, or fails it for another reason than the case's name says.
func TestMistakesAreFound(t *testing.T) {
	for _, m := range toy.Mistakes() {
		t.Run(m.String(), func(t *testing.T) {
			var failed []string
			found := false
			for _, c := range conform.Cases() {
				err := conform.Run(c, func(n int) conform.Cluster { return toy.New(n, m) })
				var e *conform.Error
				if errors.As(err, &e) {
					failed = append(failed, e.Case)
					if e.Case == caught[m] {
						found = true
						t.Log(err)
					}
				}
			}
			if !found {
				t.Errorf("the case %q passes it; failed are %q", caught[m], failed)
			}
		})
	}
}

// What can go wrong: a case demands what Fast Paxos does not promise.
func TestCorrectFastToyPasses(t *testing.T) {
	for _, c := range conform.FastCases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := conform.Run(c, func(n int) conform.Cluster { return toy.NewFast(n, toy.FastNone) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// caughtFast says which case was written for a mistake in fast rounds.
var caughtFast = map[toy.FastMistake]string{
	toy.FastMajority:      "fast-rule",
	toy.FastFirst:         "first-is-not-most",
	toy.FastOwnValue:      "fast-rule",
	toy.FastQuorumSmall:   "majority-is-too-small",
	toy.FastVotesTwice:    "one-vote-a-round",
	toy.FastNoPhase1:      "phase-1-before-any",
	toy.FastToldEarly:     "vote-waits-for-disk",
	toy.FastNeverSettled:  "collision",
	toy.FastThroughLeader: "two-delays",
}

// What can go wrong: as above, in fast rounds.
func TestFastMistakesAreFound(t *testing.T) {
	for _, m := range toy.FastMistakes() {
		t.Run(m.String(), func(t *testing.T) {
			failed := fails(conform.FastCases(), func(n int) conform.Cluster { return toy.NewFast(n, m) })
			if err, ok := failed[caughtFast[m]]; ok {
				t.Log(err)
			} else {
				t.Errorf("the case %q passes it; failed are %v", caughtFast[m], failed)
			}
		})
	}
}

// fails plays cases and returns the failures by name.
func fails(cases []*conform.Case, open func(n int) conform.Cluster) map[string]error {
	failed := map[string]error{}
	for _, c := range cases {
		if err := conform.Run(c, open); err != nil {
			failed[c.Name] = err
		}
	}
	return failed
}
