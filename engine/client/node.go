package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// Node talks to one node, whoever leads: for administration, and for reading one replica's state in an audit. Nothing
// is retried. All methods may be called from any goroutine.
type Node struct {
	cluster wire.ClusterID
	group   wire.GroupID
	addr    string
	conn    *transport.ClientConn

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan nodeReply
	err     error // why the connection ended
}

// nodeReply is an answer, copied.
type nodeReply struct {
	kind   wire.Kind
	status wire.Status
	slot   wire.Slot
	body   []byte
}

// DialNode connects to the node at addr. group 0 is 1.
func DialNode(ctx context.Context, addr string, cluster wire.ClusterID, group wire.GroupID) (*Node, error) {
	n := &Node{cluster: cluster, group: max(group, 1), addr: addr, waiting: make(map[uint64]chan nodeReply)}
	conn, err := transport.DialClient(ctx, addr, transport.ClientConfig{Cluster: cluster},
		func(c *transport.ClientConn) transport.ClientHandler {
			n.conn = c
			return (*nodeHandler)(n)
		})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	n.conn = conn
	return n, nil
}

// Admin connects to the node at addr, asks for one administrative operation of group 1 ("status", "metrics",
// "metrics?reset=1", "members", "members add N=ADDR", "members remove N") and returns its JSON. When the node refuses, the
// error says of which kind that is, ErrInvalid mostly, and what it says is returned as well.
func Admin(ctx context.Context, addr string, cluster wire.ClusterID, op string) ([]byte, error) {
	return AdminGroup(ctx, addr, cluster, 1, op)
}

// AdminGroup is Admin for any group.
func AdminGroup(ctx context.Context, addr string, cluster wire.ClusterID, group wire.GroupID, op string) ([]byte, error) {
	n, err := DialNode(ctx, addr, cluster, group)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return n.Admin(ctx, op)
}

// Admin asks for one administrative operation and returns its JSON.
func (n *Node) Admin(ctx context.Context, op string) ([]byte, error) {
	if len(op) > wire.AdminBytesMax {
		return nil, fmt.Errorf("%w: operation of %d bytes", ErrTooLarge, len(op))
	}
	r, err := n.ask(ctx, wire.KindAdminReply, func(f *wire.Buffer, id uint64) {
		wire.AppendControl(f, n.cluster, n.group, 0, &wire.Control{Kind: wire.KindAdmin, Request: id, Text: []byte(op)})
	})
	if err == nil && r.status != wire.StatusOK {
		err = fmt.Errorf("%w: %s: %.200s", statusError(r.status), n.addr, r.body)
	}
	return r.body, err
}

// Welcome asks the node who it is and whom it takes for the leader.
func (n *Node) Welcome(ctx context.Context) (Welcome, error) {
	r, err := n.ask(ctx, wire.KindWelcome, func(f *wire.Buffer, id uint64) {
		wire.AppendControl(f, n.cluster, n.group, 0, &wire.Control{Kind: wire.KindHello, Request: id})
	})
	if err != nil {
		return Welcome{}, err
	}
	return parseWelcomeText(r.status, r.body)
}

// Query asks this node's state machine. slot says what state the answer reflects: every slot up to it. A linearizable
// query is answered by the leader only; others give ErrNotLeader.
func (n *Node) Query(ctx context.Context, req []byte, mode wire.QueryMode) (answer []byte, slot wire.Slot, err error) {
	if len(req) > wire.QueryBytesMax {
		return nil, 0, fmt.Errorf("%w: query of %d bytes", ErrTooLarge, len(req))
	}
	r, err := n.ask(ctx, wire.KindAnswer, func(f *wire.Buffer, id uint64) {
		wire.AppendQuery(f, n.cluster, n.group, &wire.Query{Request: id, Mode: mode, Body: req})
	})
	if err == nil && r.status != wire.StatusOK {
		err = fmt.Errorf("%w: %s: %.200s", statusError(r.status), n.addr, r.body)
	}
	return r.body, r.slot, err
}

// Close ends the connection. Calls under way return an error.
func (n *Node) Close() error {
	_ = n.conn.Close() // always nil
	<-n.conn.Done()
	return nil
}

// ask sends what write appends and waits for the answer.
func (n *Node) ask(ctx context.Context, kind wire.Kind, write func(f *wire.Buffer, id uint64)) (nodeReply, error) {
	ch := make(chan nodeReply, 1)
	n.mu.Lock()
	if n.err != nil {
		n.mu.Unlock()
		return nodeReply{}, n.err
	}
	n.next++
	id := n.next
	n.waiting[id] = ch
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.waiting, id)
		n.mu.Unlock()
	}()
	f := wire.Get(256)
	write(f, id)
	n.conn.Send(f) // false: the connection is about to report its end
	select {
	case r := <-ch:
		if r.kind != kind {
			return nodeReply{}, fmt.Errorf("client: %s: %v where %v is due", n.addr, r.kind, kind)
		}
		return r, nil
	case <-n.conn.Done():
		n.mu.Lock()
		defer n.mu.Unlock()
		return nodeReply{}, n.err
	case <-ctx.Done():
		return nodeReply{}, fmt.Errorf("client: %s: %w", n.addr, ctx.Err())
	}
}

// nodeHandler is the receiving side of a Node.
type nodeHandler Node

// Frame implements transport.ClientHandler.
func (h *nodeHandler) Frame(f *wire.Buffer) {
	defer f.Release()
	id, r, err := decodeNodeReply(f.Bytes())
	if err != nil {
		_ = h.conn.Close() // always nil
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ch := h.waiting[id]; ch != nil {
		delete(h.waiting, id)
		ch <- r
	}
}

// Closed implements transport.ClientHandler.
func (h *nodeHandler) Closed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = fmt.Errorf("client: %s: %w", h.addr, err)
}

// decodeNodeReply decodes and copies an answer to one of a Node's requests.
func decodeNodeReply(frame []byte) (id uint64, r nodeReply, err error) {
	head, err := wire.ParseHeader(frame)
	if err != nil {
		return 0, r, err
	}
	r.kind = head.Kind
	if head.Kind == wire.KindAnswer {
		var a wire.Answer
		if err := wire.DecodeAnswer(frame, &a); err != nil {
			return 0, r, err
		}
		r.status, r.slot, r.body = a.Status, a.Slot, append([]byte(nil), a.Body...)
		return a.Request, r, nil
	}
	var m wire.Control
	if err := wire.DecodeControl(frame, &m); err != nil {
		return 0, r, err
	}
	r.status, r.body = m.Status, append([]byte(nil), m.Text...)
	return m.Request, r, nil
}
