//go:build planted

package engine

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the test of rotten snapshots stops seeing that they stay.
func TestPlanted(t *testing.T) {
	for _, bug := range []plant.Bug{plant.RottenSnapshotKept, plant.None} {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			defer plant.Choose(plant.None)
			_, installed := idleRot(t)
			if bug == plant.None {
				eventually(t, "a snapshot is installed", installed)
				return
			}
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if installed() {
					t.Fatal("not found: the rotten snapshot was replaced")
				}
			}
		})
	}
}
