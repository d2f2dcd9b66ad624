package paxos

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// A cluster of replicas in one goroutine: the network is a slice of frames, a disk is a slice of records with a mark of
// what is synced. Tests decide what is delivered, synced, lost and crashed. After every step it checks what must always
// hold (agreement, gapless delivery, no answer ahead of the disk).

const testCluster = wire.ClusterID(7)

type packet struct {
	from, to wire.NodeID
	frame    []byte
}

type gated struct {
	to    wire.NodeID
	frame []byte
	gate  wire.LSN
}

type testNode struct {
	id       wire.NodeID
	r        *Replica      // nil: down
	disk     [][]byte      // records; [:synced] survive a crash for certain
	said     []wire.Record // the same, decoded, without frames; Chosen is the value's tag at a fast ballot
	synced   int
	base     int // records in disk before this incarnation
	lsn      wire.LSN
	waiting  []gated
	applied  wire.Slot
	snapshot wire.Slot
	forgot   wire.Slot   // of an auxiliary: its votes up to here are gone, on the disk as well
	forgets  wire.Slot   // the same, when the next sync is over
	members  Memberships // as of applied
	snapped  Memberships // as of snapshot
	joined   bool        // it was not there when the cluster was founded
	suspect  string      // why; "" if it is trusted
	vouched  bool        // by an operator
	starts   uint64
	clock    int64                // what its clock shows at time 0
	rate     float64              // of its clock: how much it advances in a unit of time
	proposed map[wire.Slot]string // payloads that Propose took, by the slot where they are now
}

type simCluster struct {
	t        testing.TB
	cfg      Config
	nodes    []*testNode
	net      []packet
	chosen   map[wire.Slot][]byte // first value delivered in a slot
	where    map[string]wire.Slot // the slot that a payload was chosen in
	byRound  map[string][]byte    // slot/ballot -> value proposed there
	reads    map[uint64]wire.Slot // token -> chosen anywhere when asked
	answers  map[uint64]ReadReady // token -> answer
	maxSeen  wire.Slot            // highest slot delivered anywhere
	onEvent  func(n *testNode, e Event)
	told     bool // nodes that start have been told by the others what they saw of them (back.go)
	token    uint64
	stats    map[string]int
	owners   map[string]uint64    // slot/ballot -> the life of the node that prepared it
	isolated wire.NodeID          // 0: none; frames to and from it vanish
	side     map[wire.NodeID]bool // nil: whole; else frames between these nodes and the others vanish
	trace    *trace               // nil: not a trace test
	configs  Memberships          // every one, in the order in which they were chosen
	rotted   bool                 // disks have lost what was durable
	time     int64                // true
	asked    []leaseRead
}

func newTestCluster(t testing.TB, n int, cfg Config) *simCluster {
	cfg.Cluster, cfg.Group, cfg.Nodes = testCluster, 1, nil
	for i := 1; i <= n; i++ {
		cfg.Nodes = append(cfg.Nodes, wire.NodeID(i))
	}
	c := &simCluster{
		t: t, cfg: cfg, chosen: map[wire.Slot][]byte{}, where: map[string]wire.Slot{}, byRound: map[string][]byte{},
		reads: map[uint64]wire.Slot{}, answers: map[uint64]ReadReady{}, stats: map[string]int{},
		owners: map[string]uint64{},
	}
	c.configs = cfg.Founding()
	for _, id := range cfg.Nodes {
		nd := &testNode{id: id}
		c.nodes = append(c.nodes, nd)
		c.start(nd)
	}
	return c
}

// join brings up a node that is no member.
func (c *simCluster) join() *testNode {
	nd := &testNode{id: wire.NodeID(len(c.nodes) + 1), joined: true}
	c.nodes = append(c.nodes, nd)
	c.start(nd)
	return nd
}

// change asks a node for a change of the membership.
func (c *simCluster) change(nd *testNode, ch Change) (Outcome, error) {
	o, err := nd.r.ChangeMembers(ch)
	c.collect(nd)
	return o, err
}

