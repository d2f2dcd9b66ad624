package sim

import (
	"bytes"
	"hash/crc32"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// oracle sees everything of a group: what every disk holds, every frame that leaves a node, every slot that is applied, every
// reply. It knows what is chosen from the definition, a quorum of durable votes at one ballot, and not from anybody's word.
type oracle struct {
	w       *world
	g       wire.GroupID
	model   model         // what the chosen slots mean
	slots   []slotTruth   // by slot; [0] is unused
	prefix  wire.Slot     // every slot up to here is chosen
	grown   int64         // when the prefix last grew
	begun   wire.Slot     // the prefix when faults stopped
	owners  map[owned]int // life of the process that prepares a ballot
	recall  recall
	configs []wire.Membership // every one, in the order in which they were chosen
	changes map[uint64][]byte // values that change the members, by hash
	ballots int               // prepared since
	tagged  map[uint64]uint64 // hashes of values by their tags
	fast    int               // of votes at a fast ballot; 0: no ballot is fast

	// acked is the highest slot that anybody outside knows to be done: of a reply or of a read. What is asked for later
	// lies behind it.
	acked  wire.Slot
	epoch  wire.Ballot // the highest that anybody outside was told
	leased wire.NodeID // the last to have held the lease
}

// owned is a ballot that is prepared: for one slot, or, with slot 0, for all.
type owned struct {
	ballot wire.Ballot
	slot   wire.Slot
}

// slotTruth is what is known of a slot.
type slotTruth struct {
	rounds []round
	chosen bool
	hash   uint64 // of the chosen value
	ballot wire.Ballot
	known  bool // state and sessions are those after the slot
	digest engine.Digest
}

// round is a ballot in a slot; of a fast ballot, one of the values that were offered at it.
type round struct {
	ballot wire.Ballot
	hash   uint64
	casts  []cast
}

func newOracle(w *world, g wire.GroupID) *oracle {
	o := &oracle{w: w, g: g, owners: map[owned]int{}, recall: newRecall()}
	o.configs, o.changes = []wire.Membership{w.founding()}, map[uint64][]byte{}
	if w.k.Mode == paxos.ModeFast {
		o.fast, o.tagged = w.k.Quorums.Of(w.k.Nodes).Fast, map[uint64]uint64{}
	}
	o.model.init(w.k.Limits.Sessions)
	return o
}

// known is what the disk holds of the group.
func (o *oracle) known(d *disk) *durable { return &d.known[o.g-1] }

func hashBytes(p []byte) uint64 {
	return uint64(crc32.Checksum(p, wire.Castagnoli))<<32 | uint64(crc32.ChecksumIEEE(p))
}

func (o *oracle) slot(s wire.Slot) *slotTruth {
	for wire.Slot(len(o.slots)) <= s {
		o.slots = append(o.slots, slotTruth{})
	}
	return &o.slots[s]
}

// isFast says whether several values may be offered at ballot b.
func (o *oracle) isFast(b wire.Ballot) bool { return o.fast != 0 && b.Counter()%2 == 0 }

// round is the round at ballot b, in which only one value may be proposed (S2), unless it is fast. What is offered at a fast ballot is
// bound by S4 like all else.
func (o *oracle) round(by wire.NodeID, s wire.Slot, b wire.Ballot, hash uint64) *round {
	t := o.slot(s)
	for i := range t.rounds {
		if r := &t.rounds[i]; r.ballot == b {
			if r.hash != hash && o.isFast(b) {
				continue
			}
			if r.hash != hash {
				o.w.fail("S2", by, s, "two values at ballot %v", b)
			}
			return r
		}
	}
	// S4: whatever was chosen at a lower ballot is proposed again.
	if t.chosen && b > t.ballot && t.hash != hash {
		o.w.fail("S4", by, s, "another value is proposed at ballot %v than was chosen at ballot %v", b, t.ballot)
	}
	t.rounds = append(t.rounds, round{ballot: b, hash: hash})
	return &t.rounds[len(t.rounds)-1]
}

// vote counts a durable vote.
func (o *oracle) vote(by wire.NodeID, s wire.Slot, b wire.Ballot, hash uint64) {
	r := o.round(by, s, b, hash)
	r.cast(by, o.known(o.w.procs[by-1].disk).lives)
	m := o.decides(s)
	_, quorum := o.sizes(m)
	if o.isFast(b) {
		quorum = o.fast
	}
	if o.w.k.Changes {
		if in := r.within(m); !in.complete(quorum) {
			return
		}
	} else if !r.complete(quorum) {
		return
	}
	t := o.slot(s)
	if t.chosen {
		if t.hash != hash {
			o.w.fail("S1", by, s, "a second value is chosen, at ballot %v; the first was at ballot %v", b, t.ballot)
		}
		t.ballot = min(t.ballot, b)
	} else {
		t.chosen, t.hash, t.ballot = true, hash, b
		o.w.note(0, o.g, "chosen", uint64(s), uint64(b), hash)
	}
	for i := range t.rounds {
		if t.rounds[i].ballot > b && t.rounds[i].hash != hash {
			o.w.fail("S4", by, s, "another value was proposed at ballot %v than is now chosen at ballot %v", t.rounds[i].ballot, b)
		}
	}
	for wire.Slot(len(o.slots)) > o.prefix+1 && o.slots[o.prefix+1].chosen {
		o.prefix++
		o.grown = o.w.now
		o.changeChosen(o.prefix)
	}
}

// durable is told of each record that was synced.
func (o *oracle) durable(d *disk, r *witnessed) {
	k := o.known(d)
	if r.any {
		o.tag(d.id, r.slot, r.tag, r.hash)
		for _, v := range k.votes[r.slot] {
			if v.ballot == r.ballot && !v.learned && v.hash != r.hash {
				o.w.fail("S2", d.id, r.slot, "a second vote at fast ballot %v, for another value", r.ballot)
			}
		}
	}
	if r.chosen > o.prefix {
		o.w.fail("S7", d.id, r.chosen, "%v records that slots up to %d are chosen, true is %d", r.kind, r.chosen, o.prefix)
	}
	switch r.kind {
	case wire.KindAccept, wire.KindRecPromise:
		was := k.promise
		if r.single {
			was = k.promised(r.slot)
		}
		if r.ballot < was {
			o.w.fail("S5", d.id, r.slot, "%v at ballot %v is recorded after a promise of ballot %v", r.kind, r.ballot, was)
		}
	case wire.KindLearn:
		if t := o.slot(r.slot); !t.chosen || t.hash != r.hash {
			o.w.fail("S7", d.id, r.slot, "records as learned what is not chosen")
		}
	case wire.KindRecTrim:
		if o.w.auxiliary(d.id) {
			o.forgotten(d.id, r.slot)
		} else if r.slot > k.snap {
			o.w.fail("S6", d.id, r.slot, "the log is trimmed up to slot %d, the durable snapshot holds slot %d", r.slot, k.snap)
		}
	}
	o.remember(d, r)
}

// tag notes whose value a tag is: of no other (S2).
func (o *oracle) tag(by wire.NodeID, s wire.Slot, tag, hash uint64) {
	if was, ok := o.tagged[tag]; tag == 0 || ok && was != hash {
		o.w.fail("S2", by, s, "tag %x of a value at a fast ballot is that of another", tag)
	}
	o.tagged[tag] = hash
}

// remember adds a record to what is durable.
func (o *oracle) remember(d *disk, r *witnessed) {
	k := o.known(d)
	if r.change != nil {
		o.changes[r.hash] = r.change
	}
	if r.single {
		k.single[r.slot] = max(k.single[r.slot], r.ballot)
	} else if r.kind == wire.KindRecPromise || r.kind == wire.KindAccept {
		k.promise = max(k.promise, r.ballot)
	}
	switch r.kind {
	case wire.KindRecPromise:
		if l := k.lives.with(r.incarnations); l.of(d.id) > k.lives.of(d.id) {
			k.lives = l
			o.reborn(d.id, k)
		} else {
			k.lives = l
		}
	case wire.KindRecVote:
		o.round(d.id, r.slot, r.ballot, r.hash)
		k.votes[r.slot] = append(k.votes[r.slot], durableVote{r.ballot, r.hash, false})
	case wire.KindRecTrim:
		k.trim = max(k.trim, r.slot)
	case wire.KindAccept:
		k.votes[r.slot] = append(k.votes[r.slot], durableVote{r.ballot, r.hash, false})
		o.vote(d.id, r.slot, r.ballot, r.hash)
	case wire.KindLearn:
		k.votes[r.slot] = append(k.votes[r.slot], durableVote{r.ballot, r.hash, true})
	}
}

// snapshotIn is the slot of the newest good snapshot in an image.
func (o *oracle) snapshotIn(image *vfs.Mem, d *disk) wire.Slot {
	f, err := snapshot.Latest(snapFS{&diskFS{Mem: image, d: d}}, d.snapDir(), clusterID, o.g)
	if err != nil {
		return 0
	}
	return f.Meta.Slot
}

// compare says whether a restarted node's durable state has everything it had (S5, S15), was being what was seen.
func (o *oracle) compare(p *proc, was *durable) {
	k := o.known(p.disk)
	if p.suspicion.fresh && p.suspicion.groups != 0 { // it knows
		o.holders()
		return
	}
	if k.promise < was.promise {
		o.w.fail("S5", p.id, 0, "restarted with promise %v, it had made %v durable", k.promise, was.promise)
	}
	for s, b := range was.single {
		if s > k.trim && k.promised(s) < b {
			o.w.fail("S5", p.id, s, "restarted with promise %v for this slot, it had made %v durable", k.promised(s), b)
		}
	}
	if k.snap < was.snap && !p.suspicion.fresh { // a damaged snapshot may be passed over if the log reaches back to an older one
		o.w.fail("S15", p.id, was.snap, "restarted with a snapshot of slot %d, one of slot %d was durable", k.snap, was.snap)
	}
	if k.trim > k.snap && !p.auxiliary() {
		o.w.fail("S6", p.id, k.trim, "the log is trimmed up to slot %d, the durable snapshot holds slot %d", k.trim, k.snap)
	}
	kept := k.snap
	if p.auxiliary() {
		kept = k.trim
	}
	for s := kept + 1; s < wire.Slot(len(o.slots)); s++ {
		votes := was.votes[s]
		if len(votes) == 0 {
			continue
		}
		if last := votes[len(votes)-1]; !k.has(s, last.ballot) {
			o.w.fail("S15", p.id, s, "restarted without its durable vote at ballot %v", last.ballot)
		}
	}
	for s, votes := range was.votes { // what a snapshot covers may be gone from the log; it was durable all the same
		if len(k.votes[s]) == 0 {
			k.votes[s] = votes
		}
	}
	o.holders()
}

// holders checks that every chosen slot has a durable copy in every quorum of promises, or its holder is suspect (S6).
//
// The quorums are of the configuration in force, or, as long as its members have not all learned what was decided before them, of the
// one before.
func (o *oracle) holders() {
	force := len(o.configs) - 1
	for o.configs[force].From > o.prefix+1 {
		force--
	}
	for s := wire.Slot(1); s <= o.prefix; s++ {
		if o.held(s, &o.configs[force]) || force > 0 && o.held(s, &o.configs[force-1]) {
			continue
		}
		o.w.fail("S6", 0, s, "too many disks of %v do not hold what is chosen", o.configs[force])
	}
}

// held says whether every quorum of promises of a configuration has a durable copy of a chosen slot, or a suspect member.
func (o *oracle) held(s wire.Slot, m *wire.Membership) bool {
	without := 0
	for _, n := range m.Members {
		p := o.w.procs[n.Node-1]
		if k := o.known(p.disk); !p.suspicion.rotted && k.snap < s && !k.holds(s, o.slots[s].hash) {
			without++
		}
	}
	promisers, _ := o.sizes(m)
	return without < promisers
}

func (d *durable) holds(s wire.Slot, hash uint64) bool {
	for _, v := range d.votes[s] {
		if v.hash == hash {
			return true
		}
	}
	return false
}

// sent is told of each frame that leaves a node.
func (o *oracle) sent(p *proc, m *wire.Message) {
	k := o.known(p.disk)
	if m.Chosen > o.prefix {
		o.w.fail("S7", p.id, m.Chosen, "%v says that slots up to %d are chosen, true is %d", m.Kind, m.Chosen, o.prefix)
	}
	switch m.Kind {
	case wire.KindAccept:
		hash := hashBytes(m.Value.Bytes())
		o.round(p.id, m.Slot, m.Ballot, hash)
		if m.Scope == wire.ScopeAny {
			o.tag(p.id, m.Slot, m.Value.Tag(), hash)
		}
		if m.Scope == wire.ScopeRange {
			o.below(p, m)
		}
	case wire.KindPrepare:
		own := owned{m.Ballot, 0}
		if m.Scope == wire.ScopeSlot {
			own.slot = m.Slot
		}
		if k.promised(own.slot) < m.Ballot {
			o.w.fail("S3", p.id, own.slot, "Prepare at ballot %v leaves, its disk holds promise %v", m.Ballot, k.promised(own.slot))
		}
		if life, ok := o.owners[own]; ok && life != p.life {
			o.w.fail("S5", p.id, own.slot, "ballot %v is prepared again after a restart", m.Ballot)
		}
		if _, ok := o.owners[own]; !ok && own.slot == 0 {
			o.duels(p, m.Ballot)
		}
		o.owners[own] = p.life
	case wire.KindHealReply:
		if k.highest() < m.Ballot {
			o.w.fail("S3", p.id, 0, "HealReply of ballot %v leaves, its disk holds no promise above %v", m.Ballot, k.highest())
		}
	case wire.KindPromise:
		if k.promised(m.Slot) < m.Ballot && m.Trimmed < m.Slot {
			o.w.fail("S3", p.id, m.Slot, "Promise of ballot %v leaves, its disk holds promise %v", m.Ballot, k.promised(m.Slot))
		}
	case wire.KindChosen:
		for s := m.Slot; s < m.Slot+wire.Slot(m.Count); s++ {
			if !o.chosenAt(s, m.Ballot) {
				o.w.fail("S7", p.id, s, "says that it was chosen at ballot %v, which it was not", m.Ballot)
			}
		}
	case wire.KindFastChosen:
		for i := range m.Count {
			s, hash := m.Slot+wire.Slot(i), o.tagged[m.Tag+uint64(i)]
			if t := o.slot(s); !t.chosen || t.hash != hash || t.ballot > m.Ballot {
				o.w.fail("S7", p.id, s, "says that tag %x was chosen at fast ballot %v, which it was not", m.Tag+uint64(i), m.Ballot)
			}
		}
	case wire.KindFastAccepted:
		for i := range m.Count {
			s, hash := m.Slot+wire.Slot(i), o.tagged[m.Tag+uint64(i)]
			if s > k.snap && !k.voted(s, m.Ballot, hash) {
				o.w.fail("S3", p.id, s, "FastAccepted at ballot %v leaves, its disk does not hold the vote", m.Ballot)
			}
		}
	case wire.KindAccepted:
		for s := m.Slot; s < m.Slot+wire.Slot(m.Count); s++ {
			if s > o.settled(p, k) && !k.has(s, m.Ballot) {
				o.w.fail("S3", p.id, s, "Accepted at ballot %v leaves, its disk does not hold the vote", m.Ballot)
			}
			o.accepted(p.id, k, s, m.Ballot)
		}
	case wire.KindLearn:
		if t := o.slot(m.Slot); !t.chosen || t.hash != hashBytes(m.Value.Bytes()) {
			o.w.fail("S7", p.id, m.Slot, "teaches what is not chosen")
		}
	case wire.KindSnapAck:
		if m.Offset == m.Total && k.snap < m.Slot && p.reps[o.g-1].applied < m.Slot {
			o.w.fail("S3", p.id, m.Slot, "acknowledges a snapshot that its disk does not hold")
		}
	case wire.KindReject:
		o.w.counts["ballot races"]++
	}
}

// chosenAt says whether slot s was chosen at ballot b, or before, and proposed at b.
func (o *oracle) chosenAt(s wire.Slot, b wire.Ballot) bool {
	t := o.slot(s)
	for _, r := range t.rounds {
		if r.ballot == b && t.chosen && t.ballot <= b {
			return true
		}
	}
	return false
}

// below demands that a leader leaves no hole below what it proposes: the slot before is chosen, or proposed at its ballot (S7; nothing
// above a hole would ever be applied).
func (o *oracle) below(p *proc, m *wire.Message) {
	if m.Slot-1 <= o.prefix || o.slot(m.Slot-1).chosen {
		return
	}
	if c := o.decides(m.Slot - 1); len(c.Members) == 1 && c.Has(p.id) {
		return // it decides that one alone: nobody is sent anything
	}
	for _, r := range o.slots[m.Slot-1].rounds {
		if r.ballot == m.Ballot {
			return
		}
	}
	o.w.fail("S7", p.id, m.Slot, "proposes at ballot %v above a hole: slot %d is neither chosen nor proposed at this ballot", m.Ballot, m.Slot-1)
}

// duels bounds the ballots that are used once the faults have stopped and their frames have arrived (L3): every node may try a few
// times, until one has won. A stalled disk costs one election more.
func (o *oracle) duels(p *proc, b wire.Ballot) {
	if o.w.quiet {
		if o.ballots++; o.ballots > 6*o.w.k.Nodes {
			o.w.fail("L3", p.id, o.prefix, "group %d: ballot %v is the %dth since the faults stopped: %s", o.g, b, o.ballots, o.w.roles())
		}
	}
}

// delivered is told of each slot that a node is about to apply (S7).
func (o *oracle) delivered(p *proc, s wire.Slot, b wire.Ballot, v wire.Batch) {
	t := o.slot(s)
	switch hash := hashBytes(v.Bytes()); {
	case s > o.prefix:
		o.w.fail("S7", p.id, s, "learns slot %d, the true chosen prefix is %d", s, o.prefix)
	case t.hash != hash:
		o.w.fail("S1", p.id, s, "learns another value, at ballot %v, than is chosen at ballot %v", b, t.ballot)
	}
	if s == o.model.slot+1 {
		o.model.apply(o.w, s, v)
	}
}

// applied is told of a node's state whenever it has moved: by one slot, or by a snapshot (S8, S14).
func (o *oracle) applied(p *proc, from wire.Slot, g engine.Digest) {
	if g.Applied > o.prefix {
		o.w.fail("S7", p.id, g.Applied, "has applied slot %d, the true chosen prefix is %d", g.Applied, o.prefix)
	}
	t := o.slot(g.Applied)
	if !t.known {
		t.known, t.digest = true, g
		if g.Commands != o.model.commandsAt(g.Applied) {
			o.w.fail("S9", p.id, g.Applied, "%d commands executed, the log holds %d fresh ones", g.Commands, o.model.commandsAt(g.Applied))
		}
		return
	}
	if t.digest == g {
		return
	}
	property := "S8"
	if g.Applied != from+1 {
		property = "S14"
	}
	what := "state"
	if t.digest.State == g.State {
		what = "session table"
	}
	o.w.fail(property, p.id, g.Applied, "its %s after slot %d is not that of the node that came there first", what, g.Applied)
}

// installing counts a snapshot from a peer that got its name.
func (o *oracle) installing(id wire.NodeID) {
	o.w.counts["snapshots installed"]++
	if o.w.now-o.grown < int64(50*time.Millisecond) {
		o.w.counts["snapshots installed during accepts"]++
	}
	o.w.note(id, o.g, "snapshot complete", 0, 0, 0)
}

// inEpoch checks the epoch of an answer: not below that of any answer that had come when the question was first sent, and, if it holds a
// promise, not 0 where there are leaders.
func (o *oracle) inEpoch(by wire.NodeID, op *operation, e wire.Ballot, s wire.Slot) {
	switch {
	case o.w.k.Mode != paxos.ModeMulti:
	case op.mode == wire.QueryStale:
	case e == 0:
		o.w.fail("epoch", by, s, "an answer has none")
	case e < op.epoch:
		o.w.fail("epoch", by, s, "an answer is of epoch %v, one of epoch %v had come before it was asked for", e, op.epoch)
	}
}

// replied checks a reply against the reference (S3, S9, S10).
func (o *oracle) replied(by wire.NodeID, op *operation, r *wire.Reply) {
	s := r.Slot
	o.inEpoch(by, op, r.Epoch, s)
	if s > o.prefix {
		o.w.fail("S3", by, s, "a reply leaves before its slot is chosen")
	}
	if s > o.model.slot {
		o.w.fail("S3", by, s, "a reply leaves before its slot is applied anywhere")
	}
	if op.kind == opOpen {
		if r.Session != wire.NewSessionID(s, int(r.Index)) || o.model.sessions[r.Session] == nil {
			o.w.fail("S9", by, s, "session %d was opened nowhere", r.Session)
		}
		return
	}
	e, ok := o.model.result(op.session, op.first)
	switch {
	case !ok:
		o.w.fail("S9", by, s, "a reply to block %d of session %d, which was not executed", op.first, op.session)
	case e.slot != s || e.index != r.Index:
		o.w.fail("S9", by, s, "block %d of session %d was executed in slot %d.%d, the reply says %d.%d", op.first, op.session, e.slot, e.index, s, r.Index)
	case int(r.Count) != op.count || !bytes.Equal(e.results, r.Results):
		o.w.fail("S9", by, s, "block %d of session %d: another result than the one it had: %x, expected %x", op.first, op.session, r.Results, e.results)
	case s <= op.after:
		o.w.fail("S10", by, s, "block %d of session %d was executed before it was sent: slot %d was known to be done", op.first, op.session, op.after)
	}
}

// refused checks that a session that is said to be gone was evicted before (S9).
func (o *oracle) refused(by wire.NodeID, op *operation, r *wire.Reply) {
	if c := o.model.sessions[op.session]; c == nil || c.gone == 0 || r.Slot < c.gone {
		o.w.fail("S9", by, r.Slot, "block %d of session %d is refused, the session is alive", op.first, op.session)
	}
	if e, ok := o.model.result(op.session, op.first); ok && e.slot == r.Slot && e.index == r.Index {
		o.w.fail("S9", by, r.Slot, "block %d of session %d is refused where it was executed", op.first, op.session)
	}
}

// answered checks the answer to a query for one key (S10).
func (o *oracle) answered(by wire.NodeID, op *operation, a *wire.Answer) {
	if a.Slot > o.prefix {
		o.w.fail("S7", by, a.Slot, "answers from slot %d, the true chosen prefix is %d", a.Slot, o.prefix)
	}
	o.inEpoch(by, op, a.Epoch, a.Slot)
	if op.mode != wire.QueryStale && a.Slot < op.after {
		o.w.fail("S10", by, a.Slot, "a linearizable read answers from slot %d, slot %d was known to be done when it was asked", a.Slot, op.after)
	}
	g, err := kv.DecodeGetAnswer(a.Body)
	if err != nil {
		o.w.fail("S10", by, a.Slot, "answer: %v", err)
	}
	v := o.model.at(op.key, a.Slot)
	if (g.Status == kv.StatusOK) != v.present || g.Version != v.version || g.Slot != v.slot || string(g.Value) != v.value {
		o.w.fail("S10", by, a.Slot, "key %s at slot %d: %+v, expected %+v", op.key, a.Slot, g, v)
	}
}
