package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// The whole path, on one node and on three, over both transports: a command that is answered must be in every replica's
// state, once, and a linearizable query must see it at once.
func TestProposeAndQuery(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for _, size := range []int{1, 3} {
			t.Run(fmt.Sprintf("tcp=%v/nodes=%d", tcp, size), func(t *testing.T) {
				c := newCluster(t, size, tcp, nil)
				ctx := context.Background()
				g := c.leader().Group(1)
				for i := range 20 {
					cmd := fmt.Sprintf("cmd-%d", i)
					result, err := g.Propose(ctx, []byte(cmd))
					if err != nil || string(result) != cmd+":1" {
						t.Fatalf("%q %v", result, err)
					}
					if n, err := g.Query(ctx, []byte(cmd)); err != nil || string(n) != "1" {
						t.Fatalf("query %q %v", n, err)
					}
				}
				if s := c.equal(1); s.Commands != 20 || s.StateHash == "" {
					t.Fatalf("%+v", s)
				}
				for _, n := range c.nodes {
					if p, err := n.Group(1).QueryStale(ctx, []byte("cmd-7")); err != nil || string(p) != "1" {
						t.Errorf("stale query: %q %v", p, err)
					}
				}
				if _, err := g.Query(ctx, []byte("fail")); err == nil || !strings.Contains(err.Error(), "told to fail") {
					t.Errorf("a state machine's error: %v", err)
				}
				m := g.Metrics()
				if m.Commands != 20 || m.Quorum.Count == 0 || m.Fsyncs == 0 || m.CPUNanos == 0 || m.Queries != 22 {
					t.Errorf("%+v", m)
				}
			})
		}
	}
}