// decides is the configuration of slot s, up to which all is chosen but for the last slots.
func (c *simCluster) decides(s wire.Slot) *wire.Membership {
	i := len(c.configs) - 1
	for c.configs[i].From > s {
		i--
	}
	return &c.configs[i]
}

// newlyChosen is told of each slot's value when it is first delivered. It demands that a quorum of the slot's own configuration has
// durable votes for it at one ballot, whatever a replica says.
func (c *simCluster) newlyChosen(nd *testNode, ch *Chosen) {
	m := c.decides(ch.Slot)
	if !c.rotted {
		votes := map[wire.Ballot]int{}
		q := c.cfg.Quorums.of(len(m.Members))
		best, need, enough := 0, q.Accept, false
		for _, n := range c.nodes {
			if !m.Has(n.id) {
				continue
			}
			seen := map[wire.Ballot]bool{}
			n.eachDurable(func(rec *wire.Record) {
				if rec.Kind != wire.KindAccept || rec.Slot != ch.Slot || seen[rec.Ballot] {
					return
				}
				size := q.Accept
				if rec.Scope == wire.ScopeAny {
					if size = q.Fast; rec.Chosen != tagAsSlot(ch.Value) {
						return // a vote for another value
					}
				}
				seen[rec.Ballot] = true
				if votes[rec.Ballot]++; votes[rec.Ballot] > best {
					best, need = votes[rec.Ballot], size
				}
				enough = enough || votes[rec.Ballot] >= size
			})
		}
		if !enough {
			c.t.Fatalf("CONFIGURATION: node %d learned slot %d, for which %d of the %d members that decide it (%v) have voted at one ballot, %d are needed",
				nd.id, ch.Slot, best, len(m.Members), m, need)
		}
	}
	if after := c.configs.After(ch.Slot, ch.Value, nd.r.c.Alpha); after[len(after)-1].Slot == ch.Slot {
		last, next := c.configs[len(c.configs)-1], after[len(after)-1]
		apart := 0
		for _, x := range last.Members {
			if !next.Has(x.Node) {
				apart++
			}
		}
		for _, x := range next.Members {
			if !last.Has(x.Node) {
				apart++
			}
		}
		if apart != 1 {
			c.t.Fatalf("ADJACENT: configuration %v follows %v", next, last)
		}
		c.configs = append(c.configs, next)
		c.stats["changes"]++
	}
}

func (c *simCluster) node(id wire.NodeID) *testNode { return c.nodes[id-1] }

// start brings a node up from its disk.
func (c *simCluster) start(nd *testNode) {
	st := NewState(nd.snapshot)
	if nd.auxiliary(c) {
		st = NewAuxiliaryState()
		nd.forgets = nd.forgot
		mark := wire.TrimRecord(testCluster, 1, nd.id, nd.forgot)
		if err := st.Load(&mark); err != nil {
			c.t.Fatalf("node %d: %v", nd.id, err)
		}
		mark.Frame.Release()
	}
	vouched := wire.Slot(0)
	for _, p := range nd.disk {
		f := wire.GetCopy(p)
		var rec wire.Record
		if err := wire.DecodeRecord(f, &rec); err != nil {
			c.t.Fatalf("node %d: record does not decode: %v", nd.id, err)
		}
		if err := st.Load(&rec); err != nil {
			c.t.Fatalf("node %d: %v", nd.id, err)
		}
		if rec.Kind == wire.KindRecPromise && rec.Chosen > 0 {
			vouched = max(vouched, rec.Chosen)
		}
		f.Release()
	}
	cfg := c.cfg
	cfg.Self = nd.id
	if nd.joined {
		cfg.Join, cfg.Nodes = true, append(slices.Clone(cfg.Nodes), nd.id)
	}
	nd.members = nd.snapped
	if nd.members == nil {
		nd.members = cfg.Founding()
	}
	st.Members(nd.snapped)
	cfg.Seed ^= nd.starts << 32
	nd.starts++
	if nd.suspect != "" {
		st.Suspect(nd.suspect)
	}
	if nd.vouched {
		st.Vouch()
		nd.vouched = false
	}
	nd.base, nd.synced, nd.lsn, nd.waiting = len(nd.disk), len(nd.disk), 0, nil
	nd.applied = nd.snapshot
	nd.proposed = map[wire.Slot]string{}
	cfg.Fresh = nd.starts == 1 || c.told
	nd.r = New(cfg, st)
	if nd.r.c.Lease > 0 && c.told && nd.starts > 1 {
		nd.r.lease.unknown = true
	}
	nd.r.Clock(nd.now(c))
	if nd.r.chosen < vouched {
		c.t.Fatalf("RECOVERY: node %d knew slots up to %d when it last promised, and up to %d after a restart", nd.id, vouched, nd.r.chosen)
	}
	c.collect(nd)
}

