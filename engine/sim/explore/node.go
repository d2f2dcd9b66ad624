package explore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// node is a replica that runs, with its disk and all it ever said. Its state is a function of the inputs it took since the
// beginning, so a node in any state that was met is made by giving a fresh one the same inputs (space.materialize).
//
// The network is not a thing of its own. A message that was sent can be delivered at any time, any number of times, or never:
// that is loss, repetition and any order at once. So what is on the net is what the nodes have sent, and what a node has sent is
// part of its state.
type node struct {
	c  *Scope
	v  *vocabulary
	i  int // index
	r  *paxos.Replica
	fx func(format string, args ...any) // told what happens, for traces; nil: nobody asks

	disk    []recID // [:synced] survive a crash
	synced  int
	base    int // records in disk before this life
	waiting []waiting
	chosen  wire.Slot // delivered in this life

	sent  []msgID // in ascending order
	voted []vote  // every vote that ever became durable, in ascending order
	got   []msgID // Repeats is limited: what was taken, in ascending order

	claimed    wire.Slot     // a prefix that it said was chosen beyond what it had learned itself
	promise    wire.Ballot   // highest durable promise
	slots      []wire.Ballot // in fast rounds: the same for single slots
	spent      []wire.Ballot // ballots prepared in earlier lives
	reached    wire.Slot     // Reads: highest slot delivered in any life
	readFloor  wire.Slot     // Reads: what the read under way has to see
	campaigns  int
	values     int
	crashes    int
	repeats    int
	reads      int
	led        bool // was a candidate in this life
	ticks      int  // of this life; bookkeeping, no part of the state
	open       int  // messages taken since the last output
	fault      *Violation
	coverage   map[string]uint64 // nil: nobody counts
	hushing    bool              // what a campaign's ticks put out before it starts is lost
	quietBeats bool              // what a leader repeats at each tick is lost
	electionOn bool
}

// waiting is a message that waits for the disk.
type waiting struct {
	id   msgID
	gate wire.LSN
}

// vote is a durable vote.
type vote struct {
	slot   wire.Slot
	ballot wire.Ballot
	value  valueID
}

func compareVotes(a, b vote) int {
	switch {
	case a.slot != b.slot:
		return int(a.slot) - int(b.slot)
	case a.ballot < b.ballot:
		return -1
	case a.ballot > b.ballot:
		return 1
	}
	return int(a.value) - int(b.value)
}

// bareNode makes a node that has done nothing yet.
func bareNode(c *Scope, v *vocabulary, i int) *node {
	n := &node{c: c, v: v, i: i}
	n.start()
	return n
}

func (n *node) id() wire.NodeID { return wire.NodeID(n.i + 1) }

// recovered makes the state that records lead to.
func recovered(v *vocabulary, disk []recID) *paxos.State {
	st := paxos.NewState(0)
	for _, id := range disk {
		rec := v.records[id].Record
		if err := st.Load(&rec); err != nil {
			panic("BUG: explore: " + err.Error())
		}
	}
	return st
}

// start brings the node up from its disk.
func (n *node) start() {
	n.base, n.synced, n.chosen, n.ticks, n.led = len(n.disk), len(n.disk), 0, 0, false
	n.r = paxos.New(config(n.c, n.i, n.crashes), recovered(n.v, n.disk))
	n.recoveredSlots()
	if got := n.r.Status().Promised; got < n.promise {
		n.fail("S5", 0, "restarted with promise %v, its disk had made %v durable", got, n.promise)
	}
	n.collect()
}

func (n *node) fail(property string, s wire.Slot, format string, args ...any) {
	if n.fault == nil && n.v.checks(property) {
		n.fault = &Violation{Property: property, Node: n.id(), Slot: s, Detail: fmt.Sprintf(format, args...)}
	}
}

func (n *node) count(what string) {
	if n.coverage != nil {
		n.coverage[what]++
	}
}

