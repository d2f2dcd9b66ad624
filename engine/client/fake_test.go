package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

const testCluster = 0x7E57

// fakeCluster plays a replicated log to clients: real connections, but the "log" is a slice under a lock. It executes
// a block by echoing its commands, keeps replies per session as the engine does, and checks what a client must never
// do: change the bytes of a block, claim replies it cannot have, exceed the window.
type fakeCluster struct {
	t     testing.TB
	nodes []*fakeNode

	mu       sync.Mutex
	leader   wire.NodeID
	slot     wire.Slot
	sessions map[wire.SessionID]*fakeSession
	executed map[string]int // by command
	opens    int
	// script decides what to do with a frame at the node that thinks it leads; nil: execute and reply.
	script func(n *fakeNode, kind wire.Kind, blk wire.Block) action
	held   []func() // replies held back
	slow   *slowLog // takes the blocks, if it is there
	// patience is that of the blocks that came to the leader, in order.
	patience []uint64
}

type fakeSession struct {
	acked  wire.Seq
	blocks map[wire.Seq]*fakeBlock
}

type fakeBlock struct {
	bytes []byte
	reply wire.Reply
}

// action is what the fake does with a request.
type action int

const (
	serve       action = iota
	busy               // refuse
	full               // refuse for want of room
	swallow            // neither execute nor answer
	executeOnly        // execute, never answer
	hold               // execute, answer when released
	twice              // answer twice
	cutBefore          // close the connection, not executed
	cutAfter           // execute, then close the connection without an answer
	unknown            // execute, answer Unknown
	notLeader          // refuse, naming nobody
	gone               // forget the session, then answer so
	invalid            // refuse
	lost               // execute, answer that the results are lost
	expired            // refuse as too late
)

type fakeNode struct {
	c    *fakeCluster
	id   wire.NodeID
	tcp  *transport.TCP
	addr string

	mu     sync.Mutex
	conns  map[*transport.ClientConn]bool
	dials  int
	frozen bool // answers nothing at all, like a stopped process
}

func newFakeCluster(t testing.TB, n int) *fakeCluster {
	c := &fakeCluster{t: t, leader: 1, sessions: map[wire.SessionID]*fakeSession{}, executed: map[string]int{}}
	for i := range n {
		c.nodes = append(c.nodes, &fakeNode{c: c, id: wire.NodeID(i + 1), conns: map[*transport.ClientConn]bool{}})
	}
	for _, node := range c.nodes {
		node.start("127.0.0.1:0")
	}
	t.Cleanup(func() {
		for _, node := range c.nodes {
			node.stop()
		}
		eventually(t, "every buffer is released", func() bool { return wire.Outstanding() == 0 })
	})
	return c
}

func (n *fakeNode) start(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	tcp, err := transport.Listen(transport.Config{
		Self: n.id, Cluster: testCluster, Listener: l, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.tcp = tcp
	tcp.ServeClients(func(conn *transport.ClientConn) transport.ClientHandler {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.dials++
		n.conns[conn] = true
		return &fakeHandler{n, conn}
	})
	if err := tcp.Serve(func(_ wire.NodeID, f *wire.Buffer) { f.Release() }); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *fakeNode) stop() {
	if n.tcp != nil {
		_ = n.tcp.Close()
		n.tcp = nil
	}
}

func (n *fakeNode) freeze(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = on
}

func (n *fakeNode) dialCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func (c *fakeCluster) addrs() []string {
	var a []string
	for _, n := range c.nodes {
		a = append(a, n.addr)
	}
	return a
}

func (c *fakeCluster) lead(id wire.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = id
}

func (c *fakeCluster) setScript(f func(n *fakeNode, kind wire.Kind, blk wire.Block) action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script = f
}

// release sends the held replies, last first if reversed.
func (c *fakeCluster) release(reversed bool) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	if reversed {
		slices.Reverse(held)
	}
	for _, f := range held {
		f()
	}
}

func (c *fakeCluster) heldCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}

type fakeHandler struct {
	n    *fakeNode
	conn *transport.ClientConn
}

func (h *fakeHandler) Closed(error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	delete(h.n.conns, h.conn)
}

func (h *fakeHandler) Frame(f *wire.Buffer) {
	defer f.Release()
	h.n.mu.Lock()
	frozen := h.n.frozen
	h.n.mu.Unlock()
	if frozen {
		return
	}
	head, err := wire.ParseHeader(f.Bytes())
	if err != nil {
		h.n.c.t.Error(err)
		return
	}
	switch head.Kind {
	case wire.KindPropose:
		h.propose(f)
	case wire.KindQuery:
		h.query(f)
	default:
		h.control(f)
	}
}

