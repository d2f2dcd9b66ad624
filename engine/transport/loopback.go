package transport

import (
	"sync"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/wire"
)

// Loopback is a network inside one process, for tests and for clusters in one process. Frames are shared by
// reference, never copied. Without faults each link delivers in order, at once, on a goroutine of its own; faults are
// injected per link (see loopback_faults.go).
type Loopback struct {
	seed uint64

	mu      sync.RWMutex
	nodes   map[wire.NodeID]*loopNode
	starts  map[wire.NodeID]uint64 // how often Node was called for an id: a restart draws other faults
	rules   map[linkKey]linkRule
	general linkRule // of links that rules does not name
	filter  func(from, to wire.NodeID, f *wire.Buffer) bool
}

type linkKey struct{ from, to wire.NodeID }

// NewLoopback returns a network without nodes and without faults. The same seed and the same sends on a link give
// the same decisions on that link; when a delayed frame arrives is up to the clock and the scheduler.
func NewLoopback(seed uint64) *Loopback {
	return &Loopback{
		seed:   seed,
		nodes:  make(map[wire.NodeID]*loopNode),
		starts: make(map[wire.NodeID]uint64),
		rules:  make(map[linkKey]linkRule),
	}
}

// Node returns the transport of node id, ready for Serve. After its Close, Node(id) gives a new one: a restart.
func (l *Loopback) Node(id wire.NodeID) Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == 0 || l.nodes[id] != nil {
		panic("BUG: transport: loopback node 0, or a node that is still open")
	}
	l.starts[id]++
	n := &loopNode{net: l, id: id, start: l.starts[id], links: make(map[wire.NodeID]*loopLink)}
	l.nodes[id] = n
	return n
}

// Close closes every node.
func (l *Loopback) Close() error {
	l.mu.RLock()
	nodes := make([]*loopNode, 0, len(l.nodes))
	for _, n := range l.nodes {
		nodes = append(nodes, n)
	}
	l.mu.RUnlock()
	for _, n := range nodes {
		n.Close()
	}
	return nil
}

func (l *Loopback) node(id wire.NodeID) *loopNode {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.nodes[id]
}

// loopNode is the Transport of one node of a Loopback.
type loopNode struct {
	net   *Loopback
	id    wire.NodeID
	start uint64
	count counters

	// handling is held shared during a handler's call and exclusively by Close, so that no call outlives Close.
	handling sync.RWMutex
	handler  func(from wire.NodeID, f *wire.Buffer)
	deaf     bool // closed; under handling

	mu     sync.RWMutex
	links  map[wire.NodeID]*loopLink
	closed bool // under mu
}

// Send implements Transport.
func (n *loopNode) Send(to wire.NodeID, f *wire.Buffer) bool {
	l := n.link(to)
	if l == nil {
		n.count.drop(DropUnknown, 1)
		f.Release()
		return false
	}
	return l.send(f)
}

// link finds or starts the link to a node that exists or existed.
func (n *loopNode) link(to wire.NodeID) *loopLink {
	n.mu.RLock()
	l := n.links[to]
	closed := n.closed
	n.mu.RUnlock()
	if l != nil || closed || to == n.id {
		return l
	}
	n.net.mu.RLock() // held to the end, so that no change of rules passes a new link by
	defer n.net.mu.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.links[to] != nil || n.net.starts[to] == 0 {
		return n.links[to]
	}
	l = newLoopLink(n, to, n.net.ruleOf(linkKey{n.id, to}))
	n.links[to] = l
	go l.run()
	return l
}

// Serve implements Transport.
func (n *loopNode) Serve(h func(from wire.NodeID, f *wire.Buffer)) error {
	n.handling.Lock()
	defer n.handling.Unlock()
	switch {
	case n.deaf:
		return ErrClosed
	case n.handler != nil:
		return ErrServing
	}
	n.handler = h
	return nil
}

// Close implements Transport. It must not be called from a handler.
func (n *loopNode) Close() error {
	n.handling.Lock()
	n.deaf = true
	n.handling.Unlock()

	n.mu.Lock()
	links := n.links
	if n.closed {
		links = nil
	}
	n.closed = true
	n.mu.Unlock()
	for _, l := range links {
		close(l.done)
		<-l.finished
	}
	n.net.mu.Lock()
	if n.net.nodes[n.id] == n {
		delete(n.net.nodes, n.id)
	}
	n.net.mu.Unlock()
	return nil
}

