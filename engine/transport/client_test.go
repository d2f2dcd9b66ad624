package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// echo answers every frame with itself.
type echo struct{ conn *ClientConn }

func (e *echo) Frame(f *wire.Buffer) { e.conn.Send(f) }
func (e *echo) Closed(error)         {}

// frameFunc is a handler that does not care about the end.
type frameFunc func(f *wire.Buffer)

func (fn frameFunc) Frame(f *wire.Buffer) { fn(f) }
func (fn frameFunc) Closed(error)         {}

// box is a handler that keeps all that it has room for.
type box struct {
	conn   *ClientConn
	frames chan *wire.Buffer
	closed chan error
}

func newBox(c *ClientConn) *box {
	return &box{conn: c, frames: make(chan *wire.Buffer, 1<<16), closed: make(chan error, 2)}
}

func (b *box) Frame(f *wire.Buffer) {
	select {
	case b.frames <- f:
	default:
		f.Release()
	}
}

func (b *box) Closed(err error) { b.closed <- err }

// next is the next frame's request id; the frame is released.
func (b *box) next(tb testing.TB) uint64 {
	tb.Helper()
	select {
	case f := <-b.frames:
		defer f.Release()
		return requestOf(f)
	case <-time.After(10 * time.Second):
		tb.Fatal("no frame arrives")
		return 0
	}
}

func (b *box) end(tb testing.TB) error {
	tb.Helper()
	select {
	case err := <-b.closed:
		return err
	case <-time.After(10 * time.Second):
		tb.Fatal("the connection does not end")
		return nil
	}
}

// clientNode is a node that serves clients only. Its ends of the connections come out of the channel.
func clientNode(tb testing.TB, c Config) (*TCP, chan *box) {
	tb.Helper()
	c.Self, c.Addr = 1, "127.0.0.1:0"
	n := open(tb, c)
	boxes := make(chan *box, 1024)
	n.ServeClients(func(c *ClientConn) ClientHandler {
		b := newBox(c)
		boxes <- b
		return b
	})
	if err := n.Serve(discard); err != nil {
		tb.Fatal(err)
	}
	return n, boxes
}

func dialBox(tb testing.TB, addr string, c ClientConfig) *box {
	tb.Helper()
	if c.Cluster == 0 {
		c.Cluster = testCluster
	}
	var b *box
	conn, err := DialClient(context.Background(), addr, c, func(c *ClientConn) ClientHandler {
		b = newBox(c)
		return b
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(); <-conn.Done() })
	return b
}

// Frames must go both ways, whole and in order, small runs through the flat buffer and large ones around it; several
// frames in one buffer must come out as several.
func TestClientFramesBothWays(t *testing.T) {
	mark := wire.Outstanding()
	n, boxes := clientNode(t, Config{})
	client := dialBox(t, n.Addr().String(), ClientConfig{})
	node := <-boxes
	request := uint64(0)
	for _, size := range []int{0, 10, 1000, writeBuffer - 48, writeBuffer, 100_000, 1 << 20, wire.QueryBytesMax} {
		for range 3 {
			request++
			if !client.conn.Send(query(testCluster, request, size)) {
				t.Fatal("dropped")
			}
		}
		for i := range uint64(3) {
			if got := node.next(t); got != request-2+i {
				t.Fatalf("request %d arrived in place of %d", got, request-2+i)
			}
		}
	}
	two := query(testCluster, 901, 10)
	wire.AppendQuery(two, testCluster, 1, &wire.Query{Request: 902, Body: []byte("x")})
	node.conn.Send(two)
	if a, b := client.next(t), client.next(t); a != 901 || b != 902 {
		t.Errorf("got %d and %d", a, b)
	}
	eventually(t, "all counted", func() bool {
		s := n.Stats()
		return s.ClientFramesReceived == request && s.Clients == 1 && s.ClientFramesSent == 1
	})
	client.conn.Close()
	if err := client.end(t); !errors.Is(err, ErrClosed) {
		t.Errorf("end on the closing side: %v", err)
	}
	if err := node.end(t); err != io.EOF {
		t.Errorf("end on the other side: %v", err)
	}
	<-client.conn.Done()
	<-node.conn.Done()
	noneOutstanding(t, mark)
}

