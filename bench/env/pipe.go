package env

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// The bare replicated pipe: Accept frames from one node to all others over the engine's transport, every node's log
// with one fdatasync per group, Accepted frames back, and a frame counts when a majority has it. No ballots, no batcher, no
// clients, no state machine: what is left is the bound on what a protocol over these parts can reach on this machine.

// PipeLoad is what the pipe is to carry: frames of Commands commands of CommandBytes each, Window of them in flight.
type PipeLoad struct {
	Commands     int
	CommandBytes int // at least 2
	Window       int // at most pipeWindowMax
	Length       time.Duration
}

// ProbeLoad is the probe's.
var ProbeLoad = PipeLoad{Commands: 512, CommandBytes: 16, Window: 32, Length: time.Second}

const (
	pipeGroup        = wire.GroupID(1)
	pipeSegmentBytes = 8 << 20
	// pipeTrimEvery slots the log is told to forget what is pipeWindowMax behind, so that the probe's disk use is bounded.
	pipeTrimEvery = 256
	pipeWindowMax = 128
	// pipeResend is the pause before a frame is sent again that nobody acknowledges.
	pipeResend = 20 * time.Millisecond
	// pipeAnswerLimit bounds the wait for any acknowledgement: a disk that is flooded stalls for seconds.
	pipeAnswerLimit = 10 * time.Second
	// pipeConnectLimit bounds the wait for the first acknowledgement from everyone.
	pipeConnectLimit = 20 * time.Second
)

// PipeConfig says who a node of the pipe is.
type PipeConfig struct {
	Node    wire.NodeID // 1 leads
	Cluster wire.ClusterID
	Listen  string
	// Listener, if set, is listened on instead of Listen; it belongs to the node from then on.
	Listener net.Listener
	Peers    map[wire.NodeID]string // all nodes
	Dir      string                 // for the log; it must be empty
}

// PipeNode is a node of the pipe. Followers need no more than to be open.
type PipeNode struct {
	config PipeConfig
	net    *transport.TCP
	log    *wal.Log
	box    *batching.Mailbox[pipeEvent]
	done   chan struct{}
	err    error // of the log; valid after done

	// The rest is the leader's and belongs to its goroutine.
	acks *batching.Mailbox[pipeAck]
	next wire.Slot // behind the last one sent
}

type pipeEvent struct {
	frame *wire.Buffer
	from  wire.NodeID
	slot  wire.Slot
}

// pipeAck says that node has slots first to last on its disk.
type pipeAck struct {
	node        wire.NodeID
	first, last wire.Slot
}

// OpenPipe starts a node of the pipe.
func OpenPipe(c PipeConfig) (*PipeNode, error) {
	var members []wire.NodeID
	for id := range c.Peers {
		members = append(members, id)
	}
	log, err := wal.Open(wal.Config{
		Dir: c.Dir, Cluster: c.Cluster, Node: c.Node, Members: members, Bootstrap: true, SegmentBytes: pipeSegmentBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("env: pipe: %w", err)
	}
	if err := log.Replay(nil); err != nil {
		return nil, errors.Join(fmt.Errorf("env: pipe: %w", err), log.Close())
	}
	net, err := transport.Listen(transport.Config{
		Self: c.Node, Cluster: c.Cluster, Addr: c.Listen, Listener: c.Listener, Peers: c.Peers,
		Logger: slog.New(slog.DiscardHandler), // connections refused while the others start are no news
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("env: pipe: %w", err), log.Close())
	}
	n := &PipeNode{
		config: c, net: net, log: log, done: make(chan struct{}),
		box:  batching.NewMailbox[pipeEvent](1<<16, 256<<20),
		acks: batching.NewMailbox[pipeAck](1<<16, 64<<20),
	}
	go n.sync()
	if err := net.Serve(n.receive); err != nil {
		return nil, errors.Join(fmt.Errorf("env: pipe: %w", err), n.Close())
	}
	return n, nil
}

// Addr is the address the node listens on.
func (n *PipeNode) Addr() string { return n.net.Addr().String() }

// Close stops the node. Its directory stays.
func (n *PipeNode) Close() error {
	err := n.net.Close()
	for _, e := range n.box.Close() {
		e.frame.Release()
	}
	<-n.done
	n.acks.Close()
	return errors.Join(err, n.err, n.log.Close())
}

// receive runs on the transport's goroutines.
func (n *PipeNode) receive(from wire.NodeID, f *wire.Buffer) {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		f.Release()
		return
	}
	switch m.Kind {
	case wire.KindAccept:
		if n.box.Put(pipeEvent{f, from, m.Slot}, f.Len()) {
			return
		}
	case wire.KindAccepted:
		n.acks.PutUrgent(pipeAck{from, m.Slot, m.Slot + wire.Slot(m.Count) - 1})
	}
	f.Release()
}

