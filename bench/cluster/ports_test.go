package cluster

import (
	"net"
	"testing"
)

// A port that is reserved could turn out not to be usable by the child, to be taken by somebody else while the
// child is down, or to accept connections for a dead node.
func TestReservation(t *testing.T) {
	r, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for range 3 { // start, kill, restart ...
		if c, err := net.Dial("tcp", r.Addr); err == nil {
			c.Close()
			t.Fatalf("%s accepted a connection while no node listens", r.Addr)
		}
		l, err := net.Listen("tcp", r.Addr)
		if err != nil {
			t.Fatalf("the node cannot listen on its reserved port: %v", err)
		}
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.Close() // the server side closes first: its TIME_WAIT must not keep the next start from the port
		c.Close()
		l.Close()
	}
	for range 200 { // nobody who asks for any port is given ours
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() == r.Addr {
			t.Fatalf("the reserved port %s was given away", r.Addr)
		}
		l.Close()
	}
}
