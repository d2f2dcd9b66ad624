package client

import (
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// admission bounds the blocks that are under way by how long replies take, so that an overload waits here, where what
// comes too late is given up before it has cost anybody anything, and not at the leader, where it makes everything late.
// It is the additive increase and multiplicative decrease of TCP (Chiu and Jain, 1989) with the reply's time as the sign
// of congestion, as in TCP Vegas: a leader that is asked for more than it can do is slow long before it is Busy.
//
// The plain design, a fixed window and a retry of what was turned away, did not come back from an overload: with large
// blocks the window of all clients was worth more than their timeout, so that each block was given up a moment before
// its reply, and sent or proposed for nobody.
//
// Nor did one that forgot a block when it gave it up. (1) A stall makes everything late, and the limit falls to one block. (2) That
// block is given up, so nothing seems to be under way, and the oldest that waits is sent: with no more time left than lies
// between two blocks. (3) The leader, which is not done with the first, answers it too late, and so on: each block is sent just
// before its end, the leader is as busy as it can be, and nobody is answered, for as long as the load lasts. Hence orphans, and hence
// hopeless spares none but the newest.
type admission struct {
	max    float64 // Config.Window
	target int64   // a reply that takes longer is a sign of congestion

	limit float64 // blocks under way; 1 <= limit <= max
	reply int64   // smoothed time from sending to reply, nanoseconds; 0: there was none
	stray int64   // smoothed: by how much replies come later than that
	cutAt int64   // when limit was last lowered
}

// targetShare is the part of the timeout that a reply should not exceed: enough of it is left for an election, and for
// waiting to be sent.
const targetShare = 8

func newAdmission(c *Config) admission {
	return admission{max: float64(c.Window), limit: float64(c.Window), target: int64(c.Timeout) / targetShare}
}

// open says whether so many blocks under way leave room for one more.
func (a *admission) open(underWay int) bool { return float64(underWay+1) <= a.limit }

// limited says that fewer blocks may be under way than the window has room for.
func (a *admission) limited() bool { return a.limit < a.max }

// replied takes the time of a reply to what was sent at that time, with so many under way.
func (a *admission) replied(sent, now int64, underWay int) {
	took := now - sent
	if a.reply == 0 {
		a.reply = took
	}
	// As in RFC 6298, but the way down is the quicker one: a backlog that is worked off must not be believed in for longer than it lasts.
	a.stray += (max(took-a.reply, 0) - a.stray) / 4
	if took < a.reply {
		a.reply += (took - a.reply) / 4
	} else {
		a.reply += (took - a.reply) / 8
	}
	switch {
	case took > a.target:
		a.lower(sent, now, max(0.5, float64(a.target)/float64(took)))
	case !a.limited() || float64(underWay+2) < a.limit: // the limit is not what holds anything back
	case took < a.target/2:
		a.limit = min(a.limit+1, a.max)
	default:
		a.limit = min(a.limit+1/a.limit, a.max)
	}
}

// silent takes the end of the time for what was sent at that time, without a reply. Of all signs it is the strongest, and the only
// one when everything is late: without it the clients go on filling a pipeline whose every reply finds nobody.
// If nothing that was sent later has been answered either, the way is blocked, and one block at a time finds out when it no longer is:
// halving would go on filling it for as many timeouts as there are halves.
func (a *admission) silent(sent, now int64, overtaken bool) {
	a.reply = max(a.reply, now-sent)
	factor := 0.5
	if !overtaken {
		factor = 0
	}
	a.lower(sent, now, factor)
}

// refused takes the news that what was sent at that time found no room, or waited too long.
func (a *admission) refused(sent, now int64) { a.lower(sent, now, 0.5) }

// lower multiplies the limit. Once for a round of replies: those to what was sent before the last time say nothing of what
// it has brought.
func (a *admission) lower(sent, now int64, factor float64) {
	if sent < a.cutAt {
		return
	}
	a.limit, a.cutAt = max(1, a.limit*factor), now
}

// expected is when a reply is there, almost always.
func (a *admission) expected() int64 { return a.reply + 4*a.stray }

// hopeless says whether a block that has so much time left would probably be answered too late. Only replies can prove the estimate
// wrong, so with none under way the newest block, which has the most time left, is sent all the same. The margin, unlike the
// time itself, never takes more than half of the timeout: one stall must not turn away what has just come.
func (a *admission) hopeless(left int64, underWay, behind int) bool {
	return (underWay > 0 || behind > 0) && left < max(a.reply, min(a.expected(), targetShare/2*a.target))
}

// orphan is an attempt whose block was given up here, while the leader still has it: it is under way all the same, until its reply
// comes. Replies tell how slow the leader is also when they are all too late.
type orphan struct {
	id    uint64
	sent  int64
	until int64 // it is taken for lost then
}

// orphanMax bounds how long a reply that nobody waits for is waited for: as long again as for the others, and no longer
// than a node is given time to answer at all.
func (c *Config) orphanMax() int64 { return int64(min(c.Timeout, patienceMax)) }

// underWay is how many blocks the leader has. mu is held.
func (c *Client) underWay() int { return c.inFlight + len(c.orphans) }

// abandon notes that a block which the leader has is given up. mu is held.
func (c *Client) abandon(b *block, now int64) {
	c.admission.silent(b.lastSent, now, b.on.answered > b.lastSent)
	if b.on == c.link && len(c.orphans) < c.c.Window {
		c.orphans = append(c.orphans, orphan{b.id, b.lastSent, now + c.c.orphanMax()})
	}
}

// orphanReply takes a reply to a block that was given up. mu is held.
func (c *Client) orphanReply(l *link, r *wire.Reply, now int64) {
	i := slices.IndexFunc(c.orphans, func(o orphan) bool { return o.id == r.Request })
	if i < 0 || l != c.link {
		return
	}
	o := c.orphans[i]
	if r.Status == wire.StatusOK {
		c.admission.replied(o.sent, now, c.underWay())
	}
	c.orphans = slices.Delete(c.orphans, i, i+1)
	c.flush()
}

// expireOrphans forgets those that were never answered. mu is held.
func (c *Client) expireOrphans(now int64, next *int64) {
	c.orphans = slices.DeleteFunc(c.orphans, func(o orphan) bool { return o.until <= now })
	for _, o := range c.orphans {
		*next = min(*next, o.until)
	}
}

// patience is what of the time that is left a request may wait at a node before it is proposed or read. The rest is for
// executing it and for the way back: beyond it the answer would find nobody.
func patience(left int64) int64 { return min(max(left-left/4, 1), wire.PatienceMax) }
