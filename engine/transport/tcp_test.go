package transport

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Frames of every size must arrive whole and unchanged, small ones through the buffered writer and large ones around
// it. A slip in either path shows as a bad CRC, a cut connection or another frame's number. Order is not promised, so
// it is not asserted.
func TestFramesArrive(t *testing.T) {
	mark := wire.Outstanding()
	a, b, inA, inB := pair(t, nil)
	sizes := []int{16, 100, 4000, writeBuffer - 72, writeBuffer - 71, 17000, 64 << 10, 1 << 20, 3 << 20, 12 << 20}
	seen := make(map[uint64]int)
	for i, size := range sizes {
		for j := range 3 {
			if !a.Send(2, newFrame(1, size, uint64(i*3+j+1))) {
				t.Fatalf("frame of %d bytes was dropped", size)
			}
		}
	}
	for range 3 * len(sizes) {
		n, from := inB.next(t)
		if from != 1 {
			t.Fatalf("frame from %d", from)
		}
		seen[n]++
	}
	for n := range uint64(3 * len(sizes)) {
		if seen[n+1] != 1 {
			t.Errorf("frame %d arrived %d times", n+1, seen[n+1])
		}
	}
	if !b.Send(1, newFrame(2, 20, 77)) {
		t.Fatal("dropped")
	}
	if n, from := inA.next(t); n != 77 || from != 2 {
		t.Fatalf("got frame %d from %d", n, from)
	}
	eventually(t, "every frame counted", func() bool { return b.Stats().FramesReceived == uint64(3*len(sizes)) })
	if s := b.Stats(); s.RejectedTotal() != 0 || s.PeersIn != 1 {
		t.Errorf("stats of the receiver: %+v", s)
	}
	eventually(t, "as many bytes sent as received", func() bool { return a.Stats().BytesSent == b.Stats().BytesReceived })
	a.Close()
	b.Close()
	noneOutstanding(t, mark)
}

// Many small frames sent at once must all arrive: the token that stands for them in fastrpc's queue could be lost
// between a Send and the writer taking the queue, and then the last frames would wait for ever.
func TestNoWakeUpIsLost(t *testing.T) {
	a, _, _, inB := pair(t, nil)
	const rounds, burst = 300, 7
	for r := range rounds {
		for i := range burst {
			if !a.Send(2, newFrame(1, 16, uint64(r*burst+i))) {
				t.Fatal("dropped")
			}
		}
		if r%2 == 0 {
			runtime.Gosched()
		}
		for range burst {
			inB.next(t)
		}
	}
}

// A restarted peer must be reached within milliseconds. With fastrpc's own handling, a refused connection costs 1 s of
// sleep, and frames queued meanwhile arrive stale and all at once.
func TestRestartOfAPeer(t *testing.T) {
	lns, addrs := bind(t, 2)
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
	serve(t, a)
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
	serve(t, b)
	var worst time.Duration
	for round := range 5 {
		eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
		b.Close()
		eventually(t, "found down", func() bool { return a.link(2).state.Load() == linkDown })
		for range 100 {
			if a.Send(2, newFrame(1, 1000, 1)) {
				break // an attempt to connect may be under way, for a moment
			}
		}
		time.Sleep(time.Duration(round) * 100 * time.Millisecond) // how long it is away; lets the pauses grow

		b = open(t, Config{Self: 2, Addr: addrs[2], Peers: addrs})
		in := make(inbox, 1<<16)
		start := time.Now()
		if err := b.Serve(in.handle); err != nil {
			t.Fatal(err)
		}
		for arrived := false; !arrived; {
			a.Send(2, newFrame(1, 16, uint64(round)+100))
			select {
			case got := <-in:
				if n := numberOf(got.f); n != uint64(round)+100 {
					t.Errorf("stale frame %d", n)
				}
				got.f.Release()
				arrived = true
			case <-time.After(100 * time.Microsecond):
			}
		}
		worst = max(worst, time.Since(start))
	}
	t.Logf("restart to first frame: at most %v", worst)
	if worst > 750*time.Millisecond {
		t.Errorf("restart to first frame took %v", worst)
	}
	if d := a.Stats().Dropped; d[DropDown] == 0 {
		t.Errorf("frames to a peer that is down were not dropped: %v", d)
	}
}

// The same without a hint: the restarted peer does not connect to us, so only our own attempts find it. The pause
// between them must stay bounded.
func TestRestartFoundByRetries(t *testing.T) {
	lns, addrs := bind(t, 2)
	lns[1].Close()
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
	serve(t, a)
	eventually(t, "several attempts", func() bool { return a.Stats().DialErrors > 11 }) // doubled each time, the next pause would be a second or more
	b := open(t, Config{Self: 2, Addr: addrs[2], Peers: map[wire.NodeID]string{1: "127.0.0.1:1"}})
	start := time.Now()
	in := serve(t, b)
	eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
	took := time.Since(start)
	a.Send(2, newFrame(1, 16, 5))
	in.next(t)
	t.Logf("found after %v", took)
	if took > 750*time.Millisecond {
		t.Errorf("a peer that is back was found after %v", took)
	}
}

