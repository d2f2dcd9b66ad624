package client

import (
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Errors of commands and queries. Where ErrUnknown is not among them, the command certainly was not executed and never
// will be.
var (
	// ErrUnknown: the command may have been executed, or may yet be: it was sent, and there was no answer in time.
	ErrUnknown = errors.New("client: outcome unknown")

	// ErrBusy: too much waits in this client already. Try again when something completed.
	ErrBusy = errors.New("client: busy")

	// ErrClosed: the client was closed.
	ErrClosed = errors.New("client: closed")

	// ErrTimeout: there was no leader to send it to within the timeout, or every one turned it away.
	ErrTimeout = errors.New("client: timeout")

	// ErrDiskFull: no node that could lead has room on its disk.
	ErrDiskFull = errors.New("client: the cluster's disks are full")

	// ErrSessionGone: the cluster does not know the session any more.
	ErrSessionGone = errors.New("client: session gone")

	// ErrInvalid: the cluster refuses the request as making no sense.
	ErrInvalid = errors.New("client: invalid request")

	// ErrTooLarge: the request, or a query's answer, exceeds a limit of package wire.
	ErrTooLarge = errors.New("client: too large")

	// ErrNotLeader: the node asked does not lead the group. Only Node gives it; a Client looks for the leader.
	ErrNotLeader = errors.New("client: not the leader")
)

// MayBeDone says whether a command that ended with err may have been executed.
func MayBeDone(err error) bool { return err == nil || errors.Is(err, ErrUnknown) }

// statusError is the error of a refusal. StatusOK is nil.
func statusError(s wire.Status) error {
	switch s {
	case wire.StatusOK:
		return nil
	case wire.StatusNotLeader:
		return ErrNotLeader
	case wire.StatusBusy:
		return ErrBusy
	case wire.StatusDiskFull:
		return ErrDiskFull
	case wire.StatusExpired:
		return ErrTimeout
	case wire.StatusClosed:
		return fmt.Errorf("%w: the node is stopping", ErrNotLeader)
	case wire.StatusSessionGone:
		return ErrSessionGone
	case wire.StatusInvalid:
		return ErrInvalid
	case wire.StatusTooLarge:
		return ErrTooLarge
	}
	return ErrUnknown
}

// The errors of what was under way, made once: they are given to every command of a block.
var (
	errLateUnsent    = fmt.Errorf("%w: not sent in time", ErrTimeout)
	errLateQueued    = fmt.Errorf("%w: the leader did not come to it in time", ErrTimeout)
	errLateRefused   = fmt.Errorf("%w: turned away until then", ErrTimeout)
	errLateFull      = fmt.Errorf("%w: turned away until then: %w", ErrTimeout, ErrDiskFull)
	errLateSent      = fmt.Errorf("%w: sent, no answer in time", ErrUnknown)
	errClosedSent    = fmt.Errorf("%w: client closed with it under way: %w", ErrUnknown, ErrClosed)
	errGoneSent      = fmt.Errorf("%w: sent, and the session is gone: %w", ErrUnknown, ErrSessionGone)
	errInvalidSent   = fmt.Errorf("%w: sent before, and refused as invalid: %w", ErrUnknown, ErrInvalid)
	errTooLargeSent  = fmt.Errorf("%w: sent before, and refused as too large: %w", ErrUnknown, ErrTooLarge)
	errResultsLost   = fmt.Errorf("%w: executed, but its results are not kept", ErrUnknown)
	errBlockEmpty    = fmt.Errorf("%w: block without commands", ErrInvalid)
	errBlockTooLarge = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, wire.CommandBytesMax)
)