func (n *node) say(format string, args ...any) {
	if n.fx != nil {
		n.fx(format, args...)
	}
}

// collect takes the replica's output.
func (n *node) collect() {
	was := n.r.Status().Promised
	n.open = 0
	out := n.r.Output()
	for i := range out.Records {
		n.record(&out.Records[i])
	}
	for i := range out.Messages {
		n.message(&out.Messages[i])
	}
	for i := range out.Chosen {
		ch := &out.Chosen[i]
		if ch.Slot != n.chosen+1 {
			n.fail("S7", ch.Slot, "slot %d is handed out after slot %d", ch.Slot, n.chosen)
		}
		n.chosen = ch.Slot
		n.say("  %d: chosen slot %d at %v: %s", n.id(), ch.Slot, ch.Ballot, payload(ch.Value))
		n.count("slots learned")
		ch.Frame.Release()
	}
	for _, rd := range out.Reads {
		n.answer(&rd)
	}
	for i := range out.Events {
		n.event(&out.Events[i])
	}
	if n.c.Reads > 0 {
		n.reached = max(n.reached, n.chosen)
	}
	n.r.Applied(n.chosen)
	n.underWay()
	if now := n.r.Status().Promised; now < was {
		n.fail("S5", 0, "its promise falls from %v to %v", was, now)
	}
}

// underWay checks that a leader has proposed in every slot between its chosen prefix and the one it will propose in next: it filled
// the holes that it found (L). A hole left open is safe, and the end of all progress.
func (n *node) underWay() {
	st := n.r.Status()
	if st.Role != paxos.Leader {
		return
	}
	next := max(nextSlot(n.r), st.Chosen+1) // in fast rounds others go on
	open := next - st.Chosen - 1
	for _, e := range entries(n.v, n.r) {
		if e.slot > st.Chosen && e.slot < next && (e.chosen || n.wide(e.ballot) == st.Ballot) {
			open--
		}
	}
	if open != 0 {
		n.fail("L", st.Chosen+1, "leads at ballot %v with %d slots open that it did not propose in", st.Ballot, open)
	}
}

// record appends to the disk.
func (n *node) record(r *wire.Record) {
	id := n.v.record(r)
	n.disk = append(n.disk, id)
	if rec := &n.v.records[id]; r.Kind == wire.KindRecPromise {
		n.say("  %d: records promise %v", n.id(), r.Ballot)
	} else {
		n.say("  %d: records %v slot %d at %v: %s", n.id(), r.Kind, r.Slot, r.Ballot, n.v.name(rec.value))
	}
	r.Frame.Release()
}

// message sends what does not wait and keeps what does. A message that waits already gains nothing by waiting twice.
func (n *node) message(m *paxos.Outgoing) {
	defer m.Frame.Release()
	id, ok := n.v.message(n.i, int(m.To)-1, m.Frame)
	if n.hushing || ok && n.lost(n.v.messages[id].m.Kind) {
		return
	}
	if n.fx != nil {
		wait := ""
		if m.Gate != 0 {
			wait = " (waits for the disk)"
		}
		n.say("  %d: to %d %s%s", n.id(), m.To, describe(m.Frame), wait)
	}
	if !ok {
		return
	}
	var raw wire.Message
	if err := wire.DecodeMessage(m.Frame, &raw); err != nil {
		panic("BUG: explore: " + err.Error())
	}
	if raw.Chosen > n.r.Status().Chosen {
		n.claimed = max(n.claimed, raw.Chosen)
	}
	if m.Gate == 0 {
		n.emit(id)
		return
	}
	if !slices.ContainsFunc(n.waiting, func(w waiting) bool { return w.id == id }) {
		n.waiting = append(n.waiting, waiting{id, m.Gate})
	}
}

// lost says whether all messages of a kind are lost now.
func (n *node) lost(k wire.Kind) bool {
	beat := k == wire.KindHeartbeat || k == wire.KindAny && n.quietBeats
	return k == wire.KindFetch && !n.c.Fetches || beat && (n.c.Beats == BeatNever || n.quietBeats)
}

