package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Config is what a node needs to talk to its peers and clients over TCP. The zero value of a field means its default.
type Config struct {
	// Self is this node. Required.
	Self wire.NodeID
	// Cluster is the cluster of this node; frames and connections of another one are refused. Required.
	Cluster wire.ClusterID
	// Addr is the address to listen on, for peers and clients alike, as for net.Listen("tcp", Addr).
	Addr string
	// Listener, if set, is listened on instead of Addr. It belongs to the transport from then on, also if Listen
	// fails.
	Listener net.Listener
	// Peers holds the address of every other node. An entry for Self is ignored.
	Peers map[wire.NodeID]string
	// Strangers lets nodes of the cluster connect that are not among Peers: they may have become members while this node was away.
	// What they send is passed on; Connect makes them peers. At most wire.NodesMax nodes are connected in all.
	Strangers bool
	// PeerGone, if set, is told when a peer's process ended, as far as can be seen: its connection broke, and its port
	// refuses the next one. It may be called late, twice, or for a peer that is back already; it must not block.
	PeerGone func(wire.NodeID)
	// Logger gets transitions, and at most one line a second about rejected connections. Default slog.Default().
	Logger *slog.Logger

	// QueueItemsMax and QueueBytesMax bound the frames that wait for one peer; what exceeds them is dropped. While
	// one such queue is written a second one may fill, so up to twice as much is held. Default 8192 and 32 MiB.
	QueueItemsMax int
	QueueBytesMax int
	// ClientQueueItemsMax and ClientQueueBytesMax bound what waits for one client; a client that lets it overflow is
	// disconnected. Default 8192 and 16 MiB.
	ClientQueueItemsMax int
	ClientQueueBytesMax int
	// ClientsQueueBytesMax bounds what waits for all clients together, in bytes. Default 256 MiB.
	ClientsQueueBytesMax int

	// ClientsMax bounds the connections of clients, ClientsPerAddrMax those from one IP address. Peers have a
	// budget of their own: one connection for each peer, the newest. Defaults 4096 and 1024.
	ClientsMax        int
	ClientsPerAddrMax int
	// UndecidedMax bounds the connections that have not said yet whether they are a peer's or a client's. When a
	// new one exceeds it the oldest is closed, so that silent connections cannot keep a peer out. Default 256.
	UndecidedMax int

	// DialTimeout bounds one attempt to connect to a peer, handshake included. Default 1 s.
	DialTimeout time.Duration
	// RetryMin and RetryMax bound the pause between two attempts: it doubles from the one to the other, with
	// jitter. Default 1 ms and 200 ms.
	RetryMin time.Duration
	RetryMax time.Duration
	// FirstBytesTimeout is how long a connection may take to say what it is. Default 3 s.
	FirstBytesTimeout time.Duration
	// FirstFrameTimeout is how long a client may take to send its first whole frame. Default 10 s.
	FirstFrameTimeout time.Duration
	// FrameTimeout is how long a frame may take from its header to its last byte. Default 30 s.
	FrameTimeout time.Duration
	// WriteTimeout is how long a write may go on without any progress. Default 10 s.
	WriteTimeout time.Duration
}

// validate returns all faults of c, joined.
func (c *Config) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("transport: "+format, args...)) }
	if c.Self == 0 {
		fail("no node id")
	}
	if c.Cluster == 0 {
		fail("no cluster id")
	}
	if c.Addr == "" && c.Listener == nil {
		fail("no address to listen on")
	}
	if len(c.Peers) > wire.NodesMax {
		fail("%d peers, limit %d", len(c.Peers), wire.NodesMax)
	}
	for id, addr := range c.Peers {
		if id == 0 {
			fail("a peer has node id 0")
		}
		if _, _, err := net.SplitHostPort(addr); err != nil && id != c.Self {
			fail("address of peer %d: %w", id, err)
		}
	}
	for _, n := range []int{c.QueueItemsMax, c.QueueBytesMax, c.ClientQueueItemsMax, c.ClientQueueBytesMax, c.ClientsQueueBytesMax, c.ClientsMax, c.ClientsPerAddrMax, c.UndecidedMax} {
		if n < 0 {
			fail("negative limit %d", n)
		}
	}
	for _, d := range []time.Duration{c.DialTimeout, c.RetryMin, c.RetryMax, c.FirstBytesTimeout, c.FirstFrameTimeout, c.FrameTimeout, c.WriteTimeout} {
		if d < 0 {
			fail("negative duration %v", d)
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&c.QueueItemsMax, 8192)
	orInt(&c.QueueBytesMax, 32<<20)
	orInt(&c.ClientQueueItemsMax, 8192)
	orInt(&c.ClientQueueBytesMax, 16<<20)
	orInt(&c.ClientsQueueBytesMax, 256<<20)
	orInt(&c.ClientsMax, 4096)
	orInt(&c.ClientsPerAddrMax, 1024)
	orInt(&c.UndecidedMax, 256)
	orTime(&c.DialTimeout, time.Second)
	orTime(&c.RetryMin, time.Millisecond)
	orTime(&c.RetryMax, 200*time.Millisecond)
	orTime(&c.FirstBytesTimeout, 3*time.Second)
	orTime(&c.FirstFrameTimeout, 10*time.Second)
	orTime(&c.FrameTimeout, 30*time.Second)
	orTime(&c.WriteTimeout, 10*time.Second)
	c.RetryMax = max(c.RetryMax, c.RetryMin)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// What a connection's bytes are read into and gathered in.
const (
	// readBuffer is the bufio.Reader of a connection. What a read finds of a frame in it is copied once more; the
	// rest of a larger frame is read in place. So a larger buffer would copy more, a smaller one read more often.
	readBuffer = 16 << 10
	// writeBuffer is where runs of small frames are put together: up to so many bytes are copied to make one write
	// of them, larger runs are written by one vectored write without a copy.
	writeBuffer = 16 << 10
	// peerStep and clientStep are the bytes allocated for a frame before any of its body has come. Beyond, at most
	// twice what has come is allocated. There is one connection from each peer, so peers get the size of a large batch.
	peerStep   = 1 << 20
	clientStep = 64 << 10
	// clientFrameMax bounds a frame from a client: the largest query or block, with headers.
	clientFrameMax = wire.QueryBytesMax + 1<<10
)
