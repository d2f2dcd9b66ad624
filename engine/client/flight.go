package client

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// flush sends what may be sent: full blocks up to the window, the open one when the pipeline has room and nobody is
// about to add to it. mu is held.
func (c *Client) flush() {
	if c.link == nil || c.session == 0 || c.paused || c.closed {
		return
	}
	if c.crowded {
		c.sendAgain(Now())
	}
	had := c.queue.count
	for c.queue.count > 0 && c.flight.count < c.c.Window && c.admission.open(c.underWay()) && !c.paused {
		b := c.queue.pop()
		if now := Now(); c.admission.hopeless(b.deadline-now, c.underWay(), c.queue.count) {
			c.late = append(c.late, b)
			c.stats.Expired++
			c.arm(now)
			continue
		}
		c.launch(b)
	}
	if c.queue.count < had {
		c.signalRoom()
	}
	if c.open != nil && c.queue.count == 0 && !c.paused && c.dispatching == 0 && c.inFlight < c.c.Pipeline && c.flight.count < c.c.Window && c.admission.open(c.underWay()) {
		b := c.open
		c.open = nil
		c.launch(b)
	}
}

// launch sends a block for the first time. mu is held.
//
// The window counts from the oldest block without a reply, replied ones behind it included, because that is what the
// replicas must keep: every block from `acked` on.
func (c *Client) launch(b *block) {
	acked := c.nextSeq
	for i := range c.flight.count {
		if x := c.flight.at(i); x != nil && x.session == c.session {
			acked = x.first
			break
		}
	}
	b.place(c.nextID, c.session, c.nextSeq, acked)
	c.nextID++
	c.nextSeq += wire.Seq(b.count)
	c.flight.push(b)
	c.inFlight++
	now := Now()
	b.sent = now
	c.stats.Blocks++
	c.stats.Commands += uint64(b.count)
	c.stats.Resends-- // send counts it
	c.send(b, now)
}

// send sends a block over the present connection. mu is held.
func (c *Client) send(b *block, now int64) {
	b.on, b.lastSent, b.again = c.link, now, false
	c.stats.Resends++
	b.seal(&c.c, patience(b.deadline-now))
	if !c.link.conn.Send(b.frame.Retain()) {
		b.again = true // its queue is full, or it is about to report its end
		c.pause(now)
		return
	}
	b.awaited = true
	c.arm(now + c.link.patience)
}

// pause holds everything back for a while, longer each time in a row. mu is held.
func (c *Client) pause(now int64) {
	if c.paused {
		return
	}
	c.paused = true
	c.pauseEnd = now + int64(jitter(c.pauseStep))
	c.pauseStep = min(2*c.pauseStep, c.c.RetryMax)
	c.arm(c.pauseEnd)
}

// jitter is d, give or take a half, so that clients turned away together do not come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// resume ends a pause. mu is held.
func (c *Client) resume(now int64) {
	c.paused = false
	if c.link == nil {
		return
	}
	if c.openID != 0 && c.openSent == 0 {
		c.sendOpen(now)
	}
	c.sendAgain(now)
	for _, q := range c.queries {
		if q.again && !c.paused {
			c.sendQuery(q, now)
		}
	}
	c.flush()
}

// sendAgain sends what has to be sent again, oldest first, as far as there is room. mu is held.
func (c *Client) sendAgain(now int64) {
	underWay := len(c.orphans)
	for i := range c.flight.count {
		if b := c.flight.at(i); b != nil && b.awaited {
			underWay++
		}
	}
	c.crowded = false
	for i := 0; i < c.flight.count && !c.paused && !c.crowded; i++ {
		b := c.flight.at(i)
		switch {
		case b == nil || !b.again:
		case c.admission.open(underWay):
			c.send(b, now)
			underWay++
		default:
			c.crowded = true
		}
	}
}

// reply takes a Reply frame from l. It runs on l's reader.
func (c *Client) reply(l *link, f *wire.Buffer) {
	var r wire.Reply
	if err := wire.DecodeReply(f.Bytes(), &r); err != nil {
		l.violation(err)
		return
	}
	now := Now()
	c.mu.Lock()
	l.heard(c, now)
	switch {
	case c.closed || r.Request == closeID:
	case r.Request&openBit != 0:
		c.openReply(l, &r, now)
	default:
		if b := c.flight.find(r.Request); b != nil {
			c.blockReply(l, b, &r, now) // releases and takes mu
		} else {
			c.orphanReply(l, &r, now)
		}
	}
	c.mu.Unlock()
}

