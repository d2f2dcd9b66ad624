//go:build planted

package plant

import (
	"fmt"
	"math/rand/v2"
)

// Enabled says whether this build can hold bugs.
const Enabled = true

// preset is the name of the bug that this program has from its start; the linker sets it (-X).
var preset = ""

var chosen = named(preset)

func named(name string) Bug {
	if name == "" {
		return None
	}
	for b := None + 1; b <= SlowApply; b++ {
		if b.String() == name {
			return b
		}
	}
	panic(fmt.Sprintf("plant: there is no bug %q", name))
}

// Chosen is the planted bug.
func Chosen() Bug { return chosen }

// Is says whether bug b is planted.
func Is(b Bug) bool { return chosen == b }

// Choose plants bug b and no other. Not while anything runs.
func Choose(b Bug) { chosen = b }

// OneIn is true once in n calls, at random, and not by the simulator's seed.
func OneIn(n int) bool { return rand.IntN(n) == 0 }
