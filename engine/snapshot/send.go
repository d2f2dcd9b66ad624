package snapshot

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Sender walks a snapshot file for one receiver: which bytes to send next, and where to go back to. It has no clock:
// the caller sends pieces while Next gives some, passes acknowledgements to Ack, and calls Retry when there was no
// progress for a while. Not safe for concurrent use. The file stays readable while it is open, also when RemoveOlder
// removes its name.
type Sender struct {
	file  *File
	f     FileHandle
	total uint64
	limit uint64 // bytes that may be sent beyond acked

	// Invariant: acked <= next <= total.
	acked uint64 // the receiver has every byte below
	next  uint64 // first byte not sent yet
	heard uint64 // offset of the last acknowledgement, which may be below acked: the receiver lost its part file
}

// NewSender opens file for sending with up to windowBytes unacknowledged (0: four pieces of wire.SnapChunkBytes).
func NewSender(file *File, windowBytes int) (*Sender, error) {
	if windowBytes <= 0 {
		windowBytes = 4 * wire.SnapChunkBytes
	}
	f, err := file.fs.Open(file.Path)
	if err != nil {
		return nil, at(file.Path, err)
	}
	m, t, size, err := readEnds(f)
	if err == nil && (m != file.Meta || t.sum != file.Sum) {
		err = &Error{Err: ErrStale, Detail: "replaced since it was verified"}
	}
	if err != nil {
		_ = f.Close()
		return nil, at(file.Path, err)
	}
	return &Sender{file: file, f: f, total: uint64(size), limit: uint64(windowBytes)}, nil
}

// Slot is the snapshot's slot.
func (s *Sender) Slot() wire.Slot { return s.file.Meta.Slot }

// Total is the size of the file in bytes.
func (s *Sender) Total() uint64 { return s.total }

// Acked is how many bytes the receiver is known to have.
func (s *Sender) Acked() uint64 { return s.acked }

// Done says whether the receiver has all of the file.
func (s *Sender) Done() bool { return s.acked == s.total }

// Next reads the next piece to send into buf and moves on. n is 0 when there is nothing to send now: all was sent,
// or the window is full. A failure to read is an *Error; the copy cannot go on.
func (s *Sender) Next(buf []byte) (offset uint64, n int, err error) {
	offset = s.next
	size := min(uint64(len(buf)), s.total-s.next)
	if size == 0 || s.next > s.acked && s.next-s.acked+size > s.limit {
		return offset, 0, nil
	}
	if err := readFull(s.f, buf[:size], int64(offset)); err != nil {
		return offset, 0, at(s.file.Path, err)
	}
	s.next += size
	return offset, int(size), nil
}

// Ack takes the receiver's word that it has every byte below offset. Late and repeated ones are harmless. It returns
// an error when the receiver speaks of another file (total differs) or of bytes that do not exist.
func (s *Sender) Ack(offset, total uint64) error {
	if total != s.total || offset > s.total {
		return fmt.Errorf("snapshot: acknowledgement of %d of %d bytes, the file has %d", offset, total, s.total)
	}
	s.heard = offset
	s.acked = max(s.acked, offset)
	s.next = max(s.next, s.acked)
	return nil
}

// Retry goes back to what the receiver spoke of last: pieces were lost, or the receiver has less than it once had
// because it crashed or refused the whole. An offset below acked is believed only here, because an acknowledgement
// that was overtaken looks the same.
func (s *Sender) Retry() {
	if s.Done() {
		return
	}
	s.acked, s.next = s.heard, s.heard
}

// Close ends sending.
func (s *Sender) Close() error { return s.f.Close() }