// auxiliary says whether the node is one.
func (nd *testNode) auxiliary(c *simCluster) bool { return slices.Contains(c.cfg.Auxiliary, nd.id) }

// told is the slot up to which an Accepted needs no vote.
func (nd *testNode) told(c *simCluster) wire.Slot {
	if nd.auxiliary(c) {
		return nd.r.trimmed
	}
	return nd.snapshot
}

// forgetVotes is told that an auxiliary forgets its votes up to slot s: every main node must hold what is chosen there.
func (c *simCluster) forgetVotes(nd *testNode, s wire.Slot) {
	nd.forgets = s
	for _, n := range c.nodes {
		for t := n.snapshot + 1; t <= s && !n.auxiliary(c) && !c.rotted; t++ {
			if !n.hasDurable(t) {
				c.t.Fatalf("HELD: auxiliary node %d forgets its votes up to slot %d, node %d lacks slot %d", nd.id, s, n.id, t)
			}
		}
	}
}

// crash stops a node; of what was not synced the first keep records survive.
func (c *simCluster) crash(nd *testNode, keep int) {
	nd.r.Close()
	nd.r = nil
	nd.disk = nd.disk[:min(nd.synced+keep, len(nd.disk))]
	for i := range nd.said[len(nd.disk):] { // never told to anybody: it may vote otherwise
		delete(c.byRound, fastVote(nd, &nd.said[len(nd.disk)+i]))
	}
	nd.said = nd.said[:len(nd.disk)]
	nd.waiting = nil
}

// rot takes the last n records of a node that is down, synced or not, and lets it know.
func (c *simCluster) rot(nd *testNode, n int) {
	c.rotted = true
	nd.disk = nd.disk[:max(0, len(nd.disk)-n)]
	nd.said = nd.said[:len(nd.disk)]
	nd.synced = len(nd.disk)
	nd.suspect = "the end of its log is damaged"
}

// suspects is how many nodes are, those that are down included.
func (c *simCluster) suspects() (n int) {
	for _, nd := range c.nodes {
		if nd.suspect != "" {
			n++
		}
	}
	return n
}

// quorum is how many nodes must not be suspect.
func (c *simCluster) quorum() int {
	n, q := len(c.nodes), c.cfg.Quorums.of(len(c.nodes))
	most := max(majority(n), q.Prepare, q.Accept, n-min(q.Prepare, q.Accept)+1)
	if c.cfg.Mode == ModeFast {
		most = max(most, 2*(n-q.Fast)+1)
	}
	return most
}

