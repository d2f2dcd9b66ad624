package engine

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// eventKind says what an event in a loop's mailbox is.
type eventKind uint8

const (
	eventNudge    eventKind = iota // look at the group's atomics: durable, applied, installed
	eventFrame                     // a peer's frame; one reference
	eventPropose                   // a client's block in frame; one reference
	eventQuery                     // a linearizable query
	eventGathered                  // single commands wait in the group's gatherer
	eventFeed                      // a subscriber wants slots
	eventGone                      // peer's process has ended, perhaps
	eventChange                    // somebody asks for a change of the membership
	eventTrim                      // a snapshot is durable: forget slots up to slot
)

// event is one entry of a loop's mailbox.
type event struct {
	kind   eventKind
	frame  *wire.Buffer
	block  wire.Block // a view into frame
	done   Completion
	query  *query
	feed   *feed
	change *changeRequest
	peer   wire.NodeID
	slot   wire.Slot
	at     int64 // nanotime of arrival
	until  int64 // nanotime from which on nobody waits for the block any more; 0: for ever
}

// loop is the goroutine that owns a group's replica and batcher. It never waits for anything but its mailbox: what
// takes time goes to the syncer, the applier or the transport. One turn takes everything that has arrived, steps the
// core with it, and hands out what came of it; so the busier the group, the more one turn, one write and one
// fdatasync carry.
type loop struct {
	g       *Group
	core    *paxos.Replica
	batcher *batching.Batcher[Completion]
	room    batching.Window // slots in flight, as the round trip and the disk have it
	events  []event
	msg     wire.Message
	now     int64 // nanotime at the start of the turn

	// Invariant: flights holds the batches proposed at leadership ballot, or without a leader, and not yet learned, in slot
	// order.
	flights flightQueue
	leading bool // proposals are taken here

	voted [learnClock]voteTime // when this replica recorded its last vote in a slot, by slot modulo the length

	filling   wire.Slot // the slot after those that this node finishes as a new leader; 0: none are left
	fillSince int64     // when it won

	ballot wire.Ballot // of the leadership, when there is one

	// held is a batch that the core had no room for. It is offered again first.
	held       *wire.Buffer
	heldFlight *flight

	// Frames of peers were dropped because the group was overloaded, and the core was not told yet: proposals of missedBallot up to
	// missedSlot, or chosen values only.
	missed       bool
	missedBallot wire.Ballot
	missedSlot   wire.Slot

	feeds     []*feed        // of subscribers, waiting
	changing  *changeRequest // under way; nil: none
	gathering bool           // something may wait in the gatherer
	gathered  []*gathered    // scratch

	late  func(Completion)      // refuses a block that has expired
	asked []*query              // queries of this turn
	reads map[uint64]*readBatch // under way, by token; bounded by Limits.ClientBytes
	token uint64
	ticks uint64

	durable   wire.LSN  // last told to the core
	applied   wire.Slot // last told to the core
	installed wire.Slot // last told to the core
	trimmed   wire.Slot // of the WAL, as last asked for
}

func newLoop(g *Group, core *paxos.Replica) *loop {
	l := &loop{
		g: g, core: core, batcher: batching.New[Completion](g.node.c.batching()), room: batching.NewWindow(g.node.c.Window),
		flights: newFlightQueue(g.node.c.Window), reads: make(map[uint64]*readBatch),
	}
	l.late = func(c Completion) {
		g.count.expired.Inc()
		g.refuse(c, wire.StatusExpired)
	}
	return l
}

// run is the goroutine.
func (l *loop) run() {
	ticker := time.NewTicker(l.g.node.c.Tick)
	defer ticker.Stop()
	delay := time.NewTimer(time.Hour)
	delay.Stop()
	defer delay.Stop()
	l.turn(false) // hands out what was recovered
	for {
		tick := false
		select {
		case <-l.g.node.stopping:
			l.shutdown()
			return
		case <-l.g.mailbox.Wait():
			l.settle()
		case <-ticker.C:
			// The channel holds one tick at most: after a pause of any length (SIGSTOP, a slow turn) there is one
			// tick, not a burst that would run into an election before the mailbox was read.
			tick = true
		case <-delay.C:
		}
		l.turn(tick)
		if at, ok := l.deadline(); ok {
			delay.Reset(time.Duration(max(at-l.g.node.nanotime(), 0)))
		}
	}
}

// deadline is when a turn is due although nothing has come: a block has waited long enough for company, and may go.
func (l *loop) deadline() (nanos int64, ok bool) {
	if !l.leading || l.held != nil || l.flights.len() >= l.window() || l.g.overloaded() {
		return 0, false
	}
	return l.batcher.Deadline()
}

// settleMax bounds how often settle looks.
const settleMax = 64

