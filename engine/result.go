package engine

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Result is the outcome of a block, with the epoch (wire.Reply). The embedded Reply is complete but for Request, which belongs to the receiver;
// Results is a view that dies when Complete returns.
type Result struct {
	wire.Reply

	// Addr is the address of Leader when the status is StatusNotLeader; empty: not known.
	Addr string
}

// Err is nil for StatusOK and otherwise the error that the status stands for.
func (r *Result) Err() error {
	return statusError(r.Status, r.Leader, r.Addr)
}

func statusError(s wire.Status, leader wire.NodeID, addr string) error {
	switch s {
	case wire.StatusOK:
		return nil
	case wire.StatusNotLeader:
		return &NotLeaderError{Leader: leader, Addr: addr}
	case wire.StatusBusy:
		return ErrBusy
	case wire.StatusDiskFull:
		return ErrDiskFull
	case wire.StatusExpired:
		return ErrExpired
	case wire.StatusClosed:
		return ErrClosed
	case wire.StatusSessionGone:
		return ErrSessionGone
	case wire.StatusInvalid:
		return ErrInvalid
	case wire.StatusTooLarge:
		return ErrTooLarge
	case wire.StatusUnknown:
		return ErrUnknown
	}
	return fmt.Errorf("engine: status %d: %w", s, ErrUnknown)
}

// Completion receives the outcome of a block given to ProposeBlock. Complete is called exactly once, from a goroutine
// of the engine that other blocks wait for: it must be short and must not block. The result and everything it points
// to die when it returns.
type Completion interface {
	Complete(r *Result)
}

// CompletionFunc makes a Completion of a function.
type CompletionFunc func(r *Result)

// Complete calls f.
func (f CompletionFunc) Complete(r *Result) { f(r) }