// collect takes a node's output: records to its disk, messages to the net or behind their gate.
func (c *simCluster) collect(nd *testNode) {
	out := nd.r.Output()
	for _, rec := range out.Records {
		nd.disk = append(nd.disk, bytes.Clone(rec.Frame.Bytes()))
		said := wire.Record{Kind: rec.Kind, Slot: rec.Slot, Ballot: rec.Ballot, Scope: rec.Scope}
		if rec.Scope == wire.ScopeAny {
			said.Chosen = tagAsSlot(wire.TrustedValue(rec.Frame))
		}
		nd.said = append(nd.said, said)
		nd.lsn++
		if c.trace != nil {
			c.trace.record(nd, &rec)
		}
		if rec.Kind == wire.KindAccept || rec.Kind == wire.KindRecVote {
			c.checkRound(nd, &rec, wire.TrustedValue(rec.Frame).Bytes())
		}
		rec.Frame.Release()
	}
	if out.LastLSN != nd.lsn {
		c.t.Fatalf("node %d: LastLSN %d after %d records", nd.id, out.LastLSN, nd.lsn)
	}
	for _, m := range out.Messages {
		p := bytes.Clone(m.Frame.Bytes())
		m.Frame.Release()
		if m.Gate > nd.lsn {
			c.t.Fatalf("node %d: gate %d beyond its records %d", nd.id, m.Gate, nd.lsn)
		}
		if c.trace != nil {
			c.trace.message(nd, m.To, p, m.Gate != 0)
		}
		if m.Gate != 0 {
			nd.waiting = append(nd.waiting, gated{m.To, p, m.Gate})
			continue
		}
		c.emit(nd, m.To, p)
	}
	for _, mv := range out.Moved {
		c.moved(nd, mv)
	}
	for _, ch := range out.Chosen {
		if ch.Slot != nd.applied+1 {
			c.t.Fatalf("node %d: slot %d delivered after %d", nd.id, ch.Slot, nd.applied)
		}
		nd.applied = ch.Slot
		if c.trace != nil {
			c.trace.chosen(nd, &ch)
		}
		v := bytes.Clone(ch.Value.Bytes())
		if was, ok := c.chosen[ch.Slot]; ok && !bytes.Equal(was, v) {
			c.t.Fatalf("AGREEMENT: slot %d: node %d learned %x, before it was %x", ch.Slot, nd.id, v, was)
		}
		if c.chosen[ch.Slot] == nil {
			c.newlyChosen(nd, &ch)
		}
		c.chosen[ch.Slot] = v
		nd.members = nd.members.After(ch.Slot, ch.Value, nd.r.c.Alpha)
		c.once(&ch)
		c.claims(nd, &ch)
		c.maxSeen = max(c.maxSeen, ch.Slot)
		ch.Frame.Release()
	}
	for _, rd := range out.Reads {
		c.answers[rd.Token] = rd
		if c.trace != nil {
			c.trace.read(nd, rd)
		}
		if rd.OK && rd.Slot < c.reads[rd.Token] {
			c.t.Fatalf("LINEARIZABILITY: read asked for when slot %d was chosen is answered at slot %d", c.reads[rd.Token], rd.Slot)
		}
	}
	for _, e := range out.Events {
		switch e.Kind {
		case EventSuspect:
			nd.suspect = e.Reason
		case EventHealed:
			nd.suspect = ""
		case EventForgot:
			c.forgetVotes(nd, e.Slot)
		}
		c.stats[e.Kind.String()]++
		c.stats["holes"] += e.Holes
		c.stats["reproposed"] += e.Reproposed
		if c.trace != nil {
			c.trace.event(nd, &e)
		}
		if c.onEvent != nil {
			c.onEvent(nd, e)
		}
	}
	nd.r.Applied(nd.applied)
}

// moved takes a value's new slot.
func (c *simCluster) moved(nd *testNode, mv Moved) {
	p, ok := nd.proposed[mv.From]
	if !ok {
		c.t.Fatalf("node %d: moves what nobody proposed in slot %d to slot %d", nd.id, mv.From, mv.To)
	}
	delete(nd.proposed, mv.From)
	if mv.To != 0 {
		nd.proposed[mv.To] = p
		return
	}
	c.stats["lost track"]++
}

// once checks that a proposal is chosen in one slot only. Tests propose every payload once.
func (c *simCluster) once(ch *Chosen) {
	if ch.Value.BlockCount() == 0 {
		return
	}
	p := payload(ch.Value)
	if was, ok := c.where[p]; ok && was != ch.Slot {
		c.t.Fatalf("ONCE: %s is chosen in slot %d and in slot %d", p, was, ch.Slot)
	}
	c.where[p] = ch.Slot
}

