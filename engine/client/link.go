package client

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// Welcome is a node's answer to Hello.
type Welcome struct {
	Node    wire.NodeID            `json:"node"`
	Cluster wire.ClusterID         `json:"cluster"`
	Leader  wire.NodeID            `json:"leader"` // whom the node takes for the leader; 0: not known
	Members map[wire.NodeID]string `json:"members"`
	Groups  int                    `json:"groups"`
}

func parseWelcome(frame []byte) (Welcome, error) {
	var m wire.Control
	if err := wire.DecodeControl(frame, &m); err != nil {
		return Welcome{}, err
	}
	return parseWelcomeText(m.Status, m.Text)
}

func parseWelcomeText(status wire.Status, text []byte) (Welcome, error) {
	var w Welcome
	if status != wire.StatusOK {
		return w, fmt.Errorf("client: node answers Hello: %w", statusError(status))
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return w, fmt.Errorf("client: welcome: %w", err)
	}
	if w.Node == 0 || len(w.Members) > wire.NodesMax {
		return w, errors.New("client: senseless welcome")
	}
	return w, nil
}

// link is a connection to a node: to the one taken for the leader, or to one that is asked who leads.
type link struct {
	c       *Client
	seeker  *seeker
	addr    string
	conn    *transport.ClientConn
	results results // the reader's
	fault   error   // the reader's: why it closes the connection

	// Under Client.mu.
	heardAt  int64 // last frame
	answered int64 // when the last request was sent of those that have an answer
	probedAt int64 // when something was last sent again on this connection for want of an answer
	patience int64 // how long the node may be silent with requests under way
	node     wire.NodeID
}

// heard notes that the node is alive and answers requests. mu is held.
func (l *link) heard(c *Client, now int64) {
	l.heardAt = now
	l.patience = int64(c.c.AttemptTimeout)
}

// hello asks the node who leads.
func (l *link) hello() {
	f := wire.Get(wire.HeaderSize + 16)
	wire.AppendControl(f, l.c.c.Cluster, l.c.c.Group, 0, &wire.Control{Kind: wire.KindHello})
	l.conn.Send(f)
}

// close ends the connection. Blocks awaited on it are settled when that is reported.
func (l *link) close() { _ = l.conn.Close() } // always nil

// violation ends a connection whose other side does not speak the protocol. The reader only.
func (l *link) violation(err error) {
	if l.fault == nil {
		l.fault = err
	}
	l.close()
}

// Frame implements transport.ClientHandler.
func (l *link) Frame(f *wire.Buffer) {
	defer f.Release()
	h, err := wire.ParseHeader(f.Bytes())
	if err != nil {
		panic("BUG: client: the transport passed on a bad frame: " + err.Error())
	}
	switch h.Kind {
	case wire.KindReply:
		l.c.reply(l, f)
	case wire.KindAnswer:
		l.c.answer(l, f)
	case wire.KindWelcome:
		w, err := parseWelcome(f.Bytes())
		if err != nil {
			l.violation(err)
			return
		}
		l.seeker.tell(event{kind: eventWelcome, link: l, welcome: w})
	default:
		l.violation(fmt.Errorf("client: %v from a node", h.Kind))
	}
}

// Closed implements transport.ClientHandler.
func (l *link) Closed(err error) {
	c := l.c
	c.mu.Lock()
	delete(c.links, l)
	c.settleAttempts(l)
	if l.fault != nil {
		err = l.fault
	}
	if !errors.Is(err, transport.ErrClosed) {
		c.lastErr = fmt.Errorf("client: %s: %w", l.addr, err)
	}
	c.detach(l, l.node) // it may be only the connection
	c.mu.Unlock()
	l.seeker.tell(event{kind: eventClosed, link: l, addr: l.addr, err: err})
}

// settleAttempts gives up waiting for answers on l: what was sent may have been executed. mu is held.
func (c *Client) settleAttempts(l *link) {
	for i := range c.flight.count {
		if b := c.flight.at(i); b != nil && b.on == l && b.awaited {
			b.awaited, b.maybe = false, true
		}
	}
	for _, q := range c.queries {
		if q.on == l && q.awaited {
			q.awaited, q.again = false, true
		}
	}
}

// detach stops sending to l: the leader is to be looked for, hint first. What is under way on l may still be answered
// until another connection is taken. mu is held.
func (c *Client) detach(l *link, hint wire.NodeID) {
	if c.link != l {
		return
	}
	c.link, c.hint = nil, hint
	c.openSent = 0
	c.poke()
}

// attach makes l the connection, and sends everything again that has no reply, in the order of sequence numbers.
// mu is held.
func (c *Client) attach(l *link, now int64) {
	c.link, c.hint, c.lastErr = l, 0, nil
	c.stats.Attaches++
	c.orphans = c.orphans[:0] // they are no load of this node; if they are, it has no connection to answer them on
	c.paused, c.pauseStep = false, c.c.RetryMin
	l.heardAt, l.patience = now, int64(c.c.AttemptTimeout)
	c.openSent = 0
	c.openSession(now)
	for i := range c.flight.count {
		b := c.flight.at(i)
		if b == nil {
			continue
		}
		b.maybe = b.maybe || b.awaited
		b.awaited, b.again = false, true
	}
	c.sendAgain(now)
	for _, q := range c.queries {
		q.awaited, q.again = false, true
		if !c.paused {
			c.sendQuery(q, now)
		}
	}
	c.flush()
}
