package snapshot

import "errors"

// Reasons why a file is refused. They come wrapped in an *Error that names the file.
var (
	// ErrCut: the file is shorter or longer than it says, or ends in its middle.
	ErrCut = errors.New("cut short")

	// ErrDamaged: a checksum does not fit.
	ErrDamaged = errors.New("damaged")

	// ErrVersion: written by a build with another layout.
	ErrVersion = errors.New("of another version")

	// ErrForeign: of another cluster or group.
	ErrForeign = errors.New("of another cluster or group")

	// ErrStale: sound, but not the snapshot that its name says.
	ErrStale = errors.New("not the snapshot its name says")
)

// ErrNone: the directory holds no snapshot of the group, good or bad.
var ErrNone = errors.New("snapshot: none")

// Error is a refused file and why. errors.Is finds the reason among ErrCut, ErrDamaged, ErrVersion, ErrForeign and
// ErrStale, or an error of the file system. Nothing was changed.
type Error struct {
	File   string // path
	Detail string // what was found, for people
	Err    error
}

func (e *Error) Error() string {
	s := "snapshot: " + e.File + ": " + e.Err.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// AllRefusedError: there are snapshots of the group, and none of them is good. Starting without one would lose the
// slots below the trimmed log, so this is a reason not to start.
type AllRefusedError struct {
	Refused []error // one *Error for each file, newest first
}

func (e *AllRefusedError) Error() string {
	return "snapshot: no good one: " + errors.Join(e.Refused...).Error()
}

// Unwrap returns the reasons.
func (e *AllRefusedError) Unwrap() []error { return e.Refused }
