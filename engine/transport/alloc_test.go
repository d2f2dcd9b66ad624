//go:build !race

package transport

import (
	"context"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// The race detector empties pools at random, so these tests are left out under it.

// A frame that crosses the network must cost no allocation, on the sending side or on the receiving one: at a million
// commands a second whatever is allocated per frame ends up in the garbage collector's share of the CPU. Both ends
// run in this process, so one count covers both.
func TestPeerFramesDoNotAllocate(t *testing.T) {
	for name, size := range map[string]int{"small": 64, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			lns, addrs := bind(t, 2)
			a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
			b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
			arrived := make(chan struct{}, 64)
			a.Serve(discard)
			b.Serve(func(_ wire.NodeID, f *wire.Buffer) {
				f.Release()
				arrived <- struct{}{}
			})
			eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
			f := newFrame(1, size, 1)
			defer f.Release()
			const burst = 4
			allocs := testing.AllocsPerRun(2000, func() {
				for range burst {
					a.Send(2, f.Retain())
				}
				for range burst {
					<-arrived
				}
			})
			// Buffers come from sync.Pools, which every garbage collection halves: rarely, one is made anew. What
			// is per frame would count burst at least.
			if allocs >= 1 {
				t.Errorf("%v allocations for %d frames", allocs, burst)
			}
		})
	}
}

// The same for a client's request and its answer.
func TestClientFramesDoNotAllocate(t *testing.T) {
	n := open(t, Config{Self: 1, Addr: "127.0.0.1:0"})
	n.ServeClients(func(c *ClientConn) ClientHandler { return &echo{conn: c} })
	n.Serve(discard)
	arrived := make(chan struct{}, 64)
	c, err := DialClient(context.Background(), n.Addr().String(), ClientConfig{Cluster: testCluster}, func(*ClientConn) ClientHandler {
		return frameFunc(func(f *wire.Buffer) {
			f.Release()
			arrived <- struct{}{}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close(); <-c.Done() }()
	for _, size := range []int{64, 50_000} {
		f := query(testCluster, 1, size)
		const burst = 4
		allocs := testing.AllocsPerRun(2000, func() {
			for range burst {
				c.Send(f.Retain())
			}
			for range burst {
				<-arrived
			}
		})
		f.Release()
		if allocs >= 1 {
			t.Errorf("%v allocations for %d requests of %d bytes and their answers", allocs, burst, size)
		}
	}
}

// And for the loopback, which carries clusters within a process.
func TestLoopbackDoesNotAllocate(t *testing.T) {
	l := NewLoopback(1)
	defer l.Close()
	a, b := l.Node(1), l.Node(2)
	arrived := make(chan struct{}, 1)
	b.Serve(func(_ wire.NodeID, f *wire.Buffer) {
		f.Release()
		arrived <- struct{}{}
	})
	f := newFrame(1, 64, 1)
	defer f.Release()
	if allocs := testing.AllocsPerRun(2000, func() {
		a.Send(2, f.Retain())
		<-arrived
	}); allocs >= 1 {
		t.Errorf("%v allocations for a frame", allocs)
	}
}
