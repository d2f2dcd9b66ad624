package paxos

import (
	"fmt"
	"io"

	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// machine is peer.Machine behind the engine's interface: what the other engines execute, neither more nor less. (The engine's
// own kv.Null hashes every byte and keeps sessions for an audit.) Every block is an entry.
type machine struct{ peer.Machine }

// Apply implements engine.StateMachine.
func (m *machine) Apply(_ wire.Slot, b wire.Batch, out *engine.Replies) {
	for blocks := b.Blocks(); ; {
		blk, ok := blocks.Next()
		if !ok {
			break
		}
		commands := blk.Commands()
		first, ok := commands.Next()
		if !ok {
			continue
		}
		if err := m.Machine.Add(first, uint64(blk.Count())); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	out.AppendEmpty(b.Commands())
}

// StateHash implements engine.Hasher.
func (m *machine) StateHash() uint64 { return m.Digest() }

// Query implements engine.StateMachine: there is nothing to ask.
func (m *machine) Query(dst, _ []byte) ([]byte, error) { return dst, nil }

// Snapshot implements engine.StateMachine.
func (m *machine) Snapshot() (engine.Snapshot, error) {
	return view(fmt.Sprintf("%d %d", m.Commands(), m.Digest())), nil
}

// Restore implements engine.StateMachine.
func (m *machine) Restore(src io.Reader) error {
	var commands, digest uint64
	if _, err := fmt.Fscan(src, &commands, &digest); err != nil {
		return fmt.Errorf("paxos: snapshot: %w", err)
	}
	m.Set(commands, digest)
	return nil
}

// view is a snapshot's text.
type view string

// WriteTo implements engine.Snapshot.
func (v view) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(v))
	return int64(n), err
}

// Release implements engine.Snapshot.
func (v view) Release() {}
