package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// hostileNode is a node with one peer that never comes, so that tests can play it.
func hostileNode(tb testing.TB, c Config) (*TCP, inbox) {
	tb.Helper()
	c.Self, c.Addr = 1, "127.0.0.1:0"
	c.Peers = map[wire.NodeID]string{2: "127.0.0.1:1", 3: "127.0.0.1:1"}
	n := open(tb, c)
	n.ServeClients(func(c *ClientConn) ClientHandler { return &echo{conn: c} })
	return n, serve(tb, n)
}

// ended checks that the node closes the connection, and gives what it said before.
func ended(tb testing.TB, c net.Conn) []byte {
	tb.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(c)
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		tb.Fatal("the connection stays open")
	}
	return said
}

// Whatever is not a peer or a client - another protocol, noise, silence, half an introduction - must be counted,
// closed, and change nothing.
func TestGarbageOnThePort(t *testing.T) {
	damaged := appendIntroduction(nil, testCluster, 2, 1)
	damaged[20] ^= 1
	other := appendIntroduction(nil, testCluster, 2, 1)
	other[8] = 77
	for name, c := range map[string]struct {
		first string
		want  Reject
	}{
		"http":               {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", RejectGarbage},
		"tls hello":          {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random", RejectGarbage},
		"noise":              {"\xff\x00\xfe\x01\x02\x03\x04\x05\x06", RejectGarbage},
		"a few bytes":        {"PAX", RejectGarbage},
		"silence":            {"", RejectSilent},
		"half introduction":  {string(appendIntroduction(nil, testCluster, 2, 1)[:20]), RejectGarbage},
		"damaged":            {string(damaged), RejectGarbage},
		"another version":    {string(other), RejectVersion},
		"another cluster":    {string(appendIntroduction(nil, 7, 2, 1)), RejectCluster},
		"unknown node":       {string(appendIntroduction(nil, testCluster, 9, 1)), RejectNode},
		"this node's own id": {string(appendIntroduction(nil, testCluster, 1, 1)), RejectNode},
		"for another node":   {string(appendIntroduction(nil, testCluster, 2, 3)), RejectNode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, in := hostileNode(t, Config{FirstBytesTimeout: 100 * time.Millisecond})
			said := ended(t, dialRaw(t, n, c.first))
			eventually(t, "counted", func() bool { s := n.Stats(); return s.Rejected[c.want] == 1 && s.Undecided == 0 })
			if s := n.Stats(); s.RejectedTotal() != 1 || s.PeersIn != 0 || s.Clients != 0 || len(in) != 0 {
				t.Errorf("stats: %+v", s)
			}
			var d *DeniedError
			told := errors.As(denied(said), &d) && d.Reason == c.want
			if spoke := c.want != RejectGarbage && c.want != RejectSilent; told != spoke {
				t.Errorf("told %q", said)
			}
		})
	}
}

// peerStream plays peer 2: introduction, then one message with the given frames.
func peerStream(frames ...[]byte) []byte {
	p := appendIntroduction(nil, testCluster, 2, 1)
	p = append(p, 0, 0, 0, 0) // fastrpc's request id: no response
	p = binary.LittleEndian.AppendUint32(p, uint32(len(frames)))
	return append(p, bytes.Join(frames, nil)...)
}

func copyOf(f *wire.Buffer) []byte {
	defer f.Release()
	return bytes.Clone(f.Bytes())
}

func edited(p []byte, at int, b ...byte) []byte {
	p = bytes.Clone(p)
	copy(p[at:], b)
	return p
}

// Bad frames, from a peer or from a client, must close their connection with the right reason and never reach the
// handler; the good ones in front of them do.
func TestBadFrames(t *testing.T) {
	accept := copyOf(newFrame(2, 1000, 1))
	ask := copyOf(query(testCluster, 1, 1000))
	stranger := wire.NewAccept(16)
	stranger.Extend(16)
	wire.SealAccept(stranger, 7, 1, 2, 1, 1, 0)
	for name, c := range map[string]struct {
		peer, client []byte
		want         Reject
	}{
		"bit flip in the body":    {edited(accept, 500, accept[500]^4), edited(ask, 500, ask[500]^4), RejectCRC},
		"bit flip in the group":   {edited(accept, 16, 9), edited(ask, 16, 9), RejectCRC},
		"bad magic":               {edited(accept, 0, 'Z'), edited(ask, 0, 'Z'), RejectHeader},
		"another version":         {edited(accept, 4, 9), edited(ask, 4, 9), RejectVersion},
		"unknown kind":            {edited(accept, 5, 250), edited(ask, 5, 250), RejectHeader},
		"kind of the other side":  {ask, accept, RejectHeader},
		"length 2^32-1":           {edited(accept, 24, 255, 255, 255, 255), edited(ask, 24, 255, 255, 255, 255), RejectLength},
		"shorter than it is":      {edited(accept, 24, 200, 0), edited(ask, 24, 200, 0), RejectCRC},
		"longer than it is":       {edited(accept, 24, 0, 16), edited(ask, 24, 0, 16), RejectSlow},
		"cut short":               {accept[:100], ask[:100], RejectSlow},
		"cut in the header":       {accept[:20], nil, 255},
		"spoofed sender":          {copyOf(newFrame(3, 16, 1)), nil, RejectFrom},
		"another cluster's frame": {copyOf(stranger), copyOf(query(7, 1, 10)), RejectCluster},
		"log record":              {copyOf(wire.PromiseRecord(testCluster, 1, 2, 5, 0, nil).Frame), nil, RejectHeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := Config{FrameTimeout: 200 * time.Millisecond, FirstFrameTimeout: 5 * time.Second}
			if c.want == 255 { // a header that never ends is like silence: no memory waits for it
				n, in := hostileNode(t, mark)
				raw := dialRaw(t, n, string(peerStream(copyOf(newFrame(2, 16, 6)), c.peer)))
				in.next(t)
				raw.Close()
				eventually(t, "counted", func() bool { return n.Stats().Rejected[RejectCut] == 1 })
				return
			}
			for side, stream := range map[string][]byte{"peer": c.peer, "client": c.client} {
				if stream == nil {
					continue
				}
				n, in := hostileNode(t, mark)
				if side == "peer" {
					stream = peerStream(copyOf(newFrame(2, 16, 6)), stream, copyOf(newFrame(2, 16, 7)))
				} else {
					stream = append([]byte(wire.ClientPreamble), append(copyOf(query(testCluster, 5, 0)), stream...)...)
				}
				raw := dialRaw(t, n, string(stream))
				said := ended(t, raw)
				eventually(t, "counted", func() bool { return n.Stats().Rejected[c.want] == 1 })
				eventually(t, "gone", func() bool { s := n.Stats(); return s.PeersIn == 0 && s.Clients == 0 })
				if side == "peer" {
					if number, from := in.next(t); number != 6 || from != 2 || len(in) != 0 {
						t.Errorf("frame %d of node %d arrived, %d more", number, from, len(in))
					}
				} else if len(said) > 64 {
					t.Errorf("%d bytes of answers", len(said))
				}
				if total := n.Stats(); total.RejectedTotal() != 1 {
					t.Errorf("%s: %v", side, total.Rejected)
				}
			}
		})
	}
}

