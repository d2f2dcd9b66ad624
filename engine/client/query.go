package client

import (
	"context"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// query is a query under way.
type query struct {
	frame    *wire.Buffer // Query frame, one reference
	done     Done
	deadline int64
	lastSent int64
	on       *link
	awaited  bool
	again    bool
}

// Query asks the state machine and waits for the answer, which the caller owns. Linearizable: the answer reflects
// every command that was answered before the call. Lease: the same, cheaper while the leader holds a lease. Stale: it is the present
// node's state as it is.
//
// A query changes nothing, so it is simply asked again when there is no answer. Errors: ErrTimeout, ErrBusy,
// ErrClosed, ErrInvalid (with the state machine's text), ErrTooLarge, and ctx's.
func (c *Client) Query(ctx context.Context, req []byte, mode wire.QueryMode) ([]byte, error) {
	w := waiters.Get().(*waiter)
	if err := c.GoQuery(req, mode, w); err != nil {
		waiters.Put(w)
		return nil, err
	}
	return w.wait(ctx, false)
}

// GoQuery is Query without waiting: done is called later unless there is an error. req is the caller's again.
func (c *Client) GoQuery(req []byte, mode wire.QueryMode, done Done) error {
	if len(req) > wire.QueryBytesMax {
		return fmt.Errorf("%w: query of %d bytes", ErrTooLarge, len(req))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if len(c.queries) >= c.c.QueriesMax {
		return ErrBusy
	}
	q := c.takeQuery()
	c.nextQuery++
	id := queryBit | c.nextQuery
	q.frame = wire.Get(wire.HeaderSize + 16 + len(req))
	wire.AppendQuery(q.frame, c.c.Cluster, c.c.Group, &wire.Query{Request: id, Mode: mode, Patience: uint64(patience(int64(c.c.Timeout))), Body: req})
	now := Now()
	q.done, q.deadline = done, now+int64(c.c.Timeout)
	c.queries[id] = q
	c.arm(q.deadline)
	if c.link == nil || c.paused {
		q.again = true
		return nil
	}
	c.sendQuery(q, now)
	return nil
}

func (c *Client) takeQuery() *query {
	n := len(c.freeQuery)
	if n == 0 {
		return &query{}
	}
	q := c.freeQuery[n-1]
	c.freeQuery = c.freeQuery[:n-1]
	return q
}

// giveQuery takes back a query that is not in the map any more. mu is held.
func (c *Client) giveQuery(q *query) {
	q.frame.Release()
	*q = query{}
	c.freeQuery = append(c.freeQuery, q) // at most QueriesMax, as there never were more
}

// sendQuery sends a query over the present connection. mu is held.
func (c *Client) sendQuery(q *query, now int64) {
	if q.lastSent != 0 {
		c.renew(q, now)
	}
	q.on, q.lastSent, q.again = c.link, now, false
	if !c.link.conn.Send(q.frame.Retain()) {
		q.again = true
		c.pause(now)
		return
	}
	q.awaited = true
	c.arm(now + c.link.patience)
}

// renew makes the frame of a further attempt: it may wait for less time. The connection may still hold the old one.
func (c *Client) renew(q *query, now int64) {
	var m wire.Query
	if err := wire.DecodeQuery(q.frame.Bytes(), &m); err != nil {
		panic("BUG: client: own query: " + err.Error())
	}
	m.Patience = uint64(patience(q.deadline - now))
	next := wire.Get(q.frame.Len())
	wire.AppendQuery(next, c.c.Cluster, c.c.Group, &m)
	q.frame.Release()
	q.frame = next
}

// answer takes an Answer frame from l. It runs on l's reader.
func (c *Client) answer(l *link, f *wire.Buffer) {
	var a wire.Answer
	if err := wire.DecodeAnswer(f.Bytes(), &a); err != nil {
		l.violation(err)
		return
	}
	now := Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l.heard(c, now)
	q := c.queries[a.Request]
	if q == nil || c.closed {
		return
	}
	var err error
	switch a.Status {
	case wire.StatusOK:
	case wire.StatusInvalid:
		err = fmt.Errorf("%w: %.200s", ErrInvalid, a.Body)
	case wire.StatusTooLarge, wire.StatusSessionGone:
		err = statusError(a.Status)
	case wire.StatusExpired:
		c.stats.Expired++
		err = errLateQueued
	default:
		if q.on != l || !q.awaited {
			return // a new attempt is under way
		}
		q.awaited, q.again = false, true
		switch a.Status {
		case wire.StatusBusy:
			c.stats.Busy++
			c.pause(now)
		case wire.StatusNotLeader:
			c.detach(l, a.Leader)
		default:
			c.detach(l, 0)
		}
		return
	}
	delete(c.queries, a.Request)
	c.dispatching++
	c.mu.Unlock()
	l.results.one = Result{Err: err, Reply: a.Body, Slot: a.Slot, Epoch: a.Epoch}
	q.done.Done(&l.results.one)
	c.mu.Lock()
	c.dispatching--
	c.giveQuery(q)
	c.flush()
}