// sync is the goroutine that owns the log: everything that waits goes to the disk with one fdatasync and is acknowledged
// in runs of consecutive slots.
func (n *PipeNode) sync() {
	defer close(n.done)
	var events []pipeEvent
	var records []wire.Record
	trimmed := wire.Slot(0)
	for range n.box.Wait() {
		events = n.box.Swap(events)
		records = records[:0]
		for _, e := range events {
			var r wire.Record
			if err := wire.DecodeRecord(e.frame, &r); err != nil {
				panic("BUG: env: pipe: " + err.Error())
			}
			records = append(records, r)
		}
		if n.err == nil && len(records) > 0 {
			n.err = n.write(records)
		}
		if n.err == nil {
			n.acknowledge(events)
			if last := len(events) - 1; last >= 0 && events[last].slot > trimmed+pipeTrimEvery {
				trimmed = events[last].slot
				n.err = n.log.Trim(pipeGroup, max(trimmed, 2*pipeWindowMax)-2*pipeWindowMax)
			}
		}
		for _, e := range events {
			e.frame.Release()
		}
		if n.box.Closed() {
			return
		}
	}
}

func (n *PipeNode) write(records []wire.Record) error {
	if _, err := n.log.Append(records); err != nil {
		return err
	}
	_, err := n.log.Sync()
	return err
}

func (n *PipeNode) acknowledge(events []pipeEvent) {
	for i := 0; i < len(events); {
		j := i + 1
		for j < len(events) && events[j].slot == events[j-1].slot+1 && j-i < wire.WindowMax {
			j++ // a node that is slow may have any number of frames waiting: the majority does not wait for it
		}
		ack := pipeAck{n.config.Node, events[i].slot, events[j-1].slot}
		if events[i].from == n.config.Node {
			n.acks.PutUrgent(ack)
		} else {
			m := wire.Message{Kind: wire.KindAccepted, Group: pipeGroup, From: n.config.Node, Ballot: pipeBallot, Slot: ack.first, Count: uint32(j - i)}
			n.net.Send(events[i].from, m.Encode(n.config.Cluster))
		}
		i = j
	}
}

// pipeBallot stands in all frames: node 1 leads.
var pipeBallot = wire.NewBallot(1, 1)

// PipeResult is what the pipe carried.
type PipeResult struct {
	OpsPerSecond float64 `json:"ops_per_s"`
	Frames       int     `json:"frames"`
	FrameBytes   int     `json:"frame_bytes"`
	Commands     int     `json:"commands_per_frame"`
	Window       int     `json:"frames_in_flight"`
	Latency      Times   `json:"latency_ns"` // of a frame, from sent to on a majority's disks
}

// pipeRun is the leader's side of a measurement.
type pipeRun struct {
	n        *PipeNode
	load     PipeLoad
	batch    []byte
	majority int
	slots    map[wire.Slot]*pipeSlot
	free     []*pipeSlot
	next     wire.Slot
	lowest   wire.Slot // of those in flight
	sample   []int64
	frame    int
}

type pipeSlot struct {
	sent  time.Time
	nodes uint64 // that have it, as bits
}

