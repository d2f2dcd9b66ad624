package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// transfers are the snapshots a group is sending to peers that are behind the trimmed log: one goroutine for each, at
// most one for each peer. Loops and connections only leave notes here.
type transfers struct {
	g *Group

	mu     sync.Mutex
	byPeer map[wire.NodeID]*transfer
}

// transfer is one peer's, under way or just ended.
type transfer struct {
	peer  wire.NodeID
	acks  chan snapAck
	slot  wire.Slot // of the snapshot; 0: not known yet
	over  bool
	err   error // why it came to nothing, if over; nil: the peer has the snapshot
	ended int64 // nanotime, if over

	// Of the goroutine that sends.
	sender *snapshot.Sender // nil: not open
	buf    []byte
	began  int64 // nanotime
	heard  int64 // nanotime of the last acknowledgement
	quiet  bool  // none came since the last look
}

type snapAck struct {
	slot   wire.Slot
	offset uint64
	total  uint64
}

// start begins a transfer to a peer that asked for a slot which is only in a snapshot here, unless one is under way, the
// peer is still busy restoring the last one, or that has failed a moment ago.
func (t *transfers) start(peer wire.NodeID, asked wire.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.byPeer[peer]; x != nil {
		since := time.Duration(t.g.node.nanotime() - x.ended)
		switch {
		case !x.over, x.err != nil && since < transferRetry:
			return
		case x.err == nil && asked <= x.slot && since < transferGrace:
			return
		}
	}
	x := &transfer{peer: peer, acks: make(chan snapAck, transferAcksMax)}
	t.byPeer[peer] = x
	if d := t.g.driver; d != nil {
		d.transfers = append(d.transfers, x)
		return
	}
	t.g.spawn(func() { t.finish(x, t.run(x)) })
}

// ack passes on a peer's acknowledgement. It never blocks.
func (t *transfers) ack(peer wire.NodeID, a snapAck) {
	t.mu.Lock()
	x := t.byPeer[peer]
	t.mu.Unlock()
	if x == nil {
		return
	}
	select {
	case x.acks <- a:
	default: // acknowledgements repeat what the ones before them said
	}
}

// pin is the slot up to which the log may be trimmed, at most trim: not past the snapshot that a peer is receiving or
// has just received, or it would need another one at once, and so on for ever. newest is the slot of the newest
// snapshot. What is kept for peers is bounded: beyond pinFactor times RetainBytes, and what lies between two large snapshots, a peer gets its next snapshot.
func (t *transfers) pin(trim, newest wire.Slot) wire.Slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.g.node.c
	bound := pinFactor*c.RetainBytes + t.g.snapshotDue() - c.SnapshotBytes // the log between two large snapshots is not kept for peers
	for peer, x := range t.byPeer {
		if x.over && t.g.node.nanotime()-x.ended > int64(transferGrace) {
			delete(t.byPeer, peer)
			continue
		}
		if x.slot < trim && t.g.logBytes.Load() <= bound {
			trim = x.slot
		}
	}
	return trim
}

// run is the goroutine of one transfer: it sends the newest good snapshot, a few pieces at a time, until the peer has
// all of it.
func (t *transfers) run(x *transfer) error {
	if err := t.open(x); err != nil {
		return err
	}
	retry := time.NewTicker(transferRetry)
	defer retry.Stop()
	for !x.sender.Done() {
		err := t.push(x)
		if err != nil {
			return err
		}
		select {
		case <-t.g.node.stopping:
			return errStopping
		case a := <-x.acks:
			err = t.acked(x, a)
		case <-retry.C:
			err = t.retry(x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open takes the newest good snapshot.
func (t *transfers) open(x *transfer) error {
	c := &t.g.node.c
	x.began = t.g.node.nanotime()
	file, err := snapshot.Latest(c.SnapshotFS, c.snapDir(), c.Cluster, t.g.id)
	t.g.judgeSnapshots(file, err)
	if err != nil {
		return err
	}
	if x.sender, err = snapshot.NewSender(file, 0); err != nil {
		return err
	}
	t.mu.Lock()
	x.slot = x.sender.Slot()
	t.mu.Unlock()
	x.buf = make([]byte, wire.SnapChunkBytes)
	x.heard = x.began
	return nil
}

// push sends the pieces that may be under way.
func (t *transfers) push(x *transfer) error {
	s := x.sender
	for {
		offset, n, err := s.Next(x.buf)
		if err != nil || n == 0 {
			return err
		}
		t.g.send(x.peer, &wire.Message{Kind: wire.KindSnapChunk, Slot: s.Slot(), Offset: offset, Total: s.Total(), Data: x.buf[:n]})
	}
}

// acked takes an acknowledgement.
func (t *transfers) acked(x *transfer, a snapAck) error {
	if a.slot != x.sender.Slot() {
		return nil // of an earlier transfer
	}
	if plant.Is(plant.TransferAcksIgnored) {
		a.offset = 0
	}
	if err := x.sender.Ack(a.offset, a.total); err != nil {
		return err
	}
	x.heard, x.quiet = t.g.node.nanotime(), false
	return nil
}

// retry is called every transferRetry: what two calls in a row find unanswered is sent again.
func (t *transfers) retry(x *transfer) error {
	if t.g.node.nanotime()-x.heard > int64(transferGiveUp) {
		return fmt.Errorf("engine: node %d acknowledges nothing for %v", x.peer, transferGiveUp)
	}
	if x.quiet {
		x.sender.Retry()
	}
	x.quiet = true
	return nil
}

// finish ends a transfer, well or with an error.
func (t *transfers) finish(x *transfer, err error) {
	now := t.g.node.nanotime()
	bytes := uint64(0)
	if x.sender != nil {
		bytes = x.sender.Total()
		_ = x.sender.Close() // it was read only
	}
	t.mu.Lock()
	x.over, x.err, x.ended = true, err, now
	x.sender, x.buf = nil, nil
	t.mu.Unlock()
	log := t.g.log.With("peer", uint32(x.peer), "slot", uint64(x.slot))
	switch {
	case errors.Is(err, errStopping):
	case err != nil:
		log.Warn("snapshot not sent", "err", err)
	default:
		t.g.count.snapSent.Inc()
		log.Info("snapshot sent", "bytes", bytes, "took", time.Duration(now-x.began))
	}
}

// send encodes a message to a peer and hands it to the transport. For rare messages that the core has no part in.
func (g *Group) send(to wire.NodeID, m *wire.Message) {
	m.Group, m.From, m.Chosen = g.id, g.node.c.Node, wire.Slot(g.applied.Load())
	g.node.net.Send(to, m.Encode(g.node.c.Cluster))
}
