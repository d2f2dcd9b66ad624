//go:build race

package sim

// raceEnabled: the race detector makes a schedule take ten times as long.
const raceEnabled = true