// Run drives the pipe from node 1, after every node has answered once. It may be called again.
func (n *PipeNode) Run(ctx context.Context, load PipeLoad) (PipeResult, error) {
	if load.Commands < 1 || load.CommandBytes < 2 || load.Window < 1 || load.Window > pipeWindowMax {
		return PipeResult{}, fmt.Errorf("env: pipe: load %+v", load)
	}
	first := n.next + 1
	r := &pipeRun{n: n, load: load, batch: pipeBatch(load), majority: len(n.config.Peers)/2 + 1, slots: map[wire.Slot]*pipeSlot{}, next: first, lowest: first}
	if err := r.connect(ctx); err != nil {
		return PipeResult{}, err
	}
	defer func() { n.next = r.next }()
	begin := time.Now()
	r.sample = r.sample[:0]
	var acks []pipeAck
	for len(r.sample) == 0 || time.Since(begin) < load.Length { // a disk may take longer for the first frame
		for r.next < r.lowest+wire.Slot(load.Window) {
			r.send(r.next)
			r.next++
		}
		select {
		case <-n.acks.Wait():
		case <-n.done:
			return PipeResult{}, fmt.Errorf("env: pipe: the log failed: %w", n.err)
		case <-time.After(pipeAnswerLimit):
			return PipeResult{}, fmt.Errorf("env: pipe: slot %d got no answer within %s", r.lowest, pipeAnswerLimit)
		case <-ctx.Done():
			return PipeResult{}, context.Cause(ctx)
		}
		acks = n.acks.Swap(acks)
		r.take(acks)
	}
	took := time.Since(begin)
	return PipeResult{
		OpsPerSecond: float64(len(r.sample)*load.Commands) / took.Seconds(), Frames: len(r.sample), FrameBytes: r.frame,
		Commands: load.Commands, Window: load.Window, Latency: timesOf(r.sample),
	}, nil
}

// connect sends the first slot until everyone has acknowledged it.
func (r *pipeRun) connect(ctx context.Context) error {
	heard := map[wire.NodeID]bool{}
	deadline := time.Now().Add(pipeConnectLimit)
	resend := time.NewTicker(pipeResend)
	defer resend.Stop()
	first := r.next
	r.send(first)
	for len(heard) < len(r.n.config.Peers) {
		select {
		case <-r.n.acks.Wait():
			for _, a := range r.n.acks.Swap(nil) {
				if a.last >= first { // not what is left of an earlier run
					heard[a.node] = true
				}
			}
		case <-resend.C:
			if time.Now().After(deadline) {
				return fmt.Errorf("env: pipe: only %d of %d nodes answer", len(heard), len(r.n.config.Peers))
			}
			r.send(first)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	clear(r.slots)
	r.next, r.lowest = first+1, first+1
	return nil
}

func (r *pipeRun) send(s wire.Slot) {
	f := wire.NewAccept(len(r.batch))
	f.Append(r.batch)
	wire.SealAccept(f, r.n.config.Cluster, pipeGroup, r.n.config.Node, pipeBallot, s, r.lowest-1)
	r.frame = f.Len()
	r.slots[s] = r.slot()
	for id := range r.n.config.Peers {
		if id != r.n.config.Node {
			r.n.net.Send(id, f.Retain())
		}
	}
	if !r.n.box.Put(pipeEvent{f, r.n.config.Node, s}, f.Len()) {
		f.Release()
	}
}

func (r *pipeRun) slot() *pipeSlot {
	p := &pipeSlot{}
	if k := len(r.free); k > 0 {
		p, r.free = r.free[k-1], r.free[:k-1]
	}
	*p = pipeSlot{sent: time.Now()}
	return p
}

func (r *pipeRun) take(acks []pipeAck) {
	now := time.Now()
	for _, a := range acks {
		for s := a.first; s <= a.last; s++ {
			p := r.slots[s]
			if p == nil {
				continue // a majority had it already, or it is a repetition from connect
			}
			p.nodes |= 1 << a.node
			if bits.OnesCount64(p.nodes) >= r.majority {
				r.sample = append(r.sample, int64(now.Sub(p.sent)))
				r.free = append(r.free, p)
				delete(r.slots, s)
			}
		}
	}
	for r.lowest < r.next && r.slots[r.lowest] == nil {
		r.lowest++
	}
}

// pipeBatch is one block of the load's commands.
func pipeBatch(load PipeLoad) []byte {
	var commands []byte
	command := make([]byte, load.CommandBytes)
	for i := range load.Commands {
		command[0], command[1] = byte(i), byte(i>>8)
		commands = wire.AppendCommand(commands, command)
	}
	block := append(wire.AppendBlockHeader(nil, 0, 0, 0, load.Commands, len(commands)), commands...)
	batch := make([]byte, wire.BatchHeaderSize, wire.BatchHeaderSize+len(block))
	wire.PutBatchHeader(batch, wire.BatchBlocks, wire.CompressNone, 1, load.Commands, len(block), len(block))
	return append(batch, block...)
}