// Frames for a peer that does not answer must be dropped, not kept; and the first frame after its return must not be
// an old one.
func TestNothingIsKeptForADownPeer(t *testing.T) {
	mark := wire.Outstanding()
	lns, addrs := bind(t, 2)
	lns[1].Close()
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
	if a.Send(2, newFrame(1, 16, 1)) {
		t.Error("Send before Serve said true")
	}
	serve(t, a)
	eventually(t, "found down", func() bool { return a.link(2).state.Load() == linkDown })
	eventually(t, "dropped at once", func() bool { return !a.Send(2, newFrame(1, 16, 1)) })
	if a.Send(9, newFrame(1, 16, 1)) || a.Stats().Dropped[DropUnknown] != 1 {
		t.Error("frame to an unknown node was taken")
	}
	if a.Send(1, newFrame(1, 16, 1)) || a.Stats().Dropped[DropUnknown] != 2 {
		t.Error("frame to this node was taken")
	}
	noneOutstanding(t, mark)
}

// A peer that takes connections but reads nothing must not block Send, hold more than the bound, or hold the writer
// for ever: the queue fills, frames are dropped and counted, and after the write timeout the connection is cut.
func TestPeerThatNeverReads(t *testing.T) {
	mark := wire.Outstanding()
	lns, addrs := bind(t, 2)
	held := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := lns[1].Accept()
			if err != nil {
				close(held)
				return
			}
			answer := handshakeBytes()
			c.Write(answer[:])
			held <- c
		}
	}()
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs, QueueBytesMax: 4 << 20, WriteTimeout: 300 * time.Millisecond})
	serve(t, a)
	eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
	f := newFrame(1, 1<<20, 1)
	slowest := time.Duration(0)
	eventually(t, "frames refused, what was being written dropped, connection cut", func() bool {
		start := time.Now()
		for range 10 {
			a.Send(2, f.Retain())
		}
		slowest = max(slowest, time.Since(start))
		if _, bytes := a.link(2).queue.Len(); bytes > 5<<20 {
			t.Fatalf("%d bytes wait", bytes)
		}
		s := a.Stats()
		return s.Dropped[DropFull] > 0 && s.Dropped[DropDisconnected] > 0 && s.Disconnects > 0
	})
	f.Release()
	if slowest > 250*time.Millisecond {
		t.Errorf("ten Sends took %v", slowest)
	}
	a.Close()
	lns[1].Close()
	for c := range held {
		c.Close()
	}
	noneOutstanding(t, mark)
}

// Close must free the port and every buffer, whatever the connections are doing, and Send after it must not leak.
func TestClose(t *testing.T) {
	mark := wire.Outstanding()
	lns, addrs := bind(t, 3)
	var nodes []*TCP
	for i := range lns {
		n := open(t, Config{Self: wire.NodeID(i + 1), Listener: lns[i], Peers: addrs})
		if err := n.Serve(discard); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				for i, n := range nodes {
					n.Send(wire.NodeID(1+(i+1)%3), newFrame(wire.NodeID(i+1), 50_000, 1))
				}
			}
		}
	}()
	eventually(t, "traffic", func() bool { return nodes[2].Stats().FramesReceived > 100 })
	for i, n := range nodes {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		ln, err := net.Listen("tcp", addrs[wire.NodeID(i+1)])
		if err != nil {
			t.Errorf("port is not free: %v", err)
			continue
		}
		ln.Close()
		if err := n.Serve(discard); !errors.Is(err, ErrClosed) {
			t.Errorf("Serve after Close: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	}
	close(stop)
	<-ended
	if nodes[0].Send(2, newFrame(1, 16, 1)) {
		t.Error("Send after Close said true")
	}
	noneOutstanding(t, mark)
}

// fastrpc's clients cannot be ended, so links must use them again. If they did not, every restart within a process
// would leave two goroutines behind.
func TestSlotsAreReused(t *testing.T) {
	clients := func() int {
		buf := make([]byte, 1<<22)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), "fastrpc.(*Client).worker(")
	}
	var before int
	for round := range 10 {
		a, b, _, inB := pair(t, nil)
		a.Send(2, newFrame(1, 16, 3))
		inB.next(t)
		if round == 0 {
			before = clients()
		}
		a.Close()
		b.Close()
	}
	if after := clients(); after > before {
		t.Errorf("%d fastrpc clients after one round, %d after ten", before, after)
	}
}

// A port in use, or a configuration that cannot work, must be a clear error and not a node that hears nothing.
func TestListenErrors(t *testing.T) {
	lns, _ := bind(t, 1)
	defer lns[0].Close()
	_, err := Listen(Config{Self: 1, Cluster: testCluster, Addr: lns[0].Addr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("port in use: %v", err)
	}
	_, err = Listen(Config{Peers: map[wire.NodeID]string{2: "nonsense", 0: "h:1"}, QueueBytesMax: -1, WriteTimeout: -1})
	for _, want := range []string{"node id", "cluster id", "address to listen", "address of peer 2", "node id 0", "limit -1", "duration -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults: %v", want, err)
		}
	}
	n := open(t, Config{Self: 1, Addr: "127.0.0.1:0"})
	if err := n.Serve(discard); err != nil {
		t.Fatal(err)
	}
	if err := n.Serve(discard); !errors.Is(err, ErrServing) {
		t.Errorf("second Serve: %v", err)
	}
}