// A header that claims a large frame must not make the node allocate it: what is allocated follows what has come.
func TestLyingLength(t *testing.T) {
	if grown, limit := lyingLengths(t); grown > limit {
		t.Errorf("%d bytes allocated, limit %d", grown, limit)
	}
}

// lyingLengths is how many bytes are allocated for such headers, and how many may be.
func lyingLengths(t *testing.T) (grown, limit int64) {
	n, _ := hostileNode(t, Config{})
	head := edited(copyOf(newFrame(2, 16, 1)), 24, 0, 0, 0xb0, 0) // 11 MiB
	ask := edited(copyOf(query(testCluster, 1, 0)), 24, 0, 0, 0x3f, 0)
	var conns []net.Conn
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conns = append(conns, dialRaw(t, n, string(peerStream(head))))
	const clients = 50
	for range clients {
		conns = append(conns, dialRaw(t, n, wire.ClientPreamble+string(ask)))
	}
	eventually(t, "all connected", func() bool { s := n.Stats(); return s.PeersIn == 1 && s.Clients == clients })
	for _, c := range conns {
		c.Write(make([]byte, 1000)) // and a little of the body, so that the node is inside the frame
	}
	runtime.ReadMemStats(&after)
	grown = int64(after.TotalAlloc - before.TotalAlloc)
	t.Logf("%d bytes allocated for %d connections that claim %d MiB", grown, clients+1, (11+clients*4128)/1024+11)
	return grown, int64(peerStep + clients*(clientStep+3*readBuffer) + 2<<20)
}