// claims checks what a proposer is told of its values.
func (c *simCluster) claims(nd *testNode, ch *Chosen) {
	if c.cfg.Mode == ModeMulti {
		return
	}
	p, ok := nd.proposed[ch.Slot]
	if ok != ch.Own || ok && (ch.Value.IsNoop() || p != payload(ch.Value)) {
		c.t.Fatalf("CLAIM: node %d proposed %q in slot %d; %s is chosen there, its own: %v", nd.id, p, ch.Slot, payload(ch.Value), ch.Own)
	}
	delete(nd.proposed, ch.Slot)
	if ok {
		c.stats["own"]++
	}
}

// emit puts a frame on the net, checking that what it says is on the sender's disk.
func (c *simCluster) emit(nd *testNode, to wire.NodeID, frame []byte) {
	f := wire.GetCopy(frame)
	defer f.Release()
	m := mustDecode(f)
	switch m.Kind {
	case wire.KindLearn, wire.KindFetch, wire.KindHealRequest, wire.KindSeen, wire.KindHeld:
	default:
		if nd.suspect != "" && nd.r.suspect.on {
			c.t.Fatalf("AMNESIA: node %d sends %v while it is suspect", nd.id, m.Kind)
		}
	}
	if m.Kind == wire.KindPrepare {
		c.checkOwner(nd, &m)
	}
	switch m.Kind {
	case wire.KindPromise, wire.KindAccepted, wire.KindFastAccepted, wire.KindPrepare, wire.KindHealReply:
		if p := nd.durablePromise(&m); p < m.Ballot && m.Trimmed < m.Slot && (m.Kind != wire.KindAccepted && m.Kind != wire.KindFastAccepted || m.Slot > nd.told(c)) {
			c.t.Fatalf("DURABLE BEFORE VISIBLE: node %d sends %v of slot %d at ballot %v, its disk holds promise %v", nd.id, m.Kind, m.Slot, m.Ballot, p)
		}
	}
	if m.Kind == wire.KindAccepted || m.Kind == wire.KindFastAccepted {
		for s := m.Slot; s < m.Slot+wire.Slot(m.Count); s++ {
			if s > nd.told(c) && !nd.hasDurable(s) {
				c.t.Fatalf("DURABLE BEFORE VISIBLE: node %d says it accepted slot %d, its disk does not", nd.id, s)
			}
		}
	}
	c.net = append(c.net, packet{nd.id, to, frame})
}

// checkOwner holds every Prepare against the rule that a ballot is used by one life of its node, whatever that has forgotten.
func (c *simCluster) checkOwner(nd *testNode, m *wire.Message) {
	k := fmt.Sprint("/", m.Ballot)
	if m.Scope == wire.ScopeSlot {
		k = fmt.Sprint(m.Slot, k)
	}
	if was, ok := c.owners[k]; ok && was != nd.starts {
		c.t.Fatalf("BALLOT REUSED: node %d prepares ballot %v again, in its start %d; before it was %d", nd.id, m.Ballot, nd.starts, was)
	}
	c.owners[k] = nd.starts
}

// durablePromise is the promise on the disk for the slot that m is about, or, in healing, the highest for any.
func (nd *testNode) durablePromise(m *wire.Message) (b wire.Ballot) {
	nd.eachDurable(func(rec *wire.Record) {
		ofSlot := rec.Kind == wire.KindRecPromise && rec.Slot != 0 || rec.Kind == wire.KindAccept && rec.Scope == wire.ScopeSlot
		if rec.Kind != wire.KindLearn && (!ofSlot || rec.Slot == m.Slot || m.Kind == wire.KindHealReply) {
			b = max(b, rec.Ballot)
		}
	})
	return b
}

func (nd *testNode) hasDurable(s wire.Slot) (found bool) {
	nd.eachDurable(func(rec *wire.Record) { found = found || rec.Slot == s && rec.Kind != wire.KindRecPromise })
	return found
}

func (nd *testNode) eachDurable(fn func(*wire.Record)) {
	for i := range nd.said[:nd.synced] {
		fn(&nd.said[i])
	}
}

