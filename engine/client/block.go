package client

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Block is a run of commands being put together by the caller, for Submit. Not safe for concurrent use.
type Block struct {
	c *Client
	b *block
}

// NewBlock returns an empty block. It goes back to the client with Submit or Release.
func (c *Client) NewBlock() *Block {
	c.mu.Lock()
	b := c.takeBlock()
	c.mu.Unlock()
	return &b.user
}

// Add appends a copy of cmd. false: the block is full and unchanged, or cmd exceeds wire.CommandBytesMax. A block
// with nothing in it takes any command within that limit.
func (u *Block) Add(cmd []byte) bool { return u.block().add(&u.c.c, cmd) }

// Count is the number of commands.
func (u *Block) Count() int { return u.block().count }

// Release gives a block back that will not be submitted.
func (u *Block) Release() {
	b, c := u.block(), u.c // giveBlock clears u
	c.mu.Lock()
	c.giveBlock(b)
	c.mu.Unlock()
}

func (u *Block) block() *block {
	if u.b == nil {
		panic("BUG: client: block used after Submit or Release")
	}
	return u.b
}

// block is a block from its first command to its reply. Blocks are used again and again.
type block struct {
	user  Block        // the caller's handle; user.b is nil unless the caller has it
	frame *wire.Buffer // Propose frame, one reference: room for its head, then the commands
	count int

	dones []Done    // one for each command, or
	whole BlockDone // one for all

	deadline int64 // when to give up; 0: no command yet
	sealed   bool  // the frame was given to a connection, which may still hold it

	// From the first send on.
	id       uint64 // request; consecutive in the order of first sends
	session  wire.SessionID
	first    wire.Seq
	sent     int64 // first time
	lastSent int64
	on       *link // of the last attempt
	awaited  bool  // the last attempt has no answer yet, and its connection is the present one
	maybe    bool  // an earlier attempt ended without an answer: the block may be executed
	refused  bool  // turned away at least once
	full     bool  // the last time for want of room on a disk
	again    bool  // to be sent again when the pause is over
}

// blockBytesFirst is the buffer that a block begins with. It grows by powers of two, from pool to pool, so that small
// blocks stay in small memory and nothing is allocated once the pools are warm.
const blockBytesFirst = 2 << 10

// headBytes is what precedes the commands in a block's frame.
const headBytes = wire.ProposeHeadroom + wire.BlockHeaderSize

// add appends a command; false: no room.
func (b *block) add(c *Config, cmd []byte) bool {
	n := len(cmd) + uvarintLen(len(cmd))
	size := b.frame.Len() + n
	if b.count > 0 && (b.count >= c.BlockCommands || size-headBytes > c.BlockBytes) || len(cmd) > wire.CommandBytesMax {
		return false
	}
	if size > b.frame.Cap() {
		next := wire.Get(max(size, min(2*b.frame.Cap(), headBytes+c.BlockBytes)))
		next.Append(b.frame.Bytes())
		b.frame.Release()
		b.frame = next
	}
	b.frame.SetBytes(wire.AppendCommand(b.frame.Bytes(), cmd))
	b.count++
	return true
}

func uvarintLen(n int) int {
	w := 1
	for ; n >= 0x80; n >>= 7 {
		w++
	}
	return w
}

// place gives the block its place in the session. From here on its bytes do not change; those of the frame in front of it
// may.
func (b *block) place(id uint64, session wire.SessionID, first, acked wire.Seq) {
	b.id, b.session, b.first = id, session, first
	p := b.frame.Bytes()
	wire.PutBlockHeader(p[wire.ProposeHeadroom:], session, first, acked, b.count, len(p)-headBytes)
}

// seal makes the frame of one attempt, which may be proposed within patience nanoseconds.
func (b *block) seal(c *Config, patience int64) {
	if b.sealed {
		b.copyFrame()
	}
	b.sealed = true
	wire.SealPropose(b.frame, c.Cluster, c.Group, b.id, uint64(patience))
}

// copyFrame leaves the old frame to the connection that may hold it.
func (b *block) copyFrame() {
	next := wire.Get(b.frame.Len())
	next.Append(b.frame.Bytes())
	b.frame.Release()
	b.frame = next
}

// unseal makes a block that was certainly not executed one that was never sent.
func (b *block) unseal() {
	b.copyFrame()
	b.sealed = false
	b.id, b.session, b.first, b.on, b.awaited, b.again = 0, 0, 0, nil, false, false
}

// takeBlock returns an empty block in the caller's hands. mu is held.
func (c *Client) takeBlock() *block {
	var b *block
	if n := len(c.free); n > 0 {
		b, c.free = c.free[n-1], c.free[:n-1]
	} else {
		b = &block{}
	}
	b.frame = wire.Get(blockBytesFirst)
	b.frame.Extend(headBytes)
	b.user = Block{c, b}
	return b
}

// giveBlock takes a block back that nobody has a use for any more. mu is held.
func (c *Client) giveBlock(b *block) {
	b.frame.Release()
	clear(b.dones)
	*b = block{dones: b.dones[:0]}
	if len(c.free) < c.c.Window+c.c.QueueBlocks {
		c.free = append(c.free, b)
	}
}

// blockRing is a queue of blocks that grows as needed. With ids that are consecutive it finds a block by its id.
type blockRing struct {
	slots []*block // length a power of two
	head  int
	count int
	base  uint64 // id of the first, where that means something
}

func (r *blockRing) at(i int) *block { return r.slots[(r.head+i)&(len(r.slots)-1)] }

func (r *blockRing) push(b *block) {
	if r.count == len(r.slots) {
		next := make([]*block, max(16, 2*len(r.slots)))
		for i := range r.count {
			next[i] = r.at(i)
		}
		r.slots, r.head = next, 0
	}
	r.slots[(r.head+r.count)&(len(r.slots)-1)] = b
	r.count++
}

func (r *blockRing) pop() *block {
	b := r.slots[r.head]
	r.slots[r.head] = nil
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.count--
	r.base++
	return b
}

// find returns the block with this id, nil if it is not here any more.
func (r *blockRing) find(id uint64) *block {
	if id-r.base >= uint64(r.count) {
		return nil
	}
	return r.at(int(id - r.base))
}

// settle takes the block with this id out, and with it whatever is settled at the head.
func (r *blockRing) settle(id uint64) {
	if r.find(id) == nil {
		panic(fmt.Sprintf("BUG: client: block %d settled twice, ring holds %d from %d", id, r.count, r.base))
	}
	r.slots[(r.head+int(id-r.base))&(len(r.slots)-1)] = nil
	for r.count > 0 && r.at(0) == nil {
		r.pop()
	}
}