func (h *fakeHandler) control(f *wire.Buffer) {
	var m wire.Control
	if err := wire.DecodeControl(f.Bytes(), &m); err != nil {
		h.n.c.t.Error(err)
		return
	}
	c := h.n.c
	out := wire.Control{Request: m.Request, Status: wire.StatusOK}
	if m.Kind == wire.KindHello {
		c.mu.Lock()
		w := Welcome{Node: h.n.id, Cluster: testCluster, Leader: c.leader, Members: map[wire.NodeID]string{}, Groups: 1}
		c.mu.Unlock()
		for _, n := range c.nodes {
			w.Members[n.id] = n.addr
		}
		out.Kind = wire.KindWelcome
		out.Text, _ = json.Marshal(w)
	} else {
		out.Kind = wire.KindAdminReply
		out.Text = append([]byte("did "), m.Text...)
		if string(m.Text) == "nonsense" {
			out.Status = wire.StatusInvalid
		}
	}
	b := wire.Get(1024)
	wire.AppendControl(b, testCluster, 1, h.n.id, &out)
	h.conn.Send(b)
}

func (h *fakeHandler) query(f *wire.Buffer) {
	var q wire.Query
	if err := wire.DecodeQuery(f.Bytes(), &q); err != nil {
		h.n.c.t.Error(err)
		return
	}
	c := h.n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	a := wire.Answer{Request: q.Request, Leader: c.leader, Slot: c.slot, Body: append([]byte("answer to "), q.Body...)}
	act := c.decide(h.n, wire.KindQuery, wire.Block{})
	switch {
	case string(q.Body) == "bad":
		a.Status, a.Body = wire.StatusInvalid, []byte("no such thing")
	case act == busy:
		a.Status = wire.StatusBusy
	case act == cutBefore:
		_ = h.conn.Close()
		return
	case act == swallow:
		return
	case q.Mode == wire.QueryLinearizable && c.leader != h.n.id:
		a.Status = wire.StatusNotLeader
	}
	b := wire.Get(1024)
	wire.AppendAnswer(b, testCluster, 1, h.n.id, &a)
	h.conn.Send(b)
}

// decide asks the script. mu is held.
func (c *fakeCluster) decide(n *fakeNode, kind wire.Kind, blk wire.Block) action {
	if c.script == nil {
		return serve
	}
	return c.script(n, kind, blk)
}

func (h *fakeHandler) propose(f *wire.Buffer) {
	request, patience, blk, err := wire.DecodePropose(f.Bytes())
	if err == nil {
		err = blk.CheckCommands()
	}
	if err != nil {
		h.n.c.t.Error(err)
		return
	}
	c := h.n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r := wire.Reply{Request: request, Leader: c.leader}
	if c.leader != h.n.id {
		r.Status = wire.StatusNotLeader
		h.send(&r)
		return
	}
	if c.slow != nil && blk.Count() > 0 {
		c.slow.put(h, f, patience)
		return
	}
	c.patience = append(c.patience, patience)
	act := c.decide(h.n, wire.KindPropose, blk)
	switch act {
	case expired:
		r.Status = wire.StatusExpired
	case busy:
		r.Status = wire.StatusBusy
	case full:
		r.Status = wire.StatusDiskFull
	case notLeader:
		r.Status, r.Leader = wire.StatusNotLeader, 0
	case invalid:
		r.Status = wire.StatusInvalid
	case gone:
		delete(c.sessions, blk.Session())
		r = c.execute(request, blk)
	case swallow:
		return
	case cutBefore:
		_ = h.conn.Close()
		return
	default:
		r = c.execute(request, blk)
	}
	switch act {
	case executeOnly:
		return
	case cutAfter:
		_ = h.conn.Close()
		return
	case unknown:
		r = wire.Reply{Request: request, Status: wire.StatusUnknown}
	case lost:
		r.Status, r.Results, r.Empty = wire.StatusUnknown, nil, false
	case twice:
		h.send(&r)
	case hold:
		c.held = append(c.held, func() { h.send(&r) })
		return
	}
	h.send(&r)
}

func (h *fakeHandler) send(r *wire.Reply) {
	f := wire.Get(wire.ReplySize + len(r.Results))
	wire.AppendReply(f, testCluster, 1, h.n.id, r)
	h.conn.Send(f)
}

