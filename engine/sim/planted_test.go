//go:build planted

package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the simulator stops seeing. Each bug of FAULTS.md, section 3, that the engine could have is planted in
// turn, and one of the schedules must find it; without it the same schedule must hold.
func TestPlanted(t *testing.T) {
	const most = 10_000 // as many as make sim plays: two of the bugs show once in some two thousand
	var found []finding
	bugs := plant.All()
	for _, bug := range bugs {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			begin := time.Now()
			s := Batch{First: 1, Seeds: min(*seedsFlag, most), Again: 1 << 62}.Run()
			plant.Choose(plant.None)
			v := s.Violation
			if v == nil {
				t.Fatalf("not found in %d schedules (%v)", s.Schedules, time.Since(begin).Round(time.Second))
			}
			found = append(found, finding{bug, v, s.Schedules})
			t.Logf("%-4s seed %d, event %d: %s", v.Property, v.Seed, v.Event, v.Detail[:min(len(v.Detail), 120)])
			if again := Run(Options{Seed: v.Seed}); again.Violation != nil {
				t.Errorf("seed %d fails without the bug as well: %v", v.Seed, again.Violation)
			}
		})
	}
	report(t, found, len(bugs))
}

// finding is a planted bug and what found it.
type finding struct {
	bug       plant.Bug
	v         *Violation
	schedules uint64
}

// continuous says that a property found the bug when it struck, not a look at what is left in the end, nor a crash.
func (f *finding) continuous() bool {
	return !slices.Contains([]string{"S11", "L1", "L2", "L4", "L5", "L6", "L7", "BUG"}, f.v.Property)
}

// report prints the findings as a table, and demands that most were found when they struck.
func report(t *testing.T, found []finding, bugs int) {
	if len(found) == 0 {
		return // -run names one bug of another test
	}
	var b strings.Builder
	var needed []uint64
	early := 0
	fmt.Fprintf(&b, "\n%-42s %-8s %6s %8s %9s  %s\n", "planted bug", "property", "seed", "event", "schedules", "continuous")
	for _, f := range found {
		fmt.Fprintf(&b, "%-42s %-8s %6d %8d %9d  %v\n", f.bug, f.v.Property, f.v.Seed, f.v.Event, f.schedules, f.continuous())
		needed = append(needed, f.schedules)
		if f.continuous() {
			early++
		}
	}
	slices.Sort(needed)
	fmt.Fprintf(&b, "%d of %d bugs found; median %d schedules; %d by a continuous property", len(found), bugs, needed[len(needed)/2], early)
	t.Log(b.String())
	if len(found) >= 20 && early*5 < len(found)*4 {
		t.Errorf("only %d of %d bugs were found by a continuous property", early, len(found))
	}
}
