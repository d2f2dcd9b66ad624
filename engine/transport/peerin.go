package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastrpc"

	"github.com/paxbench/paxbench/wire"
)

// Bounds of what fastrpc's server serves at a time. Beyond its Concurrency it forgets to close connections, so this
// package must never let it come to that: servedMax bounds the connections that were handed over and not given back,
// and the rest is room for goroutines of fastrpc between giving one back and counting it.
const (
	servedMax         = 2 * wire.NodesMax
	serverConcurrency = 4 * wire.NodesMax
)

// peerIn is a connection from a peer, as fastrpc's server sees it. The peer's introduction has been read and checked;
// fastrpc's handshake, which is its first part, is played back. Deadlines are this package's.
type peerIn struct {
	t      *TCP
	from   wire.NodeID
	in     input
	replay [handshakeSize]byte
	toRead int // of replay

	reading sync.Mutex // held while a run of frames is read and handed over
	ended   bool       // under reading: Close was called
}

// servePeer hands a connection to fastrpc. The newest connection of a peer is the only one: an older one is either
// half-open or about to end.
func (t *TCP) servePeer(raw net.Conn, from wire.NodeID) {
	c := &peerIn{t: t, from: from, replay: handshakeBytes(), toRead: handshakeSize}
	c.in = input{raw: raw, timeout: t.c.FrameTimeout}
	t.mu.Lock()
	if t.closed || t.served >= servedMax {
		busy := !t.closed
		t.mu.Unlock()
		if busy {
			t.reject(RejectTotal, addrOf(raw), errors.New("connections from peers come faster than they end"))
		}
		raw.Close()
		return
	}
	old := t.peersIn[from]
	t.peersIn[from] = c
	t.served++
	t.running.Add(1)
	t.mu.Unlock()
	if old != nil {
		t.reject(RejectReplaced, addrOf(old.in.raw), fmt.Errorf("peer %d has connected again", from))
		old.in.raw.Close()
	}
	if l := t.link(from); l != nil {
		l.wake()
	}
	select {
	case t.handover <- c:
	case <-t.ctx.Done():
		c.Close()
	}
}

// Read implements net.Conn.
func (c *peerIn) Read(p []byte) (int, error) {
	if c.toRead > 0 {
		n := copy(p, c.replay[handshakeSize-c.toRead:])
		c.toRead -= n
		return n, nil
	}
	return c.in.Read(p)
}

// Write implements net.Conn. Only the answer to the handshake is ever written.
func (c *peerIn) Write(p []byte) (int, error) { return c.in.raw.Write(p) }

// Close implements net.Conn. Only fastrpc calls it, when it is done with the connection, or servePeer when fastrpc
// never saw it. When it returns the handler runs no more for this connection; so when every connection's Close has
// returned it runs no more at all, which is what TCP.Close waits for.
func (c *peerIn) Close() error {
	err := c.in.raw.Close()
	c.reading.Lock() // waits for a run, which the closed connection ends
	again := c.ended
	c.ended = true
	c.reading.Unlock()
	if again {
		return err
	}
	c.t.mu.Lock()
	c.t.served--
	if c.t.peersIn[c.from] == c {
		delete(c.t.peersIn, c.from)
	}
	c.t.mu.Unlock()
	c.t.running.Done()
	return err
}

func (c *peerIn) LocalAddr() net.Addr              { return c.in.raw.LocalAddr() }
func (c *peerIn) RemoteAddr() net.Addr             { return c.in.raw.RemoteAddr() }
func (c *peerIn) SetDeadline(time.Time) error      { return nil }
func (c *peerIn) SetReadDeadline(time.Time) error  { return nil }
func (c *peerIn) SetWriteDeadline(time.Time) error { return nil }

// inbound is fastrpc's context of one message from a peer: a run of frames (link.write draws it). The frames go to
// the handler as they are read.
type inbound struct{ conn *peerIn }

// Init implements fastrpc.HandlerCtx.
func (x *inbound) Init(conn net.Conn, _ fasthttp.Logger) { x.conn = conn.(*peerIn) }