// emit puts a message on the net: what it tells must be on the disk (S3).
func (n *node) emit(id msgID) {
	m := &n.v.messages[id].m
	switch m.Kind {
	case wire.KindPrepare:
		if slices.Contains(n.spent, m.Ballot) {
			n.fail("S5", 0, "ballot %v is prepared again after a restart", m.Ballot)
		}
		fallthrough
	case wire.KindPromise:
		if n.promise < n.wide(m.Ballot) {
			n.fail("S3", 0, "%v at ballot %v leaves, its disk holds promise %v", m.Kind, m.Ballot, n.promise)
		}
	case wire.KindAccepted:
		if n.promise < n.wide(m.Ballot) {
			n.fail("S3", m.Slot, "Accepted at ballot %v leaves, its disk holds promise %v", m.Ballot, n.promise)
		}
		for s := m.Slot; s < m.Slot+wire.Slot(m.Count); s++ {
			if !n.holds(s, m.Ballot) {
				n.fail("S3", s, "Accepted at ballot %v leaves, its disk does not hold the vote", m.Ballot)
			}
		}
	case wire.KindReject:
		n.count("ballots refused")
	}
	if n.c.Fast {
		n.emitFast(m)
	}
	if n.c.beyond(m) {
		return
	}
	if at, found := slices.BinarySearch(n.sent, id); !found {
		n.sent = slices.Insert(n.sent, at, id)
	}
}

// holds says whether the durable part of the disk has slot s at ballot b.
func (n *node) holds(s wire.Slot, b wire.Ballot) bool {
	for _, id := range n.disk[:n.synced] {
		if r := &n.v.records[id]; r.Slot == s && r.Ballot == b && (r.Kind == wire.KindAccept || r.Kind == wire.KindLearn) {
			return true
		}
	}
	return false
}

// durable makes the first k records that are not yet synced durable, and lets go what waited for them.
func (n *node) durable(k int) {
	for _, id := range n.disk[n.synced : n.synced+k] {
		n.keep(&n.v.records[id])
	}
	n.synced += k
	lsn := wire.LSN(n.synced - n.base)
	n.waiting = slices.DeleteFunc(n.waiting, func(w waiting) bool {
		if w.gate <= lsn {
			n.emit(w.id)
		}
		return w.gate <= lsn
	})
	if n.r != nil {
		n.r.Durable(lsn)
	}
}

// keep notes that a record is durable (S5: what it promises only grows).
func (n *node) keep(r *record) {
	switch r.Kind {
	case wire.KindRecPromise, wire.KindAccept:
		if n.wide(r.Ballot) < n.promise {
			n.fail("S5", r.Slot, "%v at ballot %v is recorded after a promise of ballot %v", r.Kind, r.Ballot, n.promise)
		}
		n.promise = max(n.promise, n.wide(r.Ballot))
		n.keepSlot(r)
	}
	if r.Kind == wire.KindAccept {
		v := vote{r.Slot, r.Ballot, r.value}
		if at, found := slices.BinarySearchFunc(n.voted, v, compareVotes); !found {
			n.voted = slices.Insert(n.voted, at, v)
		}
	}
}

func (n *node) event(e *paxos.Event) {
	switch e.Kind {
	case paxos.EventLeading:
		n.count("elections won")
		if e.Reproposed > 0 {
			n.count("elections won with votes found")
		}
		if e.Holes > 0 {
			n.count("holes filled")
		}
		n.say("  %d: leading at %v, barrier slot %d, %d reproposed, %d holes", n.id(), e.Ballot, e.Slot, e.Reproposed, e.Holes)
	case paxos.EventLost:
		n.count("leaderships lost")
		n.say("  %d: lost leadership at %v: %s", n.id(), e.Ballot, e.Reason)
	case paxos.EventSuspect:
		n.fail("S15", 0, "is suspect, its disk has lost nothing that was durable: %s", e.Reason)
	case paxos.EventPreparing:
		n.electionOn = true
	case paxos.EventCollision:
		n.count("collisions")
	case paxos.EventFinishing:
		n.count("slots promised alone")
	case paxos.EventDisplaced:
		n.count("values displaced")
	}
}

