package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrInUse: another process (or another Log of this one) has the directory open. The text names the
	// directory and the process.
	ErrInUse = errors.New("directory is in use")

	// ErrNotBootstrapped: there is no log here, and Bootstrap was not asked for.
	ErrNotBootstrapped = errors.New("no log here")

	// ErrHistory: Bootstrap was asked for where a log, or part of one, already is.
	ErrHistory = errors.New("a log is already here")

	// ErrClosed: the log was closed.
	ErrClosed = errors.New("wal: closed")
)

// FullError says that the disk has no room. It is the one error of writing after which a log goes on: what was asked for
// was not done, apart from the first Written records of an Append, nothing else has changed, and nothing is lost that
// was there. Once there is room the rest may be asked for again. Syncs never give it: what a failed sync left
// behind cannot be known, whatever it says.
type FullError struct {
	Written int   // records of an Append that are in the log
	Err     error // errors.Is finds syscall.ENOSPC
}

func (e *FullError) Error() string { return fmt.Sprintf("disk full: %v", e.Err) }

func (e *FullError) Unwrap() error { return e.Err }

// IdentityError says that a directory is another node's or another cluster's, or that it no longer says whose it is.
type IdentityError struct {
	Dir    string
	Reason string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("wal: %s: %s", e.Dir, e.Reason)
}

// wayOut is what an operator can do about a log that is refused. The one thing not to do is to delete the bad part: the
// node would then vote without the votes it forgot.
const wayOut = "nothing was changed; bring back the undamaged file, or mend it with the records of the others: 'paxbench wal repair', or start the" +
	" node once with --rejoin: it comes back without a vote, and gets it from a majority of the others"

// TornError says that the last thing in the log is not whole and that Config.RefuseTorn is set. Nothing was changed on the
// disk.
type TornError struct{ Verdict Verdict }

func (e *TornError) Error() string {
	return fmt.Sprintf("wal: %s ends at offset %d with %d bytes that are not a whole group: %s. After a power loss this is most likely a write"+
		" that nobody was told of; after damage to the disk it may have held acknowledged records. Nothing was changed",
		e.Verdict.File, e.Verdict.Offset, e.Verdict.Bytes, e.Verdict.Reason)
}

// CorruptError says that the log is damaged where a crash cannot have damaged it: records that were acknowledged may
// be lost, and the node must not vote. Nothing was changed on the disk.
type CorruptError struct {
	File   string
	Offset int64 // in bytes
	Reason string
	Err    error // the cause, if there is one
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s is corrupt at offset %d: %s (%s)", e.File, e.Offset, e.Reason, wayOut)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// VersionError says that a file was written by another version of this package, which is refused and never guessed at.
type VersionError struct {
	File      string
	Got, Want uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("wal: %s has format version %d, this build reads version %d: run the build that wrote it",
		e.File, e.Got, e.Want)
}