// checkRound holds every vote against the rule that one ballot proposes one value in a slot; a fast ballot may propose several,
// and a node votes for one of them.
func (c *simCluster) checkRound(nd *testNode, rec *wire.Record, v []byte) {
	s, b := rec.Slot, rec.Ballot
	k := fmt.Sprint(s, "/", b)
	if c.cfg.Mode == ModeFast && isFast(b) {
		if rec.Kind == wire.KindRecVote {
			return
		}
		k = fastVote(nd, rec)
	}
	if was, ok := c.byRound[k]; ok && !bytes.Equal(was, v) {
		c.t.Fatalf("ONE VALUE PER BALLOT: slot %d ballot %v: %x and %x", s, b, was, v)
	}
	c.byRound[k] = bytes.Clone(v)
}

// tagAsSlot puts the tag of a value where testNode.said has room for it.
func tagAsSlot(v wire.Batch) wire.Slot { return wire.Slot(v.Tag()) }

// fastVote is byRound's key for a node's own vote at a fast ballot.
func fastVote(nd *testNode, rec *wire.Record) string {
	return fmt.Sprint(rec.Slot, "/", rec.Ballot, " by ", nd.id)
}

// sync makes the first n records not yet synced durable and lets go what waited for them.
func (c *simCluster) sync(nd *testNode, n int) {
	nd.synced, nd.forgot = min(nd.synced+n, len(nd.disk)), nd.forgets
	lsn := wire.LSN(nd.synced - nd.base)
	keep := nd.waiting[:0]
	for _, g := range nd.waiting {
		if g.gate <= lsn {
			c.emit(nd, g.to, g.frame)
		} else {
			keep = append(keep, g)
		}
	}
	nd.waiting = keep
	nd.r.Durable(lsn)
	c.collect(nd)
}

// deliver takes packet i off the net and gives it to its node, if that is up.
func (c *simCluster) deliver(i int) {
	p := c.net[i]
	c.net = append(c.net[:i], c.net[i+1:]...)
	c.hand(p)
}

func (c *simCluster) hand(p packet) {
	if int(p.to) > len(c.nodes) {
		return // nobody is there
	}
	nd := c.node(p.to)
	if nd.r == nil || c.isolated != 0 && (p.from == c.isolated || p.to == c.isolated) || c.side[p.from] != c.side[p.to] {
		return
	}
	f := wire.GetCopy(p.frame)
	m := mustDecode(f)
	nd.r.Clock(nd.now(c))
	nd.r.Step(&m)
	f.Release()
	c.collect(nd)
}

func (c *simCluster) tick(nd *testNode) {
	if nd.rate == 0 {
		nd.clock++ // a story counts time in ticks
	}
	nd.r.Clock(nd.now(c))
	nd.r.Tick()
	c.collect(nd)
}

// propose hands node nd a batch whose one command says payload.
func (c *simCluster) propose(nd *testNode, payload string) (wire.Slot, Outcome) {
	f := testAccept(payload)
	s, o := nd.r.Propose(f)
	if o != Taken {
		f.Release()
	} else {
		nd.proposed[s] = payload
	}
	c.collect(nd)
	return s, o
}

func testAccept(payload string) *wire.Buffer {
	cmd := wire.AppendCommand(nil, []byte(payload))
	blk := append(wire.AppendBlockHeader(nil, 0, 0, 0, 1, len(cmd)), cmd...)
	f := wire.NewAccept(wire.BatchHeaderSize + len(blk))
	wire.PutBatchHeader(f.Extend(wire.BatchHeaderSize), wire.BatchBlocks, wire.CompressNone, 1, 1, len(blk), len(blk))
	f.Append(blk)
	return f
}

// payload is the inverse of testAccept, for traces.
func payload(b wire.Batch) string {
	if b.IsNoop() {
		return "no-op"
	}
	if b.IsMembers() {
		return "members " + b.Membership().String()
	}
	it := b.Blocks()
	blk, _ := it.Next()
	cmds := blk.Commands()
	cmd, _ := cmds.Next()
	return string(cmd)
}

func (c *simCluster) read(nd *testNode) {
	c.token++
	c.reads[c.token] = c.maxSeen
	if nd.r.Read(c.token) == Taken {
		c.stats["reads"]++
	}
	c.collect(nd)
}

