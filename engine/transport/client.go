package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/wire"
)

// ClientHandler is told what happens on a ClientConn.
type ClientHandler interface {
	// Frame gets one whole frame whose CRC, cluster and direction have been checked, with one reference. It is
	// called on the connection's reader goroutine, one frame at a time; while it runs nothing more is read, which
	// is the back-pressure to the other side.
	Frame(f *wire.Buffer)
	// Closed is called once, after the last Frame. err is ErrClosed after a Close on this side, io.EOF when the
	// other side closed between two frames.
	Closed(err error)
}

// ClientConn is a connection between a client and a node: frames both ways, many of them in one write. Both ends use
// this type. Two goroutines, a reader and a writer, belong to it. Its methods may be called from any goroutine.
type ClientConn struct {
	raw     net.Conn
	in      input
	out     output
	cluster wire.ClusterID
	limit   int  // size of a frame that comes in
	server  bool // this is the node's end
	count   *counters
	book    func(Reject, string, error) // counts and logs a fault of the other side; nil at a client's end

	queue    *batching.Mailbox[*wire.Buffer]
	total    *atomic.Int64 // bytes that wait in all connections that share it
	totalMax int64

	handler ClientHandler
	closing atomic.Bool
	close1  chan struct{} // Close was called: write what waits, then stop
	failing sync.Once
	err     error         // why; set once, before stop is closed
	stop    chan struct{} // the connection is closed
	done    chan struct{} // Closed has been called
}

// closeTimeout is how long Close lets what waits be written.
const closeTimeout = 250 * time.Millisecond

// Send queues f: one whole frame, or several back to back. It takes one reference whatever happens and never blocks.
// false: it was certainly not sent, because the connection is closed or its queue full. At a node's end a full queue
// closes the connection, because its client does not read.
func (c *ClientConn) Send(f *wire.Buffer) bool {
	size := f.Len()
	if c.closing.Load() {
		return c.drop(f, DropClosed)
	}
	if c.total.Load()+int64(size) <= c.totalMax {
		c.total.Add(int64(size)) // several senders may pass the test at once: the bound is exceeded by a frame for each
		if c.queue.Put(f, size) {
			return true
		}
		c.total.Add(int64(-size))
	}
	if c.queue.Closed() {
		return c.drop(f, DropClosed)
	}
	if c.server {
		c.fail(&rejection{RejectOverflow, ErrOverflow})
	}
	return c.drop(f, DropFull)
}

func (c *ClientConn) drop(f *wire.Buffer, d Drop) bool {
	c.count.drop(d, 1)
	f.Release()
	return false
}

// Queued is what waits to be written.
func (c *ClientConn) Queued() (items, bytes int) { return c.queue.Len() }