// execute is the log and the session table. mu is held.
func (c *fakeCluster) execute(request uint64, blk wire.Block) wire.Reply {
	c.slot++
	r := wire.Reply{Request: request, Slot: c.slot, Session: blk.Session(), First: blk.First(), Count: uint32(blk.Count())}
	if blk.Count() == 0 {
		if blk.Session() == 0 {
			c.opens++
			r.Session = wire.NewSessionID(c.slot, 0)
			c.sessions[r.Session] = &fakeSession{blocks: map[wire.Seq]*fakeBlock{}}
		} else {
			delete(c.sessions, blk.Session())
		}
		r.Empty = true
		return r
	}
	s := c.sessions[blk.Session()]
	if s == nil {
		r.Status, r.Slot = wire.StatusSessionGone, 0
		return r
	}
	if b := s.blocks[blk.First()]; b != nil {
		if !bytes.Equal(b.bytes, blk.Bytes()) {
			c.t.Errorf("block %d of session %d changed between two sends", blk.First(), blk.Session())
		}
		b.reply.Request = request
		return b.reply
	}
	if blk.Acked() > blk.First() {
		c.t.Errorf("block %d of session %d acknowledges %d", blk.First(), blk.Session(), blk.Acked())
	}
	if blk.First() < s.acked { // a late repeat, out of a connection that the client has left
		r.Status, r.Slot = wire.StatusInvalid, 0
		return r
	}
	s.acked = max(s.acked, blk.Acked())
	for first := range s.blocks {
		if first < s.acked {
			delete(s.blocks, first)
		}
	}
	if len(s.blocks) >= wire.SessionBlocksMax {
		c.t.Errorf("session %d exceeds its window", blk.Session())
	}
	for it := blk.Commands(); ; {
		cmd, ok := it.Next()
		if !ok {
			break
		}
		c.executed[string(cmd)]++
		r.Results = wire.AppendCommand(r.Results, cmd)
	}
	s.blocks[blk.First()] = &fakeBlock{bytes: bytes.Clone(blk.Bytes()), reply: r}
	return r
}

// executions is how often cmd was executed.
func (c *fakeCluster) executions(cmd string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executed[cmd]
}

func testConfig(c *fakeCluster) Config {
	return Config{
		Cluster: testCluster, Addrs: c.addrs(), Timeout: 10 * time.Second,
		AttemptTimeout: 100 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond,
	}
}

func dial(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustDo(t testing.TB, c *Client, cmd string) {
	t.Helper()
	got, err := c.Do(context.Background(), []byte(cmd))
	if err != nil || string(got) != cmd {
		t.Fatalf("%s: %q, %v", cmd, got, err)
	}
}

// eventually waits for cond; it fails the test after ten seconds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// collector counts outcomes of Go.
type collector struct {
	mu   sync.Mutex
	errs map[string]error
	wg   sync.WaitGroup
}

func newCollector() *collector { return &collector{errs: map[string]error{}} }

// propose gives cmd to Go and checks that its own result comes back, once.
func (x *collector) propose(t testing.TB, c *Client, cmd string) {
	x.wg.Add(1)
	err := c.Go([]byte(cmd), DoneFunc(func(r *Result) {
		x.mu.Lock()
		defer x.mu.Unlock()
		defer x.wg.Done()
		if _, again := x.errs[cmd]; again {
			t.Errorf("%s: called back twice", cmd)
		}
		x.errs[cmd] = r.Err
		if r.Err == nil && string(r.Reply) != cmd {
			t.Errorf("%s: result %q of another command", cmd, r.Reply)
		}
	}))
	if err != nil {
		t.Errorf("%s: %v", cmd, err)
		x.wg.Done()
	}
}

// check compares outcomes with what the cluster executed: success is one execution, a certain failure none, and an
// unknown outcome at most one.
func (x *collector) check(t testing.TB, f *fakeCluster) (ok, failed, unknown int) {
	t.Helper()
	x.wg.Wait()
	for cmd, err := range x.errs {
		n := f.executions(cmd)
		switch {
		case err == nil && n != 1:
			t.Errorf("%s: acknowledged, executed %d times", cmd, n)
		case err != nil && !MayBeDone(err) && n != 0:
			t.Errorf("%s: %v, yet executed %d times", cmd, err, n)
		case n > 1:
			t.Errorf("%s: executed %d times", cmd, n)
		}
		switch {
		case err == nil:
			ok++
		case MayBeDone(err):
			unknown++
		default:
			failed++
		}
	}
	return ok, failed, unknown
}

func name(i int) string { return fmt.Sprintf("command-%d", i) }
