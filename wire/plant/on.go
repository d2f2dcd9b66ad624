//go:build planted

package plant

import "math/rand/v2"

// Enabled says whether this build can hold bugs.
const Enabled = true

var chosen Bug

// Is says whether bug b is planted.
func Is(b Bug) bool { return chosen == b }

// Choose plants bug b and no other. Not while anything runs.
func Choose(b Bug) { chosen = b }

// OneIn is true once in n calls, at random, and not by the simulator's seed.
func OneIn(n int) bool { return rand.IntN(n) == 0 }
