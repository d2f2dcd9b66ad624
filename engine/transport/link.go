package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/wire"
)

// link is the way to one peer: a bounded queue, and a fastrpc client that keeps one connection.
type link struct {
	t     *TCP
	to    wire.NodeID
	addr  string
	slot  *slot
	queue *batching.Mailbox[*wire.Buffer]
	state atomic.Int32

	ctx  context.Context // ends with close
	stop context.CancelFunc
	kick chan struct{} // the peer was heard of: try again now

	// The next four belong to the worker (slot.dial).
	pause time.Duration // before the next attempt; 0 after a connection that lasted
	since int64         // when the last connection came up, monotonic; 0: none, or attempts failed since
	told  bool          // that the peer cannot be reached
	there bool          // the peer was, and nobody was told that its process ended

	flapping atomic.Bool // connections are made and soon lost again

	writing sync.Mutex // held by whoever writes to the connection; close waits for it
	spare   []*wire.Buffer
}

// States of a link. Frames are queued while it is trying, for as long as one attempt to connect takes; when that
// fails they are dropped and the link is down, and frames to it are dropped at once until it is up again.
const (
	linkDown int32 = iota
	linkTrying
	linkUp
	linkClosed
)

// lasting is how long a connection must have been up for the next one to be tried without a pause. Without it a peer
// that takes connections only to close them would be called in a tight loop.
const lasting = time.Second

func newLink(t *TCP, to wire.NodeID, addr string) *link {
	l := &link{
		t: t, to: to, addr: addr,
		slot:  takeSlot(),
		queue: batching.NewMailbox[*wire.Buffer](t.c.QueueItemsMax, t.c.QueueBytesMax),
		kick:  make(chan struct{}, 1),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// start connects. Before it, frames are dropped.
func (l *link) start() {
	if l.state.CompareAndSwap(linkDown, linkTrying) {
		l.slot.attach(l)
	}
}

// send queues f, whose reference it takes.
func (l *link) send(f *wire.Buffer) bool {
	if l.state.Load() == linkDown {
		return l.drop(f, DropDown)
	}
	if !l.queue.Put(f, f.Len()) {
		if l.state.Load() == linkClosed {
			return l.drop(f, DropClosed)
		}
		return l.drop(f, DropFull)
	}
	if !l.writeDirect() {
		l.slot.arm()
	}
	return true
}

func (l *link) drop(f *wire.Buffer, d Drop) bool {
	l.t.count.drop(d, 1)
	f.Release()
	return false
}

// dropQueued releases what waits.
func (l *link) dropQueued(frames []*wire.Buffer, d Drop) {
	for _, f := range frames {
		f.Release()
	}
	l.t.count.drop(d, len(frames))
}

// wake makes the worker try again at once: the peer has just connected to us, so it is back.
func (l *link) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// write is the token's turn: it writes what a direct write has left, and what waits as one message,
//
//	request id u32 = 0 (by fastrpc) | count u32 | count frames
//
// Copies in user space: runs of up to writeBuffer bytes once, into bw, for one write; larger ones not at all, see
// peerOut.Write.
func (l *link) write(bw *bufio.Writer, c *peerOut) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := c.writeRest(); err != nil {
		return err
	}
	frames := l.queue.Swap(l.spare)
	l.spare = frames
	total := 0
	for _, f := range frames {
		total += f.Len()
	}
	binary.LittleEndian.PutUint32(c.head[:], uint32(len(frames)))
	_, err := bw.Write(c.head[:])
	if total <= bw.Available() {
		for _, f := range frames {
			if err == nil {
				_, err = bw.Write(f.Bytes())
			}
		}
	} else {
		c.tail = frames
	}
	if err == nil {
		err = bw.Flush()
	}
	c.tail = nil
	if err != nil {
		l.dropQueued(frames, DropDisconnected)
		return err
	}
	l.wrote(frames, total+8)
	return nil
}

// connect tries until there is a connection, or the link is closed (nil).
func (l *link) connect() *peerOut {
	short := l.since != 0 && monotonic()-l.since < int64(lasting)
	l.flapping.Store(short)
	if !short {
		l.pause = 0
	}
	for {
		if l.pause > 0 {
			l.state.CompareAndSwap(linkTrying, linkDown)
			l.dropQueued(l.queue.Swap(nil), DropDisconnected)
			l.rest()
		}
		l.pause = min(max(2*l.pause, l.t.c.RetryMin), l.t.c.RetryMax)
		c, err := l.dialOnce()
		if err == nil && l.up(c) {
			return c
		}
		if l.ctx.Err() != nil {
			return nil
		}
		// Not at the first attempt only: a process that is killed may lose its connections before its port, which then takes one
		// more connection and resets it.
		if l.there && errors.Is(err, syscall.ECONNREFUSED) && l.t.c.PeerGone != nil {
			l.there = false
			l.t.c.PeerGone(l.to)
		}
		l.since = 0
		l.t.count.dialErrors.Add(1)
		if !l.told {
			l.told = true
			l.t.c.Logger.Info("peer unreachable", "node", l.t.c.Self, "peer", l.to, "addr", l.addr, "err", err)
		}
		var refusal *DeniedError
		if errors.As(err, &refusal) {
			l.t.notice.warn("peer refuses us", "node", l.t.c.Self, "peer", l.to, "addr", l.addr, "err", err)
		}
	}
}

// rest waits for the pause, half of which is chance so that peers do not retry in step. A sign of life from the peer
// ends it, except when connections to it do not last: two nodes that cut each other's would wake each other for ever.
func (l *link) rest() {
	kick := l.kick
	if l.since != 0 {
		kick = nil
	}
	half := int64(l.pause / 2)
	timer := time.NewTimer(time.Duration(half + rand.Int64N(half+1)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-kick:
		l.pause = 0
	case <-l.ctx.Done():
	}
}

// dialOnce connects and does the handshake.
func (l *link) dialOnce() (*peerOut, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.t.c.DialTimeout)
	defer cancel()
	d := net.Dialer{Control: controlSocket(peerUserTimeout), KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	// From here the end of ctx, by time or by close, closes the connection under the reads and writes.
	unwatch := context.AfterFunc(ctx, func() { raw.Close() })
	defer unwatch()
	c := &peerOut{link: l, raw: raw}
	c.out = output{raw: raw, timeout: l.t.c.WriteTimeout}
	if err := c.handshake(); err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("transport: handshake: no answer: %w", ctx.Err())
		}
		return nil, err
	}
	if !unwatch() {
		raw.Close()
		return nil, context.Cause(ctx)
	}
	return c, nil
}

