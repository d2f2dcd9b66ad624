package engine

import (
	"errors"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
)

// receiver is the goroutine that puts together the snapshot a peer sends to this replica, and has it installed. It
// waits for the disk and for the applier, so that neither the connections nor the loop do.
//
// The order of an install is what keeps a crash harmless:
//
//  1. the file is complete, verified and durable under its name: from here on a restart begins with it;
//  2. the applier replaces state and sessions by it, between two slots;
//  3. the core hears of it (Installed) and moves its chosen prefix up: it never lowers its promise or its prefix;
//  4. the log below it is trimmed, older snapshots are removed.
type receiver struct {
	g     *Group
	box   *batching.Mailbox[*wire.Buffer]
	parts *snapshot.Receiver
	done  chan struct{}

	// The copy under way when it last grew: a sender that died must not keep its place for ever.
	have wire.Slot
	size uint64
	grew int64 // nanotime
}

func newReceiver(g *Group) *receiver {
	c := &g.node.c
	return &receiver{
		g:   g,
		box: batching.NewMailbox[*wire.Buffer](g.node.limits.ReceiverItems, g.node.limits.ReceiverBytes),
		parts: snapshot.NewReceiver(snapshot.ReceiverConfig{
			FS: c.SnapshotFS, Dir: c.snapDir(), Cluster: c.Cluster, Group: g.id,
			Have: wire.Slot(g.snapshotAt.Load()), TotalMax: c.SnapshotMaxSize,
		}),
		done: make(chan struct{}),
	}
}

// put queues a SnapChunk frame; it takes over the reference.
func (r *receiver) put(f *wire.Buffer) {
	if !r.box.Put(f, f.Cap()) {
		r.g.count.peerDropped.Inc()
		f.Release()
	}
}

// run is the goroutine. It ends when the mailbox is closed.
func (r *receiver) run() {
	defer close(r.done)
	var frames []*wire.Buffer
	for range r.box.Wait() {
		frames = r.box.Swap(frames)
		for _, f := range frames {
			r.piece(f)
			f.Release()
		}
		if r.box.Closed() {
			break
		}
	}
	if err := r.parts.Close(); err != nil {
		r.g.log.Warn("snapshot under way not kept", "err", err)
	}
}

// close ends the receiver and waits for it.
func (r *receiver) close() {
	for _, f := range r.box.Close() {
		f.Release()
	}
	<-r.done
}

// piece takes one piece, acknowledges it, and installs the snapshot when it was the last.
func (r *receiver) piece(f *wire.Buffer) {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		r.g.count.peerDropped.Inc()
		return
	}
	if m.Slot <= wire.Slot(r.g.applied.Load()) {
		r.ack(&m, m.Total) // got there from the log: the sender can stop
		return
	}
	r.parts.SetHave(wire.Slot(r.g.snapshotAt.Load()))
	a, err := r.parts.Chunk(m.Slot, m.Total, m.Offset, m.Data)
	if a.Ignored && err == nil && r.stuck() {
		// The sender of a newer snapshot is gone, and this one may be the newest that the living have.
		r.parts.Abandon()
		a, err = r.parts.Chunk(m.Slot, m.Total, m.Offset, m.Data)
	}
	r.progress()
	if err != nil {
		// The old state is intact. The sender is told where to go on, and begins anew if what came was refused.
		r.g.log.Warn("piece of a snapshot refused", "peer", uint32(m.From), "slot", uint64(m.Slot), "err", err)
	}
	if a.Installed != nil {
		r.install(a.Installed, m.From)
	}
	if !a.Ignored {
		r.ack(&m, a.Offset)
	}
}

// progress notes whether the copy under way grew.
func (r *receiver) progress() {
	if slot, have, _ := r.parts.Progress(); slot != r.have || have != r.size {
		r.have, r.size, r.grew = slot, have, r.g.node.nanotime()
	}
}

// stuck says that the copy under way has not grown for longer than its sender goes on.
func (r *receiver) stuck() bool { return r.g.node.nanotime()-r.grew > int64(transferGiveUp) }

func (r *receiver) ack(m *wire.Message, offset uint64) {
	r.g.send(m.From, &wire.Message{Kind: wire.KindSnapAck, Slot: m.Slot, Offset: offset, Total: m.Total})
}

// install has the applier restore the file.
func (r *receiver) install(f *snapshot.File, from wire.NodeID) {
	g := r.g
	log := g.log.With("slot", uint64(f.Meta.Slot), "peer", uint32(from))
	select {
	case g.snapBusy <- struct{}{}: // no own snapshot is being written: a view need not survive Restore
	case <-g.node.stopping:
		return
	}
	done := make(chan error, 1)
	g.applier.put(applyItem{kind: applyRestore, file: f, done: done})
	if g.driver != nil {
		g.driver.applyAll() // nobody else would
	}
	err := <-done
	<-g.snapBusy
	switch {
	case errors.Is(err, ErrClosed):
		return
	case err != nil:
		g.node.fail(err)
		return
	}
	g.snapshotAt.Store(uint64(f.Meta.Slot))
	g.count.snapInstalls.Inc()
	log.Info("snapshot installed", "bytes", f.Size)
	c := &g.node.c
	if err := snapshot.RemoveOlder(c.SnapshotFS, c.snapDir(), g.id, f.Meta.Slot); err != nil {
		log.Error("old snapshots not removed", "err", err)
	}
}
