package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// clientLink answers the frames of one client's connection. Frame runs on the connection's reader; answers are sent by
// whoever completes a request, and leave together when many are completed at once. Nothing here blocks: a client that
// does not read its answers is cut off by the connection.
type clientLink struct {
	node *Node
	conn *transport.ClientConn
	feed atomic.Pointer[feed] // what it waits for of a subscription; see deliver
}

func (n *Node) serveClient(c *transport.ClientConn) transport.ClientHandler {
	return &clientLink{node: n, conn: c}
}

// Frame implements transport.ClientHandler.
func (l *clientLink) Frame(f *wire.Buffer) {
	h, err := wire.ParseHeader(f.Bytes())
	if err != nil {
		panic("BUG: engine: the transport passed on a bad frame: " + err.Error())
	}
	g := l.node.Group(h.Group)
	switch h.Kind {
	case wire.KindPropose:
		l.propose(g, f)
	case wire.KindQuery:
		l.query(g, f)
	case wire.KindHello, wire.KindAdmin:
		l.control(g, h.Group, f)
	default: // an answer: a node does not ask its clients
		l.cut(f)
	}
}

// cut ends the connection of a client that sent a malformed frame: there is no request to answer.
func (l *clientLink) cut(f *wire.Buffer) {
	l.node.clientInvalid.Inc()
	f.Release()
	_ = l.conn.Close() // always nil
}

// Closed implements transport.ClientHandler. Requests under way run to their end; their answers go nowhere.
func (l *clientLink) Closed(error) { l.undeliver() }

// call is a client's block under way, from its frame to its reply.
type call struct {
	link    *clientLink
	group   wire.GroupID
	request uint64
}

var callPool = sync.Pool{New: func() any { return new(call) }}

// Complete implements Completion. The only copy of the results on their way is here.
func (c *call) Complete(r *Result) {
	r.Request = c.request
	f := wire.Get(wire.ReplySize + len(r.Results))
	wire.AppendReply(f, c.link.node.c.Cluster, c.group, c.link.node.c.Node, &r.Reply)
	c.link.conn.Send(f)
	*c = call{}
	callPool.Put(c)
}

// propose takes over the reference to f.
func (l *clientLink) propose(g *Group, f *wire.Buffer) {
	request, patience, blk, err := wire.DecodePropose(f.Bytes())
	if err != nil {
		l.cut(f)
		return
	}
	c := callPool.Get().(*call)
	c.link, c.request = l, request
	status := wire.StatusInvalid
	if g != nil {
		c.group = g.id
		if status = g.propose(f, blk, patience, c); status == wire.StatusOK {
			return
		}
	}
	f.Release()
	r := Result{}
	r.Status = status
	c.Complete(&r)
}

// clientQuery is a client's query under way.
type clientQuery struct {
	query
	link    *clientLink
	group   wire.GroupID
	request uint64
}

var clientQueryPool = sync.Pool{New: func() any { return new(clientQuery) }}

// answered implements answerer.
func (q *clientQuery) answered(a *wire.Answer, _ string) {
	a.Request = q.request
	f := wire.Get(wire.AnswerSize + len(a.Body))
	wire.AppendAnswer(f, q.link.node.c.Cluster, q.group, q.link.node.c.Node, a)
	q.link.conn.Send(f)
	*q = clientQuery{}
	clientQueryPool.Put(q)
}

// query takes over the reference to f.
func (l *clientLink) query(g *Group, f *wire.Buffer) {
	var m wire.Query
	if err := wire.DecodeQuery(f.Bytes(), &m); err != nil {
		l.cut(f)
		return
	}
	q := clientQueryPool.Get().(*clientQuery)
	q.link, q.request = l, m.Request
	if g == nil {
		f.Release()
		q.answered(&wire.Answer{Status: wire.StatusInvalid}, "")
		return
	}
	q.group = g.id
	q.query = query{frame: f, req: m.Body, to: q, until: until(l.node.nanotime(), m.Patience)}
	g.ask(&q.query, m.Mode)
}

// Welcome is the JSON of the answer to a client's Hello.
type Welcome struct {
	Node    wire.NodeID            `json:"node"`
	Cluster wire.ClusterID         `json:"cluster"`
	Leader  wire.NodeID            `json:"leader"` // of the group asked for; 0: not known
	Members map[wire.NodeID]string `json:"members"`
	Groups  int                    `json:"groups"`
}

// control answers Hello and Admin frames. It takes over the reference to f.
func (l *clientLink) control(g *Group, id wire.GroupID, f *wire.Buffer) {
	var m wire.Control
	if err := wire.DecodeControl(f.Bytes(), &m); err != nil {
		l.cut(f)
		return
	}
	defer f.Release()
	request := m.Request
	answer := func(kind wire.Kind, s wire.Status, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic("BUG: engine: " + err.Error())
		}
		b := wire.Get(wire.HeaderSize + 16 + len(text))
		wire.AppendControl(b, l.node.c.Cluster, id, l.node.c.Node, &wire.Control{Kind: kind, Request: request, Status: s, Text: text})
		l.conn.Send(b)
	}
	if m.Kind == wire.KindHello {
		w := Welcome{Node: l.node.c.Node, Cluster: l.node.c.Cluster, Members: l.node.c.Members, Groups: l.node.c.Groups}
		if g != nil {
			w.Leader, w.Members = wire.NodeID(g.leader.Load()), g.addresses()
		}
		answer(wire.KindWelcome, wire.StatusOK, w)
		return
	}
	if g == nil {
		answer(wire.KindAdminReply, wire.StatusInvalid, map[string]string{"error": fmt.Sprintf("no group %d here", id)})
		return
	}
	switch op := string(m.Text); op {
	case "status":
		g.readStatus(func(s Status) { answer(wire.KindAdminReply, wire.StatusOK, s) })
	case "metrics", "metrics?reset=1":
		answer(wire.KindAdminReply, wire.StatusOK, g.metrics(strings.HasSuffix(op, "reset=1")))
	default:
		if rest, ok := strings.CutPrefix(op, "deliver?"); ok {
			l.deliver(g, rest, func(s wire.Status, v any) { answer(wire.KindAdminReply, s, v) })
			return
		}
		if f := strings.Fields(op); len(f) > 0 && f[0] == "members" {
			g.membersAdmin(f[1:], func(s wire.Status, v any) { answer(wire.KindAdminReply, s, v) })
			return
		}
		answer(wire.KindAdminReply, wire.StatusInvalid, map[string]string{"error": fmt.Sprintf("unknown operation %.40q", op)})
	}
}
