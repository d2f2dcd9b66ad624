package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Replica is one member's state of one group: acceptor, proposer and learner over one log. See the package comment.
type Replica struct {
	c    Config
	self int // index of Self in nodes

	// Who decides which slots (members.go). Sets of nodes, and peers, go by the index in nodes.
	nodes      []wire.NodeID // contacts: members of today, of yesterday and perhaps of tomorrow
	addrs      []string      // by the same index; empty: not known
	configs    []members     // that of the next slot above the chosen prefix, and those chosen that follow it
	proposed   []members     // leader: changes that it proposes, or is about to; not yet chosen
	members    nodeSet       // of all of these
	joining    nodeSet       // leader: a node that is to become a member
	changing   changing      // leader: a change under way
	settled    bool          // leader: a quorum of the members in force has learned what was decided before them
	settleMark wire.LSN      // leader: the record that holds what it had learned itself by then
	lateAsked  uint64        // leader: tick of the last late request for promises
	met        bool          // contacts have come that the configuration did not name
	removed    bool          // it was a member and is none any more

	// Acceptor.
	promised wire.Ballot // no vote below; a promise leaves only when the record of it is durable
	highest  wire.Ballot // of the promises for single slots
	log      slotLog
	ack      ackRun // votes of this output not yet told

	announced ackRun // slots learned in this output of which those who do not count votes have not been told

	promisedTo nodeSet // who was sent a promise in this output

	// Learner. Invariant: trimmed <= applied <= chosen; log.base == trimmed+1.
	chosen  wire.Slot // chosen prefix: every slot up to here is learned
	applied wire.Slot
	trimmed wire.Slot
	told    announcement
	fetch   fetchState
	sum     uint32 // of the values of the chosen prefix (chain.go); 0: not known

	// Records. Invariant: durable <= lsn.
	lsn     wire.LSN
	durable wire.LSN
	moved   uint64 // tick at which durable last moved, or records were first outstanding
	stalled bool

	// Leadership.
	role     Role
	leader   wire.NodeID
	ballot   wire.Ballot // own, when probing, preparing or leading; else the leader's
	counter  uint32      // highest ballot counter seen
	jump     uint32      // how far messages may lift counter before the next tick
	now      uint64      // ticks
	deadline uint64      // tick at which silence becomes an election
	heard    uint64      // tick of the last sign of life of the leader
	rng      rng
	peers    []peer // by node index; the own one is unused

	// Proposer.
	grants    tally          // of the probe, then of the prepare
	prepFrom  wire.Slot      // first slot asked for in Prepare
	prepLSN   wire.LSN       // record of the own promise
	next      wire.Slot      // leader: next slot to propose in
	pending   []*wire.Buffer // leader: what phase 1 found in slots from next on whose configuration is not known yet; nil: chosen
	barrier   wire.Slot      // leader: the first slot of its own: no read before it is chosen
	own       ownRecords
	round     uint64 // read-index rounds
	roundOpen bool   // a heartbeat of this round is in the current output
	beat      uint64 // tick of the last heartbeat
	crowded   uint64 // leader: tick since which its log is full; 0: it is not
	reads     []pendingRead

	lease leaseState
	aux   auxiliaries

	// Healing (suspect.go).
	suspect       suspicion
	back          comeback               // it has started, and others are asked what they have seen of it
	remembered    map[wire.NodeID]uint64 // incarnations on record, of contacts that may come
	order         []int                  // scratch
	incarnations  []uint64               // by node index: the highest known of each; 0: never healed
	stamp         []byte                 // incarnations as messages and records carry them; empty: all are 0
	stampRecorded bool                   // the last promise record has them
	basic         *basic                 // the proposer of independent instances; nil: slots belong to a leader
	fast          *fast                  // its part in fast rounds; nil: there are none

	out   Output
	taken bool // out was handed out: the next call starts a new one

	ignored, stale, resent, refused, leased uint64
}