// A frame that claims more than it brings must be given up in time, and so must a client that never completes its
// first one; a connection that is merely idle must not.
func TestSlowloris(t *testing.T) {
	n, in := hostileNode(t, Config{FrameTimeout: 200 * time.Millisecond, FirstFrameTimeout: 300 * time.Millisecond})
	drip := func(c net.Conn, rest []byte) {
		for _, b := range rest {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stream := peerStream(copyOf(newFrame(2, 1000, 1)))
	peer := dialRaw(t, n, string(stream[:100]))
	client := dialRaw(t, n, wire.ClientPreamble)
	var wait sync.WaitGroup
	wait.Go(func() { drip(peer, stream[100:]) })
	wait.Go(func() { drip(client, copyOf(query(testCluster, 1, 1000))) })

	idlePeer := dialRaw(t, n, string(edited(appendIntroduction(nil, testCluster, 3, 1), 0)))
	idleClient := dialBox(t, n.Addr().String(), ClientConfig{})
	idleClient.conn.Send(query(testCluster, 7, 0))
	idleClient.next(t)
	eventually(t, "both slow ones cut", func() bool { return n.Stats().Rejected[RejectSlow] == 2 })
	peer.Close()
	client.Close()
	wait.Wait()

	time.Sleep(300 * time.Millisecond) // longer than either timeout
	late := append([]byte{0, 0, 0, 0, 1, 0, 0, 0}, copyOf(newFrame(3, 100_000, 9))...)
	idlePeer.Write(late)
	if number, from := in.next(t); number != 9 || from != 3 {
		t.Errorf("frame %d of node %d", number, from)
	}
	idleClient.conn.Send(query(testCluster, 8, 100_000))
	if idleClient.next(t) != 8 {
		t.Error("the idle client was cut")
	}
	if s := n.Stats(); s.RejectedTotal() != 2 {
		t.Errorf("rejected: %v", s.Rejected)
	}
}

// A flood of connections that say nothing, and as many clients as there may be, must not keep a peer out; nor may
// what the flood holds grow beyond the caps.
func TestIdleFloodDoesNotHurtPeers(t *testing.T) {
	n, in := hostileNode(t, Config{UndecidedMax: 20, ClientsMax: 30, ClientsPerAddrMax: 25, FirstBytesTimeout: time.Minute})
	for range 200 {
		dialRaw(t, n, "")
	}
	for range 50 {
		dialRaw(t, n, wire.ClientPreamble)
	}
	eventually(t, "flood settled", func() bool {
		s := n.Stats()
		if s.Clients > 25 || s.Undecided > 20 {
			t.Fatalf("%d clients, %d undecided", s.Clients, s.Undecided)
		}
		return s.Rejected[RejectEvicted] >= 150 && s.Clients > 0
	})
	for i := range 20 {
		dialRaw(t, n, "") // the flood goes on
		dialRaw(t, n, string(peerStream(copyOf(newFrame(2, 16, uint64(i+1))))))
		if number, _ := in.next(t); number != uint64(i+1) {
			t.Fatalf("frame %d in place of %d", number, i+1)
		}
	}
	s := n.Stats()
	if s.PeersIn > 1 || s.Rejected[RejectReplaced] < 10 {
		t.Errorf("%d connections of one peer, %d replaced", s.PeersIn, s.Rejected[RejectReplaced])
	}
}

// A peer that asks for a response, which fastrpc would write, breaks the rule that nothing is ever written to peers;
// its connection must end and Close must still be exact.
func TestPeerThatAsksForAResponse(t *testing.T) {
	n, in := hostileNode(t, Config{})
	stream := peerStream(copyOf(newFrame(2, 16, 4)))
	stream[introductionSize] = 1
	raw := dialRaw(t, n, string(stream))
	in.next(t)
	ended(t, raw)
	eventually(t, "gone", func() bool { return n.Stats().PeersIn == 0 })
	n.Close()
}

// fastrpc's server forgets to close what exceeds its Concurrency. It must never get there: reconnects in a storm are
// served one at a time or refused, and none stays open unserved.
func TestReconnectStorm(t *testing.T) {
	n, _ := hostileNode(t, Config{})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 100 {
				c, err := net.Dial("tcp", n.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				c.Write(peerStream(copyOf(newFrame(2, 16, 1))))
				c.Close()
			}
		})
	}
	wait.Wait()
	eventually(t, "all gone", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.served == 0 && len(n.undecided) == 0
	})
}

// A peer that refuses us, as one of another cluster does, must be told to the operator and not be called in a loop.
func TestRefusedByAPeer(t *testing.T) {
	lns, addrs := bind(t, 2)
	var log lockedBuffer
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs, Cluster: 99})
	serve(t, b)
	serve(t, a)
	eventually(t, "refused", func() bool { return b.Stats().Rejected[RejectCluster] >= 3 })
	if a.Stats().Connects != 0 {
		t.Error("counted as connected")
	}
	if n := b.Stats().Rejected[RejectCluster]; n > 100 {
		t.Errorf("called %d times", n)
	}
	a.Close()
	if lines := log.lines(); lines == 0 || lines > 6 {
		t.Errorf("%d log lines:\n%s", lines, log.b.String())
	}
}

// However many connections are rejected, the log gets a line a second: whoever can reach the port must not be able to
// fill the disk with it.
func TestRejectionsAreLoggedSparingly(t *testing.T) {
	var log lockedBuffer
	n, _ := hostileNode(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	start := time.Now()
	for range 100 {
		ended(t, dialRaw(t, n, "GET / HTTP/1.1\r\n\r\n"))
	}
	eventually(t, "counted", func() bool { return n.Stats().Rejected[RejectGarbage] == 100 })
	n.Close()
	allowed := 2 + int(time.Since(start)/time.Second) + 2 // and the two peers that cannot be reached
	if lines := log.lines(); lines == 0 || lines > allowed {
		t.Errorf("%d lines, at most %d allowed:\n%s", lines, allowed, log.b.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte("\n"))
}
