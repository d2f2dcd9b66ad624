package transport

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/paxbench/paxbench/wire"
)

const testCluster wire.ClusterID = 0xc1

// TestMain demands that nothing is left running by any test, except what fastrpc cannot end: its clock, and the two
// goroutines of each client, which wait in a slot for the next link.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.(*Client).init.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.(*Client).worker"),
	)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newFrame is an Accept frame from node from for slot number, with size bytes (16 or more) in place of a batch: the
// transport does not look there.
func newFrame(from wire.NodeID, size int, number uint64) *wire.Buffer {
	f := wire.NewAccept(size)
	p := f.Extend(size)
	for i := range p {
		p[i] = byte(number) + byte(i)
	}
	wire.SealAccept(f, testCluster, 1, from, wire.NewBallot(1, from), wire.Slot(number), 0)
	return f
}

// numberOf is the slot that newFrame put into its frame.
func numberOf(f *wire.Buffer) uint64 {
	return binary.LittleEndian.Uint64(f.Bytes()[wire.HeaderSize+8:])
}

// query is a client frame with size bytes of body.
func query(c wire.ClusterID, request uint64, size int) *wire.Buffer {
	f := wire.Get(wire.HeaderSize + 16 + size)
	wire.AppendQuery(f, c, 1, &wire.Query{Request: request, Body: make([]byte, size)})
	return f
}

func requestOf(f *wire.Buffer) uint64 {
	return binary.LittleEndian.Uint64(f.Bytes()[wire.HeaderSize:])
}

// bind returns n listeners on free ports and their addresses by node, from 1.
func bind(tb testing.TB, n int) ([]net.Listener, map[wire.NodeID]string) {
	tb.Helper()
	lns, addrs := make([]net.Listener, n), make(map[wire.NodeID]string)
	for i := range lns {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		lns[i], addrs[wire.NodeID(i+1)] = ln, ln.Addr().String()
	}
	return lns, addrs
}

// open starts a node and closes it with the test.
func open(tb testing.TB, c Config) *TCP {
	tb.Helper()
	if c.Cluster == 0 {
		c.Cluster = testCluster
	}
	if c.Logger == nil {
		c.Logger = quiet
	}
	t, err := Listen(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { t.Close() })
	return t
}

// inbox collects what a node receives.
type inbox chan arrival

type arrival struct {
	from wire.NodeID
	f    *wire.Buffer
}

func (in inbox) handle(from wire.NodeID, f *wire.Buffer) { in <- arrival{from, f} }

// next is the next frame's number and sender; the frame is released.
func (in inbox) next(tb testing.TB) (number uint64, from wire.NodeID) {
	tb.Helper()
	select {
	case a := <-in:
		defer a.f.Release()
		return numberOf(a.f), a.from
	case <-time.After(10 * time.Second):
		tb.Fatal("no frame arrives")
		return 0, 0
	}
}

func serve(tb testing.TB, t Transport) inbox {
	tb.Helper()
	in := make(inbox, 1<<16)
	if err := t.Serve(in.handle); err != nil {
		tb.Fatal(err)
	}
	return in
}

// discard is a handler that only gives its frames back.
func discard(_ wire.NodeID, f *wire.Buffer) { f.Release() }

// eventually waits until cond holds. It polls, because counters do not signal.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for limit := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			tb.Fatalf("never: %s", what)
		}
	}
}

// noneOutstanding checks that every buffer taken since the mark was given back.
func noneOutstanding(tb testing.TB, mark int64) {
	tb.Helper()
	eventually(tb, "all buffers released", func() bool { return wire.Outstanding() == mark })
}

// pair is two connected nodes.
func pair(tb testing.TB, adjust func(*Config)) (a, b *TCP, inA, inB inbox) {
	tb.Helper()
	lns, addrs := bind(tb, 2)
	nodes := make([]*TCP, 2)
	for i := range nodes {
		c := Config{Self: wire.NodeID(i + 1), Listener: lns[i], Peers: addrs}
		if adjust != nil {
			adjust(&c)
		}
		nodes[i] = open(tb, c)
	}
	a, b = nodes[0], nodes[1]
	inA, inB = serve(tb, a), serve(tb, b)
	eventually(tb, "both connected", func() bool { return a.Stats().Connects > 0 && b.Stats().Connects > 0 })
	return a, b, inA, inB
}
