package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// tally is a state machine that counts how often it executed each command. A command's result is its text and its
// count so far; the query "text" returns the count of text.
type tally struct {
	counts map[string]uint64
	hash   uint64
	gate   func() // called by Apply first
}

func newTally(wire.GroupID) StateMachine { return &tally{counts: map[string]uint64{}} }

func (m *tally) Apply(s wire.Slot, b wire.Batch, out *Replies) {
	if m.gate != nil {
		m.gate()
	}
	m.hash = m.hash*31 + uint64(s) + uint64(crc32.ChecksumIEEE(b.Payload()))
	for bi := b.Blocks(); ; {
		blk, ok := bi.Next()
		if !ok {
			return
		}
		for ci := blk.Commands(); ; {
			cmd, ok := ci.Next()
			if !ok {
				break
			}
			m.counts[string(cmd)]++
			out.Append(fmt.Appendf(nil, "%s:%d", cmd, m.counts[string(cmd)]))
		}
	}
}

func (m *tally) Query(dst, req []byte) ([]byte, error) {
	if string(req) == "fail" {
		return nil, errors.New("told to fail")
	}
	return fmt.Appendf(dst, "%d", m.counts[string(req)]), nil
}

func (m *tally) StateHash() uint64 { return m.hash }

type tallyView struct {
	Counts map[string]uint64
	Hash   uint64
}

func (m *tally) Snapshot() (Snapshot, error) { return &tallyView{maps.Clone(m.counts), m.hash}, nil }

func (v *tallyView) WriteTo(w io.Writer) (int64, error) {
	p, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	return int64(n), err
}

func (v *tallyView) Release() { v.Counts = nil }

func (m *tally) Restore(src io.Reader) error {
	var v tallyView
	if err := json.NewDecoder(src).Decode(&v); err != nil {
		return err
	}
	m.counts, m.hash = v.Counts, v.Hash
	return nil
}

// null is a state machine without state: empty results at no cost.
type null struct{ commands int }

func (m *null) Apply(_ wire.Slot, b wire.Batch, out *Replies) {
	m.commands += b.Commands()
	out.AppendEmpty(b.Commands())
}
func (m *null) Query(dst, _ []byte) ([]byte, error) {
	return binary.AppendUvarint(dst, uint64(m.commands)), nil
}
func (m *null) Snapshot() (Snapshot, error) { return nullView{}, nil }
func (m *null) Restore(io.Reader) error     { return nil }

type nullView struct{}

func (nullView) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (nullView) Release()                         {}

