package engine

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// rawClient is the client's end of a connection, without any of a client library's help.
type rawClient struct {
	t      testing.TB
	conn   *transport.ClientConn
	frames chan *wire.Buffer
	closed chan error
}

func (c *rawClient) Frame(f *wire.Buffer) { c.frames <- f }
func (c *rawClient) Closed(err error)     { c.closed <- err }

func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	c := &rawClient{t: t, frames: make(chan *wire.Buffer, 1024), closed: make(chan error, 1)}
	conn, err := transport.DialClient(context.Background(), addr, transport.ClientConfig{Cluster: 77},
		func(*transport.ClientConn) transport.ClientHandler { return c })
	if err != nil {
		t.Fatal(err)
	}
	c.conn = conn
	t.Cleanup(func() {
		conn.Close()
		<-conn.Done()
	})
	return c
}

// next is the next frame from the node.
func (c *rawClient) next(kind wire.Kind) *wire.Buffer {
	c.t.Helper()
	select {
	case f := <-c.frames:
		if h, err := wire.ParseHeader(f.Bytes()); err != nil || h.Kind != kind {
			c.t.Fatalf("got %v (%v), want %v", h.Kind, err, kind)
		}
		return f
	case <-time.After(30 * time.Second):
		c.t.Fatalf("no %v", kind)
	}
	panic("unreachable")
}

func (c *rawClient) propose(g wire.GroupID, request uint64, id wire.SessionID, first wire.Seq, cmds ...string) wire.Reply {
	c.t.Helper()
	b := encodeBlock(id, first, 0, cmds...)
	f := wire.NewPropose(b.Len())
	f.Append(b.Bytes())
	b.Release()
	wire.SealPropose(f, 77, g, request, 0)
	c.conn.Send(f)
	return c.reply()
}

func (c *rawClient) reply() (r wire.Reply) {
	c.t.Helper()
	f := c.next(wire.KindReply)
	defer f.Release()
	if err := wire.DecodeReply(f.Bytes(), &r); err != nil {
		c.t.Fatal(err)
	}
	r.Results = append([]byte(nil), r.Results...)
	return r
}

func (c *rawClient) query(g wire.GroupID, mode wire.QueryMode, body string) wire.Answer {
	c.t.Helper()
	f := wire.Get(128)
	wire.AppendQuery(f, 77, g, &wire.Query{Request: 5, Mode: mode, Body: []byte(body)})
	c.conn.Send(f)
	f = c.next(wire.KindAnswer)
	defer f.Release()
	var a wire.Answer
	if err := wire.DecodeAnswer(f.Bytes(), &a); err != nil || a.Request != 5 {
		c.t.Fatalf("%+v %v", a, err)
	}
	a.Body = append([]byte(nil), a.Body...)
	return a
}

func (c *rawClient) control(kind, answer wire.Kind, g wire.GroupID, text string, v any) wire.Status {
	c.t.Helper()
	f := wire.Get(128)
	wire.AppendControl(f, 77, g, 0, &wire.Control{Kind: kind, Request: 6, Text: []byte(text)})
	c.conn.Send(f)
	f = c.next(answer)
	defer f.Release()
	var m wire.Control
	if err := wire.DecodeControl(f.Bytes(), &m); err != nil || m.Request != 6 {
		c.t.Fatalf("%+v %v", m, err)
	}
	if err := json.Unmarshal(m.Text, v); err != nil {
		c.t.Fatalf("%v in %s", err, m.Text)
	}
	return m.Status
}

// What can go wrong: a block that waited for longer than its client does is executed all the same, and nobody is told; or it
// is refused as certainly not done, and executed. A nanosecond has always passed when the loop gets to it.
func TestExpiredIsNotProposed(t *testing.T) {
	c := newCluster(t, 3, true, nil)
	leader := c.leader()
	cl := dialRaw(t, leader.Addr().String())
	session := cl.propose(1, 1, 0, 99).Session
	cl.propose(1, 2, session, 1, "a")
	before := leader.Group(1).Status()
	late := encodeBlock(session, 2, 2, "late")
	f := wire.NewPropose(late.Len())
	f.Append(late.Bytes())
	wire.SealPropose(f, 77, 1, 3, 1)
	cl.conn.Send(f)
	if r := cl.reply(); r.Status != wire.StatusExpired || r.Request != 3 || r.Slot != 0 {
		t.Errorf("%+v", r)
	}
	answer := make(chan error, 1)
	err := leader.Group(1).ProposeBlockWithin(late, time.Nanosecond, CompletionFunc(func(r *Result) { answer <- r.Err() }))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, ErrExpired) || errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	for _, mode := range []wire.QueryMode{wire.QueryLinearizable, wire.QueryStale} {
		q := wire.Get(128)
		wire.AppendQuery(q, 77, 1, &wire.Query{Request: 5, Mode: mode, Patience: 1, Body: []byte("sum")})
		cl.conn.Send(q)
		q = cl.next(wire.KindAnswer)
		var a wire.Answer
		if err := wire.DecodeAnswer(q.Bytes(), &a); err != nil || a.Status != wire.StatusExpired {
			t.Errorf("mode %d: %+v %v", mode, a, err)
		}
		q.Release()
	}
	if m := leader.Group(1).Metrics(); m.Expired != 4 {
		t.Errorf("%d expired, want 4", m.Expired)
	}
	// What was refused took no place in the session, and nobody has executed it.
	if r := cl.propose(1, 4, session, 2, "b"); r.Status != wire.StatusOK || r.Count != 1 {
		t.Errorf("%+v", r)
	}
	if after := leader.Group(1).Status(); after.Commands != before.Commands+1 {
		t.Errorf("%d commands, before %d", after.Commands, before.Commands)
	}
}

