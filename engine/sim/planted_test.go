//go:build planted

package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the simulator stops seeing. Each bug of FAULTS.md, section 3, that the engine could have is planted in
// turn, and one of the schedules must find it; without it the same schedule must hold.
func TestPlanted(t *testing.T) {
	const most = 2000
	var needed []uint64
	ends := 0
	for _, bug := range plant.All() {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			begin := time.Now()
			s := Batch{First: 1, Seeds: min(*seedsFlag, most), Again: 1 << 62}.Run()
			plant.Choose(plant.None)
			v := s.Violation
			if v == nil {
				t.Fatalf("not found in %d schedules (%v)", s.Schedules, time.Since(begin).Round(time.Second))
			}
			needed = append(needed, s.Schedules)
			if slices.Contains([]string{"S11", "L1", "L5", "L6"}, v.Property) {
				ends++
			}
			t.Logf("%-4s seed %d, %d schedules, event %d: %s", v.Property, v.Seed, s.Schedules, v.Event, v.Detail[:min(len(v.Detail), 120)])
			if again := Run(Options{Seed: v.Seed}); again.Violation != nil {
				t.Errorf("seed %d fails without the bug as well: %v", v.Seed, again.Violation)
			}
		})
	}
	slices.Sort(needed)
	t.Logf("%d of %d bugs found; median %d schedules; %d of them only at the end of a schedule", len(needed), len(plant.All()), needed[len(needed)/2], ends)
}
