package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// rejection is the end of a connection through the other side's fault.
type rejection struct {
	reason Reject
	err    error
}

func (r *rejection) Error() string { return "transport: " + r.reason.String() + ": " + r.err.Error() }
func (r *rejection) Unwrap() error { return r.err }

// input is the receiving half of a connection: whole, checked frames out of bytes.
//
// A frame that has begun must be complete within a bound; between frames a connection may be silent for as long as
// the kernel's keep-alive finds its other end. Setting a deadline for each frame and clearing it after would cost two
// timer updates for each; instead the deadline is left standing and pushed on when a quarter of it is used up, and a
// timeout that hits between frames is not one (Read).
//
// It belongs to one goroutine.
type input struct {
	raw      net.Conn
	timeout  time.Duration
	deadline int64 // when raw's read deadline is, on the monotonic clock; 0: not set
	strict   bool  // a timeout is one also between frames: the first frame is awaited
	inFrame  bool
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	for {
		n, err := in.raw.Read(p)
		if n > 0 || err == nil || in.inFrame || in.strict || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		in.deadline = 0
		if err := in.raw.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
}

// begin starts the clock of a frame.
func (in *input) begin() {
	in.inFrame = true
	if in.strict {
		return
	}
	now := monotonic()
	if in.deadline-now < int64(in.timeout)*3/4 {
		in.deadline = now + int64(in.timeout)
		in.raw.SetReadDeadline(time.Now().Add(in.timeout)) // fails on a closed connection, as the read after it does
	}
}

// frame reads one frame of at most limit bytes into a new buffer with one reference. It checks everything about it
// but cluster, kind and sender. io.EOF and the connection's own errors come between frames; what the other side is to
// blame for is a *rejection.
//
// Bytes allocated for it: up to step before its body came, then at most twice what came. A length is never trusted.
//
// Copies: what one read of the socket brought together with the frame's header, at most readBuffer bytes, is copied
// from br; all the rest is read from the kernel in place.
func (in *input) frame(br *bufio.Reader, limit, step int) (*wire.Buffer, wire.Header, error) {
	p, err := br.Peek(wire.HeaderSize)
	if err != nil {
		if len(p) == 0 || errors.Is(err, net.ErrClosed) {
			return nil, wire.Header{}, err
		}
		if d := denied(p); d != nil {
			return nil, wire.Header{}, d
		}
		return nil, wire.Header{}, cut(err)
	}
	h, err := wire.ParseHeader(p)
	if err != nil {
		if d := denied(p); d != nil {
			return nil, wire.Header{}, d
		}
		return nil, wire.Header{}, &rejection{reasonOf(err), err}
	}
	size := h.Size()
	if size > limit {
		return nil, wire.Header{}, &rejection{RejectLength, fmt.Errorf("%v frame of %d bytes, limit here %d", h.Kind, size, limit)}
	}
	if br.Buffered() < size {
		in.begin()
	}
	f, err := readWhole(br, size, step)
	in.inFrame = false
	if err != nil {
		if errors.Is(err, net.ErrClosed) {
			return nil, wire.Header{}, err
		}
		return nil, wire.Header{}, cut(err)
	}
	if _, err := wire.CheckFrame(f.Bytes()); err != nil {
		f.Release()
		return nil, wire.Header{}, &rejection{reasonOf(err), err}
	}
	return f, h, nil
}

// readWhole reads size bytes, growing its buffer with what has come.
func readWhole(br *bufio.Reader, size, step int) (*wire.Buffer, error) {
	if plant.Is(plant.LengthBelieved) {
		step = size
	}
	f := wire.Get(min(size, step))
	for {
		n := min(size, f.Cap())
		if _, err := io.ReadFull(br, f.Extend(n-f.Len())); err != nil {
			f.Release()
			return nil, err
		}
		if n == size {
			return f, nil
		}
		next := wire.Get(min(size, 2*n))
		next.Append(f.Bytes())
		f.Release()
		f = next
	}
}

// cut names the reason why a frame ended early.
func cut(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &rejection{RejectSlow, err}
	}
	return &rejection{RejectCut, err}
}

// reasonOf maps wire's errors to reasons.
func reasonOf(err error) Reject {
	switch {
	case errors.Is(err, wire.ErrVersion):
		return RejectVersion
	case errors.Is(err, wire.ErrTooLong):
		return RejectLength
	case errors.Is(err, wire.ErrCRC):
		return RejectCRC
	}
	return RejectHeader
}

// output is the sending half of a connection: many frames in one write. It belongs to one goroutine.
type output struct {
	raw      net.Conn
	timeout  time.Duration
	deadline int64       // when raw's write deadline is, on the monotonic clock
	vectors  net.Buffers // backing array of what is written by one vectored write
	rest     net.Buffers // its part not yet written
}

// arm pushes the write deadline on when a quarter of it is used up.
func (o *output) arm(again bool) error {
	now := monotonic()
	if !again && o.deadline-now >= int64(o.timeout)*3/4 {
		return nil
	}
	o.deadline = now + int64(o.timeout)
	return o.raw.SetWriteDeadline(time.Now().Add(o.timeout))
}

// write writes head and then the frames, without copying them in user space: one vectored write unless there are more
// than 1024 or the socket's buffer is full. A write that goes on slowly is let go on; one that makes no progress for
// the timeout fails.
func (o *output) write(head []byte, frames []*wire.Buffer) error {
	o.vectors = o.vectors[:0]
	if len(head) > 0 {
		o.vectors = append(o.vectors, head)
	}
	for _, f := range frames {
		o.vectors = append(o.vectors, f.Bytes())
	}
	o.rest = o.vectors // consumed by WriteTo, entry by entry
	defer clear(o.vectors)
	for again := false; ; again = true {
		if err := o.arm(again); err != nil {
			return err
		}
		n, err := o.rest.WriteTo(o.raw)
		if err == nil || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// writeFlat writes p, with the same deadline.
func (o *output) writeFlat(p []byte) error {
	for again := false; ; again = true {
		if err := o.arm(again); err != nil {
			return err
		}
		n, err := o.raw.Write(p)
		p = p[n:]
		if err == nil || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// DeniedError is what a node answers to a connection it does not take.
type DeniedError struct{ Reason Reject }

func (e *DeniedError) Error() string {
	return "transport: the node refuses the connection: " + e.Reason.String()
}

// denial opens a refusal: 8 bytes, then the reason, then zeros up to the size that the other side reads.
const denial = "PAXDENY1"

// denied is the refusal in p, or nil.
func denied(p []byte) error {
	if len(p) <= len(denial) || !bytes.HasPrefix(p, []byte(denial)) || Reject(p[len(denial)]) >= rejects {
		return nil
	}
	return &DeniedError{Reject(p[len(denial)])}
}

// deny tells the other side why and closes. It takes at most 200 ms: the other side's bytes are read and forgotten
// for that long, because closing with unread bytes makes the kernel reset the connection and may lose the answer.
func deny(raw net.Conn, why Reject) {
	defer raw.Close()
	var answer [wire.HeaderSize]byte
	copy(answer[:], denial)
	answer[len(denial)] = byte(why)
	raw.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := raw.Write(answer[:]); err != nil {
		return
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		io.Copy(io.Discard, io.LimitReader(raw, 1<<20))
	}
}
