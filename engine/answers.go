package engine

import "github.com/paxbench/paxbench/wire"

// The applier's answers to queries: those that a read round has confirmed, and those that a lease allows.

// answerWaiting answers the queries whose slot has been reached.
func (a *applier) answerWaiting() {
	kept := a.waiting[:0]
	for _, b := range a.waiting {
		if b.slot > a.applied {
			kept = append(kept, b)
			continue
		}
		a.answerReads(b)
	}
	clear(a.waiting[len(kept):])
	a.waiting = kept
}

func (a *applier) answerReads(b *readBatch) {
	for _, q := range b.queries {
		if b.byLease {
			a.byLease(q)
		} else {
			a.answerQuery(q, b.epoch)
		}
	}
	putReadBatch(b)
}

func (a *applier) answerQuery(q *query, epoch wire.Ballot) {
	if a.expire(q) {
		return
	}
	ans := a.answerTo(q)
	ans.Epoch = epoch
	a.g.count.queries.Inc()
	q.finish(a.g, &ans)
}

// expire refuses a query for whose answer nobody waits any more.
func (a *applier) expire(q *query) bool {
	if q.until == 0 || !q.expired(a.g.node.nanotime()) {
		return false
	}
	a.g.count.expired.Inc()
	q.fail(a.g, wire.StatusExpired)
	return true
}

// answerTo asks the state machine. What the answer points to is good until the next call.
func (a *applier) answerTo(q *query) wire.Answer {
	ans := wire.Answer{Slot: a.applied}
	body, err := a.sm.Query(a.answer[:0], q.req)
	switch {
	case err != nil:
		ans.Status, ans.Body = wire.StatusInvalid, []byte(err.Error())
	case len(body) > wire.QueryBytesMax:
		ans.Status = wire.StatusTooLarge
	default:
		ans.Body = body
	}
	if body != nil {
		a.answer = body[:0]
	}
	return ans
}
