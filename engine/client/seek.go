package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// seeker is the client's manager: the goroutine that looks for the leader while there is none, and after what has a
// time.
//
// A search goes in rounds. The first asks the likely node: the one a follower named, or else the next address. Every
// further round asks all nodes at once, over connections that are kept until the search ends, so that a round costs a
// small frame for each node; a node is asked once a round, so that two nodes that name each other cannot make it spin.
// A node is taken when it says that it leads itself: what others say of it may be old news.
type seeker struct {
	c      *Client
	events chan event

	active  bool
	since   int64
	round   int
	roundAt int64 // when the next begins
	pause   time.Duration
	probes  map[string]*probe // by address
	next    int               // of c.Addrs, to begin with
	denied  map[string]bool   // addresses that refuse our cluster
}

// probe is an address being asked.
type probe struct {
	link  *link // nil: being dialled
	asked int   // round
}

type eventKind uint8

const (
	eventDialed eventKind = iota
	eventWelcome
	eventClosed
)

// event is what happens on connections.
type event struct {
	kind    eventKind
	addr    string
	link    *link
	welcome Welcome
	err     error
}

func newSeeker(c *Client) *seeker {
	return &seeker{c: c, events: make(chan event), probes: make(map[string]*probe), denied: make(map[string]bool)}
}

// tell hands the manager an event, unless the client is closed.
func (s *seeker) tell(e event) {
	select {
	case s.events <- e:
	case <-s.c.quit:
	}
}

// run is the goroutine.
func (s *seeker) run() {
	defer s.c.running.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.c.quit:
			return
		case <-timer.C:
		case <-s.c.wake:
		case e := <-s.events:
			s.take(e)
		}
		timer.Reset(time.Duration(s.tend() - Now()))
	}
}

// tend does what is due and returns when to do it again.
func (s *seeker) tend() (again int64) {
	c := s.c
	now := Now()
	var lost lostBlocks
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return never
	}
	c.wakeAt = never // whoever arms from here on is seen below
	again = c.expire(now, &lost)
	if had := len(c.orphans); had > 0 {
		if c.expireOrphans(now, &again); len(c.orphans) < had {
			c.flush()
		}
	}
	if c.paused && now >= c.pauseEnd {
		c.resume(now)
	}
	if c.paused {
		again = min(again, c.pauseEnd)
	}
	suspect := c.silence(now, &again)
	present, hint := c.link, c.hint
	heard := present != nil && present.heardAt > s.since
	c.mu.Unlock()
	lost.finish(c)

	switch {
	case !s.active && (present == nil || suspect):
		s.begin(now, hint)
	case s.active && heard:
		s.end(present)
	case s.active && now >= s.roundAt:
		s.ask(now)
	}
	if s.active {
		again = min(again, s.roundAt)
	}
	c.mu.Lock()
	again = min(again, c.wakeAt)
	c.wakeAt = again
	c.mu.Unlock()
	return again
}

// expire gives up what is beyond its deadline, sends again what was forgotten, and returns when to look again.
// mu is held.
func (c *Client) expire(now int64, lost *lostBlocks) (next int64) {
	next = never
	c.expireFlight(now, lost, &next)
	for i, b := range c.late {
		lost.add(b, b.outcome(errLateUnsent, errLateRefused, errLateSent))
		c.late[i] = nil
	}
	c.late = c.late[:0]
	for n := c.queue.count; n > 0; n-- {
		b := c.queue.pop()
		if b.deadline <= now {
			lost.add(b, b.outcome(errLateUnsent, errLateRefused, errLateSent))
			continue
		}
		next = min(next, b.deadline)
		c.queue.push(b)
	}
	if b := c.open; b != nil {
		if b.deadline <= now {
			lost.add(b, errLateUnsent)
			c.open = nil
		} else {
			next = min(next, b.deadline)
		}
	}
	if c.openSent != 0 && c.forgotten(c.link, c.openSent, now, true, &next) {
		c.sendOpen(now)
	}
	first := true
	for id, q := range c.queries {
		if q.deadline <= now {
			delete(c.queries, id)
			lost.addQuery(q, errLateUnsent)
			continue
		}
		next = min(next, q.deadline)
		if q.awaited {
			if c.forgotten(q.on, q.lastSent, now, first, &next) {
				c.sendQuery(q, now)
			}
			first = false
		}
	}
	if len(lost.blocks) > 0 {
		c.signalRoom()
	}
	return next
}

