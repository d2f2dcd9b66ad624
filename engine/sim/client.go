package sim

import (
	"bytes"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// client is a user of the cluster, with a session, several blocks under way, and retries to any node until it has a reply.
// Its messages travel like frames: they may be lost, late, or arrive twice.
type client struct {
	w       *world
	o       *oracle // of its group
	id      int
	session wire.SessionID
	next    wire.Seq
	blocks  int          // begun
	ops     []*operation // under way
	guess   wire.NodeID  // where the leader may be
	done    int          // operations
	acts    func()       // act
}

type opKind int

const (
	opOpen opKind = iota
	opBlock
	opRead
)

// operation is a block or a query under way.
type operation struct {
	c       *client
	kind    opKind
	session wire.SessionID
	first   wire.Seq
	count   int
	number  int // among the client's blocks
	block   []byte
	key     string
	mode    wire.QueryMode
	after   wire.Slot   // known to be done when it was first sent
	epoch   wire.Ballot // the highest known then
	since   int64
	attempt int
	done    bool
	gone    bool       // its session was evicted
	copies  int        // handed to nodes, and not refused there as certainly not done
	reply   wire.Reply // the first one, its results copied
}

func newClient(w *world, i int) *client {
	c := &client{w: w, o: w.oracles[i%len(w.oracles)], id: i, next: 1, guess: wire.NodeID(1 + w.rng.IntN(w.k.Nodes))}
	c.acts = c.act
	return c
}

// wake has the client look for something to do.
func (c *client) wake(d time.Duration) { c.w.after(d, c.acts) }

func (c *client) act() {
	w := c.w
	if w.fresh {
		switch {
		case c.session == 0:
			if len(c.ops) == 0 {
				c.open()
			}
		case len(c.ops) < w.k.Pipeline:
			if w.chance(5) || c.blocks-c.oldest() >= windowMax {
				c.read()
			} else {
				c.write()
			}
		}
	}
	c.wake(w.between(w.k.Think/4, 2*w.k.Think))
}

// windowMax bounds the blocks from the oldest without a reply to the newest, as package client does: replicas keep no more
// than wire.SessionBlocksMax.
const windowMax = wire.SessionBlocksMax / 2

// oldest is the number of the oldest block without a reply.
func (c *client) oldest() int {
	n := c.blocks
	for _, op := range c.ops {
		if op.kind == opBlock {
			n = min(n, op.number)
		}
	}
	return n
}

func (c *client) begin(op *operation) {
	op.c, op.after, op.epoch, op.since = c, c.o.acked, c.o.epoch, c.w.now
	c.ops = append(c.ops, op)
	op.send()
}

func (c *client) open() {
	c.begin(&operation{kind: opOpen, block: wire.AppendBlockHeader(nil, 0, wire.Seq(c.w.rng.Uint32()), 0, 0, 0)})
}

func (c *client) read() {
	c.w.counts["reads"]++
	mode := wire.QueryLinearizable
	switch {
	case c.w.chance(4):
		mode = wire.QueryStale
	case c.w.k.Lease > 0 && !c.w.chance(3):
		mode = wire.QueryLease
	}
	c.begin(&operation{kind: opRead, key: c.key(), mode: mode})
}

func (c *client) key() string { return fmt.Sprintf("key-%d", c.w.rng.IntN(c.w.k.Keys)) }

// write sends a block of a few commands. Everything below acked has a reply.
func (c *client) write() {
	acked := c.next
	for _, op := range c.ops {
		if op.kind == opBlock {
			acked = min(acked, op.first)
		}
	}
	count := 1 + c.w.rng.IntN(3)
	var body []byte
	for i := range count {
		body = wire.AppendCommand(body, c.command(c.next+wire.Seq(i)))
	}
	op := &operation{kind: opBlock, session: c.session, first: c.next, count: count}
	op.block = append(wire.AppendBlockHeader(nil, c.session, c.next, acked, count, len(body)), body...)
	c.next += wire.Seq(count)
	op.number = c.blocks
	c.blocks++
	c.begin(op)
}

func (c *client) command(seq wire.Seq) []byte {
	key := []byte(c.key())
	value := fmt.Appendf(nil, "%d/%d/", c.id, seq)
	if n := c.w.rng.IntN(c.w.k.Value); n > len(value) {
		value = append(value, bytes.Repeat([]byte{'x'}, n-len(value))...)
	}
	switch c.w.rng.IntN(10) {
	case 0:
		return kv.AppendGet(nil, key)
	case 1:
		return kv.AppendDelete(nil, key)
	case 2:
		return kv.AppendCAS(nil, key, nil, value)
	case 3:
		v := c.o.model.at(string(key), c.o.model.slot)
		return kv.AppendCAS(nil, key, []byte(v.value), value)
	case 4, 5, 6:
		return kv.AppendIncr(nil, key, int64(seq))
	}
	return kv.AppendPut(nil, key, value)
}

// send sends the operation to where the leader may be, and again after a while.
func (op *operation) send() {
	w := op.c.w
	op.attempt++
	attempt, to := op.attempt, op.c.guess
	if op.kind == opRead && !w.net.calm && w.chance(2) {
		to = wire.NodeID(1 + w.rng.IntN(len(w.procs))) // somebody may think that he still leads
	}
	if w.net.calm || !w.percent(w.k.Drop) {
		w.net.carry(func() { op.arrive(to) })
	}
	if !w.net.calm && w.percent(w.k.Repeat) {
		w.net.carry(func() { op.arrive(to) })
	}
	patience := 2*time.Duration(w.k.ElectionTicks)*w.k.Tick + 4*w.k.Delay
	w.after(w.between(patience/2, patience), func() {
		if !op.done && op.attempt == attempt {
			op.c.guess = wire.NodeID(1 + w.rng.IntN(len(w.procs)))
			op.send()
		}
	})
}

// arrive hands the operation to a node.
func (op *operation) arrive(to wire.NodeID) {
	w, p := op.c.w, op.c.w.procs[to-1]
	if p.d == nil || p.deaf > w.now {
		return
	}
	if p.pausedUntil > w.now {
		w.after(min(time.Duration(p.pausedUntil-w.now), recheck), func() { op.arrive(to) })
		return
	}
	r := p.reps[op.c.o.g-1]
	w.note(to, op.c.o.g, "request", uint64(op.c.id), uint64(op.first), uint64(op.attempt))
	if op.kind == opRead {
		gone := p.port
		r.d.Ask(kv.AppendQueryGet(nil, []byte(op.key)), op.mode, func(a *wire.Answer) {
			if !gone.dead {
				op.answer(to, a)
			}
		})
	} else {
		gone := p.port
		op.copies++
		err := r.d.Group().ProposeBlockWithin(wire.GetCopy(op.block), op.patience(), engine.CompletionFunc(func(res *engine.Result) {
			if !gone.dead {
				op.complete(to, &res.Reply)
			}
		}))
		if err != nil {
			op.copies--
			op.backoff(0)
		}
	}
	p.poke()
}

// patience is how long the attempt may wait for being proposed. Every third is so impatient that some blocks expire and others
// just do not; no draw of the schedule depends on it.
func (op *operation) patience() time.Duration {
	if op.kind != opBlock || (int(op.first)+op.attempt)%3 != 0 {
		return 0
	}
	return 1 + op.c.w.k.Turn*time.Duration((int(op.first)*31+op.attempt*17)%64)/16
}

// notDone says that a reply promises that the copy it answers was not, and will not be, executed.
func notDone(s wire.Status) bool {
	switch s {
	case wire.StatusNotLeader, wire.StatusBusy, wire.StatusClosed, wire.StatusDiskFull, wire.StatusExpired, wire.StatusTooLarge:
		return true
	}
	return false
}

// complete is called when a node replies. The reply is checked where it leaves, and again travels like a message.
func (op *operation) complete(by wire.NodeID, r *wire.Reply) {
	w := op.c.w
	w.note(by, op.c.o.g, "reply", uint64(op.c.id), uint64(op.first), uint64(r.Status)<<56|uint64(r.Slot))
	switch {
	case r.Status == wire.StatusOK:
		op.c.o.replied(by, op, r)
	case r.Status == wire.StatusSessionGone && op.kind == opBlock:
		op.c.o.refused(by, op, r)
	case notDone(r.Status):
		op.copies--
		if r.Status == wire.StatusExpired {
			w.counts["blocks expired"]++
		}
	}
	kept := *r
	kept.Results = bytes.Clone(r.Results)
	if !w.net.calm && (w.percent(w.k.Drop) || w.procs[by-1].deaf > w.now) {
		return
	}
	w.net.carry(func() { op.replied(by, &kept) })
}

// replied is the reply's arrival at the client.
func (op *operation) replied(by wire.NodeID, r *wire.Reply) {
	w := op.c.w
	switch {
	case r.Status == wire.StatusOK && op.done:
		if op.kind == opBlock && !op.gone && (op.reply.Slot != r.Slot || op.reply.Index != r.Index || !bytes.Equal(op.reply.Results, r.Results)) {
			w.fail("S9", by, r.Slot, "block %d of session %d has two replies: slot %d.%d and slot %d.%d", op.first, op.session, op.reply.Slot, op.reply.Index, r.Slot, r.Index)
		}
	case op.done:
	case r.Status == wire.StatusOK:
		op.reply = *r
		if op.kind == opOpen {
			op.c.session, op.session = r.Session, r.Session
		}
		op.recordReply(r)
		op.finish(r.Slot, r.Epoch)
	case op.kind == opBlock && r.Status == wire.StatusSessionGone:
		// The explicit error: whether a block without a reply was executed before is not known any more. A new session.
		w.counts["blocks of evicted sessions refused"]++
		op.done, op.gone = true, true
		op.recordUnknown()
		op.end()
		if op.c.session == op.session {
			op.c.session = 0
		}
	case op.kind == opBlock && r.Status == wire.StatusInvalid:
		w.fail("S9", by, r.Slot, "block %d of the live session %d is refused: %v", op.first, op.session, r.Status)
	default:
		op.backoff(r.Leader)
	}
}

// finish ends the operation: everybody may know from now on that slot s is done.
func (op *operation) finish(s wire.Slot, e wire.Ballot) {
	op.done = true
	op.c.done++
	o := op.c.o
	if op.mode != wire.QueryStale {
		o.acked, o.epoch = max(o.acked, s), max(o.epoch, e)
	}
	op.end()
	op.c.w.counts["operations"]++
}

// end takes the operation off the client's list.
func (op *operation) end() {
	ops := op.c.ops[:0]
	for _, other := range op.c.ops {
		if other != op {
			ops = append(ops, other)
		}
	}
	op.c.ops = ops
}

// backoff tries again, a little later.
func (op *operation) backoff(leader wire.NodeID) {
	w := op.c.w
	if leader != 0 {
		op.c.guess = leader
	} else {
		op.c.guess = wire.NodeID(1 + w.rng.IntN(len(w.procs)))
	}
	attempt := op.attempt
	w.after(w.between(w.k.Delay, 4*w.k.Delay+w.k.Tick), func() {
		if !op.done && op.attempt == attempt {
			op.send()
		}
	})
}

// countLease counts the answer that a node gives now, if it is given by lease.
func (op *operation) countLease(by wire.NodeID) {
	w := op.c.w
	r := w.procs[by-1].reps[op.c.o.g-1]
	if n := r.d.LeaseReads(); n != r.leaseReads {
		r.leaseReads = n
		w.counts["reads by lease"]++
	}
}

func (op *operation) answer(by wire.NodeID, a *wire.Answer) {
	w := op.c.w
	var arrived func()
	w.note(by, op.c.o.g, "answer", uint64(op.c.id), uint64(a.Status), uint64(a.Slot))
	if a.Status == wire.StatusOK {
		op.countLease(by)
		op.c.o.answered(by, op, a)
		arrived = op.recordAnswer(a)
	}
	status, slot, epoch, leader := a.Status, a.Slot, a.Epoch, a.Leader
	w.net.carry(func() {
		switch {
		case op.done:
		case status == wire.StatusOK:
			arrived()
			op.finish(slot, epoch)
		default:
			op.backoff(leader)
		}
	})
}