// logs collects what a test's nodes log, and shows it if the test fails.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func testLogger(t testing.TB) *slog.Logger {
	l := &logs{}
	t.Cleanup(func() {
		if t.Failed() {
			l.mu.Lock()
			t.Log(l.buf.String())
			l.mu.Unlock()
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// eventually polls until cond is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// cluster is a set of nodes in this process, with real logs, over a loopback network or TCP.
type cluster struct {
	t       testing.TB
	dir     string
	loop    *transport.Loopback // nil: TCP
	members map[wire.NodeID]string
	nodes   map[wire.NodeID]*Node
	config  func(*Config)
	logger  *slog.Logger
}

// newCluster starts size nodes. config, if not nil, changes the configuration of each before every start.
func newCluster(t testing.TB, size int, tcp bool, config func(*Config)) *cluster {
	t.Helper()
	c := &cluster{
		t: t, dir: t.TempDir(), members: map[wire.NodeID]string{}, nodes: map[wire.NodeID]*Node{},
		config: config, logger: testLogger(t),
	}
	listeners := map[wire.NodeID]net.Listener{}
	if !tcp {
		c.loop = transport.NewLoopback(1)
	}
	for i := range size {
		id := wire.NodeID(i + 1)
		c.members[id] = fmt.Sprintf("node-%d", id)
		if tcp {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listeners[id], c.members[id] = ln, ln.Addr().String()
		}
	}
	held := wire.Outstanding()
	t.Cleanup(func() {
		c.close()
		// Frames on their way in a socket or to a closed client are released a moment later.
		eventually(t, "every buffer is released", func() bool { return wire.Outstanding() == held })
	})
	for id := range c.members {
		if _, err := c.open(id, true, listeners[id]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// open starts node id.
func (c *cluster) open(id wire.NodeID, bootstrap bool, ln net.Listener) (*Node, error) {
	cfg := Config{
		Node: id, Cluster: 77, Members: c.members, Dir: filepath.Join(c.dir, fmt.Sprint(id)), Bootstrap: bootstrap,
		NewStateMachine: newTally, Logger: c.logger, Listener: ln, SegmentBytes: 1 << 20,
		Tick: 4 * time.Millisecond, ElectionTicks: 20, Seed: uint64(id),
	}
	if c.loop != nil {
		cfg.Transport = c.loop.Node(id)
	}
	if c.config != nil {
		c.config(&cfg)
	}
	n, err := Open(cfg)
	if err == nil {
		c.nodes[id] = n
	}
	return n, err
}

// trimmed waits until no running node has slot at in its log any more: whoever leads by then can only send a snapshot.
func (c *cluster) trimmed(at wire.Slot) {
	c.t.Helper()
	eventually(c.t, "the logs are trimmed", func() bool {
		for _, n := range c.nodes {
			if n.Group(1).Status().Trimmed <= at {
				return false
			}
		}
		return true
	})
}

// start starts a node that was stopped.
func (c *cluster) start(id wire.NodeID) *Node {
	c.t.Helper()
	n, err := c.open(id, false, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// stop closes a node.
func (c *cluster) stop(id wire.NodeID) {
	c.t.Helper()
	if err := c.nodes[id].Close(); err != nil {
		c.t.Fatalf("close node %d: %v", id, err)
	}
	delete(c.nodes, id)
}

func (c *cluster) close() {
	for id := range maps.Clone(c.nodes) {
		if err := c.nodes[id].Close(); err != nil && c.nodes[id].Err() == nil {
			c.t.Errorf("close node %d: %v", id, err)
		}
		delete(c.nodes, id)
	}
}

// leader waits for a node that leads group 1 and says so.
func (c *cluster) leader() *Node { return c.leaderOf(1) }

func (c *cluster) leaderOf(g wire.GroupID) (leader *Node) {
	c.t.Helper()
	eventually(c.t, "a leader", func() bool {
		for _, n := range c.nodes {
			if n.Group(g).Status().Role == "leader" {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

// followers are the nodes other than n.
func (c *cluster) followers(n *Node) (f []*Node) {
	for id := range c.members {
		if m := c.nodes[id]; m != nil && m != n {
			f = append(f, m)
		}
	}
	return f
}

// propose proposes through whoever leads, until it is done. Only for commands that may be executed twice.
func (c *cluster) propose(cmd string) string {
	c.t.Helper()
	var result []byte
	eventually(c.t, "proposing "+cmd, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		result, err = c.leader().Group(1).Propose(ctx, []byte(cmd))
		return err == nil
	})
	return string(result)
}

// equal waits until all running replicas of a group have the same state at the same slot, and returns it.
func (c *cluster) equal(g wire.GroupID) (s Status) {
	c.t.Helper()
	eventually(c.t, "equal replicas", func() bool {
		first := true
		for _, n := range c.nodes {
			st := n.Group(g).Status()
			if first {
				s, first = st, false
			}
			if st.Applied != s.Applied || st.StateHash != s.StateHash || st.Commands != s.Commands || st.Sessions != s.Sessions {
				return false
			}
		}
		return true
	})
	return s
}

// outcome is a Result that outlives Complete.
type outcome struct {
	wire.Reply
	texts []string
}

func (o outcome) String() string {
	return fmt.Sprintf("%v at %d: %s", o.Status, o.Slot, strings.Join(o.texts, " "))
}

// block proposes a block and waits for its result; an error of ProposeBlock is a status as well.
func proposeBlock(t testing.TB, g *Group, id wire.SessionID, first, acked wire.Seq, cmds ...string) outcome {
	t.Helper()
	ch := make(chan outcome, 2)
	err := g.ProposeBlock(encodeBlock(id, first, acked, cmds...), CompletionFunc(func(r *Result) {
		o := outcome{Reply: r.Reply}
		if r.Status == wire.StatusOK {
			for it := r.Iter(); ; {
				p, ok := it.Next()
				if !ok {
					break
				}
				o.texts = append(o.texts, string(p))
			}
		}
		o.Results = nil
		ch <- o
	}))
	switch {
	case errors.Is(err, ErrBusy):
		return outcome{Reply: wire.Reply{Status: wire.StatusBusy}}
	case errors.Is(err, ErrClosed):
		return outcome{Reply: wire.Reply{Status: wire.StatusClosed}}
	case err != nil:
		t.Fatal(err)
	}
	select {
	case o := <-ch:
		return o
	case <-time.After(30 * time.Second):
		t.Fatal("a block was never answered")
	}
	panic("unreachable")
}

func encodeBlock(id wire.SessionID, first, acked wire.Seq, cmds ...string) *wire.Buffer {
	var body []byte
	for _, c := range cmds {
		body = wire.AppendCommand(body, []byte(c))
	}
	p := wire.AppendBlockHeader(nil, id, first, acked, len(cmds), len(body))
	return wire.GetCopy(append(p, body...))
}

// openSession opens a session through whoever leads.
func (c *cluster) openSession() (id wire.SessionID) {
	c.t.Helper()
	eventually(c.t, "a session", func() bool {
		o := proposeBlock(c.t, c.leader().Group(1), 0, 4711, 0)
		id = o.Session
		return o.Status == wire.StatusOK
	})
	return id
}

// retry proposes a session's block through whoever leads until it is done.
func (c *cluster) retry(id wire.SessionID, first, acked wire.Seq, cmds ...string) (o outcome) {
	c.t.Helper()
	eventually(c.t, "an answer", func() bool {
		o = proposeBlock(c.t, c.leader().Group(1), id, first, acked, cmds...)
		return o.Status == wire.StatusOK
	})
	return o
}

// commands16 is a block of count commands of 16 bytes, with headroom bytes in front of it.
func commands16(f *wire.Buffer, id wire.SessionID, first wire.Seq, count int) {
	f.SetBytes(wire.AppendBlockHeader(f.Bytes(), id, first, first, count, count*17))
	var cmd [16]byte
	for range count {
		f.SetBytes(wire.AppendCommand(f.Bytes(), cmd[:]))
	}
}
