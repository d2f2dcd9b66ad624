//go:build !invariants

package wire

// invariants turns on the costly checks; see poison_on.go.
const invariants = false

// poison is empty in ordinary builds; see poison_on.go.
func poison(*Buffer) {}
