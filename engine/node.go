package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Node is one process of a cluster: its log on the disk, its transport, and its groups. Methods may be called from any
// goroutine.
type Node struct {
	c       Config
	log     *slog.Logger
	wal     *wal.Log
	net     transport.Transport
	tcp     *transport.TCP // nil: another transport, without clients
	groups  []*Group       // by id-1
	syncer  *syncer
	started time.Time
	fsync   *histogram
	driver  *Driver // nil but in a simulator
	limits  Limits

	diskFull      atomic.Bool   // the log waits for room
	syncNanos     atomic.Int64  // of the syncer's last round, write and sync; 0: nobody waits for it
	suspects      atomic.Int32  // groups whose replica is suspect
	invalid       atomic.Uint64 // peer frames that name no group of this node
	clientInvalid atomic.Uint64 // malformed frames from clients

	// stopping is closed when the node fails or is closed, stopped when nothing runs any more.
	stopping   chan struct{}
	stopped    chan struct{}
	background sync.WaitGroup // snapshots being written or sent; grows only while loops or appliers run

	err          atomic.Error // why the node stopped; nil: it runs, or was closed. Set under mu
	contactMu    sync.Mutex
	contactAddrs map[wire.NodeID]string // of nodes that the groups' configurations have named

	mu       sync.Mutex
	isDown   bool  // stopping is closed
	closeErr error // of the transport and the log; valid when stopped is closed
}

