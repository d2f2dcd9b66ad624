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

// What Usage tells, in its order.
const (
	usedMailboxItems = iota
	usedMailboxBytes
	usedClients
	usedBatcher
	usedFlights
	usedReadBatches
	usedReadsCore
	usedReadsApplied
	usedSync
	usedApply
	usedLog
	usedPromises
	usedPieceItems
	usedPieceBytes
	usedTransfers
	usedJobs
	usedSessions
	usedBlocks
	usedReplies
	usedKinds
)

// Usage is every queue, buffer and table of the group, with its bound, valid until the next call. The bounds are exact: what may be
// under way on top of a limit when it is reached is part of Max, and is said where the limit is.
func (d *GroupDriver) Usage() []Usage {
	if n := d.g.loop.core.Contacts(); n != d.contacts { // members have come
		d.contacts = n
		d.bound()
	}
	g, u := d.g, &d.usage
	items, bytes := g.mailbox.Len()
	u[usedMailboxItems].Used, u[usedMailboxBytes].Used = int64(items), int64(bytes)
	items, bytes = g.receiver.box.Len()
	u[usedPieceItems].Used, u[usedPieceBytes].Used = int64(items), int64(bytes)
	held := g.loop.core.Held()
	u[usedReadsCore].Used, u[usedLog].Used, u[usedPromises].Used = int64(held.Reads), held.LogBytes, held.PromiseBytes
	u[usedClients].Used = g.clientBytes.Load()
	u[usedBatcher].Used = int64(g.loop.batcher.Held())
	u[usedFlights].Used = int64(g.loop.flights.len())
	u[usedReadBatches].Used = int64(len(g.loop.reads))
	u[usedReadsApplied].Used = int64(len(g.applier.waiting))
	u[usedSync].Used = g.syncBacklog.Load()
	u[usedApply].Used = g.applyBacklog.Load()
	u[usedTransfers].Used = int64(len(g.transfers.byPeer))
	u[usedJobs].Used = int64(len(d.jobs))
	t := g.applier.sessions
	blocks := 0
	for s := t.oldest; s != nil; s = s.newer {
		blocks = max(blocks, s.count)
	}
	u[usedSessions].Used, u[usedBlocks].Used, u[usedReplies].Used = int64(len(t.byID)), int64(blocks), t.replyBytes
	return u[:]
}

// bound fills in the bounds.
func (d *GroupDriver) bound() {
	c, l := &d.d.n.c, &d.d.n.limits
	pc := d.g.loop.core.Config()
	t := d.g.applier.sessions
	peers := int64(d.contacts)
	clients := l.ClientBytes / clientItemBytes
	frame := l.Frame
	promise := frame + 2*int64(pc.PromiseBytes) // a part holds one vote at least

	// One turn comes on top of a backlog: the frames of a full mailbox, what a leader's window takes, and a burst of promises to
	// each peer; or, once, what a new leader proposes again, which is what it was promised.
	turn := int64(l.PeerBytes) + pc.AheadBytesMax + max(peers*paxos.PromiseBurst*promise, pc.PromiseTotalMax) + 2*frame
	log := pc.LogBytesBound(frame)
	set := func(i int, name string, most int64) { d.usage[i] = Usage{Name: name, Max: most} }
	// Blocks and queries; a nudge; a trim for each snapshot, of which one is written at a time; the gatherer's word.
	set(usedMailboxItems, "mailbox, items", int64(l.PeerItems)+clients+3)
	set(usedMailboxBytes, "mailbox, bytes", max(int64(l.PeerBytes), promise))
	set(usedClients, "clients waiting, bytes", l.ClientBytes)
	set(usedBatcher, "batcher, bytes", max(int64(c.QueueBytes), frame+frame/2)) // one frame always; its buffer's class is at most half as large again
	set(usedFlights, "flights", int64(c.Window))
	set(usedReadBatches, "read batches", clients)
	set(usedReadsCore, "reads in the core", clients)
	set(usedReadsApplied, "reads to be applied", clients)
	set(usedSync, "waiting for the disk, bytes", l.SyncBacklog+turn)
	// What a restart recovers waits at once, and what a filled gap lets go.
	set(usedApply, "waiting to be applied, bytes", max(l.ApplyBacklog+turn, log)+log)
	set(usedLog, "log in memory, bytes", log)
	set(usedPromises, "promises, bytes", pc.PromiseTotalMax+peers*paxos.PromiseBurst*2*promise)
	set(usedPieceItems, "pieces of a snapshot, items", int64(l.ReceiverItems))
	set(usedPieceBytes, "pieces of a snapshot, bytes", max(int64(l.ReceiverBytes), 2*wire.SnapChunkBytes))
	set(usedTransfers, "snapshots being sent", peers-1)
	set(usedJobs, "snapshots being written", 1)
	set(usedSessions, "sessions", int64(t.sessionsMax))
	set(usedBlocks, "blocks of a session", int64(t.blocksMax))
	set(usedReplies, "kept replies, bytes", t.replyTotalMax+t.replyMax)
}