// peer is what a replica knows of another.
type peer struct {
	chosen  wire.Slot // independent instances, fast rounds: its chosen prefix, as last heard of
	heard   uint64    // the same: tick of the last message
	seen    uint64    // leader: tick of the last answer at its ballot
	round   uint64    // highest read round answered
	upTo    wire.Slot // independent instances: the last slot it had voted in when it answered that round
	fit     bool      // independent instances: it says that it hears a quorum
	crowded bool      // leader: its log is full
	leased  int64     // leader: until when it counts on its grant
	voted   wire.Slot // highest slot it told this replica a vote for

	promised wire.Ballot // ModeMulti: the highest that it promised this replica
	answered bool        // it has told what it has seen of this replica (back.go)

	learned wire.Slot // leader: its chosen prefix, durable, as last heard of; with auxiliaries: see holds
	promise promiseParts
}

// New makes a replica. st is what was recovered and belongs to the replica from now on; nil is an empty disk. The first
// Output hands out the recovered chosen slots above the snapshot. It panics on an invalid configuration: see
// Config.Validate.
func New(c Config, st *State) *Replica {
	if err := c.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	c = c.withDefaults()
	if st == nil {
		st = c.newState()
	}
	r := &Replica{
		c:        c,
		promised: st.promised, highest: st.highest, log: st.log,
		chosen: st.snapshot, applied: st.snapshot, trimmed: st.snapshot,
		counter: max(st.promised, st.highest).Counter(),
		jump:    wire.BallotJumpMax,
		told:    st.told, remembered: st.incarnations,
		rng: rng(c.Seed ^ uint64(c.Self)<<32 ^ uint64(c.Group)),
	}
	r.found(st.memberships)
	r.auxiliary()
	if c.Mode == ModeFast {
		r.startFast()
	}
	r.startLeases()
	r.recoverIncarnations(st)
	for s := st.snapshot + 1; s <= st.chosen; s++ {
		r.deliver(s)
	}
	r.restartElection()
	r.startBack()
	if c.Mode == ModeBasic {
		r.startBasic()
	}
	return r
}

// rng is the jitter's source: splitmix64 (Steele, Lea, Flood 2014), seeded, so that a run repeats.
type rng uint64

// below returns a number in [0, n).
func (g *rng) below(n int) uint64 {
	*g += 0x9e3779b97f4a7c15
	z := uint64(*g)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) % uint64(n)
}

// index returns the index of node n, or -1.
func (r *Replica) index(n wire.NodeID) int {
	for i, m := range r.nodes {
		if m == n {
			return i
		}
	}
	return -1
}

// begin starts a new output if the last one was handed out.
func (r *Replica) begin() {
	if !r.taken {
		return
	}
	r.taken = false
	o := &r.out
	clear(o.Records)
	clear(o.Messages)
	clear(o.Chosen)
	o.Records, o.Messages, o.Chosen = o.Records[:0], o.Messages[:0], o.Chosen[:0]
	o.Moved, o.Reads, o.Events = o.Moved[:0], o.Reads[:0], o.Events[:0]
}

// Output returns what is to be done since the last call. See type Output for who owns what.
func (r *Replica) Output() *Output {
	r.begin()
	if r.fast != nil {
		r.qualifyFast()
	}
	r.flushAck()
	r.flushTold()
	r.roundOpen = false
	r.promisedTo = 0
	r.taken = true
	r.out.LastLSN = r.lsn
	return &r.out
}

// Step takes a message from a peer. Messages may be lost, repeated, late or overtaken; what makes no sense is counted
// and dropped. The frame stays the caller's: Step retains what it keeps.
func (r *Replica) Step(m *wire.Message) {
	r.begin()
	from := r.index(m.From)
	if m.Kind == wire.KindMembers && m.From != r.c.Self && m.Group == r.c.Group {
		r.onMembers(m)
		return
	}
	if (m.Kind == wire.KindProbe || m.Kind == wire.KindPrepare && m.Ballot > r.promised) && r.expels(m.From) { // not of a leader that settles its own removal
		r.tellMembers(m.From)
		return
	}
	if from < 0 || from == r.self || m.Group != r.c.Group || !r.sensible(m) {
		r.ignored++
		return
	}
	r.hear(m)
	if r.basic != nil || r.fast != nil {
		r.heardOf(m, from)
	}
	switch {
	case m.Kind == wire.KindBack:
		r.onBack(m, from)
		return
	case r.suspect.on:
		r.stepSuspect(m, from)
		return
	case m.Kind == wire.KindSeen:
		r.onSeen(m, from)
		return
	case r.back.until != 0:
		r.stepBack(m, from)
		return
	}
	switch m.Kind {
	case wire.KindPrepare:
		r.onPrepare(m)
	case wire.KindAccept:
		r.onAccept(m, from)
	case wire.KindAccepted:
		r.onAccepted(m, from)
	case wire.KindFetch:
		r.onFetch(m, from)
	case wire.KindLearn:
		r.onLearn(m)
	case wire.KindHealRequest:
		r.onHealRequest(m, from)
	case wire.KindHeld:
		r.onHeld(m)
	default:
		if r.basic != nil {
			r.basicStep(m, from)
		} else {
			r.leaderStep(m, from)
		}
	}
}

// leaderStep takes the messages that make a leader and keep it.
func (r *Replica) leaderStep(m *wire.Message, from int) {
	if r.fast != nil && r.fastMessage(m, from) {
		return
	}
	switch m.Kind {
	case wire.KindPromise:
		r.onPromise(m, from)
	case wire.KindReject:
		r.onReject(m)
	case wire.KindHeartbeat:
		r.onHeartbeat(m)
	case wire.KindHeartbeatAck:
		r.onHeartbeatAck(m, from)
	case wire.KindProbe:
		r.onProbe(m)
	case wire.KindProbeAck:
		r.onProbeAck(m, from)
	case wire.KindResign:
		r.onResign(m)
	default:
		r.ignored++
	}
}

// ballotRefill is how far the ballot counter may be lifted by others each tick, on average: far more than any number of
// elections, and months until it is used up.
const ballotRefill = 8

// sensible refuses ballots that their sender cannot own or that would use up the counter, and slots beyond reach
// (FAULTS.md, F36 and F40); it also notes the highest ballot seen, which the next own ballot exceeds.
func (r *Replica) sensible(m *wire.Message) bool {
	for _, b := range [...]wire.Ballot{m.Ballot, m.Promised} {
		if b.Counter() > r.counter && b.Counter()-r.counter > r.jump {
			return false
		}
		if b != 0 && r.index(b.Node()) < 0 && !r.changed() {
			return false
		}
	}
	switch m.Kind {
	case wire.KindPrepare, wire.KindAccept, wire.KindHeartbeat, wire.KindProbe, wire.KindAny, wire.KindResign:
		if m.Ballot.Node() != m.From && (r.fast == nil || m.Scope != wire.ScopeAny) {
			return false
		}
	case wire.KindReject:
		if m.Ballot.Node() != r.c.Self {
			return false
		}
	case wire.KindLearn:
		if m.Ballot == 0 {
			return false
		}
	}
	if r.fast != nil && !sensibleFast(m) || !r.withinReach(m) {
		return false
	}
	if m.Kind != wire.KindProbe { // a probe's ballot is not in use yet
		seen := max(r.counter, m.Ballot.Counter(), m.Promised.Counter())
		r.jump -= seen - r.counter
		r.counter = seen
	}
	return true
}

// withinReach says that what m says of slots fits what this replica can hold, and the mode.
func (r *Replica) withinReach(m *wire.Message) bool {
	last := m.Slot
	switch m.Kind {
	case wire.KindLearn:
	case wire.KindPrepare:
		if r.fast == nil && m.Scope != r.scope() {
			return false
		}
		if m.Scope == wire.ScopeRange {
			return true
		}
	case wire.KindAccept:
		if r.fast == nil && m.Scope != r.scope() {
			return false
		}
		if r.aux.self {
			return r.reaches(m)
		}
	case wire.KindAccepted, wire.KindChosen, wire.KindFastAccepted, wire.KindFastChosen:
		last += wire.Slot(m.Count) - 1
	default:
		return true
	}
	return m.Slot > 0 && (last <= r.chosen || last-r.chosen <= wire.SlotsAheadMax)
}

// scope is what the ballots of this replica's mode are for.
func (r *Replica) scope() wire.Scope {
	if r.basic != nil {
		return wire.ScopeSlot
	}
	return wire.ScopeRange
}

// Durable tells that this replica's records up to lsn are on the disk. Numbers may be skipped and repeated.
func (r *Replica) Durable(lsn wire.LSN) {
	r.begin()
	if lsn > r.lsn {
		panic(fmt.Sprintf("BUG: paxos: record %d is durable, only %d were handed out", lsn, r.lsn))
	}
	if lsn <= r.durable {
		return
	}
	r.durable = lsn
	r.moved = r.now
	r.stalled = false
	r.ownPromiseDurable()
	r.ownRecordsDurable()
	r.healDurable()
}

// Applied tells that the state machine has executed every slot up to s.
func (r *Replica) Applied(s wire.Slot) {
	r.begin()
	if s > r.chosen {
		panic(fmt.Sprintf("BUG: paxos: slot %d applied, chosen prefix is %d", s, r.chosen))
	}
	r.applied = max(r.applied, s)
}

// Trim forgets the slots up to and including s: a durable snapshot has them. s beyond what is applied is a bug.
func (r *Replica) Trim(s wire.Slot) {
	r.begin()
	if s > r.applied {
		panic(fmt.Sprintf("BUG: paxos: trim of slot %d, applied is %d", s, r.applied))
	}
	if s > r.trimmed {
		r.trimmed = s
		r.log.dropTo(s)
	}
}

// Installed tells that a snapshot at slot s, received from a peer, is durable and is now the state machine's state; h is what it says
// of the configurations, nil if the membership is never changed.
// It never takes anything back: not the promise, and not a chosen prefix already beyond s.
func (r *Replica) Installed(s wire.Slot, h Memberships) {
	r.begin()
	if plant.Is(plant.InstallForgetsPromise) {
		r.promised = 0
	}
	if s <= r.chosen {
		r.applied = max(r.applied, s)
		return
	}
	switch {
	case r.basic != nil:
		r.skipTo(s)
	case r.fast != nil:
		r.skipFast(s)
	}
	r.log.dropTo(s)
	r.chosen, r.applied, r.trimmed = s, s, s
	r.sum = 0 // until the chain begins anew
	r.fetch = fetchState{size: r.fetch.size}
	if h != nil && !plant.Is(plant.MembersNotInSnapshot) {
		r.withdraw(s)
		r.setMemberships(h)
		r.checkRemoved(&r.configs[0].Membership)
	}
	r.learnAnnounced()
	if r.role == Leader && r.fast == nil || r.role == Preparing {
		// Its prepare asked for slots that are now in the snapshot; what it proposed there is settled. Start over.
		r.stepDown("a snapshot overtook its prepare")
	}
	// What comes after it is asked for at once: a few ticks later others may have trimmed it, and the next snapshot would be too
	// old again, and so on for as long as they are busy.
	if r.suspect.on && r.suspect.attempt != 0 && r.suspect.lsn == 0 {
		for i := range r.peers {
			r.askPromise(i)
		}
	}
	r.sendFetch()
}

// Close releases every frame the replica holds. Nothing may be called afterwards.
func (r *Replica) Close() {
	r.begin()
	r.dropPromises()
	r.dropPending()
	if r.basic != nil {
		r.basic.close()
	}
	if r.fast != nil {
		r.closeFast()
	}
	r.log.dropTo(r.log.last())
}

// Config is the configuration with its defaults.
func (r *Replica) Config() Config { return r.c }

// Status returns a copy of the replica's state.
func (r *Replica) Status() Status {
	st := Status{
		Role: r.role, Leader: r.leader, Ballot: r.ballot, Promised: r.promised,
		Chosen: r.chosen, Applied: r.applied, Trimmed: r.trimmed, Last: r.log.last(),
		Window: r.c.Window, LogBytes: r.log.bytes, AheadBytes: r.log.ahead(), PromiseBytes: r.promiseBytes(), Reads: len(r.reads),
		Ignored: r.ignored, Stale: r.stale, Resent: r.resent, Refused: r.refused, Leased: r.leased,
	}
	r.suspectStatus(&st)
	st.Members, st.Removed = r.newest().Slot, r.removed
	st.Auxiliary, st.Engaged = r.aux.self, r.role == Leader && r.aux.engaged
	switch {
	case r.fast != nil:
		st.InFlight, st.Last, st.Fast, st.Taking = len(r.fast.offers), r.lastVoted(), r.fast.stats, r.fast.taking != 0
	case r.role == Leader:
		st.InFlight, st.LeaseUntil = r.inFlight(), r.Lease().Until
	case r.basic != nil:
		st.InFlight, st.Last, st.Basic = r.basic.inFlight(), r.lastUsed(), r.basic.stats
	}
	return st
}

// Held is what a replica holds that is bounded, as in Status.
type Held struct {
	LogBytes     int64
	PromiseBytes int64
	Reads        int
}

// Held is a part of Status that is cheap to ask for.
func (r *Replica) Held() Held { return Held{r.log.bytes, r.promiseBytes(), len(r.reads)} }

// record appends to the output a record, taking over one reference, and returns its number.
func (r *Replica) record(rec wire.Record) wire.LSN {
	if r.lsn == r.durable {
		r.moved = r.now
	}
	r.lsn++
	r.out.Records = append(r.out.Records, rec)
	return r.lsn
}

// send appends a message to one peer.
func (r *Replica) send(to wire.NodeID, m *wire.Message, gate wire.LSN) {
	r.sign(m)
	r.sendFrame(to, m.Encode(r.c.Cluster), gate)
}

// sign fills in what every message says.
func (r *Replica) sign(m *wire.Message) {
	m.Group, m.From, m.Chosen = r.c.Group, r.c.Self, r.chosen
	if plant.Is(plant.AnnouncedBeyondPrefix) && r.role == Leader && m.Kind == wire.KindHeartbeat {
		m.Chosen = r.next - 1
	}
	if m.Kind == wire.KindHeartbeat && m.Chosen == r.chosen {
		m.Chain = r.sum
	}
}

// sendTo appends a message to each peer in the set: encoded once.
func (r *Replica) sendTo(to nodeSet, m *wire.Message, gate wire.LSN) {
	switch to.size() {
	case 0:
		return
	case 1:
		r.send(r.nodes[to.first()], m, gate)
		return
	}
	r.sign(m)
	f := m.Encode(r.c.Cluster)
	r.broadcastFrame(f, gate, to)
	f.Release()
}

// sendFrame appends a frame to one peer, taking over one reference.
func (r *Replica) sendFrame(to wire.NodeID, f *wire.Buffer, gate wire.LSN) {
	if gate <= r.durable {
		gate = 0
	}
	r.out.Messages = append(r.out.Messages, Outgoing{To: to, Frame: f, Gate: gate})
}

// broadcast appends a message to every peer: encoded once.
func (r *Replica) broadcast(m *wire.Message, gate wire.LSN) {
	r.sendTo(r.members.without(r.self), m, gate)
}

// broadcastFrame appends a frame to every peer in the set, taking a reference for each.
func (r *Replica) broadcastFrame(f *wire.Buffer, gate wire.LSN, to nodeSet) {
	for i, n := range r.nodes {
		if i != r.self && to.has(i) {
			r.sendFrame(n, f.Retain(), gate)
		}
	}
}

func (r *Replica) event(e Event) { r.out.Events = append(r.out.Events, e) }