// expireFlight is expire for the blocks under way. mu is held.
func (c *Client) expireFlight(now int64, lost *lostBlocks, next *int64) {
	first := true
	for i := range c.flight.count {
		b := c.flight.at(i)
		if b == nil {
			continue
		}
		if b.deadline <= now {
			if b.awaited {
				c.abandon(b, now)
			}
			lost.add(b, b.outcome(errLateUnsent, errLateRefused, errLateSent))
			continue
		}
		*next = min(*next, b.deadline)
		if b.awaited {
			if c.forgotten(b.on, b.lastSent, now, first, next) {
				b.maybe = true
				c.send(b, now)
			}
			first = false
		}
	}
	for _, b := range lost.blocks {
		c.flight.settle(b.id)
		c.inFlight--
		b.awaited = false
	}
}

// forgotten says whether a request that was sent on l at that time is to be sent again on the same connection, and
// lowers next to when it will be. One that has been overtaken by answers to later ones is; as long as it has not, its turn
// may not have come, and of all that wait only the first is sent again, and only when nothing was heard: to a node that is
// slow the whole window once more would be as much work again. mu is held.
func (c *Client) forgotten(l *link, sent, now int64, first bool, next *int64) bool {
	if l == nil || l != c.link || c.paused {
		return false
	}
	if l.answered < sent {
		if !first {
			return false
		}
		sent = max(sent, l.heardAt, l.probedAt)
	}
	if due := sent + max(c.c.resendAfter(), c.admission.expected()); due > now {
		*next = min(*next, due)
		return false
	}
	l.probedAt = now
	return true
}

// silence says whether the present node has been silent for too long with requests under way, and lowers next to when
// that may be. mu is held.
func (c *Client) silence(now int64, next *int64) bool {
	if c.link == nil {
		return false
	}
	oldest := int64(never)
	for i := range c.flight.count {
		if b := c.flight.at(i); b != nil && b.awaited && b.on == c.link {
			oldest = min(oldest, b.lastSent)
		}
	}
	for _, q := range c.queries {
		if q.awaited && q.on == c.link {
			oldest = min(oldest, q.lastSent)
		}
	}
	if c.openSent != 0 {
		oldest = min(oldest, c.openSent)
	}
	if oldest == never {
		return false
	}
	due := max(oldest, c.link.heardAt) + c.link.patience
	if due <= now {
		return true
	}
	*next = min(*next, due)
	return false
}

// begin starts a search.
func (s *seeker) begin(now int64, hint wire.NodeID) {
	c := s.c
	s.active, s.since, s.round, s.pause = true, now, 0, c.c.RetryMin
	c.mu.Lock()
	present := c.link
	for l := range c.links {
		if s.probes[l.addr] == nil || l == present {
			s.probes[l.addr] = &probe{link: l}
		}
	}
	likely := c.byNode[hint]
	c.stats.Searches++
	c.mu.Unlock()
	if present != nil { // silent: ask it and all others
		s.ask(now)
		return
	}
	if likely == "" {
		likely = c.c.Addrs[s.next%len(c.c.Addrs)]
		s.next++
	}
	s.schedule(now)
	s.askOne(likely)
}

// schedule begins a round and says when the next one begins.
func (s *seeker) schedule(now int64) {
	s.round++
	s.roundAt = now + int64(jitter(max(s.pause, seekPauseMin)))
	s.pause = min(2*s.pause, s.c.c.RetryMax, seekPauseMax)
}

// Bounds of the pause between two rounds: the one leaves a node nearby time to answer, the other is about what a client
// adds to the time without a leader.
const (
	seekPauseMin = 5 * time.Millisecond
	seekPauseMax = 25 * time.Millisecond
)

// ask begins a round that asks everybody.
func (s *seeker) ask(now int64) {
	s.schedule(now)
	for _, a := range s.addresses() {
		s.askOne(a)
	}
}

