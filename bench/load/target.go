package load

import (
	"sync/atomic"

	"github.com/paxbench/paxbench/wire"
)

// Target is one client of the system under load: a session of its own and, usually, a connection of its own. The
// generator calls a target from one goroutine, except Close.
type Target interface {
	// NewBlock returns an empty block. The block goes back to the target with Submit.
	NewBlock() Block

	// Submit hands a block over and must not wait for the network. Unless it returns an error, which means that
	// nothing of the block is or will be done, done.Complete is called exactly once: from any goroutine, possibly
	// before Submit returns.
	Submit(b Block, done Completion) error

	// Call is Submit for one command of the log. cmd is the caller's again when Call returns.
	Call(cmd []byte, done Completion) error

	// Query sends a read that is not a command of the log; the rules are Submit's. req is the caller's again when
	// Query returns.
	Query(req []byte, mode ReadMode, done Completion) error

	// Close gives up: what is under way is completed with an outcome, at the latest when Close returns.
	Close() error
}

// Block is a block of commands being filled.
type Block interface {
	// Add appends a copy of a command. false: the block is full and unchanged. A block with nothing in it takes
	// any command that is within the limits.
	Add(cmd []byte) bool
}

// Outcome is what is known of an operation. The three are never mixed.
type Outcome uint8

const (
	Done    Outcome = iota // acknowledged
	Failed                 // certainly not done, and never will be
	Unknown                // may be done, or may yet be
)

// Reply is the outcome of a block, a command or a query. It dies when Complete returns.
type Reply struct {
	Outcome Outcome
	Err     error // why not Done

	Slot    wire.Slot        // where the block was chosen; Done only
	Index   uint32           // the block's index in its batch
	Session wire.SessionID   // the block's session; with Unknown too. 0: not told
	First   wire.Seq         // sequence number of the first command; with Unknown too
	Results wire.CommandIter // of a block, one for each command; nothing if the target does not tell
	Result  []byte           // of a single command or a query; likewise
}

// Completion receives the outcome of one submission. Complete is short and does not block.
type Completion interface {
	Complete(r *Reply)
}

// NewDiscard returns a target that acknowledges everything at once and keeps nothing: what a generator reaches
// against it is the generator's own limit on this machine.
func NewDiscard() Target { return &discard{session: wire.SessionID(discards.Add(1)) << 16} }

// discards numbers the targets, so that they have different sessions.
var discards atomic.Uint64

type discard struct {
	session wire.SessionID
	seq     wire.Seq
	slot    wire.Slot
	spare   []*discardBlock
	reply   Reply
}

type discardBlock struct {
	bytes []byte
	count int
}

func (b *discardBlock) Add(cmd []byte) bool {
	if b.count == wire.BlockCommandsMax || len(b.bytes)+len(cmd)+4 > wire.BlockBytesMax && b.count > 0 {
		return false
	}
	b.bytes = wire.AppendCommand(b.bytes, cmd)
	b.count++
	return true
}

func (d *discard) NewBlock() Block {
	if n := len(d.spare); n > 0 {
		b := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return b
	}
	return &discardBlock{}
}

func (d *discard) Submit(blk Block, done Completion) error {
	b := blk.(*discardBlock)
	d.complete(b.count, done)
	b.bytes, b.count = b.bytes[:0], 0
	d.spare = append(d.spare, b)
	return nil
}

func (d *discard) Call(_ []byte, done Completion) error {
	d.complete(1, done)
	return nil
}

func (d *discard) Query(_ []byte, _ ReadMode, done Completion) error {
	d.reply = Reply{}
	done.Complete(&d.reply)
	return nil
}

func (d *discard) Close() error { return nil }

func (d *discard) complete(count int, done Completion) {
	d.slot++
	d.reply = Reply{Slot: d.slot, Session: d.session, First: d.seq + 1}
	d.seq += wire.Seq(count)
	done.Complete(&d.reply)
}
