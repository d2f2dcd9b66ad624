package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/paxbench/paxbench/wire"
)

// Result is the outcome of one command or query. It and what it points to die when the callback returns.
type Result struct {
	Err     error          // nil: done
	Reply   []byte         // the state machine's result or answer
	Slot    wire.Slot      // where the command was chosen; of a query: every slot up to here was applied
	Index   uint32         // its block's index in that slot's batch
	Epoch   wire.Ballot    // of the leadership that answered; see wire.Reply
	Session wire.SessionID // with Seq also after an error, if the command was ever sent
	Seq     wire.Seq
}

// Done receives the outcome of a command or query: exactly once, on a goroutine of the client. It must not block and
// must not call Close.
type Done interface {
	Done(r *Result)
}

// DoneFunc makes a Done of a function.
type DoneFunc func(r *Result)

// Done calls f.
func (f DoneFunc) Done(r *Result) { f(r) }

// BlockResult is the outcome of a block. It and what it points to die when the callback returns.
type BlockResult struct {
	Err       error            // nil: done
	Slot      wire.Slot        // where the block was chosen
	Index     uint32           // its index in that slot's batch: (Slot, Index) orders all blocks of a group
	Epoch     wire.Ballot      // of the leadership that answered; see wire.Reply
	Session   wire.SessionID   // with First also after an error, if the block was ever sent
	First     wire.Seq         // sequence number of the first command
	Count     int              // commands
	Results   wire.CommandIter // the state machine's results, in order; only without an error
	SentNanos int64            // when it was first sent, by Now; 0: never
	DoneNanos int64            // when its outcome was known here
}

// BlockDone receives the outcome of a block, as Done does of a command.
type BlockDone interface {
	BlockDone(r *BlockResult)
}

// BlockDoneFunc makes a BlockDone of a function.
type BlockDoneFunc func(r *BlockResult)

// BlockDone calls f.
func (f BlockDoneFunc) BlockDone(r *BlockResult) { f(r) }

// Go proposes cmd and returns at once; done is called later, unless there is an error. cmd is the caller's again.
// Errors: ErrBusy, ErrClosed, ErrTooLarge. Nothing is allocated once the client has had its most under way.
func (c *Client) Go(cmd []byte, done Done) error {
	if len(cmd) > wire.CommandBytesMax {
		return errBlockTooLarge
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enqueue(cmd, done)
}

// enqueue appends a command to the open block. mu is held.
func (c *Client) enqueue(cmd []byte, done Done) error {
	if c.closed {
		return ErrClosed
	}
	b := c.open
	if b == nil || !b.add(&c.c, cmd) {
		if b != nil {
			if c.queue.count >= c.c.QueueBlocks {
				return ErrBusy
			}
			c.queue.push(b)
		}
		b = c.takeBlock()
		b.user.b = nil
		if !b.add(&c.c, cmd) {
			panic(fmt.Sprintf("BUG: client: an empty block does not take %d bytes", len(cmd)))
		}
		b.deadline = Now() + int64(c.c.Timeout)
		c.open = b
		c.arm(b.deadline)
	}
	b.dones = append(b.dones, done)
	c.flush()
	return nil
}

// Submit proposes a block and returns at once; done is called later, unless there is an error, and then the block is
// still the caller's. Errors: ErrBusy, ErrClosed, ErrInvalid (no commands).
func (c *Client) Submit(u *Block, done BlockDone) error {
	b := u.block()
	if b.count == 0 {
		return errBlockEmpty
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.queue.count >= c.c.QueueBlocks {
		return ErrBusy
	}
	u.b = nil
	b.whole = done
	b.deadline = Now() + int64(c.c.Timeout)
	c.arm(b.deadline)
	c.queue.push(b)
	c.flush()
	return nil
}

// Do proposes cmd and waits for its result, which the caller owns. When ctx ends first the error is ErrUnknown and
// ctx's, because the command may still be executed; if it had not been taken up yet, only ctx's.
func (c *Client) Do(ctx context.Context, cmd []byte) ([]byte, error) {
	if len(cmd) > wire.CommandBytesMax {
		return nil, errBlockTooLarge
	}
	w := waiters.Get().(*waiter)
	for {
		c.mu.Lock()
		err := c.enqueue(cmd, w)
		if err == nil {
			c.mu.Unlock()
			return w.wait(ctx, true)
		}
		if err != ErrBusy {
			c.mu.Unlock()
			waiters.Put(w)
			return nil, err
		}
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			waiters.Put(w)
			return nil, ctx.Err()
		}
	}
}

// waiter is a blocking call under way.
type waiter struct {
	state atomic.Uint32
	done  chan struct{} // capacity 1
	reply []byte
	slot  wire.Slot
	err   error
}

const (
	waiting uint32 = iota
	answered
	abandoned // nobody waits any more
)

var waiters = sync.Pool{New: func() any { return &waiter{done: make(chan struct{}, 1)} }}

// Done implements Done.
func (w *waiter) Done(r *Result) {
	if w.state.Load() == waiting {
		w.reply, w.slot, w.err = append([]byte(nil), r.Reply...), r.Slot, r.Err
	}
	if w.state.CompareAndSwap(waiting, answered) {
		w.done <- struct{}{}
		return
	}
	w.recycle() // abandoned
}

func (w *waiter) recycle() {
	w.state.Store(waiting)
	w.reply, w.slot, w.err = nil, 0, nil
	waiters.Put(w)
}

// wait waits for the outcome. command: an end before it leaves the outcome unknown.
func (w *waiter) wait(ctx context.Context, command bool) ([]byte, error) {
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.state.CompareAndSwap(waiting, abandoned) {
			if command {
				return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
			}
			return nil, ctx.Err()
		}
		<-w.done
	}
	reply, err := w.reply, w.err
	w.recycle()
	return reply, err
}
