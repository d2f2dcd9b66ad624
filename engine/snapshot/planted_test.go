//go:build planted

package snapshot

import (
	"testing"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the enumerations stop seeing. Each mistake with a snapshot's file is planted in turn, and one of them
// must find it; without it they hold.
func TestPlanted(t *testing.T) {
	for _, bug := range []plant.Bug{plant.RenameBeforeSync, plant.SnapshotNameNotSynced, plant.PartKeptUnsynced, plant.None} {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			defer plant.Choose(plant.None)
			all := &table{}
			enumerateCrashes(t, all)
			enumerateFailures(t, all)
			if found := all.failed > 0; found != (bug != plant.None) {
				t.Fatalf("found: %v %v", found, all.first)
			} else if found {
				t.Logf("%.300s", all.first[0])
			}
		})
	}
}
