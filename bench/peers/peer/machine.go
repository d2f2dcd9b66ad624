package peer

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// A log entry of an engine that has no blocks of its own:
//
//	uvarint count | commands
//
// One byte in front of a single command, so that every replica can count what it applies. Paxbench's own block has a
// header of 32 bytes and a length in front of each command instead.

// AppendEntry appends the log entry of an operation.
func AppendEntry(dst []byte, o *Op) []byte {
	return append(binary.AppendUvarint(dst, uint64(o.Count)), o.Payload...)
}

// EntrySize bounds the size of the log entry of an operation.
func EntrySize(o *Op) int { return binary.MaxVarintLen32 + len(o.Payload) }

// Machine is the state machine that executes nothing: it counts commands and chains a digest over the first eight bytes
// of each entry, in which the load puts a number. A few nanoseconds an entry, nothing per command.
// Apply is called from one goroutine at a time, State from any.
type Machine struct {
	commands atomic.Uint64
	digest   atomic.Uint64
}

// Apply executes a log entry. An error means that the entry is not what was proposed.
func (m *Machine) Apply(entry []byte) error {
	count, n := binary.Uvarint(entry)
	if n <= 0 || count == 0 || len(entry) < n+8 {
		return fmt.Errorf("peer: a log entry of %d bytes is not what was proposed", len(entry))
	}
	return m.Add(entry[n:], count)
}

// Add executes an entry that an engine with blocks of its own has taken apart: count commands, of which the first is given.
func (m *Machine) Add(first []byte, count uint64) error {
	if len(first) < 8 {
		return fmt.Errorf("peer: a command of %d bytes is not what was proposed", len(first))
	}
	stamp := binary.LittleEndian.Uint64(first)
	const prime = 0x100000001b3 // FNV-1a's
	m.digest.Store((m.digest.Load() ^ stamp) * prime)
	m.commands.Add(count)
	return nil
}

// Set replaces what was applied, by a snapshot's.
func (m *Machine) Set(commands, digest uint64) {
	m.commands.Store(commands)
	m.digest.Store(digest)
}

// Digest is the chained digest.
func (m *Machine) Digest() uint64 { return m.digest.Load() }

// Commands is how many were applied.
func (m *Machine) Commands() uint64 { return m.commands.Load() }

// State is what was applied. Exact when nothing is under way.
func (m *Machine) State() State {
	return State{Commands: m.commands.Load(), Digest: fmt.Sprintf("%016x", m.digest.Load())}
}