// A node that dials its peers where clients are sent, or sends clients where it dials its peers, breaks clusters whose nodes
// have a network of their own.
func TestPeerAddrs(t *testing.T) {
	public := func(id wire.NodeID) string { return fmt.Sprintf("192.0.2.%d:1", id) } // nobody is there
	c := newCluster(t, 3, true, func(cfg *Config) {
		cfg.PeerAddrs, cfg.Members = cfg.Members, map[wire.NodeID]string{}
		for id := range cfg.PeerAddrs {
			cfg.Members[id] = public(id)
		}
	})
	c.propose("one")
	leader := c.leader()
	f := c.followers(leader)[0].Group(1)
	eventually(t, "the follower knows the leader", func() bool { return f.Status().Leader == leader.c.Node })
	var nl *NotLeaderError
	if _, err := f.Propose(context.Background(), []byte("two")); !errors.As(err, &nl) || nl.Addr != public(leader.c.Node) {
		t.Errorf("%v, want the address for clients", err)
	}
	for _, wrong := range []map[wire.NodeID]string{{9: "192.0.2.9:1"}, {1: "nowhere"}} {
		cfg := leader.c
		cfg.PeerAddrs, cfg.Transport, cfg.Listener = wrong, nil, nil
		if err := cfg.validate(); err == nil || !strings.Contains(err.Error(), "peer address") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// A follower must turn clients away, naming the leader, and must not execute anything.
func TestNotLeader(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	leader := c.leader()
	c.propose("one")
	f := c.followers(leader)[0].Group(1)
	eventually(t, "the follower knows the leader", func() bool { return f.Status().Leader == leader.c.Node })
	_, err := f.Propose(context.Background(), []byte("two"))
	var nl *NotLeaderError
	if !errors.As(err, &nl) || nl.Leader != leader.c.Node || nl.Addr != c.members[leader.c.Node] || !errors.Is(err, ErrNotLeader) {
		t.Errorf("Propose: %v", err)
	}
	if _, err := f.Query(context.Background(), []byte("one")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Query: %v", err)
	}
	if _, err := f.Propose(context.Background(), make([]byte, wire.CommandBytesMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := f.ProposeBlock(wire.GetCopy([]byte("senseless")), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("invalid: %v", err)
	}
}

// The leader goes away under load with a session's blocks in flight, again and again. Each block is retried with the same
// sequence numbers until it is answered: every command must be executed exactly once, on every replica.
func TestExactlyOnceAcrossLeaders(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	id := c.openSession()
	const blocks, pipeline, size = 60, 6, 3
	var mu sync.Mutex // of c.nodes
	current := func() *Group {
		mu.Lock()
		defer mu.Unlock()
		return c.leader().Group(1)
	}
	var next, answered atomic.Int64
	var wg sync.WaitGroup
	for range pipeline {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= blocks {
					return
				}
				first := wire.Seq(1 + i*size)
				for {
					o := proposeBlock(t, current(), id, first, 0, fmt.Sprint("k", first), fmt.Sprint("k", first+1), fmt.Sprint("k", first+2))
					if o.Status == wire.StatusOK {
						if want := fmt.Sprintf("k%d:1 k%d:1 k%d:1", first, first+1, first+2); strings.Join(o.texts, " ") != want {
							t.Errorf("block at %d: %v, want %s", first, o, want)
						}
						break
					}
					if o.Status == wire.StatusSessionGone || o.Status == wire.StatusInvalid {
						t.Errorf("block at %d: %v", first, o)
						return
					}
				}
				answered.Add(1)
			}
		})
	}
	for i := range 3 {
		eventually(t, "progress", func() bool { return answered.Load() > int64((i+1)*blocks/5) })
		mu.Lock()
		leader := c.leader().c.Node
		c.stop(leader)
		c.leader()
		c.start(leader)
		mu.Unlock()
	}
	wg.Wait()
	s := c.equal(1)
	if s.Commands != blocks*size {
		t.Errorf("%d commands executed, %d sent", s.Commands, blocks*size)
	}
}

// A retry that reaches a new leader, which restarted from a snapshot, must get the first reply: a snapshot without the
// session table would execute it again (FAULTS.md F28).
func TestRetryAfterSnapshotToNewLeader(t *testing.T) {
	c := newCluster(t, 3, false, func(c *Config) { c.SnapshotBytes = 8 << 10 })
	id := c.openSession()
	first := c.retry(id, 1, 0, "a", "b")
	filler := strings.Repeat("f", 1<<10)
	for {
		c.propose(filler)
		behind := false
		for _, n := range c.nodes {
			behind = behind || n.Group(1).Status().Snapshot <= first.Slot
		}
		if !behind {
			break
		}
	}
	for id := range c.members {
		c.stop(id)
		c.start(id)
	}
	old := c.leader().c.Node
	c.stop(old)
	again := c.retry(id, 1, 0, "a", "b")
	if again.String() != first.String() || again.Index != first.Index {
		t.Errorf("first %v, retry %v", first, again)
	}
	c.start(old)
	if s := c.equal(1); s.Sessions != 1 {
		t.Errorf("%+v", s)
	}
}

// Sessions end: a closed or unknown one is refused by name, never executed.
func TestSessionClose(t *testing.T) {
	c := newCluster(t, 1, false, nil)
	g := c.leader().Group(1)
	id := c.openSession()
	if o := proposeBlock(t, g, id, 1, 0, "x"); o.Status != wire.StatusOK || o.Session != id || o.First != 1 {
		t.Fatal(o)
	}
	if o := proposeBlock(t, g, id, 0, 0); o.Status != wire.StatusOK {
		t.Fatal(o)
	}
	for _, o := range []outcome{proposeBlock(t, g, id, 2, 0, "x"), proposeBlock(t, g, id, 0, 0), proposeBlock(t, g, id+1, 1, 0, "x")} {
		if o.Status != wire.StatusSessionGone {
			t.Error(o)
		}
	}
	if s := g.Status(); s.Sessions != 0 || s.Commands != 1 {
		t.Errorf("%+v", s)
	}
}

// Queues are bounded: with a state machine that stands still, proposals must end in ErrBusy before memory does, and
// everything that was taken must be answered when it moves again.
func TestBusy(t *testing.T) {
	gate := make(chan struct{})
	c := newCluster(t, 1, false, func(c *Config) {
		c.QueueBytes, c.BatchBytes, c.Window = 64<<10, 4<<10, 4
		c.NewStateMachine = func(wire.GroupID) StateMachine {
			return &tally{counts: map[string]uint64{}, gate: func() { <-gate }}
		}
	})
	var g *Group
	eventually(t, "a leader", func() bool {
		g = c.nodes[1].Group(1)
		return g.leader.Load() == 1
	})
	var taken, ok, busy atomic.Int64
	big := strings.Repeat("b", 2<<10)
	for busy.Load() == 0 {
		taken.Add(1)
		err := g.ProposeBlock(encodeBlock(0, 0, 0, big), CompletionFunc(func(r *Result) {
			switch r.Status {
			case wire.StatusOK:
				ok.Add(1)
			case wire.StatusBusy:
				busy.Add(1)
			default:
				t.Errorf("%v", r.Status)
			}
		}))
		if errors.Is(err, ErrBusy) {
			busy.Add(1)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	eventually(t, "all answered", func() bool { return ok.Load()+busy.Load() == taken.Load() })
	if ok.Load() == 0 {
		t.Error("nothing was done")
	}
}

// Restart: what was answered is there, from the log alone.
func TestRestart(t *testing.T) {
	c := newCluster(t, 3, true, nil)
	id := c.openSession()
	first := c.retry(id, 1, 0, "a", "b", "c")
	for i := range 50 {
		c.propose(fmt.Sprint(i))
	}
	before := c.equal(1)
	c.close()
	for id := range c.members {
		c.start(id)
	}
	if o := c.retry(id, 1, 0, "a", "b", "c"); o.String() != first.String() {
		t.Errorf("first %v, retry %v", first, o)
	}
	after := c.equal(1)
	if after.Commands != before.Commands || after.Sessions != 1 {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if p, err := c.leader().Group(1).Query(context.Background(), []byte("17")); err != nil || string(p) != "1" {
		t.Errorf("%q %v", p, err)
	}
}

// Data directories that must be refused, each with an error that says so, and without anything being changed.
func TestRefusedDirectories(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	c.propose("x")
	c.equal(1)
	if _, err := c.tryOpen(func(cfg *Config) {}); !errors.Is(err, wal.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	c.close()
	if _, err := c.tryOpen(func(cfg *Config) { cfg.Bootstrap = true }); !errors.Is(err, wal.ErrHistory) {
		t.Errorf("bootstrap over history: %v", err)
	}
	var id *wal.IdentityError
	if _, err := c.tryOpen(func(cfg *Config) { cfg.Cluster = 78 }); !errors.As(err, &id) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := c.tryOpen(func(cfg *Config) { cfg.Dir = filepath.Join(c.dir, "2") }); !errors.As(err, &id) {
		t.Errorf("another node's: %v", err)
	}
	if _, err := c.tryOpen(func(cfg *Config) { cfg.Dir = filepath.Join(c.dir, "absent") }); !errors.Is(err, wal.ErrNotBootstrapped) {
		t.Errorf("absent: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "1", "wal")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.tryOpen(func(cfg *Config) {}); !errors.Is(err, wal.ErrNotBootstrapped) {
		t.Errorf("wiped: %v", err)
	}
	if n := wire.Outstanding(); n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}

// tryOpen opens node 1 with a changed configuration and without a running network.
func (c *cluster) tryOpen(change func(*Config)) (*Node, error) {
	old := c.config
	c.config = func(cfg *Config) {
		cfg.Transport = nil
		cfg.Members = map[wire.NodeID]string{1: "127.0.0.1:1", 2: "127.0.0.1:2", 3: "127.0.0.1:3"}
		cfg.Listen = "127.0.0.1:0"
		change(cfg)
	}
	defer func() { c.config = old }()
	was := c.nodes[1]
	loop := c.loop
	c.loop = nil
	n, err := c.open(1, false, nil)
	c.loop = loop
	if was != nil {
		c.nodes[1] = was
	}
	return n, err
}

// A port in use is found before the data directory is made: the operator mends the address and bootstraps again.
func TestUsedPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := filepath.Join(t.TempDir(), "1")
	_, err = Open(Config{
		Node: 1, Cluster: 77, Members: map[wire.NodeID]string{1: ln.Addr().String()}, Dir: dir, Bootstrap: true,
		NewStateMachine: newTally, Logger: testLogger(t),
	})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// Faults of a configuration come together, not one per attempt.
func TestConfigFaults(t *testing.T) {
	_, err := Open(Config{Node: 9, Members: map[wire.NodeID]string{1: "nonsense", 2: "b:1"}, Tick: time.Nanosecond})
	for _, want := range []string{"cluster id 0", "no data directory", "no state machine", "tick", "nonsense", "node 9 is not among"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// Close must tell every waiter, once, and leave neither buffers nor goroutines behind.
func TestCloseAnswersEverybody(t *testing.T) {
	running := goleak.IgnoreCurrent()
	gate := make(chan struct{})
	c := newCluster(t, 1, false, func(c *Config) {
		c.NewStateMachine = func(wire.GroupID) StateMachine {
			return &tally{counts: map[string]uint64{}, gate: func() { <-gate }}
		}
	})
	n := c.nodes[1]
	g := n.Group(1)
	eventually(t, "a leader", func() bool { return g.leader.Load() == 1 })
	const blocks = 200
	var answers [blocks]atomic.Int32
	for i := range blocks {
		if err := g.ProposeBlock(encodeBlock(0, 0, 0, "x"), CompletionFunc(func(*Result) { answers[i].Add(1) })); err != nil {
			t.Fatal(err)
		}
		q := &question{done: make(chan struct{})}
		g.ask(&query{req: []byte("x"), to: q}, wire.QueryLinearizable)
	}
	n.stop(nil)
	close(gate)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range answers {
		if a := answers[i].Load(); a != 1 {
			t.Errorf("block %d was answered %d times", i, a)
		}
	}
	if err := g.ProposeBlock(encodeBlock(0, 0, 0, "x"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := g.Query(context.Background(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("query after Close: %v", err)
	}
	if s := g.Status(); s.Node != 1 {
		t.Errorf("%+v", s)
	}
	goleak.VerifyNone(t, running)
	if n := wire.Outstanding(); n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}

// Several groups share one log and one syncer; they must not mix, and restart must rebuild each.
func TestManyGroups(t *testing.T) {
	const groups = 4
	c := newCluster(t, 3, false, func(c *Config) { c.Groups = groups })
	ctx := context.Background()
	propose := func(id wire.GroupID, cmd string) {
		eventually(t, "proposing in a group", func() bool {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err := c.leaderOf(id).Group(id).Propose(ctx, []byte(cmd))
			return err == nil
		})
	}
	for id := wire.GroupID(1); id <= groups; id++ {
		for range id {
			propose(id, fmt.Sprint("g", id))
		}
	}
	c.close()
	for id := range c.members {
		c.start(id)
	}
	for id := wire.GroupID(1); id <= groups; id++ {
		propose(id, "more")
		if s := c.equal(id); s.Commands != uint64(id)+1 {
			t.Errorf("group %d: %+v", id, s)
		}
	}
	if c.nodes[1].Group(0) != nil || c.nodes[1].Group(groups+1) != nil {
		t.Error("groups that do not exist")
	}
}