// blockReply takes the reply to a block under way. mu is held, and released while callbacks run.
func (c *Client) blockReply(l *link, b *block, r *wire.Reply, now int64) {
	last := b.on == l && b.awaited // it answers the last attempt
	switch r.Status {
	case wire.StatusOK:
		if r.Session != b.session || r.First != b.first || int(r.Count) != b.count {
			l.violation(fmt.Errorf("client: reply to %d commands from %d.%d on, block has %d from %d.%d on",
				r.Count, r.Session, r.First, b.count, b.session, b.first))
			return
		}
		c.pauseStep = c.c.RetryMin
		if last {
			l.answered = max(l.answered, b.lastSent)
			c.admission.replied(b.lastSent, now, c.underWay())
		}
		c.conclude(l, b, r, nil, now)
		return
	case wire.StatusUnknown:
		if r.Slot != 0 { // executed, but the results were too large to keep
			c.conclude(l, b, r, errResultsLost, now)
			return
		}
	}
	if !last {
		return // an earlier attempt's, of which the fate was settled otherwise
	}
	if r.Status == wire.StatusUnknown {
		b.awaited, b.maybe = false, true
		c.detach(l, 0)
		return
	}
	b.awaited, b.refused = false, true // this attempt certainly was not executed
	l.answered = max(l.answered, b.lastSent)
	switch r.Status {
	case wire.StatusNotLeader:
		c.detach(l, r.Leader)
	case wire.StatusClosed:
		c.detach(l, 0)
	case wire.StatusBusy, wire.StatusDiskFull:
		b.again, b.full = true, r.Status == wire.StatusDiskFull
		c.stats.Busy++
		if r.Status == wire.StatusBusy {
			c.admission.refused(b.lastSent, now)
		}
		c.pause(now)
	case wire.StatusExpired:
		c.stats.Expired++
		c.admission.refused(b.lastSent, now)
		c.conclude(l, b, r, b.outcome(errLateQueued, errLateQueued, errLateSent), now)
	case wire.StatusSessionGone:
		c.sessionGone(l, b, r, now)
	case wire.StatusTooLarge:
		c.conclude(l, b, r, b.outcome(ErrTooLarge, ErrTooLarge, errTooLargeSent), now)
	default:
		c.conclude(l, b, r, b.outcome(ErrInvalid, ErrInvalid, errInvalidSent), now)
	}
}

// outcome chooses a block's error by what is known of it: never sent, always turned away, or possibly executed.
func (b *block) outcome(unsent, refused, sent error) error {
	switch {
	case b.maybe || b.awaited:
		return sent
	case b.refused && b.full && refused == errLateRefused:
		return errLateFull
	case b.refused:
		return refused
	}
	return unsent
}

// conclude ends a block with its outcome. mu is held, and released while callbacks run: first what waited for this
// reply is sent, then callbacks add commands, then those are sent.
func (c *Client) conclude(l *link, b *block, r *wire.Reply, err error, now int64) {
	c.flight.settle(b.id)
	c.inFlight--
	b.awaited = false
	c.flush()
	c.dispatching++
	c.mu.Unlock()
	l.results.block(b, r, err, now)
	c.mu.Lock()
	c.dispatching--
	c.giveBlock(b)
	c.flush()
}

// results is one goroutine's scratch for what callbacks get.
type results struct {
	one Result
	all BlockResult
}

// block calls the callbacks of a block. r is nil unless there was a reply.
func (s *results) block(b *block, r *wire.Reply, err error, now int64) {
	var none wire.Reply
	if r == nil {
		r = &none
	}
	if b.whole != nil {
		s.all = BlockResult{
			Err: err, Slot: r.Slot, Index: r.Index, Epoch: r.Epoch, Session: b.session, First: b.first, Count: b.count,
			SentNanos: b.sent, DoneNanos: now,
		}
		if err == nil {
			s.all.Results = r.Iter()
		}
		b.whole.BlockDone(&s.all)
		return
	}
	s.one = Result{Err: err, Slot: r.Slot, Index: r.Index, Epoch: r.Epoch, Session: b.session}
	var it wire.CommandIter
	if err == nil {
		it = r.Iter()
	}
	for i, d := range b.dones {
		s.one.Reply, _ = it.Next()
		if b.session != 0 {
			s.one.Seq = b.first + wire.Seq(i)
		}
		d.Done(&s.one)
	}
}

// lostBlocks collects what ends without a reply under mu, to call its callbacks after.
type lostBlocks struct {
	blocks  []*block
	errs    []error
	queries []*query
	qerrs   []error
}

func (x *lostBlocks) add(b *block, err error) {
	x.blocks, x.errs = append(x.blocks, b), append(x.errs, err)
}

func (x *lostBlocks) addQuery(q *query, err error) {
	x.queries, x.qerrs = append(x.queries, q), append(x.qerrs, err)
}

// finish calls the callbacks. mu is not held.
func (x *lostBlocks) finish(c *Client) {
	if len(x.blocks) == 0 && len(x.queries) == 0 {
		return
	}
	now := Now()
	var s results
	for i, b := range x.blocks {
		s.block(b, nil, x.errs[i], now)
	}
	for i, q := range x.queries {
		s.one = Result{Err: x.qerrs[i]}
		q.done.Done(&s.one)
	}
	c.mu.Lock()
	for _, b := range x.blocks {
		c.giveBlock(b)
	}
	for _, q := range x.queries {
		c.giveQuery(q)
	}
	c.flush()
	c.mu.Unlock()
}