// Stats implements Transport.
func (n *loopNode) Stats() Stats { return n.count.stats() }

// deliver hands f to the handler, or says that there is none. It passes the reference on only if true.
func (n *loopNode) deliver(from wire.NodeID, f *wire.Buffer) bool {
	n.handling.RLock()
	defer n.handling.RUnlock()
	if n.deaf || n.handler == nil {
		return false
	}
	n.count.framesReceived.Add(1)
	n.count.bytesReceived.Add(uint64(f.Len()))
	n.handler(from, f)
	return true
}

// loopLink is one direction between two nodes, with the goroutine that delivers.
type loopLink struct {
	node     *loopNode // sender
	to       wire.NodeID
	queue    *batching.Mailbox[parcel]
	done     chan struct{}
	finished chan struct{}

	mu   sync.Mutex // the decisions, in the order of sends
	dice dice

	held []parcel // heap by (due, order); the goroutine's own
}

// parcel is a frame under way.
type parcel struct {
	f     *wire.Buffer
	due   int64  // nanoseconds of the monotonic clock; 0: at once
	order uint64 // breaks ties
}

// Bounds of what waits on a loopback link.
const (
	loopItemsMax = 1 << 16
	loopBytesMax = 256 << 20
)

func newLoopLink(n *loopNode, to wire.NodeID, r linkRule) *loopLink {
	l := &loopLink{
		node: n, to: to,
		queue:    batching.NewMailbox[parcel](loopItemsMax, loopBytesMax),
		done:     make(chan struct{}),
		finished: make(chan struct{}),
	}
	l.dice.seed(n.net.seed, linkKey{n.id, to}, n.start)
	l.dice.rule = r
	return l
}

// send decides the fate of f and queues it. It takes the reference.
func (l *loopLink) send(f *wire.Buffer) bool {
	size := f.Len()
	l.node.net.mu.RLock()
	filter := l.node.net.filter
	l.node.net.mu.RUnlock()
	if filter != nil && !filter(l.node.id, l.to, f) {
		return l.drop(f, DropFault)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	copies, dues, order := l.dice.roll()
	if copies == 0 {
		return l.drop(f, DropFault)
	}
	if copies == 2 && !l.queue.Put(parcel{f.Retain(), dues[1], order + 1}, size) {
		l.drop(f, l.full())
	}
	if !l.queue.Put(parcel{f, dues[0], order}, size) {
		return l.drop(f, l.full())
	}
	l.node.count.framesSent.Add(uint64(copies))
	l.node.count.bytesSent.Add(uint64(copies * size))
	return true
}

// full says why the queue took nothing.
func (l *loopLink) full() Drop {
	if l.queue.Closed() {
		return DropClosed
	}
	return DropFull
}

func (l *loopLink) drop(f *wire.Buffer, d Drop) bool {
	l.node.count.drop(d, 1)
	f.Release()
	return false
}

// run delivers until the sender closes.
func (l *loopLink) run() {
	defer close(l.finished)
	var batch []parcel
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var ring <-chan time.Time
		if len(l.held) > 0 {
			timer.Reset(time.Duration(l.held[0].due - monotonic()))
			ring = timer.C
		}
		select {
		case <-l.done:
			for _, p := range append(l.queue.Close(), l.held...) {
				l.drop(p.f, DropClosed)
			}
			return
		case <-ring:
		case <-l.queue.Wait():
		}
		batch = l.queue.Swap(batch)
		for _, p := range batch {
			if p.due == 0 && len(l.held) == 0 {
				l.deliver(p)
			} else {
				l.held = pushParcel(l.held, p)
			}
		}
		for now := monotonic(); len(l.held) > 0 && l.held[0].due <= now; {
			var p parcel
			p, l.held = popParcel(l.held)
			l.deliver(p)
		}
	}
}

// deliver hands p over unless the link was cut since, or nobody serves at its end.
func (l *loopLink) deliver(p parcel) {
	l.mu.Lock()
	cut := l.dice.rule.cut
	l.mu.Unlock()
	if cut {
		l.drop(p.f, DropFault)
		return
	}
	if dst := l.node.net.node(l.to); dst == nil || !dst.deliver(l.node.id, p.f) {
		l.drop(p.f, DropDown)
	}
}

// started anchors monotonic.
var started = time.Now()

// monotonic is a clock in nanoseconds that no one sets back. It is never 0.
func monotonic() int64 { return int64(time.Since(started)) + 1 }