// Open starts a node: it recovers what the data directory holds, and takes part in the cluster from then on. What it
// recovered is durable before anything is sent or answered.
//
// Errors: every fault of the configuration, joined; that the address cannot be listened on; and why the data directory
// is refused: in use (wal.ErrInUse), empty (wal.ErrNotBootstrapped), not empty but Bootstrap (wal.ErrHistory), of another
// node or cluster (*wal.IdentityError), damaged (*wal.CorruptError, *MissingError).
func Open(c Config) (*Node, error) {
	c = c.withDefaults()
	n := &Node{
		c: c, log: c.Logger.With("node", uint32(c.Node)), fsync: newHistogram(), started: time.Now(), limits: Limits{}.withDefaults(),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := c.validate(); err != nil {
		if c.Listener != nil {
			c.Listener.Close()
		}
		if c.Transport != nil {
			c.Transport.Close()
		}
		return nil, err
	}
	// The address first: a node that cannot have it must not leave a data directory behind.
	if err := n.listen(); err != nil {
		return nil, err
	}
	cores, err := n.recover()
	if err != nil {
		n.abandon()
		return nil, err
	}
	n.start(cores)
	return n, nil
}

// listen makes the transport.
func (n *Node) listen() error {
	if n.c.Transport != nil {
		n.net = n.c.Transport
		n.tcp, _ = n.c.Transport.(*transport.TCP)
		return nil
	}
	c := n.c.tcp()
	c.PeerGone = n.peerGone
	tcp, err := transport.Listen(c)
	if err != nil {
		return err
	}
	n.net, n.tcp = tcp, tcp
	return nil
}

// peerGone tells the groups that a peer's process has ended.
func (n *Node) peerGone(id wire.NodeID) {
	for _, g := range n.groups {
		g.mailbox.PutUrgent(event{kind: eventGone, peer: id})
	}
}

// abandon releases what Open had got hold of.
func (n *Node) abandon() {
	_ = n.net.Close() // the error that brought us here says more
	if n.wal != nil {
		_ = n.wal.Close()
	}
	for _, g := range n.groups {
		g.applier.sessions.release()
	}
}

// start brings the goroutines up, those that receive last.
func (n *Node) start(cores []*core) {
	n.syncer = newSyncer(n, n.wal)
	go n.syncer.run()
	for i, g := range n.groups {
		g.loop = newLoop(g, cores[i])
		g.receiver = newReceiver(g)
		g.publish(cores[i].Status())
		g.publishMembers(cores[i].Memberships())
		go g.applier.goroutine()
		go g.receiver.run()
		go func() {
			defer close(g.loopDone)
			g.loop.run()
		}()
	}
	if n.tcp != nil {
		n.tcp.ServeClients(n.serveClient)
	}
	if err := n.net.Serve(n.receive); err != nil {
		n.fail(fmt.Errorf("engine: serve: %w", err))
	}
	go n.supervise()
}

// receive takes a frame from a peer, with its reference, on a connection's goroutine. It never blocks.
func (n *Node) receive(from wire.NodeID, f *wire.Buffer) {
	h, err := wire.ParseHeader(f.Bytes())
	g := n.Group(h.Group)
	if err != nil || g == nil || h.From != from {
		n.invalid.Inc()
		f.Release()
		return
	}
	switch h.Kind {
	case wire.KindSnapChunk:
		if n.c.auxiliary() { // there is no state for it, and votes are not forgotten because of one
			n.invalid.Inc()
			f.Release()
			return
		}
		g.receiver.put(f)
	case wire.KindSnapAck:
		var m wire.Message
		if err := wire.DecodeMessage(f, &m); err != nil {
			n.invalid.Inc()
		} else {
			g.transfers.ack(from, snapAck{m.Slot, m.Offset, m.Total})
		}
		f.Release()
	default:
		if !g.mailbox.Put(event{kind: eventFrame, frame: f}, f.Cap()) {
			g.count.peerDropped.Inc()
			f.Release()
		}
	}
}

// Group returns a group of this node; nil: there is none of that id.
func (n *Node) Group(id wire.GroupID) *Group {
	if id == 0 || int64(id) > int64(len(n.groups)) {
		return nil
	}
	return n.groups[id-1]
}

// Addr is the address the node listens on; nil with a transport that does not listen.
func (n *Node) Addr() net.Addr {
	if n.tcp == nil {
		return nil
	}
	return n.tcp.Addr()
}

// fail ends the node because of an error: storage and state machine errors are final. The first one counts.
func (n *Node) fail(err error) { n.stop(err) }

// stop makes every goroutine end. Waiters are told by those who hold them.
func (n *Node) stop(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isDown {
		return
	}
	n.isDown = true
	if err != nil {
		n.err.Store(err)
		n.log.Error("node failed; it stops voting", "err", err)
	}
	close(n.stopping)
}

// supervise ends the node once it is told to stop. The order: nothing comes in any more; loops end and tell their
// waiters; appliers finish what they have taken; what was being written or sent ends; then the syncer, to which loops
// may have given work; then the log.
func (n *Node) supervise() {
	<-n.stopping
	var errs []error
	for _, g := range n.groups {
		<-g.loopDone
		<-g.applier.done
		g.receiver.close()
	}
	n.background.Wait()
	n.syncer.close()
	// Replies are queued in the transport by now; it had the time of the above to send them.
	if err := n.net.Close(); err != nil {
		errs = append(errs, err)
	}
	if err := n.wal.Close(); err != nil && n.Err() == nil {
		errs = append(errs, err)
	}
	n.closeErr = errors.Join(errs...)
	close(n.stopped)
}

// Err is why the node failed; nil: it runs, or was closed. It does not change once it is not nil.
func (n *Node) Err() error { return n.err.Load() }

// Wait returns when the node has stopped: Err.
func (n *Node) Wait() error {
	<-n.stopped
	return n.Err()
}

// Close stops the node. Every waiter is told: commands that were not proposed ErrClosed, those under way ErrUnknown.
// Everything acknowledged is on the disk. It returns why the node had failed before, or what went wrong in closing.
// More calls return the same.
func (n *Node) Close() error {
	n.stop(nil)
	<-n.stopped
	return errors.Join(n.Err(), n.closeErr)
}

// readMetrics fills in what belongs to the node.
func (n *Node) readMetrics(m *Metrics, reset bool) {
	w, t := n.wal.Stats(), n.net.Stats()
	m.Fsyncs, m.WALBytes, m.WALRecords = w.Fsyncs, w.Bytes, w.Records
	m.Fsync = n.fsync.read(reset)
	m.NetBytesSent = t.BytesSent + t.ClientBytesSent
	m.MessagesSent = t.FramesSent + t.ClientFramesSent
	m.PeerInvalid += n.invalid.Load()
	m.ClientInvalid = n.clientInvalid.Load()
	m.UptimeNanos = uint64(time.Since(n.started))
}
