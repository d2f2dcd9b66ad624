package engine

import (
	"sync"

	"github.com/paxbench/paxbench/wire"
)

// query is a read-only request under way. Exactly one of finish and fail is called.
type query struct {
	frame *wire.Buffer // what req is a view into, one reference; nil: req belongs to the query
	req   []byte
	to    answerer
	until int64 // nanotime from which on nobody waits for the answer any more; 0: for ever

	// By lease: what is demanded of it, and of the state. See leaseState.
	ballot wire.Ballot
	from   wire.Slot
}

// answerer receives the answer to a query, on a goroutine of the engine that others wait for. What a points to dies
// when it returns. addr is the leader's address when the status is StatusNotLeader.
type answerer interface {
	answered(a *wire.Answer, addr string)
}

// expired says that nobody waits for the answer any more.
func (q *query) expired(now int64) bool { return q.until != 0 && now >= q.until }

// cost is what the query counts against Limits.ClientBytes, from its arrival to its answer.
func (q *query) cost() int64 {
	if q.frame != nil {
		return clientCost(q.frame)
	}
	return int64(max(len(q.req), clientItemBytes))
}

// clientCost is what a client's frame counts against Limits.ClientBytes.
func clientCost(f *wire.Buffer) int64 { return int64(max(f.Cap(), clientItemBytes)) }

func (q *query) finish(g *Group, a *wire.Answer) {
	g.clientBytes.Sub(q.cost())
	addr := ""
	if a.Status == wire.StatusNotLeader {
		a.Leader, a.Epoch = wire.NodeID(g.leader.Load()), wire.Ballot(g.epoch.Load())
		addr = g.addr(a.Leader)
	}
	f := q.frame
	q.to.answered(a, addr) // may reuse q
	f.Release()
}

func (q *query) fail(g *Group, s wire.Status) {
	q.finish(g, &wire.Answer{Status: s})
}

// readBatch is the queries that share a read index.
type readBatch struct {
	queries []*query
	slot    wire.Slot   // answer when applied
	epoch   wire.Ballot // of the leadership that was asked
	byLease bool        // a single query by lease
}

var readBatchPool = sync.Pool{New: func() any { return new(readBatch) }}

func getReadBatch() *readBatch { return readBatchPool.Get().(*readBatch) }

func putReadBatch(b *readBatch) {
	clear(b.queries)
	*b = readBatch{queries: b.queries[:0]}
	readBatchPool.Put(b)
}

func (b *readBatch) fail(g *Group, s wire.Status) {
	for _, q := range b.queries {
		q.fail(g, s)
	}
	putReadBatch(b)
}
