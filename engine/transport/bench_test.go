package transport

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// benchPair is two connected nodes whose handlers are the given ones.
func benchPair(b *testing.B, hA, hB func(wire.NodeID, *wire.Buffer)) (*TCP, *TCP) {
	lns, addrs := bind(b, 2)
	x := open(b, Config{Self: 1, Listener: lns[0], Peers: addrs})
	y := open(b, Config{Self: 2, Listener: lns[1], Peers: addrs})
	for t, h := range map[*TCP]func(wire.NodeID, *wire.Buffer){x: hA, y: hB} {
		if err := t.Serve(h); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "both connected", func() bool { return x.Stats().Connects > 0 && y.Stats().Connects > 0 })
	return x, y
}

// BenchmarkOneWay: node 1 sends the same frame over and over, as many in flight as the receiver confirms, node 2
// counts. Both ends run in this process, so the CPU of both is in the number.
func BenchmarkOneWay(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			window := int64(max(16, min(1024, 8<<20/size)))
			var received atomic.Int64
			room := make(chan struct{}, 1)
			x, _ := benchPair(b, discard, func(_ wire.NodeID, f *wire.Buffer) {
				f.Release()
				if received.Add(1)%(window/4) == 0 {
					select {
					case room <- struct{}{}:
					default:
					}
				}
			})
			f := newFrame(1, size, 1)
			defer f.Release()
			b.SetBytes(int64(f.Len()))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range int64(b.N) {
				for i-received.Load() >= window {
					<-room
				}
				if !x.Send(2, f.Retain()) {
					b.Fatal("dropped")
				}
			}
			for received.Load() < int64(b.N) {
				select {
				case <-room:
				default:
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

// BenchmarkPingPong is the time from a Send to the answer's handler, one frame at a time.
func BenchmarkPingPong(b *testing.B) {
	back := make(chan struct{}, 1)
	var y *TCP
	ready := make(chan struct{})
	pong := newFrame(2, 64, 1)
	defer pong.Release()
	x, yy := benchPair(b, func(_ wire.NodeID, f *wire.Buffer) {
		f.Release()
		back <- struct{}{}
	}, func(_ wire.NodeID, f *wire.Buffer) {
		<-ready
		f.Release()
		y.Send(1, pong.Retain())
	})
	y = yy
	close(ready)
	ping := newFrame(1, 64, 1)
	defer ping.Release()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		x.Send(2, ping.Retain())
		<-back
	}
}

// BenchmarkClient: a client sends queries of 64 bytes, up to 256 in flight, and the node sends an answer of the same
// size for each.
func BenchmarkClient(b *testing.B) {
	for _, window := range []int{1, 256} {
		b.Run(fmt.Sprintf("inflight=%d", window), func(b *testing.B) {
			n := open(b, Config{Self: 1, Addr: "127.0.0.1:0"})
			n.ServeClients(func(c *ClientConn) ClientHandler { return &echo{conn: c} })
			if err := n.Serve(discard); err != nil {
				b.Fatal(err)
			}
			room := make(chan struct{}, window)
			c, err := DialClient(context.Background(), n.Addr().String(), ClientConfig{Cluster: testCluster}, func(*ClientConn) ClientHandler {
				return frameFunc(func(f *wire.Buffer) {
					f.Release()
					<-room
				})
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { c.Close(); <-c.Done() }()
			f := query(testCluster, 1, 64)
			defer f.Release()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				room <- struct{}{}
				c.Send(f.Retain())
			}
			for range window {
				room <- struct{}{}
			}
		})
	}
}

// BenchmarkLoopback: one way, without faults.
func BenchmarkLoopback(b *testing.B) {
	l := NewLoopback(1)
	defer l.Close()
	x, y := l.Node(1), l.Node(2)
	var received atomic.Int64
	y.Serve(func(_ wire.NodeID, f *wire.Buffer) {
		f.Release()
		received.Add(1)
	})
	f := newFrame(1, 64, 1)
	defer f.Release()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range int64(b.N) {
		for !x.Send(2, f.Retain()) || i-received.Load() > 1024 {
		}
	}
}
