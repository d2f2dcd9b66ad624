package engine

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/paxbench/paxbench/wire"
)

// StateMachine is what a group replicates. One goroutine calls it, in slot order, with the same commands on every
// replica; it must be deterministic: no clock, no randomness, no iteration order of maps in what it computes.
type StateMachine interface {
	// Apply executes the commands of b, a run of fresh blocks of slot s, in order, and adds exactly one result per
	// command to out. A slot may arrive as several runs (duplicates between them are left out) and is skipped when
	// it holds nothing fresh. b dies when Apply returns. A command that makes no sense to the state machine gets a
	// result that says so; Apply has no other way to fail.
	Apply(s wire.Slot, b wire.Batch, out *Replies)

	// Query answers a read-only request from the applied state by appending to dst.
	Query(dst, req []byte) ([]byte, error)

	// Snapshot returns a view of the state as it is now. It must be cheap, a few milliseconds at most, because
	// Apply waits for it; the view is written out by another goroutine while Apply goes on.
	Snapshot() (Snapshot, error)

	// Restore replaces the state by the one that Snapshot.WriteTo wrote to src. After an error the state is not
	// used any more: the node stops.
	Restore(src io.Reader) error
}

// Snapshot is a frozen view of a state machine. WriteTo runs concurrently with Apply. Release is called exactly once,
// when the view is not needed any more, also after an error.
type Snapshot interface {
	WriteTo(w io.Writer) (int64, error)
	Release()
}

// Hasher is an optional interface of a StateMachine. StateHash is a hash over everything applied so far, equal on
// replicas that applied the same slots; it must be cheap. Status shows it, audits compare it.
type Hasher interface {
	StateHash() uint64
}

// Replies collects the results of the commands of one run, in order, already in the encoding of a reply: each result
// is its length as a uvarint, then its bytes. It belongs to the engine and is valid during Apply only.
//
// Results are counted against the run's blocks. Too many is a broken state machine and panics in Append, too few
// panics in the engine after Apply.
type Replies struct {
	buf    []byte
	blocks []replyMark
	next   int // first block of which no result was added yet
	left   int // results missing of block next-1
}

// replyMark is the share of one block in a Replies.
type replyMark struct {
	count  int // results expected
	start  int // offset of the block's results in buf
	filled int // bytes of results that are not empty; 0: all count results are empty
}

// Reset empties the collection and prepares it for the results of b. The engine calls it; so do tests of state
// machines.
func (o *Replies) Reset(b wire.Batch) {
	o.buf, o.blocks, o.next, o.left = o.buf[:0], o.blocks[:0], 0, 0
	for it := b.Blocks(); ; {
		blk, ok := it.Next()
		if !ok {
			return
		}
		o.blocks = append(o.blocks, replyMark{count: blk.Count()})
	}
}

// Append adds the result of the next command. The bytes are copied.
func (o *Replies) Append(result []byte) {
	if o.left == 0 {
		o.advance()
	}
	o.left--
	o.blocks[o.next-1].filled += len(result)
	if len(result) < 0x80 {
		o.buf = append(o.buf, byte(len(result)))
	} else {
		o.buf = binary.AppendUvarint(o.buf, uint64(len(result)))
	}
	o.buf = append(o.buf, result...)
}

// AppendEmpty adds an empty result for each of the next n commands, across block boundaries.
func (o *Replies) AppendEmpty(n int) {
	for n > 0 {
		if o.left == 0 {
			o.advance()
		}
		k := min(n, o.left)
		at := len(o.buf)
		if cap(o.buf)-at < k {
			o.buf = append(o.buf, make([]byte, k)...)
		} else {
			o.buf = o.buf[:at+k]
			clear(o.buf[at:])
		}
		o.left -= k
		n -= k
	}
}

// Len is the number of results added so far.
func (o *Replies) Len() int {
	n := -o.left
	for _, m := range o.blocks[:o.next] {
		n += m.count
	}
	return n
}

// Block is the encoded results of the i-th block of the run, a view that is valid until Reset, and their number.
// Not before all results of the block were added.
func (o *Replies) Block(i int) (results []byte, count int) {
	if i >= o.next || i == o.next-1 && o.left > 0 {
		panic(fmt.Sprintf("BUG: engine: results of block %d asked, complete are %d with %d results missing", i, o.next, o.left))
	}
	end := len(o.buf)
	if i+1 < o.next {
		end = o.blocks[i+1].start
	}
	return o.buf[o.blocks[i].start:end:end], o.blocks[i].count
}

// allEmpty says that the i-th block has nothing but empty results.
func (o *Replies) allEmpty(i int) bool { return o.blocks[i].filled == 0 }

// advance moves on to the next block that expects results.
func (o *Replies) advance() {
	for o.left == 0 {
		if o.next == len(o.blocks) {
			panic(fmt.Sprintf("BUG: engine: the state machine gave more results than the %d of its run", o.Len()))
		}
		o.blocks[o.next].start = len(o.buf)
		o.left = o.blocks[o.next].count
		o.next++
	}
}

// finish checks that every command of the run has its result.
func (o *Replies) finish(s wire.Slot) {
	for o.left == 0 && o.next < len(o.blocks) && o.blocks[o.next].count == 0 {
		o.blocks[o.next].start = len(o.buf)
		o.next++
	}
	if o.left != 0 || o.next != len(o.blocks) {
		want := 0
		for _, m := range o.blocks {
			want += m.count
		}
		panic(fmt.Sprintf("BUG: engine: the state machine gave %d results for the %d commands of a run in slot %d", o.Len(), want, s))
	}
}
