//go:build race

package explore

// raceEnabled: the race detector makes a scope take ten times as long, and what it looks for, the search's own goroutines, is the
// same in the smallest.
const raceEnabled = true
