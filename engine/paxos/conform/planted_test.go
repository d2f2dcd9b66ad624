//go:build planted

package conform_test

import (
	"errors"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/paxos/conform"
	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the adapters hide from the suite what the engine does. Bugs planted into the engine are found by the case that
// is about them, too.
func TestPlanted(t *testing.T) {
	multi := paxos.Config{Learn: paxos.LearnAll}
	basic := paxos.Config{Mode: paxos.ModeBasic, Learn: paxos.LearnAll}
	for _, p := range []struct {
		bug  plant.Bug
		c    paxos.Config
		name string
	}{
		{plant.PromisesCarriedOver, multi, "promises-kept-across-rounds"},
		{plant.LowestVoteWins, multi, "highest-vote-wins"},
		{plant.LowestVoteWins, basic, "lone-high-vote"},
		{plant.VotesCountedTwice, basic, "promise-repeated"},
		{plant.AcceptKeepsPromise, multi, "vote-raises-promise"},
		{plant.TieWithoutNode, multi, "tie-broken-by-node"},
		{plant.TieWithoutNode, basic, "prepare-held-against-promise"},
		{plant.AckBeforeSync, multi, "vote-waits-for-disk"},
		{plant.AckBeforeSync, basic, "vote-waits-for-disk"},
	} {
		t.Run(p.bug.String(), func(t *testing.T) {
			plant.Choose(p.bug)
			defer plant.Choose(plant.None)
			var failed []string
			for _, c := range conform.Cases() {
				err := conform.Run(c, func(n int) conform.Cluster { return newEngine(n, p.c) })
				var e *conform.Error
				if !errors.As(err, &e) {
					continue
				}
				if failed = append(failed, e.Case); e.Case == p.name {
					t.Log(err)
					return
				}
			}
			t.Errorf("the case %q passes it; failed are %q", p.name, failed)
		})
	}
	for bug, name := range map[plant.Bug]string{
		plant.FastMajority:      "fast-rule",
		plant.FastQuorumSmall:   "majority-is-too-small",
		plant.FastVotesTwice:    "one-vote-a-round",
		plant.AnyBeforePromises: "phase-1-before-any",
		plant.AckBeforeSync:     "vote-waits-for-disk",
	} {
		t.Run("fast/"+bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			defer plant.Choose(plant.None)
			failed := fails(conform.FastCases(), func(n int) conform.Cluster { return newFast(n, paxos.LearnAll) })
			if err, ok := failed[name]; ok {
				t.Log(err)
			} else {
				t.Errorf("the case %q passes it; failed are %v", name, failed)
			}
		})
	}
}
