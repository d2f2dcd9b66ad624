//go:build planted

package wal

import (
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the enumerations stop seeing. Each mistake that a log can make with its files is planted in turn, and
// one of them must find it; without it they hold.
func TestPlanted(t *testing.T) {
	for _, bug := range []plant.Bug{
		plant.SyncRetried, plant.TornTailAlways, plant.EmptyDirectoryVotes, plant.ZeroIsEnd, plant.SegmentNameNotSynced,
		plant.SegmentReusedEarly, plant.RecoveredNotSynced, plant.TailNotWiped, plant.TrimMarkForgotten,
		plant.RejoinVotes, plant.RepairUnproven,
	} {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			found := everything(t)
			plant.Choose(plant.None)
			if len(found) == 0 {
				t.Fatal("not found")
			}
			t.Logf("%.300s", found[0])
		})
	}
	if found := everything(t); len(found) > 0 {
		t.Errorf("found without a bug: %v", found)
	}
}

// everything runs the enumerations until one finds something.
func everything(t *testing.T) []string {
	for _, enumerate := range []func(all *tally){
		func(all *tally) { enumerateRejoin(t, all) },
		func(all *tally) {
			var n mendings
			enumerateRepairOthers(t, &n)
			all.first = append(all.first, n.faults...)
		},
		func(all *tally) { enumerateFiles(t, all, rotten(t, smallStory, false), rotten(t, smallStory, true)) },
		func(all *tally) { enumerateSectors(t, all, rotten(t, story, false), rotten(t, story, true)) },
		func(all *tally) { enumerateFailures(t, all, story, 0) },
		func(all *tally) { enumerateCrashes(t, all, story, Policy{}, 0) },
		func(all *tally) { enumerateCrashes(t, all, story, Policy{Mode: Never}, 0) },
	} {
		all := newTally()
		func() {
			defer func() { // a log in ruins may well notice that something is impossible
				if p := recover(); p != nil {
					all.first = append(all.first, fmt.Sprint(p))
				}
			}()
			enumerate(all)
		}()
		if len(all.first) > 0 {
			return all.first
		}
	}
	return nil
}
