package lease

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// Config describes a member. All times are nanoseconds of the clock of Tick, as int64.
type Config struct {
	Group    wire.GroupID  // whose nodes these are
	Resource wire.Slot     // which of its leases, from 1
	Self     wire.NodeID   //
	Nodes    []wire.NodeID // all members, ascending, Self among them; the same on all

	Span  int64  // of a lease, as acceptors count it; the same on all
	Drift int64  // by how much two clocks may differ while one shows Span; default an eighth: see func Drift
	Retry int64  // how long to wait before asking again, drawn from [Retry, 2*Retry); default Span/4
	Life  uint64 // a random number, another one at each start

	// Fresh says that no member of this id ever ran: there is nothing to wait out.
	Fresh bool
}

func (c Config) withDefaults() Config {
	c.Drift = cmp.Or(c.Drift, (c.Span+7)/8)
	c.Retry = cmp.Or(c.Retry, max(c.Span/4, 1))
	return c
}

// Validate joins every fault of the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("lease: "+format, args...))
		}
	}
	fault(c.Group == 0 || c.Resource == 0, "group %d, resource %d: both count from 1", c.Group, c.Resource)
	fault(len(c.Nodes) == 0 || len(c.Nodes) > wire.NodesMax || !slices.IsSorted(c.Nodes), "nodes %v: need 1 to %d in ascending order", c.Nodes, wire.NodesMax)
	fault(!slices.Contains(c.Nodes, c.Self), "node %d is not among the nodes %v", c.Self, c.Nodes)
	fault(c.Span < 2 || c.Span > wire.LeaseSpanMax/2, "a span of %d ns: need 2 to %d", c.Span, int64(wire.LeaseSpanMax/2))
	fault(c.Drift < 0 || c.Drift >= c.Span, "a drift of %d ns in %d: need less", c.Drift, c.Span)
	fault(c.Retry < 1, "retries after %d ns: need 1 or more", c.Retry)
	fault(c.Life == 0, "no life: it must be a random number, another one at each start")
	return errors.Join(errs...)
}

// Outgoing is a message to a member.
type Outgoing struct {
	To wire.NodeID
	M  wire.Message
}

// Member is one node's part in a lease: acceptor and asker. It is not safe for concurrent use.
type Member struct {
	c   Config
	now int64
	rng uint64

	// Acceptor.
	promised wire.Ballot
	grant    Grant

	// Asker.
	wanted  bool
	counter uint32 // highest met
	round   round
	next    int64 // when to ask (again)
	until   int64 // owner until then
	won     wire.Ballot

	out []Outgoing
}

// round is an attempt to get the lease, or to renew it.
type round struct {
	ballot   wire.Ballot // 0: none
	began    int64       // Prepare was sent
	asks     bool        // phase 2: Propose was sent,
	proposed int64       // at this time
	promises map[wire.NodeID]bool
	votes    map[wire.NodeID]bool

	published bool // tests: as in the paper, promises count however old they are
}

// New makes a member at time now. It panics on an invalid configuration.
func New(c Config, now int64) *Member {
	if err := c.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	c = c.withDefaults()
	m := &Member{c: c, now: now, rng: c.Life}
	if !c.Fresh {
		m.grant.Wait(now + 2*c.Span)
	}
	return m
}

// Acquire has the member ask for the lease, and renew it for as long as it has it; asked again until Release.
func (m *Member) Acquire() {
	if !m.wanted {
		m.wanted, m.next = true, m.now
	}
}

// Release gives the lease up, and the wish for it. The others are told.
func (m *Member) Release() {
	if m.until > m.now {
		m.broadcast(wire.Message{Step: wire.LeaseRelease, Ballot: max(m.won, m.round.ballot), Owner: m.c.Self})
	}
	m.wanted, m.until, m.round = false, 0, round{published: m.round.published}
}

// Until is the end of the lease that this member holds, by its clock; 0: it holds none that it knows of. Whoever relies on it looks
// at the clock after what he relies on it for.
func (m *Member) Until() int64 { return m.until }

// Output returns what is to be sent. It is valid until the next call.
func (m *Member) Output() []Outgoing {
	out := m.out
	m.out = nil
	return out
}

// waiting says that an earlier life of this member may have said what it does not know.
func (m *Member) waiting() bool { return m.now < m.grant.wait }

// Tick tells the time.
func (m *Member) Tick(now int64) {
	m.now = max(m.now, now)
	if m.until <= m.now {
		m.until = 0
	}
	if m.round.ballot != 0 && m.over() {
		m.giveUp()
	}
	if m.wanted && m.round.ballot == 0 && m.now >= m.next && !m.waiting() {
		m.ask()
	}
}

