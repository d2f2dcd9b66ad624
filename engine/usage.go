package engine

import (
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Usage is how much of a bounded thing is used. Items or bytes: see Name.
type Usage struct {
	Name string
	Used int64
	Max  int64 // Invariant: Used <= Max
}

// Usage appends every queue, buffer and table of the group, with its bound. The bounds are exact: what may be under way on top
// of a limit when it is reached is part of Max, and is said where the limit is.
func (d *GroupDriver) Usage(dst []Usage) []Usage {
	g, c, l := d.g, &d.d.n.c, &d.d.n.limits
	st := g.loop.core.Status()
	pc := g.loop.core.Config()
	peers := int64(len(c.Members))
	clients := l.ClientBytes / clientItemBytes
	frame := l.Frame
	promise := frame + 2*int64(pc.PromiseBytes) // a part holds one vote at least

	items, bytes := g.mailbox.Len()
	dst = append(dst,
		// Blocks and queries; a nudge; a trim for each snapshot, of which one is written at a time; the gatherer's word.
		Usage{"mailbox, items", int64(items), int64(l.PeerItems) + clients + 3},
		Usage{"mailbox, bytes", int64(bytes), max(int64(l.PeerBytes), promise)},
		Usage{"clients waiting, bytes", g.clientBytes.Load(), l.ClientBytes},
		Usage{"batcher, bytes", int64(g.loop.batcher.Held()), max(int64(c.QueueBytes), frame+frame/2)}, // one frame always; its buffer's class is at most half as large again
		Usage{"flights", int64(g.loop.flights.len()), int64(c.Window)},
		Usage{"read batches", int64(len(g.loop.reads)), clients},
		Usage{"reads in the core", int64(st.Reads), clients},
		Usage{"reads to be applied", int64(len(g.applier.waiting)), clients},
	)
	// One turn comes on top of a backlog: the frames of a full mailbox, what a leader's window takes, and a burst of promises to
	// each peer; or, once, what a new leader proposes again, which is what it was promised.
	turn := int64(l.PeerBytes) + pc.AheadBytesMax + max(peers*paxos.PromiseBurst*promise, pc.PromiseTotalMax) + 2*frame
	log := pc.LogBytesBound(frame)
	items, bytes = g.receiver.box.Len()
	dst = append(dst,
		Usage{"waiting for the disk, bytes", g.syncBacklog.Load(), l.SyncBacklog + turn},
		// What a restart recovers waits at once, and what a filled gap lets go.
		Usage{"waiting to be applied, bytes", g.applyBacklog.Load(), max(l.ApplyBacklog+turn, log) + log},
		Usage{"log in memory, bytes", st.LogBytes, log},
		Usage{"promises, bytes", st.PromiseBytes, pc.PromiseTotalMax + peers*paxos.PromiseBurst*2*promise},
		Usage{"pieces of a snapshot, items", int64(items), int64(l.ReceiverItems)},
		Usage{"pieces of a snapshot, bytes", int64(bytes), max(int64(l.ReceiverBytes), 2*wire.SnapChunkBytes)},
		Usage{"snapshots being sent", int64(len(g.transfers.byPeer)), peers - 1},
		Usage{"snapshots being written", int64(len(d.jobs)), 1},
	)
	t := g.applier.sessions
	blocks := 0
	for s := t.oldest; s != nil; s = s.newer {
		blocks = max(blocks, s.count)
	}
	return append(dst,
		Usage{"sessions", int64(len(t.byID)), int64(t.sessionsMax)},
		Usage{"blocks of a session", int64(blocks), int64(t.blocksMax)},
		Usage{"kept replies, bytes", t.replyBytes, t.replyTotalMax + t.replyMax},
	)
}