// addresses are all that are known: the configured ones, and those of members that none of them is known to be.
func (s *seeker) addresses() []string {
	c := s.c
	all := slices.Clone(c.c.Addrs)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.byNode {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// askOne asks a node who leads, once a round.
func (s *seeker) askOne(addr string) {
	p := s.probes[addr]
	if p == nil {
		p = &probe{}
		s.probes[addr] = p
		s.c.running.Add(1)
		go s.dial(addr)
	}
	if p.asked == s.round {
		return
	}
	p.asked = s.round
	if p.link != nil {
		p.link.hello()
	}
}

// dial connects to addr and tells the manager.
func (s *seeker) dial(addr string) {
	c := s.c
	defer c.running.Done()
	l := &link{c: c, seeker: s, addr: addr}
	conn, err := transport.DialClient(c.ctx, addr, transport.ClientConfig{Cluster: c.c.Cluster, DialTimeout: c.c.DialTimeout},
		func(conn *transport.ClientConn) transport.ClientHandler {
			l.conn = conn
			c.mu.Lock()
			c.links[l] = struct{}{}
			c.mu.Unlock()
			return l
		})
	if err == nil && c.ctx.Err() != nil {
		_ = conn.Close() // always nil
		<-conn.Done()
		return
	}
	s.tell(event{kind: eventDialed, addr: addr, link: l, err: err})
}

// take does what an event asks for.
func (s *seeker) take(e event) {
	switch e.kind {
	case eventDialed:
		s.dialed(e)
	case eventWelcome:
		s.welcome(e.link, &e.welcome)
	case eventClosed:
		if p := s.probes[e.addr]; p != nil && p.link == e.link {
			delete(s.probes, e.addr)
		}
		s.noteDenied(e.addr, e.err)
	}
}

func (s *seeker) dialed(e event) {
	p := s.probes[e.addr]
	if e.err != nil {
		if p != nil && p.link == nil {
			delete(s.probes, e.addr)
		}
		s.c.mu.Lock()
		s.c.lastErr = e.err
		s.c.mu.Unlock()
		// A refused connection is an answer: do not wait out the round of a single address.
		if s.active && s.round == 1 {
			s.roundAt = min(s.roundAt, Now())
		}
		return
	}
	if !s.active || p == nil || p.link != nil {
		e.link.close()
		return
	}
	s.c.mu.Lock()
	_, alive := s.c.links[e.link]
	s.c.mu.Unlock()
	if !alive {
		// Reset as soon as it was made, and its end was reported first. Kept, it would never be asked nor dialled again: a
		// search ends only when a leader answers, and this may be the leader's address.
		delete(s.probes, e.addr)
		return
	}
	p.link = e.link
	p.asked = s.round
	e.link.hello()
}

// welcome takes a node's word on who leads.
func (s *seeker) welcome(l *link, w *Welcome) {
	c := s.c
	c.mu.Lock()
	for id, a := range w.Members {
		if c.byNode[id] == "" && a != "" {
			c.byNode[id] = a
		}
	}
	if slices.Contains(c.c.Addrs, l.addr) {
		c.byNode[w.Node] = l.addr
	}
	_, alive := c.links[l]
	l.node = w.Node
	leader := c.byNode[w.Leader]
	if w.Groups > 0 && uint64(c.c.Group) > uint64(w.Groups) {
		c.lastErr = fmt.Errorf("client: %s has groups 1 to %d, not %d", l.addr, w.Groups, c.c.Group)
	}
	now := Now()
	if c.link == l && w.Leader == w.Node {
		// Slow, not gone.
		l.heardAt = now
		l.patience = min(2*l.patience, int64(patienceMax))
	}
	c.mu.Unlock()
	delete(s.denied, l.addr)
	switch {
	case !s.active || !alive:
	case w.Leader == w.Node:
		s.end(l)
	case w.Leader != 0 && leader != "":
		s.askOne(leader)
	}
}

// end ends the search: l is the connection from now on.
func (s *seeker) end(l *link) {
	c := s.c
	s.active = false
	now := Now()
	c.mu.Lock()
	if _, alive := c.links[l]; alive && c.link != l && !c.closed {
		c.attach(l, now)
	}
	clear(s.probes)
	for other := range c.links {
		if other != l {
			other.close() // only starts the end: its report needs mu
		}
	}
	c.mu.Unlock()
}

// noteDenied gives up opening when every configured address says that it is of another cluster or version: trying
// again would not help. Only Dial listens: once a session was open the client keeps trying.
func (s *seeker) noteDenied(addr string, err error) {
	var d *transport.DeniedError
	if !errors.As(err, &d) || d.Reason != transport.RejectCluster && d.Reason != transport.RejectVersion {
		return
	}
	s.denied[addr] = true
	for _, a := range s.c.c.Addrs {
		if !s.denied[a] {
			return
		}
	}
	select {
	case <-s.c.refused:
	default:
		close(s.c.refused)
	}
}
