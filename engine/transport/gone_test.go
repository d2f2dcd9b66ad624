package transport

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the end of a peer's process is not reported, and its followers wait out a timeout; or a peer that was
// never there, at the start of a cluster, is reported, and elections begin for nothing.
func TestPeerGone(t *testing.T) {
	lns, addrs := bind(t, 3)
	lns[2].Close() // node 3 never starts
	gone := make(chan wire.NodeID, 100)
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs, PeerGone: func(id wire.NodeID) { gone <- id }})
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
	a.Serve(discard)
	b.Serve(discard)
	eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
	eventually(t, "refused", func() bool { return a.count.dialErrors.Load() > 0 })
	if len(gone) > 0 {
		t.Fatalf("node %d is reported although all that were there are there", <-gone)
	}
	b.Close()
	if id := <-gone; id != 2 {
		t.Fatalf("node %d is reported, it was 2 that ended", id)
	}
	a.Close()
	for len(gone) > 0 {
		if id := <-gone; id != 2 {
			t.Fatalf("node %d is reported, it was 2 that ended", id)
		}
	}
}

// What can go wrong: a killed process loses its connections before its port; the port takes another connection and resets it, and when it is
// closed at last nobody is told, so that the others wait out the dead leader's silence.
func TestPeerGoneAfterReset(t *testing.T) {
	lns, addrs := bind(t, 2)
	gone := make(chan wire.NodeID, 100)
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs, PeerGone: func(id wire.NodeID) { gone <- id }})
	a.Serve(discard)
	port := &dyingPort{Listener: lns[1]}
	b := open(t, Config{Self: 2, Listener: port, Peers: addrs})
	b.Serve(discard)
	eventually(t, "connected", func() bool { return a.link(2).slot.conn.Load() != nil })
	port.dying.Store(true)
	a.link(2).slot.conn.Load().raw.Close() // the connection breaks; the next one is taken and reset
	eventually(t, "another connection was reset", func() bool { return a.count.dialErrors.Load() > 0 })
	if len(gone) > 0 {
		t.Fatalf("node %d is reported while its port is open", <-gone)
	}
	b.Close()
	if id := <-gone; id != 2 {
		t.Fatalf("node %d is reported, it was 2 that ended", id)
	}
}

// dyingPort is a listener that takes connections only to end them once it is dying.
type dyingPort struct {
	net.Listener
	dying atomic.Bool
}

func (p *dyingPort) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil || !p.dying.Load() {
			return c, err
		}
		c.Close()
	}
}
