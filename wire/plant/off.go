//go:build !planted

package plant

// Enabled says whether this build can hold bugs.
const Enabled = false

// Is says whether bug b is planted: never.
func Is(Bug) bool { return false }

// Choose plants nothing: this build cannot.
func Choose(Bug) { panic("BUG: plant: not built with the tag planted") }

// Chosen is the planted bug: none.
func Chosen() Bug { return None }

// OneIn is for bugs that are random: never here.
func OneIn(int) bool { return false }
