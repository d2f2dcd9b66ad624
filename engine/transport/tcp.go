package transport

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// TCP is the transport between processes: fastrpc both ways between peers, a stream of frames for clients, on one
// port. Its methods may be called from any goroutine, but not Close from a handler.
type TCP struct {
	c        Config
	listener net.Listener
	count    counters
	notice   notice
	links    atomic.Pointer[map[wire.NodeID]*link] // one for each peer; the map never changes, Connect puts another in its place
	handler  func(from wire.NodeID, f *wire.Buffer)

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	handover chan net.Conn // to fastrpc's server

	clientsQueued atomic.Int64 // bytes that wait for clients

	// running counts goroutines and connections that Close waits for. Added to only under mu while not closed.
	running sync.WaitGroup

	mu           sync.Mutex
	serving      bool
	closed       bool
	clientServer func(*ClientConn) ClientHandler
	undecided    []*undecided // oldest first; at most UndecidedMax
	peersIn      map[wire.NodeID]*peerIn
	served       int // connections that fastrpc's server has; at most servedMax
	clients      map[*ClientConn]struct{}
	perAddr      map[netip.Addr]int // clients; no zero entries
}

var _ Transport = (*TCP)(nil)

// Listen binds the node's address. Nothing is accepted or sent before Serve. Errors: all faults of c, joined, or what
// net.Listen says, as for an address in use.
func Listen(c Config) (*TCP, error) {
	if err := c.validate(); err != nil {
		if c.Listener != nil {
			c.Listener.Close()
		}
		return nil, err
	}
	c = c.withDefaults()
	ln := c.Listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", c.Addr); err != nil {
			return nil, fmt.Errorf("transport: node %d: %w", c.Self, err)
		}
	}
	t := &TCP{
		c: c, listener: ln,
		notice:   notice{log: c.Logger},
		handover: make(chan net.Conn),
		peersIn:  make(map[wire.NodeID]*peerIn),
		clients:  make(map[*ClientConn]struct{}),
		perAddr:  make(map[netip.Addr]int),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	links := make(map[wire.NodeID]*link, len(c.Peers))
	for id, addr := range c.Peers {
		if id != c.Self {
			links[id] = newLink(t, id, addr)
		}
	}
	t.links.Store(&links)
	return t, nil
}

// link is the way to a peer; nil: it is none.
func (t *TCP) link(id wire.NodeID) *link { return (*t.links.Load())[id] }

// known says whether a node may connect as a peer.
func (t *TCP) known(id wire.NodeID) bool {
	if t.link(id) != nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.c.Strangers && id != 0 && id != t.c.Self && (t.peersIn[id] != nil || len(t.peersIn) < wire.NodesMax)
}

// Connect makes a node a peer. Nothing happens if it is one, or too many are.
func (t *TCP) Connect(id wire.NodeID, addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	links := *t.links.Load()
	if t.closed || id == t.c.Self || links[id] != nil || len(links) >= linksMax {
		return
	}
	l := newLink(t, id, addr)
	links = maps.Clone(links)
	links[id] = l
	t.links.Store(&links)
	if t.serving {
		l.start()
	}
}

// linksMax bounds the peers, those that are members no more included: as long as the process lives they are told so.
const linksMax = 4 * wire.NodesMax

// Addr is the address that is listened on.
func (t *TCP) Addr() net.Addr { return t.listener.Addr() }

// ServeClients says what to do with connections of clients: serve is called for each and returns its handler; it must
// not block. Without it clients are refused. It should be called before Serve.
func (t *TCP) ServeClients(serve func(*ClientConn) ClientHandler) {
	t.mu.Lock()
	t.clientServer = serve
	t.mu.Unlock()
}

// Serve implements Transport: it connects to the peers and starts to accept.
func (t *TCP) Serve(h func(from wire.NodeID, f *wire.Buffer)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.serving:
		return ErrServing
	case h == nil:
		panic("BUG: transport: Serve without a handler")
	}
	t.serving = true
	t.handler = h
	for _, l := range *t.links.Load() {
		l.start()
	}
	t.running.Add(2)
	go func() {
		defer t.running.Done()
		newServer(t.c.Logger).Serve(handoverListener{t})
	}()
	go t.accept()
	return nil
}

// Send implements Transport.
func (t *TCP) Send(to wire.NodeID, f *wire.Buffer) bool {
	l := t.link(to)
	if l == nil {
		t.count.drop(DropUnknown, 1)
		f.Release()
		return false
	}
	return l.send(f)
}

// Close implements Transport. It gives clients' replies that wait 250 ms to leave. After it the port is free, no
// handler is called, no buffer is held. Of the goroutines only those of fastrpc's clients stay, two for each peer, and
// wait for the next transport of this process (see slot).
func (t *TCP) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.running.Wait()
		return nil
	}
	t.closed = true
	conns := make([]net.Conn, 0, len(t.undecided)+len(t.peersIn))
	for _, u := range t.undecided {
		u.evicted = true
		conns = append(conns, u.raw)
	}
	for _, c := range t.peersIn {
		conns = append(conns, c.in.raw)
	}
	clients := make([]*ClientConn, 0, len(t.clients))
	for c := range t.clients {
		clients = append(clients, c)
	}
	t.mu.Unlock()

	t.stop()
	err := t.listener.Close()
	for _, c := range conns {
		c.Close()
	}
	for _, l := range *t.links.Load() {
		l.close()
	}
	for _, c := range clients {
		c.Close()
	}
	t.running.Wait()
	return err
}

// Stats implements Transport.
func (t *TCP) Stats() Stats {
	s := t.count.stats()
	t.mu.Lock()
	s.PeersIn, s.Clients, s.Undecided = len(t.peersIn), len(t.clients), len(t.undecided)
	t.mu.Unlock()
	return s
}

// reject counts a connection that was refused or cut, and says so at most once a second.
func (t *TCP) reject(why Reject, addr string, err error) {
	t.count.reject(why)
	t.notice.warn("connection rejected", "node", t.c.Self, "reason", why.String(), "remote", addr, "err", err)
}

// notice logs at most one line a second, because whoever can reach the port decides how many there would be.
type notice struct {
	log   *slog.Logger
	next  atomic.Int64 // monotonic
	muted atomic.Uint64
}

func (n *notice) warn(msg string, args ...any) {
	now, next := monotonic(), n.next.Load()
	if now < next || !n.next.CompareAndSwap(next, now+int64(time.Second)) {
		n.muted.Add(1)
		return
	}
	if muted := n.muted.Swap(0); muted > 0 {
		args = append(args, "unlogged", muted)
	}
	n.log.Warn(msg, args...)
}