// RemoteAddr is the address of the other side.
func (c *ClientConn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Done is closed after the handler's Closed has returned and both goroutines are about to end.
func (c *ClientConn) Done() <-chan struct{} { return c.done }

// Close ends the connection: what waits is written if that takes no longer than 250 ms, later Sends fail. It does not
// wait; see Done. It may be called from the handler, and more than once.
func (c *ClientConn) Close() error {
	if c.closing.CompareAndSwap(false, true) {
		close(c.close1)
		time.AfterFunc(closeTimeout, func() { c.fail(ErrClosed) })
	}
	return nil
}

// fail closes the connection; the first reason stays. After Close that is the reason, whatever the other side did
// about it in the meantime.
func (c *ClientConn) fail(err error) {
	c.failing.Do(func() {
		select {
		case <-c.close1:
			err = ErrClosed
		default:
		}
		c.err = err
		c.closing.Store(true)
		close(c.stop)
		c.raw.Close()
	})
}

// start runs the connection. gone is called after everything else.
func (c *ClientConn) start(serve func(*ClientConn) ClientHandler, gone func()) {
	c.handler = serve(c)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	go func() {
		c.fail(c.read())
		<-written
		left := c.queue.Close()
		for _, f := range left {
			c.total.Add(int64(-f.Len()))
			c.drop(f, DropDisconnected)
		}
		c.handler.Closed(c.reason())
		gone()
		close(c.done)
	}()
}

// reason is what Closed is told. What the other side is to blame for is counted here, once.
func (c *ClientConn) reason() error {
	var r *rejection
	switch {
	case errors.As(c.err, &r):
		if c.book != nil {
			c.book(r.reason, addrOf(c.raw), c.err)
		}
	case errors.Is(c.err, net.ErrClosed):
		return ErrClosed
	}
	return c.err
}

// read hands frames to the handler until the connection ends, and returns why.
func (c *ClientConn) read() error {
	br := bufio.NewReaderSize(&c.in, readBuffer)
	for first := true; ; first = false {
		f, h, err := c.in.frame(br, c.limit, clientStep)
		if err != nil {
			if c.in.strict && isTimeout(err) {
				err = &rejection{RejectSlow, fmt.Errorf("no first frame: %w", err)}
			}
			return err
		}
		if err := c.check(h); err != nil {
			f.Release()
			if first && c.server {
				c.refuse(err.reason)
			}
			return err
		}
		if c.in.strict {
			c.in.strict, c.in.deadline = false, 0
			c.raw.SetReadDeadline(time.Time{})
		}
		c.count.clientFramesReceived.Add(1)
		c.count.clientBytesReceived.Add(uint64(f.Len()))
		c.handler.Frame(f)
	}
}

// check verifies that this end may get such a frame.
func (c *ClientConn) check(h wire.Header) *rejection {
	switch {
	case !h.Kind.IsClient():
		return &rejection{RejectHeader, fmt.Errorf("%v frame on a client's connection", h.Kind)}
	case h.Cluster != c.cluster:
		return &rejection{RejectCluster, fmt.Errorf("frame of cluster %#x, this is %#x", uint64(h.Cluster), uint64(c.cluster))}
	case c.server && h.From != 0:
		return &rejection{RejectFrom, fmt.Errorf("client claims to be node %d", h.From)}
	}
	return nil
}

// refuse tells the client why, in place of the answer to its first frame. Nothing waits to be written then, unless
// the handler sends without being asked; such a client sees a broken frame, which is as good.
func (c *ClientConn) refuse(why Reject) {
	c.closing.Store(true)
	deny(c.raw, why)
}

// write writes what is queued until the connection ends. Runs of small buffers are copied once, into flat, to make one
// write; larger runs are written by one vectored write without a copy.
func (c *ClientConn) write() {
	var frames []*wire.Buffer
	flat := make([]byte, 0, writeBuffer)
	for last := false; !last; {
		select {
		case <-c.stop:
			return
		case <-c.close1:
			last = true
		case <-c.queue.Wait():
		}
		frames = c.queue.Swap(frames)
		if len(frames) == 0 {
			continue
		}
		size := 0
		for _, f := range frames {
			size += f.Len()
		}
		var err error
		if size <= writeBuffer {
			flat = flat[:0]
			for _, f := range frames {
				flat = append(flat, f.Bytes()...)
			}
			err = c.out.writeFlat(flat)
		} else {
			err = c.out.write(nil, frames)
		}
		c.written(frames, size, err)
		if err != nil {
			if isTimeout(err) {
				err = &rejection{RejectOverflow, fmt.Errorf("%w: %w", ErrOverflow, err)}
			}
			c.fail(err)
			return
		}
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() // what was written arrives even if the other side has more to say
	}
	c.fail(ErrClosed)
}

// written releases frames that were written, or not.
func (c *ClientConn) written(frames []*wire.Buffer, size int, err error) {
	for _, f := range frames {
		f.Release()
	}
	c.total.Add(int64(-size))
	if err != nil {
		c.count.drop(DropDisconnected, len(frames))
		return
	}
	c.count.clientFramesSent.Add(uint64(len(frames)))
	c.count.clientBytesSent.Add(uint64(size))
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// newClientConn makes the parts that both ends share.
func newClientConn(raw net.Conn, cluster wire.ClusterID, itemsMax, bytesMax int, frameTimeout, writeTimeout time.Duration) *ClientConn {
	return &ClientConn{
		raw:     raw,
		in:      input{raw: raw, timeout: frameTimeout},
		out:     output{raw: raw, timeout: writeTimeout},
		cluster: cluster,
		queue:   batching.NewMailbox[*wire.Buffer](itemsMax, bytesMax),
		close1:  make(chan struct{}),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// newServerConn makes a node's end.
func (t *TCP) newServerConn(raw net.Conn) *ClientConn {
	c := newClientConn(raw, t.c.Cluster, t.c.ClientQueueItemsMax, t.c.ClientQueueBytesMax, t.c.FrameTimeout, t.c.WriteTimeout)
	c.server, c.limit = true, clientFrameMax
	c.count, c.book = &t.count, t.reject
	c.total, c.totalMax = &t.clientsQueued, int64(t.c.ClientsQueueBytesMax)
	c.in.strict = true
	raw.SetReadDeadline(time.Now().Add(t.c.FirstFrameTimeout))
	return c
}

// ClientConfig is what DialClient needs. The zero value of a field means its default.
type ClientConfig struct {
	// Cluster is the cluster that the node must be of. Required.
	Cluster wire.ClusterID
	// QueueItemsMax and QueueBytesMax bound what waits to be sent. Default 8192 and 64 MiB.
	QueueItemsMax int
	QueueBytesMax int
	// DialTimeout bounds the attempt to connect, as the context does. Default 1 s.
	DialTimeout time.Duration
	// FrameTimeout is how long a frame may take from its header to its last byte. Default 30 s.
	FrameTimeout time.Duration
	// WriteTimeout is how long a write may go on without any progress. Default 10 s.
	WriteTimeout time.Duration
}

// DialClient connects to the node at addr and returns the client's end of the connection. The handler that serve
// returns gets the node's frames; serve is called before DialClient returns. A node that refuses the connection makes
// Closed get a *DeniedError.
func DialClient(ctx context.Context, addr string, cfg ClientConfig, serve func(*ClientConn) ClientHandler) (*ClientConn, error) {
	d := Config{QueueItemsMax: cfg.QueueItemsMax, QueueBytesMax: cfg.QueueBytesMax, DialTimeout: cfg.DialTimeout, FrameTimeout: cfg.FrameTimeout, WriteTimeout: cfg.WriteTimeout}
	if d.QueueBytesMax == 0 {
		d.QueueBytesMax = 64 << 20
	}
	d = d.withDefaults()
	if cfg.Cluster == 0 {
		return nil, errors.New("transport: no cluster id")
	}
	dialer := net.Dialer{Timeout: d.DialTimeout, Control: controlSocket(clientUserTimeout(d.WriteTimeout)), KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	c := newClientConn(raw, cfg.Cluster, d.QueueItemsMax, d.QueueBytesMax, d.FrameTimeout, d.WriteTimeout)
	c.limit = wire.FrameMax
	c.count = new(counters)
	c.total, c.totalMax = new(atomic.Int64), int64(d.QueueBytesMax)+wire.FrameMax
	if err := c.out.writeFlat([]byte(wire.ClientPreamble)); err != nil {
		raw.Close()
		return nil, fmt.Errorf("transport: %s: %w", addr, err)
	}
	c.start(serve, func() {})
	return c, nil
}
