package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
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
	ended time.Time // zero: under way
}

type snapAck struct {
	slot   wire.Slot
	offset uint64
	total  uint64
}

// start begins a transfer to a peer that asked for a slot which is only in a snapshot here, unless one is under way or
// the peer is still busy restoring the last one.
func (t *transfers) start(peer wire.NodeID, asked wire.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.byPeer[peer]; x != nil {
		if x.ended.IsZero() || asked <= x.slot && time.Since(x.ended) < transferGrace {
			return
		}
	}
	x := &transfer{peer: peer, acks: make(chan snapAck, transferAcksMax)}
	t.byPeer[peer] = x
	t.g.node.background.Add(1)
	go t.run(x)
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
// snapshot. What is kept for peers is bounded: beyond pinFactor times RetainBytes a peer gets its next snapshot.
func (t *transfers) pin(trim, newest wire.Slot) wire.Slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	bound := pinFactor * t.g.node.c.RetainBytes
	for peer, x := range t.byPeer {
		if !x.ended.IsZero() && time.Since(x.ended) > transferGrace {
			delete(t.byPeer, peer)
			continue
		}
		if x.slot < trim && t.g.logBytes.Load() <= bound {
			trim = x.slot
		}
	}
	return trim
}

// run is the goroutine of one transfer.
func (t *transfers) run(x *transfer) {
	defer t.g.node.background.Done()
	log := t.g.log.With("peer", uint32(x.peer))
	start := time.Now()
	slot, bytes, err := t.send(x)
	t.mu.Lock()
	x.ended = time.Now()
	t.mu.Unlock()
	switch {
	case errors.Is(err, errStopping):
	case err != nil:
		log.Warn("snapshot not sent", "slot", uint64(slot), "err", err)
	default:
		t.g.count.snapSent.Inc()
		log.Info("snapshot sent", "slot", uint64(slot), "bytes", bytes, "took", time.Since(start))
	}
}

// send sends the newest good snapshot, a few pieces at a time, until the peer has all of it.
func (t *transfers) send(x *transfer) (slot wire.Slot, bytes uint64, err error) {
	c := &t.g.node.c
	file, err := snapshot.Latest(c.SnapshotFS, c.snapDir(), c.Cluster, t.g.id)
	if err != nil {
		return 0, 0, err
	}
	s, err := snapshot.NewSender(file, 0)
	if err != nil {
		return file.Meta.Slot, 0, err
	}
	defer s.Close()
	t.mu.Lock()
	x.slot = s.Slot()
	t.mu.Unlock()
	buf := make([]byte, wire.SnapChunkBytes)
	retry := time.NewTicker(transferRetry)
	defer retry.Stop()
	heard, quiet := time.Now(), false
	for !s.Done() {
		for {
			offset, n, err := s.Next(buf)
			if err != nil {
				return s.Slot(), s.Total(), err
			}
			if n == 0 {
				break
			}
			t.g.send(x.peer, &wire.Message{Kind: wire.KindSnapChunk, Slot: s.Slot(), Offset: offset, Total: s.Total(), Data: buf[:n]})
		}
		select {
		case <-t.g.node.stopping:
			return s.Slot(), s.Total(), errStopping
		case a := <-x.acks:
			if a.slot != s.Slot() {
				break // of an earlier transfer
			}
			if err := s.Ack(a.offset, a.total); err != nil {
				return s.Slot(), s.Total(), err
			}
			heard, quiet = time.Now(), false
		case <-retry.C:
			if time.Since(heard) > transferGiveUp {
				return s.Slot(), s.Total(), fmt.Errorf("engine: node %d acknowledges nothing for %v", x.peer, transferGiveUp)
			}
			if quiet {
				s.Retry()
			}
			quiet = true
		}
	}
	return s.Slot(), s.Total(), nil
}

// send encodes a message to a peer and hands it to the transport. For rare messages that the core has no part in.
func (g *Group) send(to wire.NodeID, m *wire.Message) {
	m.Group, m.From, m.Chosen = g.id, g.node.c.Node, wire.Slot(g.applied.Load())
	g.node.net.Send(to, m.Encode(g.node.c.Cluster))
}