// up makes c the link's connection, unless the link was closed meanwhile.
func (l *link) up(c *peerOut) bool {
	l.slot.mu.Lock()
	open := l.slot.link == l
	if open {
		l.since = monotonic()
		l.state.CompareAndSwap(linkDown, linkTrying)
		l.state.CompareAndSwap(linkTrying, linkUp)
		l.slot.conn.Store(c)
	}
	l.slot.mu.Unlock()
	if !open {
		c.raw.Close()
		return false
	}
	l.told, l.there = false, true
	l.t.count.connects.Add(1)
	if !l.flapping.Load() {
		l.t.c.Logger.Info("peer connected", "node", l.t.c.Self, "peer", l.to, "addr", l.addr)
	}
	return true
}

// close ends the link. After it nothing of the transport runs for it any more, and nothing is held.
func (l *link) close() {
	l.state.Store(linkClosed)
	l.stop()
	l.slot.detach()
	if c := l.slot.conn.Load(); c != nil {
		c.Close()
	}
	l.dropQueued(l.queue.Close(), DropClosed)
	l.writing.Lock() // waits for a write, which the closed connection ends
	l.spare = nil
	l.writing.Unlock()
	putSlot(l.slot)
}

// peerOut is a connection to a peer, as fastrpc's client sees it. The handshake is over before fastrpc gets it; its
// own, which is part of ours, is played back to it. Deadlines are this package's: fastrpc's run on a clock of whole
// seconds, and an error of setting one would cost the sleep of 1 s.
type peerOut struct {
	link *link
	raw  net.Conn
	out  output
	head [4]byte        // scratch of write
	tail []*wire.Buffer // what goes out together with the next Write, uncopied

	answer  [handshakeSize]byte // fastrpc's handshake from the peer
	toRead  int                 // of answer, not read by fastrpc yet
	toWrite int                 // of fastrpc's handshake, not written by it yet
	closed  atomic.Bool
	direct  direct
}

// handshake introduces this node and checks the peer's answer (mux.go draws the bytes).
func (c *peerOut) handshake() error {
	if c.raw.LocalAddr().String() == c.raw.RemoteAddr().String() {
		// Dialling a free port of this machine's dynamic range may connect the socket to itself. Everything
		// would look right, and the restarted peer would find its port in use.
		return errors.New("transport: connected to itself")
	}
	if err := c.out.writeFlat(appendIntroduction(nil, c.link.t.c.Cluster, c.link.t.c.Self, c.link.to)); err != nil {
		return fmt.Errorf("transport: handshake: %w", err)
	}
	if _, err := io.ReadFull(c.raw, c.answer[:]); err != nil {
		return fmt.Errorf("transport: handshake: %w", err)
	}
	if err := denied(c.answer[:]); err != nil {
		return err
	}
	if want := handshakeBytes(); c.answer != want {
		return fmt.Errorf("transport: handshake: peer answers %q, want %q", c.answer[:], want[:])
	}
	c.toRead, c.toWrite = handshakeSize, handshakeSize
	c.direct.open(c.raw)
	return nil
}

// Read implements net.Conn.
func (c *peerOut) Read(p []byte) (int, error) {
	if c.toRead > 0 {
		n := copy(p, c.answer[handshakeSize-c.toRead:])
		c.toRead -= n
		return n, nil
	}
	return c.raw.Read(p)
}

// Write implements net.Conn: it writes p and then the frames in tail, in one vectored write. So a run of large frames
// follows the header that waits in fastrpc's buffered writer without going through that buffer.
func (c *peerOut) Write(p []byte) (int, error) {
	if c.toWrite > 0 {
		n := min(len(p), c.toWrite)
		c.toWrite -= n
		if n < len(p) {
			panic("BUG: transport: fastrpc writes beyond its handshake at once")
		}
		return n, nil
	}
	var err error
	if len(c.tail) > 0 {
		err = c.out.write(p, c.tail)
		c.tail = nil
	} else {
		err = c.out.writeFlat(p)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements net.Conn. It makes the link connect again, unless that was closed.
func (c *peerOut) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	l := c.link
	l.slot.conn.CompareAndSwap(c, nil)
	l.state.CompareAndSwap(linkUp, linkTrying)
	err := c.raw.Close()
	l.t.count.disconnects.Add(1)
	if l.slot.user() == l {
		if !l.flapping.Load() {
			l.t.c.Logger.Info("peer disconnected", "node", l.t.c.Self, "peer", l.to, "addr", l.addr)
		}
		l.slot.arm()
	}
	return err
}

func (c *peerOut) LocalAddr() net.Addr              { return c.raw.LocalAddr() }
func (c *peerOut) RemoteAddr() net.Addr             { return c.raw.RemoteAddr() }
func (c *peerOut) SetDeadline(time.Time) error      { return nil }
func (c *peerOut) SetReadDeadline(time.Time) error  { return nil }
func (c *peerOut) SetWriteDeadline(time.Time) error { return nil }