// answer takes the answer to a read (S10): the slots that anyone had been handed when it was asked must be in it.
func (n *node) answer(rd *paxos.ReadReady) {
	if !rd.OK {
		return
	}
	n.count("reads answered")
	n.say("  %d: read %d may be answered at slot %d", n.id(), rd.Token, rd.Slot)
	if rd.Slot < n.readFloor {
		n.fail("S10", rd.Slot, "a read asked for when slot %d was done is answered at slot %d", n.readFloor, rd.Slot)
	}
}

// encode appends the canonical form of the node: everything that its future, and what is checked of it, depends on.
//
// The durable part of the disk counts for what a restart would make of it, which is the form of a replica recovered from it; the
// part that a crash may take counts record by record. Gates count from the last durable record, as record numbers do.
func (n *node) encode(e *encoder, disks map[string][]byte) []byte {
	buf := make([]byte, 0, 512)
	for _, k := range []int{n.campaigns, n.values, n.crashes, n.repeats, n.reads, n.open} {
		buf = append(buf, byte(k))
	}
	if n.led {
		buf = append(buf, 1)
	}
	for _, k := range []wire.Slot{n.claimed, n.reached, n.readFloor} {
		buf = append(buf, byte(k))
	}
	buf = append(buf, n.recoveredForm(e, disks)...)
	ids := func(list []recID) {
		buf = binary.AppendUvarint(buf, uint64(len(list)))
		for _, id := range list {
			buf = binary.AppendUvarint(buf, uint64(id))
		}
	}
	ids(n.disk[n.synced:])
	buf = binary.AppendUvarint(buf, uint64(len(n.waiting)))
	for _, w := range n.waiting {
		buf = binary.AppendUvarint(buf, uint64(w.id))
		buf = binary.AppendUvarint(buf, uint64(w.gate)-uint64(n.synced-n.base))
	}
	for _, list := range [][]msgID{n.sent, n.got} {
		buf = binary.AppendUvarint(buf, uint64(len(list)))
		for _, id := range list {
			buf = binary.AppendUvarint(buf, uint64(id))
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(n.voted)))
	for _, v := range n.voted {
		buf = append(buf, byte(v.slot), byte(v.value))
		buf = binary.AppendUvarint(buf, uint64(v.ballot))
	}
	buf = binary.AppendUvarint(buf, uint64(n.promise))
	for _, b := range n.slots {
		buf = binary.AppendUvarint(buf, uint64(b))
	}
	for _, b := range n.spent {
		buf = binary.AppendUvarint(buf, uint64(b))
	}
	if n.c.Probes && quiet(n.r) {
		buf = append(buf, 1)
	}
	return e.replica(buf, n.r)
}

// recoveredForm is the canonical form of a replica recovered from the durable part of the disk.
func (n *node) recoveredForm(e *encoder, disks map[string][]byte) []byte {
	key := make([]byte, 0, 2*n.synced)
	for _, id := range n.disk[:n.synced] {
		key = binary.LittleEndian.AppendUint16(key, uint16(id))
	}
	if form, ok := disks[string(key)]; ok {
		return form
	}
	r := paxos.New(config(n.c, n.i, 0), recovered(n.v, n.disk[:n.synced]))
	for _, ch := range r.Output().Chosen {
		ch.Frame.Release()
	}
	r.Applied(r.Status().Chosen)
	form := e.replica(nil, r)
	r.Close()
	disks[string(key)] = form
	return form
}

func (n *node) close() {
	if n.r != nil {
		n.r.Close()
		n.r = nil
	}
}