// now is what a node's clock shows.
func (nd *testNode) now(c *simCluster) int64 { return nd.clock + int64(float64(c.time)*nd.rate) }

// leaseRead is a read by lease that was asked for and not answered.
type leaseRead struct {
	nd   *testNode
	life uint64
	l    Lease
	seen wire.Slot // delivered anywhere when it was asked for
}

// readByLease asks for a read by lease, if there is one.
func (c *simCluster) readByLease(nd *testNode) {
	if l := nd.r.Lease(); l.Ballot != 0 && len(c.asked) < 100 {
		c.asked = append(c.asked, leaseRead{nd, nd.starts, l, c.maxSeen})
	}
}

// answerByLease answers read i, if it may be.
func (c *simCluster) answerByLease(i int) {
	q := c.asked[i]
	c.asked = append(c.asked[:i], c.asked[i+1:]...)
	if q.nd.r == nil || q.nd.starts != q.life || q.nd.applied < q.l.From {
		return
	}
	if l := q.nd.r.Lease(); l.Ballot != q.l.Ballot || q.nd.now(c) >= l.Until {
		c.stats["lease gone"]++
		return
	}
	c.stats["lease reads"]++
	if q.nd.applied < q.seen {
		c.t.Fatalf("LINEARIZABILITY: read by lease asked for when slot %d was chosen is answered at slot %d", q.seen, q.nd.applied)
	}
}

// oneHolder demands that nobody leads beside a lease.
func (c *simCluster) oneHolder() {
	for _, a := range c.nodes {
		if a.r == nil || a.r.role != Leader || a.r.c.Lease == 0 || a.r.leaseUntil() <= a.now(c) {
			continue
		}
		for _, b := range c.nodes {
			if b.r != nil && b.r.role == Leader && b.r.ballot > a.r.ballot {
				c.t.Fatalf("LEASE: node %d leads at ballot %v, the lease of node %d at ballot %v is not over", b.id, b.r.ballot, a.id, a.r.ballot)
			}
		}
	}
}

// snap lets a node take a snapshot of what it applied and trim its log and disk below it.
func (c *simCluster) snap(nd *testNode) {
	s := nd.applied
	nd.r.Trim(s)
	c.collect(nd)
	nd.trimDisk(s, nd.r.promised)
	nd.snapped = nd.members
}

// trimDisk rewrites the disk as a log with a new first segment would be: the promise, then what is above the snapshot.
func (nd *testNode) trimDisk(s wire.Slot, promised wire.Ballot) {
	nd.snapshot = max(nd.snapshot, s)
}

// install copies the state of node from to node to, as a snapshot transfer does.
func (c *simCluster) install(from, to *testNode) {
	s := from.snapshot
	if s <= to.applied {
		return
	}
	to.snapshot = s
	to.applied = s
	to.snapped, to.members = from.snapped, from.snapped
	to.r.Installed(s, from.snapped)
	c.collect(to)
	c.stats["installs"]++
}

// settle delivers, syncs and ticks without faults until nothing is left to do or the rounds are used up.
func (c *simCluster) settle(rounds int, done func() bool) bool {
	for range rounds {
		c.time += 20
		for len(c.net) > 0 {
			c.deliver(0)
		}
		for _, nd := range c.nodes {
			if nd.r != nil {
				c.sync(nd, 1<<30)
				c.tick(nd)
			}
		}
		if done() {
			return true
		}
	}
	return false
}

// leader returns the node that leads at the highest ballot, or the first that takes proposals, or nil.
func (c *simCluster) leader() (best *testNode) {
	for _, nd := range c.nodes {
		if nd.r != nil && nd.r.role == Proposer {
			return nd
		}
		if nd.r != nil && nd.r.role == Leader && (best == nil || nd.r.ballot > best.r.ballot) {
			best = nd
		}
	}
	return best
}

func (c *simCluster) close() {
	for _, nd := range c.nodes {
		if nd.r != nil {
			nd.r.Close()
			nd.r = nil
		}
	}
}