// ReadRequest implements fastrpc.HandlerCtx. An error ends the connection.
func (x *inbound) ReadRequest(br *bufio.Reader) error {
	c := x.conn
	x.conn = nil // the context goes to a pool and must not keep the transport alive
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	p, err := br.Peek(4)
	if err != nil {
		return c.blame(cut(err))
	}
	count := binary.LittleEndian.Uint32(p)
	br.Discard(4)
	if err := c.readRun(br, count); err != nil {
		return c.blame(err)
	}
	return nil
}

// readRun reads count frames and gives them to the handler.
func (c *peerIn) readRun(br *bufio.Reader, count uint32) (err error) {
	frames, bytes := 0, 8
	for range count {
		var f *wire.Buffer
		if f, err = c.readFrame(br); err != nil {
			break
		}
		frames++
		bytes += f.Len()
		c.t.handler(c.from, f)
		if frames == 64 { // a run may be long, and its end far off
			c.t.count.framesReceived.Add(uint64(frames))
			c.t.count.bytesReceived.Add(uint64(bytes))
			frames, bytes = 0, 0
		}
	}
	c.t.count.framesReceived.Add(uint64(frames))
	c.t.count.bytesReceived.Add(uint64(bytes))
	return err
}

// readFrame reads a frame and checks that this peer may send it.
func (c *peerIn) readFrame(br *bufio.Reader) (*wire.Buffer, error) {
	f, h, err := c.in.frame(br, wire.FrameMax, peerStep)
	if err != nil {
		return nil, err
	}
	if why := c.check(h); why != nil {
		f.Release()
		return nil, why
	}
	return f, nil
}

// check verifies that this peer may send such a frame.
func (c *peerIn) check(h wire.Header) error {
	switch {
	case !h.Kind.IsPeer():
		return &rejection{RejectHeader, fmt.Errorf("%v frame from a peer", h.Kind)}
	case h.Cluster != c.t.c.Cluster:
		return &rejection{RejectCluster, fmt.Errorf("frame of cluster %#x, this is %#x", uint64(h.Cluster), uint64(c.t.c.Cluster))}
	case h.From != c.from:
		return &rejection{RejectFrom, fmt.Errorf("frame from node %d on the connection of node %d", h.From, c.from)}
	}
	return nil
}

// blame counts and logs the end of the connection if the peer is to blame. A connection that this side closed, or that
// ended between frames, is nobody's fault.
func (c *peerIn) blame(err error) error {
	var r *rejection
	if errors.As(err, &r) && !errors.Is(err, net.ErrClosed) {
		c.t.reject(r.reason, addrOf(c.in.raw), err)
	}
	return err
}

// ConcurrencyLimitError and WriteResponse implement fastrpc.HandlerCtx. Messages are sent with SendNowait, which has
// no response; a peer that asks for one gets its connection closed.
func (x *inbound) ConcurrencyLimitError(int) {}

func (x *inbound) WriteResponse(*bufio.Writer) error {
	return errors.New("transport: a peer asks for a response")
}

// newServer returns the fastrpc server of peers' connections.
func newServer(log *slog.Logger) *fastrpc.Server {
	return &fastrpc.Server{
		SniffHeader:      wire.PeerPreamble,
		ProtocolVersion:  wire.Version,
		CompressType:     fastrpc.CompressNone, // the zero value is flate
		NewHandlerCtx:    func() fastrpc.HandlerCtx { return &inbound{} },
		Handler:          func(x fastrpc.HandlerCtx) fastrpc.HandlerCtx { return x },
		PipelineRequests: true, // one connection's messages one after the other, on its reader's goroutine
		Concurrency:      serverConcurrency,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  64,
		Logger:           quietLogger{log},
	}
}

// quietLogger takes fastrpc's messages, which repeat what this package has counted and logged.
type quietLogger struct{ log *slog.Logger }

func (q quietLogger) Printf(format string, args ...any) {
	q.log.Debug("fastrpc", "msg", fmt.Sprintf(format, args...))
}

// handoverListener is the listener that fastrpc's server accepts peers' connections from.
type handoverListener struct{ t *TCP }

func (l handoverListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.t.handover:
		return c, nil
	case <-l.t.ctx.Done():
		return nil, io.EOF // which fastrpc takes as the end, without a word
	}
}

func (l handoverListener) Close() error   { return nil }
func (l handoverListener) Addr() net.Addr { return l.t.listener.Addr() }