// settle lets a burst of proposals arrive whole before a leader cuts a batch of it. A slot costs far more than a command, so
// the wait, which lasts as long as each look finds something new, is soon won back: without it the first commands of a
// burst went alone and the others in two or three further slots.
func (l *loop) settle() {
	if !l.leading {
		return
	}
	for n, i := l.g.waiting(), 0; i < settleMax; i++ {
		runtime.Gosched()
		now := l.g.waiting()
		if now == n {
			return
		}
		n = now
	}
}

// turn takes everything that has arrived and hands out what came of it.
func (l *loop) turn(tick bool) {
	l.events = l.g.mailbox.Swap(l.events)
	l.now = l.g.node.nanotime()
	l.core.Clock(l.g.node.leaseTime()) // after the swap: what was taken arrived before
	for i := range l.events {
		l.handle(&l.events[i])
	}
	l.notices()
	if tick {
		l.core.Tick()
	}
	l.pump()
	l.askReads()
	out := l.core.Output()
	room := len(out.Chosen)+len(out.Moved) > 0
	l.publishLease()
	l.dispatch(out)
	if room && l.waits() && !plant.Is(plant.RoomUnnoticed) {
		// What this turn has learned made room in the window, and perhaps nothing more will come that starts a turn. Not at once: answers
		// are followed by more proposals, which go with what waits (settle).
		l.g.nudge()
	}
	l.feedAll()
	if tick {
		l.tock()
	}
}

// tock ends a turn with a tick: what is to be seen and done now and then.
func (l *loop) tock() {
	st := l.core.Status()
	l.g.publish(st)
	l.g.windowNow.Store(int64(l.window()))
	l.ticks++
	if l.ticks%snapshotRetryTicks == 0 && (st.LogBytes > l.g.node.c.SnapshotBytes || l.g.replaceDue(st.Applied)) && !l.g.snapAsked.Swap(true) {
		l.g.applier.put(applyItem{kind: applySnapshot})
	}
}

// handle takes one event.
func (l *loop) handle(e *event) {
	switch e.kind {
	case eventNudge:
		l.g.nudged.Store(false) // before notices reads the atomics: a later change nudges again
	case eventFrame:
		l.step(e.frame)
	case eventPropose:
		l.g.clientBytes.Sub(clientCost(e.frame))
		l.add(e)
	case eventQuery:
		if !l.leading {
			e.query.fail(l.g, wire.StatusNotLeader)
			return
		}
		if e.query.expired(l.now) {
			l.g.count.expired.Inc()
			e.query.fail(l.g, wire.StatusExpired)
			return
		}
		l.asked = append(l.asked, e.query)
	case eventGathered:
		l.gathering = true
	case eventFeed:
		l.feeds = append(l.feeds, e.feed)
	case eventGone:
		l.core.PeerGone(e.peer)
	case eventChange:
		l.change(e.change)
	case eventTrim:
		l.trim(e.slot)
	default:
		panic(fmt.Sprintf("BUG: engine: event of kind %d", e.kind))
	}
}

// step gives a peer's frame to the core.
func (l *loop) step(f *wire.Buffer) {
	defer f.Release()
	if err := wire.DecodeMessage(f, &l.msg); err != nil {
		l.g.count.peerInvalid.Inc()
		return
	}
	if l.adds() && l.g.overloaded() && !l.next() {
		l.g.count.peerDropped.Inc()
		l.miss()
		return
	}
	l.g.count.peerFrames.Inc()
	l.core.Step(&l.msg)
	l.msg = wire.Message{}
}

// adds says that the message would add to what waits for the disk or the state machine. When they are behind it is dropped, but for
// the value of the next slot: all others are of no use without it, and of a burst that comes again and again only the
// first few are taken, which need not be the first slots.
func (l *loop) adds() bool {
	switch l.msg.Kind {
	case wire.KindAccept, wire.KindLearn, wire.KindPrepare, wire.KindHealRequest:
		return true
	}
	return false
}

// miss notes that the message was dropped.
func (l *loop) miss() {
	switch m := &l.msg; {
	case m.Kind != wire.KindAccept && m.Kind != wire.KindLearn:
		return // its sender repeats it
	case m.Kind == wire.KindAccept && m.Ballot > l.missedBallot:
		l.missedBallot, l.missedSlot = m.Ballot, m.Slot
	case m.Kind == wire.KindAccept && m.Ballot == l.missedBallot:
		l.missedSlot = max(l.missedSlot, m.Slot)
	}
	l.missed = true
}

// next says that the message brings the next slot's value.
func (l *loop) next() bool {
	return (l.msg.Kind == wire.KindAccept || l.msg.Kind == wire.KindLearn) && l.msg.Slot == l.core.Status().Chosen+1
}

