package lease_test

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos/lease"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

const tcpCluster = wire.ClusterID(9)

// holder runs a member on a real clock and real connections.
type holder struct {
	mu     sync.Mutex
	m      *lease.Member
	net    *transport.TCP
	origin time.Time
	quit   chan struct{}
	done   sync.WaitGroup
}

func (h *holder) now() int64 { return int64(time.Since(h.origin)) }

// do calls fn with the member, and sends what comes of it.
func (h *holder) do(fn func(*lease.Member)) {
	h.mu.Lock()
	h.m.Tick(h.now())
	fn(h.m)
	out := h.m.Output()
	h.mu.Unlock()
	for _, o := range out {
		h.net.Send(o.To, o.M.Encode(tcpCluster))
	}
}

// owns says whether this member owns the lease: the clock is read after the end.
func (h *holder) owns() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until := h.m.Until()
	return h.now() < until
}

func (h *holder) frame(_ wire.NodeID, f *wire.Buffer) {
	defer f.Release()
	var m wire.Message
	if wire.DecodeMessage(f, &m) == nil {
		h.do(func(l *lease.Member) { l.Step(&m) })
	}
}

func (h *holder) run() {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.do(func(*lease.Member) {})
		case <-h.quit:
			return
		}
	}
}

func (h *holder) close(t *testing.T) {
	close(h.quit)
	h.done.Wait()
	if err := h.net.Close(); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T, id wire.NodeID, peers map[wire.NodeID]string, l net.Listener, fresh bool, span time.Duration) *holder {
	h := &holder{origin: time.Now().Add(-time.Duration(id) * time.Hour), quit: make(chan struct{})} // clocks that show different times
	tcp, err := transport.Listen(transport.Config{
		Self: id, Cluster: tcpCluster, Listener: l, Peers: peers, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.net = tcp
	h.m = lease.New(lease.Config{
		Group: 1, Resource: 1, Self: id, Nodes: []wire.NodeID{1, 2, 3}, Span: int64(span), Life: uint64(time.Now().UnixNano()), Fresh: fresh,
	}, h.now())
	if err := tcp.Serve(h.frame); err != nil {
		t.Fatal(err)
	}
	h.done.Go(h.run)
	return h
}

// What can go wrong: what the schedules show does not hold once frames, sockets and clocks are real. Three members over TCP, clocks hours
// apart, all ask; never do two own the lease when looked at under one lock after the other and back; the owner's end, by release
// and by disappearing without a word, makes another one the owner; who comes back waits two leases.
func TestOverTCP(t *testing.T) {
	const span = 150 * time.Millisecond
	peers, listeners := map[wire.NodeID]string{}, map[wire.NodeID]net.Listener{}
	for id := wire.NodeID(1); id <= 3; id++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		peers[id], listeners[id] = l.Addr().String(), l
	}
	members := map[wire.NodeID]*holder{}
	for id := range peers {
		members[id] = listen(t, id, peers, listeners[id], true, span)
	}
	defer func() {
		for _, h := range members {
			h.close(t)
		}
	}()
	owner := func(not wire.NodeID) wire.NodeID {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for id, h := range members {
				if id != not && h.owns() {
					return id
				}
			}
		}
		t.Fatalf("nobody but node %d ever owns the lease", not)
		return 0
	}
	// single demands that a's lease is seen neither before nor after another's while it lasts.
	single := func() {
		t.Helper()
		for a, h := range members {
			if !h.owns() {
				continue
			}
			for b, other := range members {
				if b != a && other.owns() && h.owns() {
					t.Fatalf("nodes %d and %d own the lease", a, b)
				}
			}
		}
	}
	for _, h := range members {
		h.do((*lease.Member).Acquire)
	}
	first := owner(0)
	for end := time.Now().Add(3 * span); time.Now().Before(end); {
		single()
	}
	if !members[first].owns() {
		t.Log("the lease was not renewed in time; the machine is busy")
	}
	first = owner(0)
	members[first].do((*lease.Member).Release)
	second := owner(first)
	single()
	members[second].close(t) // without a word
	delete(members, second)
	gone := time.Now()
	third := owner(second)
	t.Logf("owners %d, released to %d, which vanished; %d after %v", first, second, third, time.Since(gone).Round(time.Millisecond))
	if l, err := net.Listen("tcp", peers[second]); err == nil { // it may be taken by now
		back := time.Now() // before its clock starts
		members[second] = listen(t, second, peers, l, false, span)
		members[second].do((*lease.Member).Acquire)
		for id, h := range members {
			if id != second {
				h.do((*lease.Member).Release)
			}
		}
		if again := owner(0); again == second && time.Since(back) < 2*span {
			t.Errorf("node %d owns the lease %v after its restart, leases are %v", second, time.Since(back), span)
		}
		single()
	}
}
