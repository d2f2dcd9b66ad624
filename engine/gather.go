package engine

import (
	"fmt"
	"sync"

	"github.com/paxbench/paxbench/wire"
)

// CommandResult is the outcome of a command given to Group.Go. It and what it points to die when CommandDone returns.
type CommandResult struct {
	Err    error       // nil: executed. ErrUnknown: may be; every other error: certainly not
	Result []byte      // the state machine's
	Slot   wire.Slot   // where the command was chosen
	Epoch  wire.Ballot // of the leadership that answers: see wire.Reply
	Index  int         // from 0 up among those that are told one after the other: one reading of a clock may do for them
}

// CommandDone receives the outcome of a command given to Group.Go: exactly once, from a goroutine of the engine that other
// commands wait for. It must be short and must not block; it may call Go.
type CommandDone interface {
	CommandDone(r *CommandResult)
}

// Bounds of a gathered block, its header included in the first. A larger command is a block of its own.
const (
	gatherBytes    = 64<<10 - 2*wire.BlockHeaderSize // with the length of the last command, a buffer of 64 KiB
	gatherCommands = 4096
	// gatherCost is what a waiting command counts in clientBytes beside its bytes.
	gatherCost = 32
)

// gathered is a block of single commands, being filled or under way.
type gathered struct {
	frame  *wire.Buffer
	dones  []CommandDone
	result CommandResult
}

var gatheredPool = sync.Pool{New: func() any { return new(gathered) }}

// Complete implements Completion.
func (b *gathered) Complete(r *Result) {
	b.result = CommandResult{Err: r.Err(), Slot: r.Slot, Epoch: r.Epoch}
	it := r.Iter()
	for i, d := range b.dones {
		b.dones[i] = nil
		b.result.Result, b.result.Index = nil, i
		if b.result.Err == nil {
			b.result.Result, _ = it.Next()
		}
		d.CommandDone(&b.result)
	}
	*b = gathered{dones: b.dones[:0]}
	gatheredPool.Put(b)
}

// gatherer makes blocks of single commands, so that a command costs the loop nothing. The loop takes what has been
// gathered when it has room for a batch, and until then the block grows: the busier the group, the larger the blocks.
// The plain design, a block that leaves as soon as fewer than some number are under way, sent the first command of
// each burst alone and split the rest.
type gatherer struct {
	mu     sync.Mutex
	blocks []*gathered // all full but the last; empty: nothing waits
	count  int         // commands in them
	cost   int64       // of them, in clientBytes
	closed bool
}

// Go proposes one command outside of any session and returns at once; done is called later, unless an error is returned.
// cmd is the caller's again. Commands of one goroutine are executed in the order of its calls, as far as they are
// executed. Nothing is allocated in steady state. It is executed at most once: see Propose.
//
// Errors: ErrTooLarge, ErrBusy, ErrClosed. All mean certainly not done.
func (g *Group) Go(cmd []byte, done CommandDone) error {
	if len(cmd) > wire.CommandBytesMax {
		return fmt.Errorf("%w: command of %d bytes, limit %d", ErrTooLarge, len(cmd), wire.CommandBytesMax)
	}
	cost := int64(len(cmd)) + gatherCost
	if g.clientBytes.Add(cost) > g.node.limits.ClientBytes {
		g.clientBytes.Sub(cost)
		g.count.busy.Inc()
		return ErrBusy
	}
	first, ok := g.gatherer.add(cmd, done, cost)
	if !ok {
		g.clientBytes.Sub(cost)
		return ErrClosed
	}
	if first {
		g.mailbox.PutUrgent(event{kind: eventGathered}) // refused: the loop's end closes the gatherer
	}
	return nil
}

// add appends a command. first: nothing waited before, so the loop has to be told. Not ok: closed.
func (q *gatherer) add(cmd []byte, done CommandDone, cost int64) (first, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, false
	}
	n := len(q.blocks)
	first = n == 0
	if first || len(q.blocks[n-1].dones) >= gatherCommands || q.blocks[n-1].frame.Len()+len(cmd) > gatherBytes {
		b := gatheredPool.Get().(*gathered)
		b.frame = wire.Get(max(gatherBytes, len(cmd)) + 2*wire.BlockHeaderSize)
		b.frame.Extend(wire.BlockHeaderSize)
		q.blocks = append(q.blocks, b)
		n++
	}
	b := q.blocks[n-1]
	b.frame.SetBytes(wire.AppendCommand(b.frame.Bytes(), cmd))
	b.dones = append(b.dones, done)
	q.count++
	q.cost += cost
	return first, true
}

// take moves all blocks to dst, and says what they counted in clientBytes.
func (q *gatherer) take(dst []*gathered) ([]*gathered, int64) {
	q.mu.Lock()
	dst = append(dst, q.blocks...)
	clear(q.blocks)
	q.blocks, q.count = q.blocks[:0], 0
	cost := q.cost
	q.cost = 0
	q.mu.Unlock()
	return dst, cost
}

// len is the number of commands that wait.
func (q *gatherer) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// close makes every later Go fail.
func (q *gatherer) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

// seal completes the block's header.
func (b *gathered) seal() wire.Block {
	wire.PutBlockHeader(b.frame.Bytes(), 0, 0, 0, len(b.dones), b.frame.Len()-wire.BlockHeaderSize)
	blk, _, err := wire.ParseBlock(b.frame.Bytes())
	if err != nil {
		panic("BUG: engine: gathered block: " + err.Error())
	}
	return blk
}
