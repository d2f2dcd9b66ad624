package client

import "github.com/paxbench/paxbench/wire"

// admission bounds the blocks that are under way by how long replies take, so that an overload waits here, where what
// comes too late is given up before it has cost anybody anything, and not at the leader, where it makes everything late.
// It is the additive increase and multiplicative decrease of TCP (Chiu and Jain, 1989) with the reply's time as the sign
// of congestion, as in TCP Vegas: a leader that is asked for more than it can do is slow long before it is Busy.
//
// The plain design, a fixed window and a retry of what was turned away, did not come back from an overload: with large
// blocks the window of all clients was worth more than their timeout, so that each block was given up a moment before
// its reply, and sent or proposed for nobody.
type admission struct {
	max    float64 // Config.Window
	target int64   // a reply that takes longer is a sign of congestion

	limit float64 // blocks under way; 1 <= limit <= max
	reply int64   // smoothed time from sending to reply, nanoseconds; 0: there was none
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
	a.reply += (took - a.reply) / 8
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
func (a *admission) silent(sent, now int64) {
	a.reply = max(a.reply, now-sent)
	a.lower(sent, now, 0.5)
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

// hopeless says whether a block that has so much time left would be answered too late. Only replies that are under way
// can prove the estimate wrong, so with none under way nothing is hopeless.
func (a *admission) hopeless(left int64, underWay int) bool { return underWay > 0 && left < a.reply }

// patience is what of the time that is left a request may wait at a node before it is proposed or read. The rest is for
// executing it and for the way back: beyond it the answer would find nobody.
func patience(left int64) int64 { return min(max(left-left/4, 1), wire.PatienceMax) }