// over says that what the round could still win is worth nothing, or not to be had: its promises are too old, or its lease is over.
func (m *Member) over() bool {
	r := &m.round
	switch {
	case r.asks:
		return m.now >= m.end()
	case r.published:
		return m.now >= r.began+8*m.c.Span // it has to ask again some time
	}
	return m.now >= End(r.began, m.c.Span, m.c.Drift)
}

// end is until when the round's lease lasts.
func (m *Member) end() int64 { return End(m.round.proposed, m.c.Span, m.c.Drift) }

func (m *Member) giveUp() {
	m.round = round{published: m.round.published}
	m.later()
}

// later asks again in a while, which differs from member to member, so that two who ask do not meet for ever.
func (m *Member) later() {
	m.rng += 0x9e3779b97f4a7c15 // splitmix64
	z := (m.rng ^ m.rng>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	m.next = m.now + m.c.Retry + int64((z^z>>31)%uint64(m.c.Retry))
}

// ask begins a round.
func (m *Member) ask() {
	m.counter++
	m.round = round{
		ballot: wire.NewBallot(m.counter, m.c.Self), began: m.now, published: m.round.published,
		promises: map[wire.NodeID]bool{}, votes: map[wire.NodeID]bool{},
	}
	m.later()
	m.broadcast(wire.Message{Step: wire.LeasePrepare, Ballot: m.round.ballot})
}

// broadcast sends to all, this member included, which answers itself at once.
func (m *Member) broadcast(msg wire.Message) {
	for _, n := range m.c.Nodes {
		m.send(n, msg)
	}
}

func (m *Member) send(to wire.NodeID, msg wire.Message) {
	msg.Kind, msg.Group, msg.From, msg.Slot, msg.Span = wire.KindLease, m.c.Group, m.c.Self, m.c.Resource, uint64(m.c.Span)
	if msg.Life == 0 {
		msg.Life = m.c.Life
	}
	if to == m.c.Self {
		m.Step(&msg)
		return
	}
	m.out = append(m.out, Outgoing{to, msg})
}

// Step takes a message. What is of another resource, from no member, or makes no sense is dropped.
func (m *Member) Step(msg *wire.Message) {
	if msg.Kind != wire.KindLease || msg.Group != m.c.Group || msg.Slot != m.c.Resource || !slices.Contains(m.c.Nodes, msg.From) || m.waiting() {
		return
	}
	if msg.Promised.Counter() > m.counter+wire.BallotJumpMax || msg.Ballot.Counter() > m.counter+wire.BallotJumpMax {
		return
	}
	switch msg.Step {
	case wire.LeasePrepare, wire.LeasePropose, wire.LeaseRelease:
		if msg.Ballot.Node() == msg.From {
			m.counter = max(m.counter, msg.Ballot.Counter())
			m.accept(msg)
		}
	default:
		m.counter = max(m.counter, msg.Promised.Counter())
		m.answered(msg)
	}
}

// accept is the acceptor.
func (m *Member) accept(msg *wire.Message) {
	answer := wire.Message{Ballot: msg.Ballot, Life: msg.Life}
	switch {
	case msg.Step == wire.LeaseRelease:
		m.grant.Release(msg.Owner, msg.Ballot)
		return
	case msg.Ballot < m.promised:
		answer.Step, answer.Promised = wire.LeaseReject, m.promised
	case msg.Step == wire.LeasePrepare:
		m.promised = msg.Ballot
		answer.Step = wire.LeasePromise
		answer.Owner, _ = m.grant.Holder(m.now)
	case msg.Owner != msg.From || int64(msg.Span) != m.c.Span:
		return
	default:
		m.promised = msg.Ballot
		m.grant.Give(msg.Owner, msg.Ballot, m.now+m.c.Span)
		answer.Step = wire.LeaseAccepted
	}
	m.send(msg.From, answer)
}

// answered takes an answer to the round under way.
func (m *Member) answered(msg *wire.Message) {
	r := &m.round
	if r.ballot == 0 || msg.Ballot != r.ballot || msg.Life != m.c.Life || m.over() {
		return
	}
	majority := len(m.c.Nodes)/2 + 1
	switch {
	case msg.Step == wire.LeaseReject && msg.Promised > r.ballot:
		m.giveUp()
	case msg.Step == wire.LeasePromise && !r.asks && (msg.Owner == 0 || msg.Owner == m.c.Self):
		r.promises[msg.From] = true
		if len(r.promises) >= majority {
			r.asks, r.proposed = true, m.now
			m.broadcast(wire.Message{Step: wire.LeasePropose, Ballot: r.ballot, Owner: m.c.Self})
		}
	case msg.Step == wire.LeaseAccepted && r.asks:
		r.votes[msg.From] = true
		if len(r.votes) >= majority {
			m.until, m.won = m.end(), r.ballot
			m.round = round{published: r.published}
			m.next = m.now + (m.until-m.now)/2 // renew
		}
	}
}