// Everything a client may ask of a node, over a real connection: requests and answers must be paired by request id, carry
// what the client library needs, and say plainly when something is not possible.
func TestClientProtocol(t *testing.T) {
	c := newCluster(t, 3, true, nil)
	leader := c.leader()
	var follower *Node
	eventually(t, "a follower that knows the leader", func() bool {
		follower = c.followers(leader)[0]
		return follower.Group(1).Status().Leader == leader.c.Node
	})
	cl := dialRaw(t, leader.Addr().String())

	var w Welcome
	if cl.control(wire.KindHello, wire.KindWelcome, 1, "", &w); w.Node != leader.c.Node || w.Leader != leader.c.Node || len(w.Members) != 3 || w.Groups != 1 {
		t.Errorf("%+v", w)
	}
	opened := cl.propose(1, 1, 0, 99)
	if opened.Status != wire.StatusOK || opened.Session == 0 || opened.Request != 1 {
		t.Fatalf("%+v", opened)
	}
	r := cl.propose(1, 2, opened.Session, 1, "a", "b")
	it := r.Iter()
	if p, _ := it.Next(); r.Status != wire.StatusOK || r.Request != 2 || r.Count != 2 || r.First != 1 || r.Session != opened.Session || r.Slot == 0 || string(p) != "a:1" {
		t.Fatalf("%+v", r)
	}
	if again := cl.propose(1, 3, opened.Session, 1, "a", "b"); again.Request != 3 || again.Slot != r.Slot || again.Index != r.Index || string(again.Results) != string(r.Results) {
		t.Errorf("retry: %+v, first %+v", again, r)
	}
	if g := cl.propose(2, 4, 0, 0, "x"); g.Status != wire.StatusInvalid || g.Request != 4 {
		t.Errorf("group 2: %+v", g)
	}
	if g := cl.propose(1, 5, opened.Session+1, 1, "x"); g.Status != wire.StatusSessionGone {
		t.Errorf("no such session: %+v", g)
	}
	if a := cl.query(1, wire.QueryLinearizable, "a"); a.Status != wire.StatusOK || string(a.Body) != "1" || a.Slot < r.Slot {
		t.Errorf("query: %+v", a)
	}
	if a := cl.query(1, wire.QueryStale, "fail"); a.Status != wire.StatusInvalid || string(a.Body) != "told to fail" {
		t.Errorf("failing query: %+v", a)
	}
	if a := cl.query(9, wire.QueryStale, "a"); a.Status != wire.StatusInvalid {
		t.Errorf("query of group 9: %+v", a)
	}
	var s Status
	if st := cl.control(wire.KindAdmin, wire.KindAdminReply, 1, "status", &s); st != wire.StatusOK || s.Role != "leader" || s.Commands != 2 || s.Sessions != 1 || s.StateHash == "" {
		t.Errorf("%v %+v", st, s)
	}
	var m Metrics
	cl.control(wire.KindAdmin, wire.KindAdminReply, 1, "metrics?reset=1", &m)
	if m.Repeats != 1 || m.Refused != 1 || m.Quorum.Count == 0 || m.Fsyncs == 0 || m.NetBytesSent == 0 {
		t.Errorf("%+v", m)
	}
	if cl.control(wire.KindAdmin, wire.KindAdminReply, 1, "metrics", &m); m.Quorum.Count != 0 {
		t.Errorf("after the reset: %+v", m.Quorum)
	}
	var e map[string]string
	if st := cl.control(wire.KindAdmin, wire.KindAdminReply, 1, "explode", &e); st != wire.StatusInvalid || e["error"] == "" {
		t.Errorf("%v %v", st, e)
	}
	if st := cl.control(wire.KindAdmin, wire.KindAdminReply, 8, "status", &e); st != wire.StatusInvalid {
		t.Errorf("status of group 8: %v", st)
	}

	fc := dialRaw(t, follower.Addr().String())
	if r := fc.propose(1, 7, 0, 0, "x"); r.Status != wire.StatusNotLeader || r.Leader != leader.c.Node || r.Request != 7 {
		t.Errorf("follower: %+v", r)
	}
	if a := fc.query(1, wire.QueryLinearizable, "a"); a.Status != wire.StatusNotLeader || a.Leader != leader.c.Node {
		t.Errorf("follower: %+v", a)
	}
}

// Frames that a client has no business to send, and blocks that are malformed inside a valid frame, must not disturb the
// node.
func TestSenselessClient(t *testing.T) {
	c := newCluster(t, 1, true, nil)
	addr := c.leader().Addr().String()
	cut := func(f *wire.Buffer) {
		t.Helper()
		cl := dialRaw(t, addr)
		cl.conn.Send(f)
		select {
		case <-cl.closed:
		case <-time.After(30 * time.Second):
			t.Error("the connection stays open")
		}
	}
	f := wire.NewPropose(64)
	f.Append(wire.AppendBlockHeader(nil, 0, 0, 0, 1, 10)) // and then nothing
	wire.SealPropose(f, 77, 1, 3, 0)
	cut(f)
	f = wire.Get(128)
	wire.AppendControl(f, 77, 1, 0, &wire.Control{Kind: wire.KindWelcome, Text: []byte("{}")})
	cut(f)
	cl := dialRaw(t, addr)
	// Commands that overrun their block: the engine takes the block, every replica sees the same nil commands.
	body := []byte{200, 200, 200, 200}
	f = wire.NewPropose(64)
	f.Append(wire.AppendBlockHeader(nil, 0, 0, 0, 3, len(body)))
	f.Append(body)
	wire.SealPropose(f, 77, 1, 4, 0)
	cl.conn.Send(f)
	if r := cl.reply(); r.Status != wire.StatusOK || r.Count != 3 {
		t.Errorf("%+v", r)
	}
	c.propose("still here")
}