// What was sent before Close must arrive: a node that stops answers its clients first.
func TestCloseWritesWhatWaits(t *testing.T) {
	n, boxes := clientNode(t, Config{})
	client := dialBox(t, n.Addr().String(), ClientConfig{})
	client.conn.Send(query(testCluster, 1, 0))
	node := <-boxes
	node.next(t)
	for i := range uint64(50) {
		node.conn.Send(query(testCluster, 100+i, 10_000))
	}
	n.Close()
	for i := range uint64(50) {
		if got := client.next(t); got != 100+i {
			t.Fatalf("answer %d in place of %d", got, 100+i)
		}
	}
	if err := client.end(t); err != io.EOF && !isReset(err) {
		t.Errorf("end: %v", err)
	}
	if node.conn.Send(query(testCluster, 1, 0)) {
		t.Error("Send after Close said true")
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// A client that never reads must be cut when its queue overflows, and the queue must stay within its bounds, one by
// one and all together.
func TestClientThatNeverReads(t *testing.T) {
	for name, c := range map[string]Config{
		"own bound":    {ClientQueueBytesMax: 1 << 20},
		"items":        {ClientQueueItemsMax: 10},
		"common bound": {ClientsQueueBytesMax: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			mark := wire.Outstanding()
			n, boxes := clientNode(t, c)
			raw := dialRaw(t, n, wire.ClientPreamble)
			node := <-boxes
			for node.conn.Send(query(testCluster, 1, 60_000)) {
				if n.clientsQueued.Load() > 20<<20 {
					t.Fatal("unbounded")
				}
			}
			if err := node.end(t); !errors.Is(err, ErrOverflow) {
				t.Errorf("end: %v", err)
			}
			<-node.conn.Done()
			if s := n.Stats(); s.Rejected[RejectOverflow] != 1 || s.Clients != 0 || n.clientsQueued.Load() != 0 {
				t.Errorf("stats: %+v, %d bytes wait", s, n.clientsQueued.Load())
			}
			raw.Close()
			noneOutstanding(t, mark)
		})
	}
}

// The same when little waits, but does so for ever: no progress within the write timeout ends the connection. One
// that reads slowly goes on.
func TestClientThatStopsReading(t *testing.T) {
	n, boxes := clientNode(t, Config{WriteTimeout: 300 * time.Millisecond})
	raw := dialRaw(t, n, wire.ClientPreamble)
	slow := dialBox(t, n.Addr().String(), ClientConfig{})
	node := <-boxes
	node2 := <-boxes
	if node.conn.RemoteAddr().String() != raw.LocalAddr().String() {
		node, node2 = node2, node
	}
	for _, b := range []*box{node, node2} {
		for i := range uint64(8) {
			b.conn.Send(query(testCluster, i, 1<<20))
		}
	}
	if err := node.end(t); !errors.Is(err, ErrOverflow) {
		t.Errorf("end: %v", err)
	}
	for i := range uint64(8) {
		if got := slow.next(t); got != i {
			t.Errorf("answer %d in place of %d", got, i)
		}
	}
}

// A client's own queue that is full must only refuse: the client library decides what to do.
func TestClientSideQueueRefuses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // never accepts: the kernel takes the connection and some bytes
	mark := wire.Outstanding()
	client := dialBox(t, ln.Addr().String(), ClientConfig{QueueBytesMax: 1 << 20})
	eventually(t, "full", func() bool {
		for client.conn.Send(query(testCluster, 1, 1<<19)) {
		}
		items, _ := client.conn.Queued() // 0 when the writer has just taken the queue
		return items > 0
	})
	select {
	case err := <-client.closed:
		t.Fatalf("closed: %v", err)
	default:
	}
	if items, bytes := client.conn.Queued(); bytes > 1<<21 {
		t.Errorf("%d items, %d bytes wait", items, bytes)
	}
	client.conn.Close()
	if err := client.end(t); !errors.Is(err, ErrClosed) {
		t.Errorf("end: %v", err)
	}
	<-client.conn.Done()
	noneOutstanding(t, mark)
}

