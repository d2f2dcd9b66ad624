package batching

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/paxbench/paxbench/wire"
)

// Config sets the limits of a Batcher. The zero value of each field means its default.
type Config struct {
	// BytesMax closes a batch: the bytes of its blocks, headers included. Default 1 MiB, at most
	// wire.BatchBytesMax. A block that exceeds it by itself becomes a batch of its own.
	BytesMax int
	// CommandsMax closes a batch. Default 1 << 20.
	CommandsMax int
	// BlocksMax closes a batch. Default and limit wire.BatchBlocksMax.
	BlocksMax int
	// Delay is how long a block may wait for company while other slots are in flight. Default 0: not at all.
	Delay time.Duration
	// Compress turns on s2 for batches of at least wire.CompressMin bytes that become smaller by it.
	Compress bool
	// QueueBytesMax bounds what waits: the memory of the frames that hold the blocks, in bytes. Add refuses what
	// would exceed it. Default 64 MiB.
	QueueBytesMax int
}

const (
	bytesMaxDefault      = 1 << 20
	commandsMaxDefault   = 1 << 20
	queueBytesMaxDefault = 64 << 20
)

// Validate returns all faults of c, joined; nil if there is none.
func (c Config) Validate() error {
	var errs []error
	bad := func(name string, v, limit int) {
		if v < 0 || v > limit {
			errs = append(errs, fmt.Errorf("batching: %s %d is outside 0..%d", name, v, limit))
		}
	}
	bad("BytesMax", c.BytesMax, wire.BatchBytesMax)
	bad("CommandsMax", c.CommandsMax, 1<<31-1)
	bad("BlocksMax", c.BlocksMax, wire.BatchBlocksMax)
	bad("QueueBytesMax", c.QueueBytesMax, 1<<40)
	if c.Delay < 0 {
		errs = append(errs, fmt.Errorf("batching: negative Delay %v", c.Delay))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.BytesMax == 0 {
		c.BytesMax = bytesMaxDefault
	}
	if c.CommandsMax == 0 {
		c.CommandsMax = commandsMaxDefault
	}
	if c.BlocksMax == 0 {
		c.BlocksMax = wire.BatchBlocksMax
	}
	if c.QueueBytesMax == 0 {
		c.QueueBytesMax = queueBytesMaxDefault
	}
	return c
}

// Item is a block that waits for its batch. Block is a view into Frame; one reference to Frame goes with the item.
// Waiter is whatever the owner needs to answer the client.
type Item[W any] struct {
	Frame   *wire.Buffer
	Block   wire.Block
	Waiter  W
	Expires int64 // nanoseconds: from then on nobody waits for it any more (Expire); 0: never
}

// queued is an item with its arrival time.
type queued[W any] struct {
	Item[W]
	arrived int64 // nanoseconds, as told to Add
}

// Batcher collects blocks and cuts them into batches, in the order in which they came. It is owned by one goroutine.
// Times are nanoseconds of any monotonic clock, always the same.
type Batcher[W any] struct {
	c       Config
	queue   []queued[W]
	head    int    // queue[head:] waits
	bytes   int    // of the blocks that wait
	cmds    int    // in the blocks that wait
	held    int    // memory of the frames that wait, in bytes; at most QueueBytesMax, or one frame
	soonest int64  // nothing that waits expires before
	scratch []byte // compressed form of the batch under construction
}

// New returns an empty batcher. c must be valid (Config.Validate).
func New[W any](c Config) *Batcher[W] {
	if err := c.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	return &Batcher[W]{c: c.withDefaults(), soonest: math.MaxInt64}
}

// Add queues a block. false means Busy: the queue holds QueueBytesMax bytes already, and the item's reference stays
// with the caller; otherwise it now belongs to the batcher.
func (b *Batcher[W]) Add(now int64, it Item[W]) bool {
	size := it.Frame.Cap()
	if b.held > 0 && b.held+size > b.c.QueueBytesMax {
		return false
	}
	if len(b.queue) == cap(b.queue) && b.head > len(b.queue)/2 {
		// Slide down rather than grow: amortised, because more than half of the array is free.
		n := copy(b.queue, b.queue[b.head:])
		clear(b.queue[n:])
		b.queue, b.head = b.queue[:n], 0
	}
	b.queue = append(b.queue, queued[W]{it, now})
	b.held += size
	b.bytes += len(it.Block.Bytes())
	b.cmds += it.Block.Count()
	if it.Expires != 0 {
		b.soonest = min(b.soonest, it.Expires)
	}
	return true
}

// Expire takes out the blocks that have expired, releases their buffers and gives each waiter to fn, oldest first. Under an
// overload that is what keeps a queue from being work for nobody: cut first, they would make those behind them too late
// as well. It costs nothing while nothing expires, and otherwise a walk along the queue.
func (b *Batcher[W]) Expire(now int64, fn func(W)) {
	if now < b.soonest {
		return
	}
	b.soonest = math.MaxInt64
	kept := b.queue[:b.head]
	for i := b.head; i < len(b.queue); i++ {
		q := b.queue[i]
		switch {
		case q.Expires == 0:
		case q.Expires > now:
			b.soonest = min(b.soonest, q.Expires)
		default:
			b.held -= q.Frame.Cap()
			b.bytes -= len(q.Block.Bytes())
			b.cmds -= q.Block.Count()
			q.Frame.Release()
			fn(q.Waiter)
			continue
		}
		kept = append(kept, q)
	}
	clear(b.queue[len(kept):])
	b.queue = kept
	if b.head == len(b.queue) {
		b.queue, b.head = b.queue[:0], 0
	}
}

// Len is the number of blocks that wait, and their bytes.
func (b *Batcher[W]) Len() (blocks, bytes int) { return len(b.queue) - b.head, b.bytes }

// Held is the memory in bytes of the frames that wait: at most QueueBytesMax, or one frame.
func (b *Batcher[W]) Held() int { return b.held }

// Ready says whether a batch should be taken now, with inFlight slots of the window under way.
func (b *Batcher[W]) Ready(now int64, inFlight, window int) bool {
	waiting := len(b.queue) - b.head
	switch {
	case waiting == 0 || inFlight >= window:
		return false
	case inFlight == 0 || b.c.Delay == 0:
		return true
	case b.bytes >= b.c.BytesMax || b.cmds >= b.c.CommandsMax || waiting >= b.c.BlocksMax:
		return true
	}
	return now-b.queue[b.head].arrived >= int64(b.c.Delay)
}

// Deadline is when Ready may become true by delay alone. ok is false when there is nothing to wait for.
func (b *Batcher[W]) Deadline() (nanos int64, ok bool) {
	if b.head == len(b.queue) || b.c.Delay == 0 {
		return 0, false
	}
	return b.queue[b.head].arrived + int64(b.c.Delay), true
}

// Take cuts one batch from the head of the queue: as many blocks as the limits allow, at least one. It returns the
// Accept frame with one reference, not yet sealed (wire.SealAccept), waiters with those of the batch's blocks
// appended in block order, and when the first of the blocks arrived. The queue must not be empty.
//
// Copies: each block once, into a buffer made to measure. With Compress, its compressed form once more, into a
// buffer made to that measure: the frame stays in the log's memory for long and must not hold the larger one.
func (b *Batcher[W]) Take(waiters []W) (accept *wire.Buffer, w []W, oldest int64) {
	if b.head == len(b.queue) {
		panic("BUG: batching: Take from an empty queue")
	}
	n, raw, cmds := b.cut()
	accept = wire.NewAccept(wire.BatchHeaderSize + raw)
	p := accept.Extend(wire.BatchHeaderSize + raw)
	wire.PutBatchHeader(p, wire.BatchBlocks, wire.CompressNone, n, cmds, raw, raw)
	oldest = b.queue[b.head].arrived
	dst := p[wire.BatchHeaderSize:]
	for i := b.head; i < b.head+n; i++ {
		q := &b.queue[i]
		dst = dst[copy(dst, q.Block.Bytes()):]
		waiters = append(waiters, q.Waiter)
		b.held -= q.Frame.Cap()
		q.Frame.Release()
		*q = queued[W]{}
	}
	b.bytes -= raw
	b.cmds -= cmds
	b.head += n
	if b.head == len(b.queue) {
		b.queue, b.head = b.queue[:0], 0
	}
	if b.c.Compress && raw >= wire.CompressMin {
		accept = b.compress(accept, n, cmds, raw)
	}
	return accept, waiters, oldest
}

// cut counts the blocks of the next batch, their bytes and their commands.
func (b *Batcher[W]) cut() (n, bytes, cmds int) {
	for _, q := range b.queue[b.head:] {
		size, count := len(q.Block.Bytes()), q.Block.Count()
		if n > 0 && (n == b.c.BlocksMax || bytes+size > b.c.BytesMax || cmds+count > b.c.CommandsMax) {
			break
		}
		n, bytes, cmds = n+1, bytes+size, cmds+count
	}
	return n, bytes, cmds
}

// compress returns accept with its payload compressed, or accept itself if that would not make it smaller.
func (b *Batcher[W]) compress(accept *wire.Buffer, blocks, cmds, raw int) *wire.Buffer {
	if need := s2.MaxEncodedLen(raw); cap(b.scratch) < need {
		b.scratch = make([]byte, 0, need)
	}
	enc, ok := wire.CompressInto(b.scratch[:0], accept.Bytes()[wire.AcceptHeadroom+wire.BatchHeaderSize:])
	if !ok {
		return accept
	}
	accept.Release()
	accept = wire.NewAccept(wire.BatchHeaderSize + len(enc))
	p := accept.Extend(wire.BatchHeaderSize + len(enc))
	wire.PutBatchHeader(p, wire.BatchBlocks, wire.CompressS2, blocks, cmds, raw, len(enc))
	copy(p[wire.BatchHeaderSize:], enc)
	return accept
}

// Drain empties the queue, as when leadership was lost: it releases the buffers and gives each waiter to fn, oldest
// first.
func (b *Batcher[W]) Drain(fn func(W)) {
	for i := b.head; i < len(b.queue); i++ {
		q := &b.queue[i]
		q.Frame.Release()
		w := q.Waiter
		*q = queued[W]{}
		fn(w)
	}
	b.queue, b.head = b.queue[:0], 0
	b.bytes, b.cmds, b.held, b.soonest = 0, 0, 0, math.MaxInt64
}
