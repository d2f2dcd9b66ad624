package wire

import "fmt"

// NewAccept returns a buffer for an Accept frame whose batch will take up to size bytes, header included: its length
// is AcceptHeadroom, and the batch is appended by the caller. SealAccept makes it a frame.
func NewAccept(size int) *Buffer {
	f := Get(AcceptHeadroom + size)
	f.Extend(AcceptHeadroom)
	return f
}

// NewNoopAccept returns an Accept frame, not yet sealed, that carries the no-op batch.
func NewNoopAccept() *Buffer {
	f := NewAccept(BatchHeaderSize)
	f.SetBytes(AppendNoop(f.Bytes()))
	return f
}

// SealAccept fills in everything in front of the batch and the CRC, with ScopeRange. It must run before the buffer is shared.
func SealAccept(f *Buffer, c ClusterID, g GroupID, from NodeID, b Ballot, s, chosen Slot) {
	SealAcceptIn(f, c, g, from, b, s, chosen, ScopeRange)
}

// SealAcceptIn is SealAccept with a scope.
func SealAcceptIn(f *Buffer, c ClusterID, g GroupID, from NodeID, b Ballot, s, chosen Slot, scope Scope) {
	f.alone("SealAccept")
	m := Message{Kind: KindAccept, Group: g, From: from, Ballot: b, Slot: s, Chosen: chosen, Scope: scope}
	putMessage(f.Bytes(), c, &m)
	seal(f.Bytes())
}

// AcceptValue is the batch inside an Accept or Learn frame.
func AcceptValue(f *Buffer) (Batch, error) {
	if f.Len() < AcceptHeadroom {
		return Batch{}, fmt.Errorf("%w: Accept cut short", ErrFormat)
	}
	return ParseBatch(f.Bytes()[AcceptHeadroom:])
}

// TrustedValue is AcceptValue for a frame that this process has already decoded once: nothing is checked again, so
// the work does not grow with the number of blocks.
func TrustedValue(f *Buffer) Batch {
	return viewBatch(f.Bytes()[AcceptHeadroom:])
}
