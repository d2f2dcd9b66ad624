package transport

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// fakePeer listens at node 2's address and does with each connection what treat says. Everything ends with the test.
func fakePeer(t *testing.T, ln net.Listener, treat func(net.Conn)) *atomic.Int64 {
	t.Helper()
	calls := new(atomic.Int64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			t.Cleanup(func() { c.Close() })
			treat(c)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return calls
}

// A peer that is stopped (the kernel takes connections, the process answers nothing) must count as down after the dial
// timeout, and a transport that waits for its answer must still close at once.
func TestPeerThatDoesNotAnswer(t *testing.T) {
	lns, addrs := bind(t, 2)
	fakePeer(t, lns[1], func(net.Conn) {})
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs, DialTimeout: 100 * time.Millisecond})
	serve(t, a)
	eventually(t, "given up", func() bool { return a.Stats().DialErrors >= 2 })
	if a.Stats().Connects != 0 {
		t.Error("counted as connected")
	}
	eventually(t, "frames dropped", func() bool { return !a.Send(2, newFrame(1, 16, 1)) })
	start := time.Now()
	a.Close()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// A peer that takes connections only to end them - because it refuses us in a way we do not understand, or dies at
// once - must not be called in a tight loop.
func TestPeerThatHangsUp(t *testing.T) {
	for name, treat := range map[string]func(net.Conn){
		"at once": func(c net.Conn) { c.Close() },
		"after the handshake": func(c net.Conn) {
			answer := handshakeBytes()
			c.Write(answer[:])
			c.Close()
		},
		"with nonsense": func(c net.Conn) {
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		},
		"talking back": func(c net.Conn) {
			answer := handshakeBytes()
			c.Write(append(answer[:], "a peer has nothing to say"...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			lns, addrs := bind(t, 2)
			calls := fakePeer(t, lns[1], treat)
			a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
			serve(t, a)
			eventually(t, "several calls", func() bool { return calls.Load() >= 5 })
			start, before := time.Now(), calls.Load()
			eventually(t, "some more", func() bool {
				a.Send(2, newFrame(1, 16, 1))
				return time.Since(start) > 500*time.Millisecond
			})
			// After five calls the pause is at least 16 ms, half of it certain.
			if n := calls.Load() - before; n > 40 {
				t.Errorf("%d calls in half a second", n)
			}
		})
	}
}

// A connection that lasted must be replaced at once when it breaks, and frames sent in between must not be lost to
// the pause of an old failure.
func TestBrokenConnectionIsReplaced(t *testing.T) {
	a, b, _, inB := pair(t, nil)
	for round := range uint64(3) {
		b.mu.Lock()
		c := b.peersIn[1]
		b.mu.Unlock()
		connects := a.Stats().Connects
		c.in.raw.Close()
		eventually(t, "connected again", func() bool { return a.Stats().Connects > connects && a.link(2).state.Load() == linkUp })
		a.Send(2, newFrame(1, 16, round+1))
		if n, _ := inB.next(t); n != round+1 {
			t.Errorf("frame %d in place of %d", n, round+1)
		}
	}
	if s := a.Stats(); s.Disconnects != 3 {
		t.Errorf("%d disconnects", s.Disconnects)
	}
}

// Two processes that use one node id must not share its connections silently: the newest has them, and it is counted.
func TestTwoNodesWithOneID(t *testing.T) {
	lns, addrs := bind(t, 3)
	n := open(t, Config{Self: 1, Listener: lns[0], Peers: map[wire.NodeID]string{2: addrs[2]}})
	serve(t, n)
	for _, ln := range lns[1:] {
		twin := open(t, Config{Self: 2, Listener: ln, Peers: map[wire.NodeID]string{1: addrs[1]}})
		serve(t, twin)
		eventually(t, "connected", func() bool { return twin.Stats().Connects > 0 })
	}
	eventually(t, "noticed", func() bool { return n.Stats().Rejected[RejectReplaced] > 0 })
	if s := n.Stats(); s.PeersIn > 1 {
		t.Errorf("%d connections of one peer", s.PeersIn)
	}
}
