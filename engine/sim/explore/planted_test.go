//go:build planted

package explore

import (
	"flag"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire/plant"
)

var storiesFlag = flag.Bool("explore.stories", false, "print each counterexample")

// What can go wrong: the search visits millions of states and sees nothing, because what it calls a state leaves out what matters,
// because a reduction drops the schedule that does, or because a property is never false. Each mistake of the core that lies in
// what is enumerated is planted in turn; a small scope must find it, and by its property. Then again with no property but
// what users see, agreement on what is chosen and learned and reads that are not stale, where the mistake can break it there.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		bug   plant.Bug
		scope string
		first string   // the property that sees it first
		only  []string // again with these properties only; nil: not again
		in    string   // the scope for that
	}{
		{plant.AckBeforeSync, "one", "S3", harm, "takeover"},
		{plant.PromiseNotRecorded, "one", "S3", nil, ""},
		{plant.BallotNotRecorded, "one", "S3", nil, ""},
		{plant.AcceptKeepsPromise, "elections", "S5", nil, ""},
		{plant.TieWithoutNode, "contest", "S5", harm, "contest"},
		{plant.VotesCountedTwice, "one", "S7", harm, "one"},
		{plant.PromisesCarriedOver, "one", "T", harm, "takeover"},
		{plant.GapsSkipped, "gap", "L", nil, ""},
		{plant.AnnouncedBeyondPrefix, "one", "S7", harm, "one"},
		{plant.LearnsOtherBallots, "watermark", "BUG", harm, "watermark"},
		{plant.LowestVoteWins, "back", "S4", harm, "back"},
		{plant.BarrierOverVotes, "takeover", "S4", harm, "takeover"},
		{plant.BallotReadLate, "turns", "S3", nil, ""},
		{plant.ReadBeforeBarrier, "reads", "S10", harm, "reads"},
		{plant.ReadUnconfirmed, "reads", "S10", harm, "reads"},
		// Not FastMajority: of three nodes a majority is what the fast rule asks for as well.
		{plant.FastQuorumSmall, "collide", "S7", harm, "collide"},
		{plant.FastVotesTwice, "collide", "S2", harm, "collide"},
		{plant.SlotPromiseNotRecorded, "collide", "S3", nil, ""},
		{plant.AnyBeforePromises, "rival", "S4", nil, ""},
		{plant.AckBeforeSync, "collide", "S3", harm, "fast"},
		{plant.VotesCountedTwice, "collide", "S7", harm, "collide"},
		{plant.LowestVoteWins, "rival", "S4", harm, "rival"},
	} {
		t.Run(c.bug.String(), func(t *testing.T) {
			find := func(scope string, only []string) {
				s, err := Find(scope)
				if err != nil {
					t.Fatal(err)
				}
				plant.Choose(c.bug)
				defer plant.Choose(plant.None)
				r := Run(Options{Scope: s, Only: only, Ends: -1, BytesMax: 256 << 20})
				if r.Violation == nil {
					t.Errorf("not found in scope %s: %v", scope, r)
					return
				}
				t.Logf("| %s | %s | %s | %d | %d | %s |", c.bug, scope, r.Violation.Property, r.States, r.Steps, r.Violation)
				if only == nil && r.Violation.Property != c.first {
					t.Errorf("found by %s, expected %s", r.Violation.Property, c.first)
				}
				if *storiesFlag {
					t.Log("\n" + strings.Join(r.Trace, "\n"))
				}
			}
			find(c.scope, nil)
			if c.only != nil {
				find(c.in, c.only)
			}
		})
	}
}

// harm is what users would see.
var harm = []string{"S1", "S7", "S10"}
