package history

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Limits bound a recording. The zero value of a field means its default.
type Limits struct {
	// Ops is how many operations are recorded in full, default 1,000,000: about 30 bytes each in the file, 150 in a
	// judge's memory. The recording of operations ends there, that of calls does not.
	Ops uint64

	// Queue is how many full buffers of 64 KiB may wait to be written, default 256.
	Queue int
}

// Frame kinds.
const (
	frameHead  = 1
	frameCalls = 2
	frameTail  = 3
)

const (
	frameHeaderSize = 20

	// bufferBytes is where a buffer is full. A call more fits on top.
	bufferBytes = 64 << 10

	// plainMax bounds a frame's plain bytes: a full buffer and the largest call, a block of which every command is on a
	// sampled key.
	plainMax = 8 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes a history. Its buffers belong to one goroutine each; its own methods may be called from any.
type Writer struct {
	limits Limits
	queue  chan *chunk
	free   chan *chunk
	over   chan struct{}
	ops    atomic.Uint64
	cut    atomic.Int64
	drop   atomic.Uint64

	// The rest belongs to the writing goroutine.
	dst   io.Writer
	coder *zstd.Encoder
	tail  Tail
	frame []byte
	err   error // the first one; nothing is written after it
}

// chunk is a part of a history on its way to the file.
type chunk struct {
	plain  []byte
	calls  uint32
	ops    uint64
	oldest int64 // lowest Invoke of a call with operations
}

// NewWriter begins a history in dst.
func NewWriter(dst io.Writer, h Head, limits Limits) (*Writer, error) {
	if limits.Ops == 0 {
		limits.Ops = 1_000_000
	}
	if limits.Queue == 0 {
		limits.Queue = 256
	}
	coder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h.Version = FormatVersion
	w := &Writer{limits: limits, queue: make(chan *chunk, limits.Queue), free: make(chan *chunk, limits.Queue), over: make(chan struct{}), dst: dst, coder: coder}
	w.cut.Store(Never)
	w.json(frameHead, h)
	if w.err != nil {
		return nil, w.err
	}
	go w.run()
	return w, nil
}

// Sampling says whether operations on sampled keys are still recorded. Once it is false it stays so: a client may then
// leave them out.
func (w *Writer) Sampling() bool { return w.cut.Load() == Never }

// cutAt ends the recording of operations: those sent before t are complete.
func (w *Writer) cutAt(t int64) {
	for {
		old := w.cut.Load()
		if old <= t || w.cut.CompareAndSwap(old, t) {
			return
		}
	}
}

// Merge adds the calls of a whole recording, made by another process on the same clock, and waits for the disk where that is
// slower. slack nanoseconds is how far the two clocks may be apart: each call is taken to have begun so much earlier and
// ended so much later, which can only hide a violation, never make one. The bound on operations does not hold for it. An
// error that is a *DamageError names the place in src; what was before it has been added.
func (w *Writer) Merge(src io.Reader, slack int64) error {
	r, err := NewReader(src)
	if err != nil {
		return err
	}
	b := w.NewBuffer()
	flush := func() {
		if b.c.calls > 0 {
			w.queue <- b.c
			b.c, b.coder = newChunk(), coder{}
		}
	}
	tail, err := r.All(func(c *Call) error {
		c.Invoke, c.Return = c.Invoke-slack, c.Return+slack
		b.c.plain = b.coder.append(b.c.plain, c)
		b.c.calls++
		b.c.ops += uint64(len(c.Ops))
		if len(b.c.plain) >= bufferBytes {
			flush()
		}
		return nil
	})
	flush()
	if err != nil {
		return err
	}
	w.drop.Add(tail.Dropped)
	if tail.Cut != Never {
		w.cutAt(tail.Cut - slack)
	}
	return nil
}

// Close writes what is left. All buffers have been flushed before, and are not used any more.
func (w *Writer) Close() (Tail, error) {
	close(w.queue)
	<-w.over
	w.tail.Cut, w.tail.Dropped = w.cut.Load(), w.drop.Load()
	w.json(frameTail, w.tail)
	w.coder.Close()
	return w.tail, w.err
}

// run is the writing goroutine.
func (w *Writer) run() {
	defer close(w.over)
	for c := range w.queue {
		w.write(frameCalls, c.plain, c.calls)
		w.tail.Calls += uint64(c.calls)
		w.tail.Ops += c.ops
		*c = chunk{plain: c.plain[:0]}
		select {
		case w.free <- c:
		default:
		}
	}
}

func (w *Writer) json(kind byte, v any) {
	p, err := json.Marshal(v)
	if err != nil {
		panic("BUG: history: " + err.Error())
	}
	w.write(kind, p, 0)
}

// write writes one frame.
func (w *Writer) write(kind byte, plain []byte, calls uint32) {
	if w.err != nil {
		return
	}
	f := append(w.frame[:0], make([]byte, frameHeaderSize)...)
	f = w.coder.EncodeAll(plain, f)
	f[0] = kind
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHeaderSize))
	binary.LittleEndian.PutUint32(f[8:], uint32(len(plain)))
	binary.LittleEndian.PutUint32(f[12:], calls)
	binary.LittleEndian.PutUint32(f[16:], checksum(f))
	w.frame = f
	if _, err := w.dst.Write(f); err != nil {
		w.err = fmt.Errorf("history: %w", err)
	}
}

// checksum is over all of a frame but the checksum.
func checksum(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[:16], castagnoli), castagnoli, f[frameHeaderSize:])
}

// Buffer takes the calls that one goroutine sees the outcome of.
type Buffer struct {
	w     *Writer
	coder coder
	c     *chunk
}

// NewBuffer makes a buffer.
func (w *Writer) NewBuffer() *Buffer { return &Buffer{w: w, c: newChunk()} }

func newChunk() *chunk { return &chunk{plain: make([]byte, 0, bufferBytes+4<<10), oldest: Never} }

// Add records a call; c is the caller's again when it returns.
func (b *Buffer) Add(c *Call) {
	b.c.plain = b.coder.append(b.c.plain, c)
	b.c.calls++
	if n := uint64(len(c.Ops)); n > 0 {
		b.c.ops += n
		b.c.oldest = min(b.c.oldest, c.Invoke)
		if b.w.ops.Add(n) > b.w.limits.Ops {
			// Who sees this leaves out what is sent from now on, which is after this call's outcome.
			b.w.cutAt(c.Return)
		}
	}
	if len(b.c.plain) >= bufferBytes {
		b.Flush()
	}
}

// Flush hands over what is in the buffer.
func (b *Buffer) Flush() {
	if b.c.calls == 0 {
		return
	}
	select {
	case b.w.queue <- b.c:
		select {
		case b.c = <-b.w.free:
			b.c.oldest = Never
		default:
			b.c = newChunk()
		}
	default:
		b.w.drop.Add(uint64(b.c.calls))
		b.w.cutAt(b.c.oldest) // Never if there was no operation in it
		*b.c = chunk{plain: b.c.plain[:0], oldest: Never}
	}
	b.coder = coder{}
}