// add queues a client's block.
func (l *loop) add(e *event) {
	status := wire.StatusNotLeader
	switch {
	case l.g.node.diskFull.Load() && (l.leading || l.core.Status().Leader == 0):
		// While it still leads, what it already has will wait; more would only wait longer. It resigns when its disk has
		// done nothing for too long.
		status = wire.StatusDiskFull
	case l.leading:
		if plant.Is(plant.ExpiredProposed) && e.until != 0 && l.now >= e.until {
			l.late(e.done)
			e.done, e.until = CompletionFunc(func(*Result) {}), 0
		}
		if l.batcher.Add(e.at, batching.Item[Completion]{Frame: e.frame, Block: e.block, Waiter: e.done, Expires: e.until}) {
			return
		}
		l.g.count.busyLoop.Inc()
		status = wire.StatusBusy
	}
	e.frame.Release()
	l.g.refuse(e.done, status)
}

// gather queues what the gatherer holds. What finds no leader or no room is refused.
func (l *loop) gather() {
	l.gathering = false
	var cost int64
	l.gathered, cost = l.g.gatherer.take(l.gathered[:0])
	l.g.clientBytes.Sub(cost)
	for i, b := range l.gathered {
		l.add(&event{frame: b.frame, block: b.seal(), done: b, at: l.now})
		l.gathered[i] = nil
	}
}

// notices tells the core what the syncer and the applier have published. The order of the loads matters: the applier
// publishes installed before the applied slot that rests on it, and the core must hear of them in that order.
func (l *loop) notices() {
	if lsn := wire.LSN(l.g.durable.Load()); lsn > l.durable {
		l.durable = lsn
		l.core.Durable(lsn)
	}
	applied := wire.Slot(l.g.applied.Load())
	if s := wire.Slot(l.g.installed.Load()); s > l.installed {
		r := l.g.restored.Load() // of s, or newer
		s = r.slot
		l.installed = s
		l.core.Installed(s, r.members)
		l.g.skips.trim(s)
		l.trimLog(s)
	}
	if applied > l.applied {
		l.applied = applied
		l.core.Applied(applied)
	}
	if l.missed && !l.g.overloaded() {
		l.core.Missed(l.missedBallot, l.missedSlot)
		l.missed, l.missedBallot, l.missedSlot = false, 0, 0
	}
}

// askReads asks the core for one read index for all queries of this turn.
func (l *loop) askReads() {
	if len(l.asked) == 0 {
		return
	}
	l.token++
	outcome := l.core.Read(l.token)
	if outcome == paxos.Taken {
		b := getReadBatch()
		b.queries, b.epoch = append(b.queries, l.asked...), l.ballot
		l.reads[l.token] = b
	} else {
		status := wire.StatusNotLeader
		if outcome == paxos.Busy {
			status = wire.StatusBusy
		}
		for _, q := range l.asked {
			q.fail(l.g, status)
		}
	}
	clear(l.asked)
	l.asked = l.asked[:0]
}

// trim forgets slots that a durable snapshot of this replica holds.
func (l *loop) trim(s wire.Slot) {
	l.notices() // the snapshot is of an applied slot: the core must know that it is
	l.core.Trim(s)
	l.g.skips.trim(s)
	l.trimLog(s)
}

// trimLog has the syncer trim the WAL. Work before it in the queue is done before it.
func (l *loop) trimLog(s wire.Slot) {
	if s <= l.trimmed {
		return
	}
	l.trimmed = s
	w := getWork(l.g)
	w.trim = s
	l.g.node.syncer.put(w)
}

// shutdown ends the loop: every waiter is told, every reference released.
func (l *loop) shutdown() {
	for _, e := range l.g.mailbox.Close() {
		switch e.kind {
		case eventFrame:
			e.frame.Release()
		case eventPropose:
			e.frame.Release()
			l.g.refuse(e.done, wire.StatusClosed)
		case eventQuery:
			e.query.fail(l.g, wire.StatusClosed)
		case eventFeed:
			l.feeds = append(l.feeds, e.feed)
		case eventChange:
			e.change.done(ErrClosed)
		}
	}
	l.changed(fmt.Errorf("%w: the node is closing", ErrUnknown))
	l.failFeeds()
	l.g.gatherer.close()
	l.gather()
	l.lost(wire.StatusUnknown, wire.StatusClosed)
	for _, q := range l.asked {
		q.fail(l.g, wire.StatusClosed)
	}
	for _, token := range slices.Sorted(maps.Keys(l.reads)) { // in the order of asking, so that a simulated run repeats
		l.reads[token].fail(l.g, wire.StatusClosed)
	}
	l.g.lease.publish(paxos.Lease{})
	l.core.Resign("its node stops")
	out := l.core.Output()
	for _, m := range out.Messages {
		if m.Gate == 0 { // what waits for the disk is not sent any more
			l.g.node.net.Send(m.To, m.Frame.Retain())
		}
	}
	discard(out)
	l.core.Close()
	l.g.applier.close()
}

// discard releases an output that nobody will act upon.
func discard(out *paxos.Output) {
	for _, r := range out.Records {
		r.Frame.Release()
	}
	for _, m := range out.Messages {
		m.Frame.Release()
	}
	for _, c := range out.Chosen {
		c.Frame.Release()
	}
}