// Whoever is refused must be told why: of another cluster, one too many, or at a node that serves no clients.
func TestClientIsToldWhy(t *testing.T) {
	n, _ := clientNode(t, Config{ClientsMax: 3, ClientsPerAddrMax: 2})
	want := func(c *box, why Reject) {
		t.Helper()
		var d *DeniedError
		if err := c.end(t); !errors.As(err, &d) || d.Reason != why {
			t.Errorf("refused with %v, want %v", err, why)
		}
	}
	stranger := dialBox(t, n.Addr().String(), ClientConfig{Cluster: 99})
	stranger.conn.Send(query(99, 1, 10))
	want(stranger, RejectCluster)
	eventually(t, "the stranger is gone", func() bool { return n.Stats().Clients == 0 })

	dialBox(t, n.Addr().String(), ClientConfig{})
	dialBox(t, n.Addr().String(), ClientConfig{})
	eventually(t, "two clients", func() bool { return n.Stats().Clients == 2 })
	want(dialBox(t, n.Addr().String(), ClientConfig{}), RejectAddress)
	n.mu.Lock()
	n.c.ClientsMax = 2
	n.mu.Unlock()
	want(dialBox(t, n.Addr().String(), ClientConfig{}), RejectTotal)

	deaf := open(t, Config{Self: 1, Addr: "127.0.0.1:0"})
	serve(t, deaf)
	want(dialBox(t, deaf.Addr().String(), ClientConfig{}), RejectNoServer)
}

// Send and Close from many goroutines at once must neither leak a buffer nor release one twice, and Closed must come
// exactly once.
func TestClientSendRacesClose(t *testing.T) {
	mark := wire.Outstanding()
	n, boxes := clientNode(t, Config{})
	for range 20 {
		client := dialBox(t, n.Addr().String(), ClientConfig{})
		node := <-boxes
		node.conn.Send(query(testCluster, 0, 10))
		client.next(t)
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for client.conn.Send(query(testCluster, 1, 3000)) {
					node.conn.Send(query(testCluster, 1, 100))
				}
			})
		}
		select { // the node ends the connection itself if its queue overflows
		case f := <-node.frames:
			f.Release()
		case err := <-node.closed:
			node.closed <- err
		}
		client.conn.Close()
		senders.Wait()
		<-client.conn.Done()
		<-node.conn.Done()
		node.end(t)
		client.end(t)
		if len(node.closed) != 0 || len(client.closed) != 0 {
			t.Fatal("Closed came twice")
		}
		for _, b := range []*box{node, client} {
			for len(b.frames) > 0 {
				(<-b.frames).Release()
			}
		}
	}
	n.Close()
	noneOutstanding(t, mark)
}

// An address where nobody listens must be an error at once.
func TestDialClientErrors(t *testing.T) {
	lns, addrs := bind(t, 1)
	lns[0].Close()
	if _, err := DialClient(context.Background(), addrs[1], ClientConfig{Cluster: 1}, nil); err == nil {
		t.Error("connected to a closed port")
	}
	if _, err := DialClient(context.Background(), addrs[1], ClientConfig{}, nil); err == nil {
		t.Error("connected without a cluster")
	}
}

// dialRaw opens a plain connection and sends first.
func dialRaw(tb testing.TB, n *TCP, first string) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte(first)); err != nil {
		tb.Fatal(err)
	}
	return c
}
