package client

import (
	"github.com/paxbench/paxbench/wire"
)

// Request ids: blocks count from 1; requests that open a session and queries have a bit of their own.
const (
	openBit  = 1 << 63
	queryBit = 1 << 62

	// closeID is the request that closes a session; its reply is of no interest.
	closeID = queryBit - 1
)

// sendControlBlock sends a block without commands: it opens or closes a session. false: not sent. mu is held.
func (c *Client) sendControlBlock(l *link, request uint64, session wire.SessionID, nonce wire.Seq) bool {
	f := wire.NewPropose(wire.BlockHeaderSize)
	f.SetBytes(wire.AppendBlockHeader(f.Bytes(), session, nonce, 0, 0, 0))
	wire.SealPropose(f, c.c.Cluster, c.c.Group, request, 0)
	return l.conn.Send(f)
}

// openSession asks for a session unless there is one. mu is held.
func (c *Client) openSession(now int64) {
	if c.session != 0 || c.closed {
		return
	}
	if c.openID == 0 {
		c.openings++
		c.openID = openBit | c.openings
	}
	if c.link != nil && !c.paused {
		c.sendOpen(now)
	}
}

// sendOpen sends the request that opens the session. Sent twice it may open two, of which one is closed again.
// mu is held.
func (c *Client) sendOpen(now int64) {
	c.openSent = 0
	if !c.sendControlBlock(c.link, c.openID, 0, wire.Seq(now)) {
		c.pause(now)
		return
	}
	c.openSent = max(now, 1)
	c.arm(now + c.link.patience)
}

// openReply takes the reply to a request that opens a session. mu is held.
func (c *Client) openReply(l *link, r *wire.Reply, now int64) {
	if r.Status == wire.StatusOK && r.Session != 0 {
		if r.Request != c.openID {
			c.sendControlBlock(l, closeID, r.Session, 0) // opened twice: this one is not used
			return
		}
		c.session, c.nextSeq, c.openID, c.openSent = r.Session, 1, 0, 0
		c.stats.Sessions++
		c.pauseStep = c.c.RetryMin
		select {
		case <-c.opened:
		default:
			close(c.opened)
		}
		c.flush()
		return
	}
	if r.Request != c.openID {
		return
	}
	c.openSent = 0
	switch r.Status {
	case wire.StatusNotLeader:
		c.detach(l, r.Leader)
	case wire.StatusUnknown, wire.StatusClosed:
		c.detach(l, 0)
	default:
		if r.Status == wire.StatusBusy {
			c.stats.Busy++
		} else {
			c.lastErr = statusError(r.Status)
		}
		c.pause(now)
	}
}

// sessionGone takes the news that the session of b does not exist any more. mu is held.
//
// b's last attempt was not executed. If an earlier one may have been, nobody can tell any more, and executing b under
// a new session could do it twice: its outcome is unknown. If none was, b moves to the new session as if it had never
// been sent. Blocks still under way in the old session get the same news one by one.
func (c *Client) sessionGone(l *link, b *block, r *wire.Reply, now int64) {
	if c.session == b.session {
		c.session = 0
		c.openSession(now)
	}
	if b.maybe {
		c.conclude(l, b, r, errGoneSent, now)
		return
	}
	c.flight.settle(b.id)
	c.inFlight--
	b.unseal()
	c.queue.push(b)
	c.flush()
}
