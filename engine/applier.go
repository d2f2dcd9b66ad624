package engine

import (
	"bufio"
	"fmt"
	"io"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// applyKind says what an item in an applier's mailbox is.
type applyKind uint8

const (
	applyChosen   applyKind = iota // a slot to execute
	applyReads                     // queries to answer once their slot is applied
	applyQuery                     // a query of the state as it is
	applyLease                     // a query to answer by lease once its slot is applied
	applyRestore                   // replace the state by a snapshot's
	applyStatus                    // a look at the state
	applySnapshot                  // see whether a snapshot is due
)

// applyItem is one entry of an applier's mailbox.
type applyItem struct {
	kind   applyKind
	chosen paxos.Chosen // one reference
	flight *flight      // those who wait for the slot here, or nil
	reads  *readBatch
	query  *query
	file   *snapshot.File
	done   chan<- error // restored
	status func(*applyState)
}

// applyState is what the applier knows of the state, for Status.
type applyState struct {
	applied  wire.Slot
	commands uint64
	sessions int
	hash     uint64
	hashed   bool
}

// applier is the goroutine that owns a group's state machine and sessions. It executes chosen slots in order and
// answers those who wait for them. It never looks at the core.
type applier struct {
	g        *Group
	sm       StateMachine
	sessions *sessionTable
	box      *batching.Mailbox[applyItem]
	items    []applyItem
	done     chan struct{}

	applied wire.Slot
	ballot  wire.Ballot       // of the applied slot
	members paxos.Memberships // as of the applied slot
	alpha   int               // paxos.Config.Alpha
	dead    bool              // a restore failed: the state must not be used
	epoch   wire.Ballot       // of the replies to those who wait for the slot

	run     applyRun
	replies Replies
	result  Result
	waiting []*readBatch // for slots not applied yet
	answer  []byte
	logged  logMarks
}

// applyRun is the run of fresh blocks being collected.
type applyRun struct {
	slot       wire.Slot
	waiters    []Completion // of the whole batch; nil: nobody waits here
	payload    []byte       // of the whole batch
	start, end int          // of the run in payload
	index      int          // of its first block in the batch
	commands   int
	blocks     []runBlock
}

type runBlock struct {
	session wire.SessionID
	first   wire.Seq
}

func newApplier(g *Group, sm StateMachine) *applier {
	a := &applier{
		g: g, sm: sm, sessions: newSessionTable(), done: make(chan struct{}),
		// The bounds do not matter: the loop uses PutUrgent, and bounds itself (Limits).
		box:    batching.NewMailbox[applyItem](1, 1),
		logged: newLogMarks(g.node.c.RetainBytes),
	}
	a.sessions.sessionsMax = g.node.limits.Sessions
	return a
}

// put queues an item; it takes over all references in it.
func (a *applier) put(it applyItem) {
	if !a.box.PutUrgent(it) {
		a.drop(&it)
	}
}

// goroutine runs the applier until the mailbox is closed, which the loop does when it ends.
func (a *applier) goroutine() {
	defer close(a.done)
	for range a.box.Wait() {
		a.items = a.box.Swap(a.items)
		for i := range a.items {
			a.take(&a.items[i])
		}
		if a.g.wantApplied.Swap(false) {
			a.g.nudge()
		}
		if a.box.Closed() {
			break
		}
	}
	for _, b := range a.waiting {
		b.fail(a.g, wire.StatusClosed)
	}
	a.sessions.release()
}

// close ends the applier: what it has not taken yet is dropped.
func (a *applier) close() {
	left := a.box.Close()
	for i := range left {
		a.drop(&left[i])
	}
}

// drop tells everybody who waits for an item that it will not be done, and releases it.
func (a *applier) drop(it *applyItem) {
	switch it.kind {
	case applyChosen:
		a.g.applyBacklog.Sub(int64(it.chosen.Frame.Len()))
		it.chosen.Frame.Release()
		if it.flight != nil {
			a.g.failFlight(it.flight, wire.StatusUnknown)
		}
	case applyReads:
		it.reads.fail(a.g, wire.StatusClosed)
	case applyQuery, applyLease:
		it.query.fail(a.g, wire.StatusClosed)
	case applyRestore:
		it.done <- ErrClosed
	case applyStatus:
		it.status(nil)
	}
}

// take does one item.
func (a *applier) take(it *applyItem) {
	if a.dead {
		a.drop(it)
		return
	}
	switch it.kind {
	case applyChosen:
		a.slot(it)
	case applyReads:
		if it.reads.slot > a.applied {
			a.waiting = append(a.waiting, it.reads)
			return
		}
		a.answerReads(it.reads)
	case applyQuery:
		a.answerQuery(it.query, wire.Ballot(a.g.epoch.Load()))
	case applyLease:
		if it.query.from > a.applied {
			b := getReadBatch()
			b.queries, b.slot, b.byLease = append(b.queries, it.query), it.query.from, true
			a.waiting = append(a.waiting, b)
			return
		}
		a.byLease(it.query)
	case applyRestore:
		err := a.restore(it.file)
		a.dead = err != nil
		it.done <- err
	case applySnapshot:
		a.g.snapAsked.Store(false)
		a.snapshotIfDue()
	case applyStatus:
		st := applyState{applied: a.applied, commands: a.sessions.commands, sessions: len(a.sessions.byID)}
		if h, ok := a.sm.(Hasher); ok {
			st.hash, st.hashed = h.StateHash(), true
		}
		it.status(&st)
	default:
		panic(fmt.Sprintf("BUG: engine: apply item of kind %d", it.kind))
	}
}

// slot executes a chosen slot.
func (a *applier) slot(it *applyItem) {
	c, size := &it.chosen, int64(it.chosen.Frame.Len())
	a.g.applyBacklog.Sub(size)
	if c.Slot <= a.applied {
		// A snapshot that was restored meanwhile has it.
		c.Frame.Release()
		if it.flight != nil {
			a.g.failFlight(it.flight, wire.StatusUnknown)
		}
		return
	}
	if c.Slot != a.applied+1 {
		panic(fmt.Sprintf("BUG: engine: slot %d handed to the applier after slot %d", c.Slot, a.applied))
	}
	var waiters []Completion
	if it.flight != nil {
		waiters, a.epoch = it.flight.waiters, it.flight.ballot
	}
	a.execute(c.Slot, c.Value, waiters)
	if c.Value.IsMembers() || len(a.members) > 1 {
		a.members = a.members.After(c.Slot, c.Value, a.alpha)
	}
	c.Frame.Release()
	a.applied, a.ballot = c.Slot, c.Ballot
	a.g.applied.Store(uint64(a.applied))
	a.g.count.slots.Inc()
	if it.flight != nil {
		a.g.stages.apply.record(a.g.node.nanotime() - it.flight.learned)
		putFlight(it.flight)
	}
	if len(a.waiting) > 0 {
		a.answerWaiting()
	}
	a.logged.add(c.Slot, size)
	a.snapshotIfDue()
}

// execute runs the fresh blocks of a batch through the state machine and answers every block.
func (a *applier) execute(slot wire.Slot, batch wire.Batch, waiters []Completion) {
	if batch.IsNoop() || batch.IsMembers() {
		a.g.count.noops.Inc()
		if waiters != nil {
			panic(fmt.Sprintf("BUG: engine: waiters for the no-op in slot %d", slot))
		}
		return
	}
	if batch.Compressed() {
		buf := wire.Get(batch.RawLen())
		defer buf.Release()
		plain, err := batch.Plain(buf)
		if err != nil {
			// A property of the bytes, so every replica comes here: the slot does nothing.
			a.g.count.malformed.Inc()
			a.g.skips.addSlot(slot)
			for _, w := range waiters {
				a.g.refuse(w, wire.StatusInvalid)
			}
			return
		}
		batch = plain
	}
	if waiters != nil && len(waiters) != batch.BlockCount() {
		panic(fmt.Sprintf("BUG: engine: %d waiters for the %d blocks of slot %d", len(waiters), batch.BlockCount(), slot))
	}
	r := &a.run
	r.slot, r.waiters, r.payload = slot, waiters, batch.Payload()
	at, i := 0, 0
	for it := batch.Blocks(); ; i++ {
		blk, ok := it.Next()
		if !ok {
			break
		}
		a.block(i, blk, at)
		at += len(blk.Bytes())
	}
	a.flush()
	r.waiters, r.payload = nil, nil
	a.g.count.blocks.Add(uint64(i))
}

// block judges the block at index i of the batch, whose encoding starts at offset at of the payload.
func (a *applier) block(i int, blk wire.Block, at int) {
	id := blk.Session()
	switch {
	case blk.Count() == 0:
		a.flush()
		a.openOrClose(i, blk)
		return
	case id == 0:
		a.join(i, blk, at)
		return
	}
	v, kept, refused := a.sessions.admit(blk, a.run.slot, i)
	if v == verdictFresh {
		a.join(i, blk, at)
		return
	}
	// A block that is not executed ends the run: a run is contiguous bytes.
	if len(a.run.blocks) > 0 {
		a.flush()
		v, kept, refused = a.sessions.admit(blk, a.run.slot, i) // the run may hold the first of this repeat
	}
	a.g.skips.add(a.run.slot, uint32(i))
	r := a.reply(blk)
	switch v {
	case verdictRepeat:
		a.g.count.repeats.Inc()
		kept.fill(r)
	case verdictRefused:
		a.g.count.refused.Inc()
		r.Status, r.Slot, r.Index = refused, a.run.slot, uint32(i)
	default:
		panic(fmt.Sprintf("BUG: engine: block %d of session %d judged %d after its run was executed", blk.First(), id, v))
	}
	a.complete(i)
}

// openOrClose does the two blocks that carry no commands.
func (a *applier) openOrClose(i int, blk wire.Block) {
	r := a.reply(blk)
	r.Slot, r.Index, r.Empty = a.run.slot, uint32(i), true
	if blk.Session() == 0 {
		r.Session = wire.NewSessionID(a.run.slot, i)
		a.sessions.open(r.Session)
	} else if !a.sessions.close(blk.Session()) {
		r.Status = wire.StatusSessionGone
	}
	a.complete(i)
}

// join adds a fresh block to the run.
func (a *applier) join(i int, blk wire.Block, at int) {
	r := &a.run
	if len(r.blocks) == 0 {
		r.start, r.index = at, i
	}
	r.end = at + len(blk.Bytes())
	r.commands += blk.Count()
	r.blocks = append(r.blocks, runBlock{blk.Session(), blk.First()})
}

// flush executes the run and answers its blocks.
func (a *applier) flush() {
	r := &a.run
	if len(r.blocks) == 0 {
		return
	}
	b := wire.Run(r.payload[r.start:r.end:r.end], len(r.blocks), r.commands)
	a.replies.Reset(b)
	a.sm.Apply(r.slot, b, &a.replies)
	if plant.Is(plant.SlowApply) {
		busyWait()
	}
	a.replies.finish(r.slot)
	for j, rb := range r.blocks {
		results, count := a.replies.Block(j)
		empty := a.replies.allEmpty(j)
		if rb.session != 0 {
			a.sessions.executed(rb.session, rb.first, results, empty)
		}
		if r.waiters == nil {
			continue
		}
		a.result = Result{Reply: wire.Reply{
			Slot: r.slot, Index: uint32(r.index + j), Count: uint32(count), Session: rb.session, First: rb.first,
		}}
		switch {
		case empty:
			a.result.Empty = true
		case len(results) > wire.SessionReplyBytesMax:
			a.result.Status = wire.StatusUnknown // executed, but too much for a frame: the same as on a retry
		default:
			a.result.Results = results
		}
		a.complete(r.index + j)
	}
	a.sessions.commands += uint64(r.commands)
	a.g.count.commands.Add(uint64(r.commands))
	r.blocks, r.commands = r.blocks[:0], 0
}

// reply resets the result to one for blk.
func (a *applier) reply(blk wire.Block) *wire.Reply {
	a.result = Result{Reply: wire.Reply{Count: uint32(blk.Count()), Session: blk.Session(), First: blk.First()}}
	return &a.result.Reply
}

// complete gives the result to whoever waits for block i.
func (a *applier) complete(i int) {
	if a.run.waiters != nil {
		a.result.Epoch = a.epoch
		if plant.Is(plant.RepliesSwapped) {
			i = (i + 1) % len(a.run.waiters)
		}
		a.run.waiters[i].Complete(&a.result)
	}
}

// restore replaces state and sessions by those of a snapshot. Any error leaves them unusable.
func (a *applier) restore(f *snapshot.File) error {
	if f.Meta.Slot <= a.applied && !plant.Is(plant.StaleSnapshotInstalled) {
		return nil // this replica got there by itself
	}
	body, err := f.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	src := bufio.NewReaderSize(body, 1<<16)
	members, err := readMembers(src)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	sessions, err := readSessions(src)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if plant.Is(plant.SessionsNotInSnapshot) {
		sessions.release()
		sessions = newSessionTable()
	}
	a.sessions.release()
	a.sessions = sessions
	a.sessions.sessionsMax = a.g.node.limits.Sessions
	if err := a.sm.Restore(src); err != nil {
		return fmt.Errorf("engine: state machine does not take %s: %w", f.Path, err)
	}
	// The file's last read verifies it: a state machine may stop short of it.
	if _, err := io.Copy(io.Discard, src); err != nil {
		return err
	}
	a.applied, a.ballot, a.members = f.Meta.Slot, f.Meta.Ballot, members
	a.logged.restart(a.applied)
	a.g.snapSize.Store(f.Size)
	// The order matters to loop.notices.
	a.g.restored.Store(&restored{a.applied, members})
	a.g.installed.Store(uint64(a.applied))
	a.g.applied.Store(uint64(a.applied))
	a.g.nudge()
	a.answerWaiting()
	return nil
}
