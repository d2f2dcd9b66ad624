package engine

import (
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Errors of proposals and queries. All but ErrUnknown mean that the commands were certainly not executed and will
// not be; after ErrUnknown they may have been, or may yet be.
var (
	// ErrBusy: a queue is full. Try again later.
	ErrBusy = errors.New("engine: busy")

	// ErrDiskFull: this node's disk has no room, and no other node is known to lead. Try again later.
	ErrDiskFull = errors.New("engine: disk full")

	// ErrExpired: the block's patience ran out before it was proposed, or that of a query before it was read.
	ErrExpired = errors.New("engine: expired: its patience ran out while it waited")

	// ErrNotLeader: this node does not lead the group; the error is a *NotLeaderError that says who may.
	ErrNotLeader = errors.New("engine: not the leader")

	// ErrClosed: the node is closed or has failed.
	ErrClosed = errors.New("engine: node closed")

	// ErrSessionGone: the session was closed, evicted, or never opened.
	ErrSessionGone = errors.New("engine: session gone")

	// ErrInvalid: the block makes no sense: malformed, or its sequence numbers do not fit what its session sent.
	ErrInvalid = errors.New("engine: invalid block")

	// ErrTooLarge: the command or query exceeds a limit of package wire.
	ErrTooLarge = errors.New("engine: too large")

	// ErrAuxiliary: the node is an auxiliary one, which keeps no state.
	ErrAuxiliary = errors.New("engine: an auxiliary node keeps no state: ask another one")

	// ErrUnknown: leadership, the node, or the caller's patience was lost with the commands under way.
	ErrUnknown = errors.New("engine: outcome unknown")
)

// NotLeaderError says who leads the group, as far as this node knows. errors.Is(err, ErrNotLeader) holds.
type NotLeaderError struct {
	Leader wire.NodeID // 0: not known
	Addr   string      // the leader's address; empty: not known
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return "engine: not the leader, the leader is not known"
	}
	return fmt.Sprintf("engine: not the leader, node %d at %s may be", e.Leader, e.Addr)
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }
