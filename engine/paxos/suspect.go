package paxos

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// A replica that may have forgotten a promise or a vote is suspect: its log ended in something that may have been durable,
// or somebody proves that it once knew more. It learns and serves what is chosen, which cannot be unsaid, but it does not
// promise, vote, refuse, grant or lead, until it has been healed (FAULTS.md, amnesia rule).
//
//	suspect X                                   every other node Y
//	HealRequest(number, from slot)          ->  record that X lives in incarnation `number` now
//	                                            and, once that is durable,
//	collect the parts of each Y             <-  HealReply(number, highest promise, every vote from slot on)
//	a majority of the cluster without X whole:
//	adopt the highest promise and the highest vote of each slot, record them with the own number; durable: vote again
//
// An adopted vote is reported to later proposers like one's own. It is recorded as RecVote and not as Accept, because it
// was not cast: at its ballot it must not complete a quorum.
//
// # Why it is safe
//
// Call a quorum's members other than X its rest; it has quorum-1 of the other nodes. The healing quorum H has quorum of
// them, so it meets every rest in at least one node Y (3 nodes: rest 1, H 2 of 2; 5 nodes: rest 2, H 3 of 4).
//
// 1. X's forgotten promise of ballot m, counted by proposer P in a quorum of promises. Y of its rest promised m (or is P,
// whose promise is durable before its Prepare leaves).
//
//   - Y promised before it answered X: X adopts a promise >= m, and keeps what it forgot that it had promised.
//   - Y promised after: its Promise carries X's new number, P hears of it before it counts Y, and drops X's earlier
//     promise (forget). Also when P is not in H (5 nodes: P, X and Y promise, H is Y and the two others).
//
// 2. X's forgotten vote in slot s at ballot b, counted by leader P in a quorum of votes. Y of its rest voted.
//
//   - Y voted before it answered X: X adopts that vote, or one of a higher ballot, which has the same value if the slot
//     was chosen (P2c). Every later quorum of promises with X in it hears of it.
//   - Y voted after: Y's Accepted carries X's new number, and P drops X's earlier vote before it counts Y's.
//
// 3. What X said before and what is still under way counts for nothing afterwards, wherever it matters, by 1 and 2; where it
// does not matter (P has heard of no new number from anybody it counts), counting it is right. HeartbeatAck needs no number:
// it says that X had promised nothing higher when it was sent, which was true, and whoever led at a higher ballot by
// then had X's promise in a quorum that 1 covers. Accept, Prepare, Heartbeat of X's former life as leader at ballot b: it led
// because a quorum had promised b, so by 1 X adopts a promise >= b and proposes at none of its old ballots again.
//
// 4. The number of a former life is never used again, nor is its counter: whoever lived in it had it recorded by a healing quorum,
// any two of which share a node, which names it in its answer to a request with the same counter (spokenFor); X then begins again
// above it. The low half of a number is random, so that an answer to an attempt that X has forgotten is not taken for an
// answer to a later one.
//
// (Numbers carried by messages are the crash vectors of Michael, Ports, Sharma and Szekeres, Recovering Shared Objects Without
// Stable Storage, DISC 2017; there nothing is durable, here a node's vector is, so that only a damaged disk starts one.)
//
// # When it does not end
//
// Answers come from nodes that are not suspect themselves. If fewer than a majority of the cluster is left without X
// (two of three suspect, or one suspect and one gone; always with two nodes), X stays suspect: what the others lack may have
// been chosen, and inventing a no-op would lose it (FAULTS.md F25). EventCannotHeal says so.
type suspicion struct {
	on      bool
	why     string
	attempt uint64   // the number it would live on in; 0: not yet drawn
	others  nodeSet  // nodes that said that they are suspect themselves
	stuck   bool     // EventCannotHeal was told
	lsn     wire.LSN // the record that ends it; 0: answers are still collected
}

// healSkip is how many ballot counters a healed replica leaves out: it may have forgotten Prepares of its own that reached
// nobody yet. No more of them fit into one group of records than elections into one write.
const healSkip = 64

// leaveOut makes sure that the next own ballot lies healSkip above the counter seen, and above all others.
func (r *Replica) leaveOut(seen uint32) {
	r.counter = max(r.counter, seen)
	r.counter += min(healSkip, math.MaxUint32-r.counter)
}

// recoverIncarnations takes over what was recorded, and whether the disk is to be trusted.
func (r *Replica) recoverIncarnations(st *State) {
	for i, n := range r.nodes {
		r.incarnations[i] = st.incarnations[n]
	}
	r.restamp()
	r.stampRecorded = true
	if r.incarnations[r.self] != 0 && !plant.Is(plant.LeftOutBallotsReused) {
		// It was healed. The ballots left out then are on record only if it has used one above them since: what was promised may be
		// lower, and each time that it was healed it left out more, above those that it may have used in between.
		for range min(max(heals(r.incarnations[r.self]), 1), healsMost) {
			r.leaveOut(r.counter)
		}
	}
	switch {
	case st.vouched:
		r.vouched()
	case st.suspect != "" && !plant.Is(plant.SuspectVotes):
		r.becomeSuspect(st.suspect)
	}
}

// vouchJump is far more incarnations than a suspect replica asks to be healed in.
const vouchJump = 1 << 16 << 32

// heals is how often a replica may have been healed that lives in this incarnation: each raises the counter in it.
func heals(incarnation uint64) uint64 { return incarnation % vouchJump >> 32 }

// healsMost is for how many heals ballots are left out at a start: with more it would ask for a ballot so far up that others take it for
// senseless.
const healsMost = wire.BallotJumpMax / healSkip / 4

// vouched takes an operator's word that the disk has lost nothing: the replica lives on, with all its memory, in an incarnation
// of its own choice. It needs one, because it has asked others to be healed in incarnations that it does not know, and they
// would count nothing it says in the present one. It votes when the record of it is durable.
func (r *Replica) vouched() {
	r.incarnations[r.self] += vouchJump
	r.restamp()
	r.suspect = suspicion{on: true, why: "an operator vouches for its disk; the record of it is not durable yet", lsn: r.recordPromise(r.promised)}
}

// loadIncarnations takes the incarnations that a record tells. They only grow.
func (s *State) loadIncarnations(p []byte) {
	for it := wire.IterIncarnations(p); ; {
		in, ok := it.Next()
		if !ok {
			return
		}
		if s.incarnations == nil {
			s.incarnations = make(map[wire.NodeID]uint64)
		}
		s.incarnations[in.Node] = max(s.incarnations[in.Node], in.Number)
	}
}

// appendIncarnations encodes the known incarnations, with own as the number of this replica.
func (r *Replica) appendIncarnations(dst []byte, own uint64) []byte {
	for _, i := range r.ascending() {
		n, number := r.nodes[i], r.incarnations[i]
		if i == r.self {
			number = own
		}
		if number != 0 {
			dst = wire.AppendIncarnation(dst, wire.Incarnation{Node: n, Number: number})
		}
	}
	return dst
}

func (r *Replica) restamp() {
	r.stamp = r.appendIncarnations(r.stamp[:0], r.incarnations[r.self])
	r.stampRecorded = false
}

// hear takes what a message says of incarnations. A node that lives in a higher one than was known loses its place in
// every open tally.
func (r *Replica) hear(m *wire.Message) {
	for it := wire.IterIncarnations(m.Incarnations); ; {
		in, ok := it.Next()
		if !ok {
			return
		}
		switch i := r.index(in.Node); {
		case i < 0 || in.Number <= r.incarnations[i] || r.spokenFor(m, in):
		case i == r.self:
			r.hearOf(in.Number, m.From)
		default:
			r.incarnations[i] = in.Number
			r.restamp()
			r.forget(i)
		}
	}
}

// spokenFor says that m asks to be healed in an incarnation of the same counter as another that is known already. Its sender may
// have been healed in that one, and has forgotten it; or this request is one of an earlier life, and late. The first one known stays: the
// answer names it, and its sender, if it is still there, asks again with a higher counter.
func (r *Replica) spokenFor(m *wire.Message, in wire.Incarnation) bool {
	known := r.incarnations[r.index(in.Node)]
	return m.Kind == wire.KindHealRequest && in.Node == m.From && known != 0 && in.Number>>32 == known>>32
}

// hearOf is told by node from that this replica lives in incarnation number, which it does not know. It asked for that
// incarnation once, to be healed, and has forgotten it: so it may have forgotten other things as well.
func (r *Replica) hearOf(number uint64, from wire.NodeID) {
	own := r.incarnations[r.self]
	switch {
	case own != 0 && number>>32 == own>>32 && (!r.suspect.on || r.suspect.lsn != 0):
		r.take(number)
	case r.suspect.on && number != r.suspect.attempt && number>>32 >= r.suspect.attempt>>32:
		r.beginHeal(number)
	case !r.suspect.on:
		r.becomeSuspect(fmt.Sprintf("node %d knows of a later incarnation of it: its data directory is an older copy", from))
	}
}

// take lives on in another incarnation with the same counter: one that this replica asked for in an earlier life, before it asked for the
// one that it was healed in, and the request of which came late, to somebody who did not know the other. Nobody was ever healed in
// it: a healing quorum of one shares a node with that of the other, which goes by the first that it knew (spokenFor). So nothing was
// forgotten, and the number is as good as any; others count nothing else any more.
func (r *Replica) take(number uint64) {
	r.incarnations[r.self] = number
	r.restamp()
	lsn := r.recordPromise(r.promised)
	if r.suspect.on {
		r.suspect.lsn = lsn
	}
}

// forget drops what node i has promised or voted from tallies that are open. What has been counted to the end stays: see
// above.
func (r *Replica) forget(i int) {
	p := &r.peers[i]
	p.promise.restart(r.prepFrom)
	p.voted, p.learned, p.promised = 0, 0, 0
	r.grants.nodes = r.grants.nodes.without(i)
	switch {
	case r.basic != nil:
		r.forgetSlots(i)
	case r.fast != nil:
		r.forgetFast(i)
	}
	from := r.chosen + 1
	if r.aux.nodes != 0 { // where votes in slots that are chosen count as well: see holds
		from = r.log.base
	}
	for s := from; s <= r.log.last(); s++ {
		if e := r.log.get(s); e != nil && (!e.chosen || r.aux.nodes != 0) {
			e.votes.nodes = e.votes.nodes.without(i)
		}
	}
}

// fresh says whether m comes from the incarnation in which its sender lives now. Called before a promise or a vote is
// counted; hear was called for m before.
func (r *Replica) fresh(m *wire.Message, from int) bool {
	if r.incarnations[from] == 0 || plant.Is(plant.IncarnationIgnored) {
		return true
	}
	if number(m, m.From) < r.incarnations[from] {
		r.stale++
		return false
	}
	return true
}

// number is the incarnation of a node that m tells; 0: none.
func number(m *wire.Message, of wire.NodeID) uint64 {
	for it := wire.IterIncarnations(m.Incarnations); ; {
		in, ok := it.Next()
		if !ok || in.Node == of {
			return in.Number
		}
	}
}

// heardVote compares what a leader says it has seen of this replica, the highest slot it told a vote for, with what is in
// its log (FAULTS.md F21: an older copy of the data directory; F32: an empty one). Slots only grow, so an old message
// proves no less than a new one.
func (r *Replica) heardVote(m *wire.Message) {
	if last := max(r.log.last(), r.chosen); m.Slot > last {
		r.becomeSuspect(fmt.Sprintf("node %d has its vote for slot %d, its log ends at slot %d", m.From, m.Slot, last))
	}
}

// becomeSuspect ends this replica's part in votes and promises.
func (r *Replica) becomeSuspect(why string) {
	switch {
	case r.basic != nil:
		r.abandon()
	case r.role != Follower:
		r.stepDown("it is suspect")
	}
	r.suspect, r.back = suspicion{on: true, why: why}, comeback{}
	r.event(Event{Kind: EventSuspect, Reason: why})
}

// stepSuspect is Step of a suspect replica: it learns, and serves what it knows to be chosen.
func (r *Replica) stepSuspect(m *wire.Message, from int) {
	switch m.Kind {
	case wire.KindChosen:
		if r.basic != nil || r.fast != nil {
			r.onChosen(m)
		}
	case wire.KindFastChosen:
		if r.fast != nil {
			r.onFastChosen(m)
		}
	case wire.KindAccept, wire.KindHeartbeat:
		if r.basic != nil || r.fast != nil && (m.Scope != wire.ScopeRange || m.Ballot.Counter() == 0) {
			return // ballots of single slots say nothing of others, nor do proposers of fast rounds
		}
		if m.Ballot >= max(r.promised, r.ballot) {
			r.follow(m.From, m.Ballot)
		}
		r.noteChosen(r.announces(m.Ballot), m.Chosen)
	case wire.KindFetch:
		r.onFetch(m, from)
	case wire.KindLearn:
		r.onLearn(m)
	case wire.KindHealRequest:
		r.suspect.others = r.suspect.others.with(from)
		r.serve(m)
		r.checkStuck()
	case wire.KindHealReply:
		r.onHealReply(m, from)
	case wire.KindHeld:
		r.onHeld(m)
	}
}

// healQuorum is how many others have to answer: so many that one of them is in every quorum without this replica, and that
// any two healing quorums share a node.
func (r *Replica) healQuorum() int {
	c := &r.configs[0]
	n := c.nodes.size()
	q := max(majority(n), n-min(c.prepare, c.accept)+1)
	if r.fast != nil { // and that at most one value may have been chosen with what was forgotten
		q = max(q, 2*(n-c.fast)+1)
	}
	return q
}

// mayHeal says whether this replica may answer a suspect one: only while the membership is that of the founding, as far as it
// knows, and it knows the configuration of every slot that it has voted in. The argument above is about the quorums of one
// configuration, and a suspect replica may have forgotten others; where those are, a node is replaced by a new one, which is
// what changes are for.
//
// It is enough that those who answer go by what they know. Let X have voted, and forgotten it, in a slot that the first changed
// configuration decides; that one has one node more than the founding one, or one less, so the rest of X's quorum there
// still meets the healing quorum in some Y. Y voted before it answered: then it knew the configuration, and did not answer. Or it votes
// later, and 2 above holds. A second change is chosen by a quorum of the first configuration, to which the same applies.
//
// Where any node proposes no change is ever made, and slots may be in use however far above the chosen prefix.
func (r *Replica) mayHeal() bool {
	if r.basic != nil || r.fast != nil {
		return true
	}
	if r.aux.nodes != 0 { // nor here
		return true
	}
	return !r.changed() && r.log.last() <= r.chosen+wire.Slot(r.c.Alpha)
}

// ascending is the indices of the contacts in the order of their ids.
func (r *Replica) ascending() []int {
	order := r.order[:0]
	for i := range r.nodes {
		order = append(order, i)
	}
	if r.changed() { // else they are in order
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(r.nodes[a], r.nodes[b]) })
	}
	r.order = order
	return order
}

// checkStuck tells once that there are not enough others left to be healed by.
func (r *Replica) checkStuck() {
	if r.changed() && !r.suspect.stuck {
		r.suspect.stuck = true
		r.event(Event{Kind: EventCannotHeal, Reason: "the membership was changed since the founding: such a node is replaced by a new one, not healed"})
	}
	if left := len(r.nodes) - 1 - r.suspect.others.size(); left < r.healQuorum() && !r.suspect.stuck {
		r.suspect.stuck = true
		r.event(Event{Kind: EventCannotHeal, Reason: fmt.Sprintf("%d of %d nodes are suspect or alone, %d others that are not are needed",
			len(r.nodes)-left, len(r.nodes), r.healQuorum())})
	}
}

// healTick begins the healing, or asks those again who have not answered.
func (r *Replica) healTick() {
	switch {
	case r.suspect.lsn != 0: // it knows all it needs; the disk has to finish
	case r.suspect.attempt == 0:
		r.beginHeal(0)
		r.checkStuck()
	default:
		r.repeatPrepare()
	}
}

// beginHeal asks everybody, in an incarnation above all that are known of: above is one that somebody named.
func (r *Replica) beginHeal(above uint64) {
	counter := max(above, r.suspect.attempt, r.incarnations[r.self])>>32 + 1
	r.suspect.attempt = counter<<32 | r.rng.below(math.MaxUint32)
	r.suspect.lsn = 0
	r.prepFrom = r.chosen + 1
	r.dropPromises()
	for i := range r.peers {
		r.askPromise(i)
	}
}

// askHeal asks peer i for its promise and its votes in slots that its answer does not cover yet. What it told of slots that
// were learned since is not needed any more.
func (r *Replica) askHeal(i int) {
	p := &r.peers[i].promise
	if p.need <= r.chosen {
		p.restart(r.chosen + 1)
		p.asked = r.now
	}
	r.send(r.nodes[i], &wire.Message{
		Kind: wire.KindHealRequest, Slot: p.need, Incarnations: r.appendIncarnations(nil, r.suspect.attempt),
	}, 0)
}

// serve gives a suspect replica what is chosen; false: it is so far behind that it needs that first.
func (r *Replica) serve(m *wire.Message) (near bool) {
	if m.Slot > r.trimmed && m.Slot+2*wire.WindowMax >= r.chosen {
		return true
	}
	r.onFetch(&wire.Message{Kind: wire.KindFetch, From: m.From, Slot: m.Slot, Until: r.chosen}, r.index(m.From))
	return false
}

// onHealRequest answers a suspect replica. The answer waits for the record of its new incarnation: from then on this one
// tells everybody, also after a crash, that what the other said in earlier ones is void.
func (r *Replica) onHealRequest(m *wire.Message, from int) {
	if number(m, m.From) == 0 {
		r.ignored++
		return
	}
	if !r.serve(m) || !r.mayHeal() {
		return
	}
	if !r.stampRecorded {
		r.recordPromise(r.promised)
	}
	if r.promisedTo.has(from) {
		return // as in onPrepare
	}
	r.promisedTo = r.promisedTo.with(from)
	r.promise(wire.KindHealReply, m.From, r.highestPromise(), m.Slot)
}

// highestPromise is below no ballot that this replica has promised in any slot.
func (r *Replica) highestPromise() wire.Ballot { return max(r.promised, r.highest) }

// onHealReply takes a part of an answer, as onPromise takes one of a promise.
func (r *Replica) onHealReply(m *wire.Message, from int) {
	p := &r.peers[from].promise
	if !r.suspect.on || r.suspect.lsn != 0 || number(m, r.c.Self) != r.suspect.attempt || !r.fresh(m, from) || p.whole {
		return
	}
	r.suspect.others, r.suspect.stuck = r.suspect.others.without(from), false
	if m.Trimmed >= p.need {
		if m.Trimmed > r.chosen {
			r.send(m.From, &wire.Message{Kind: wire.KindFetch, Slot: r.chosen + 1, Until: m.Trimmed}, 0)
		}
		p.restart(r.chosen + 1)
		p.asked = r.now
		return
	}
	if !p.add(m) {
		return
	}
	switch {
	case r.promiseBytes() > r.c.PromiseTotalMax: // there is less to tell of what is learned
		r.dropPromises()
		r.fetchFrom(m)
	case p.whole:
		if r.answered() >= r.healQuorum() {
			r.heal()
		}
	case p.ended:
		r.askPromise(from)
	}
}

// answered is the number of others that have told all they know.
func (r *Replica) answered() (n int) {
	for i := range r.peers {
		if r.peers[i].promise.whole {
			n++
		}
	}
	if plant.Is(plant.HealCountsSelf) {
		n++
	}
	return n
}

// heal adopts what the healing quorum has told.
func (r *Replica) heal() {
	r.prepFrom = r.chosen + 1
	found, ok := r.collect()
	if !ok { // votes too far up to be held: what is chosen below has to be learned first
		r.dropPromises()
		return
	}
	promised := r.promised
	for i := range r.peers {
		for _, f := range r.peers[i].promise.frames {
			if r.peers[i].promise.whole {
				m := mustDecode(f)
				promised = max(promised, m.Ballot)
			}
		}
	}
	for i := range found {
		v := &found[i]
		s := r.prepFrom + wire.Slot(i)
		if v.chosen {
			r.learn(s, &v.Vote)
		} else if v.Ballot != 0 && v.must {
			r.adopt(s, v.Vote)
		}
	}
	r.incarnations[r.self] = r.suspect.attempt
	r.restamp()
	r.leaveOut(promised.Counter())
	switch {
	case r.basic != nil:
		promised = wire.NewBallot(r.counter, r.c.Self) // its ballots count in each slot by itself, from its promise on
	case r.fast != nil:
		// At the fast ballot of now it may have voted, and must not vote again.
		if b := r.ownBallot(r.counter); b != 0 {
			promised = b
		}
		r.counter = max(r.counter, promised.Counter())
	}
	r.suspect.lsn = r.recordPromise(promised)
	r.dropPromises()
	r.learnAnnounced()
}

// adopt takes over a vote, unless a vote of the same or a higher ballot is still here.
func (r *Replica) adopt(s wire.Slot, v wire.Vote) {
	e := r.log.ensure(s)
	if e.chosen || e.frame != nil && e.ballot >= v.Ballot {
		return
	}
	v.Slot = s
	rec := wire.VoteRecord(r.c.Cluster, r.c.Group, r.c.Self, v)
	r.log.put(e, rec.Frame.Retain(), v.Ballot)
	r.record(rec)
}

// healDurable ends the suspicion when what was adopted is on the disk.
func (r *Replica) healDurable() {
	if r.suspect.on && r.suspect.lsn != 0 && r.durable >= r.suspect.lsn {
		r.suspect = suspicion{}
		r.restartElection()
		r.event(Event{Kind: EventHealed, Ballot: r.promised})
	}
}

func (r *Replica) suspectStatus(st *Status) {
	st.Incarnation = r.incarnations[r.self]
	if r.suspect.on {
		st.Suspect, st.HealQuorum = r.suspect.why, r.healQuorum()
		st.Healing = r.answered()
	}
}
