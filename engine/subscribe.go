package engine

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Atomic broadcast: every node hands out the messages of the log in one total order (Hadzilacos, Toueg 1994: validity,
// agreement, integrity, total order), across changes of leader, from any slot it still holds.

// Delivery is the messages of one slot. It dies when the loop over Subscribe goes on.
type Delivery struct {
	Slot   wire.Slot
	Ballot wire.Ballot // at which this node learned the slot; another may name another one

	batch   wire.Batch
	skipped []uint32 // indexes of the blocks that were not executed, ascending
}

// Message is one command of the log. Command is a view.
type Message struct {
	Session wire.SessionID // 0: proposed outside of a session
	Seq     wire.Seq       // of the session
	Command []byte
}

// Messages are the slot's messages in order: what its commands were when they were executed, each once. A repeat that a
// session's client sent, and the log has twice, is not there.
func (d *Delivery) Messages() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		skipped := d.skipped
		for blocks, i := d.batch.Blocks(), uint32(0); ; i++ {
			blk, ok := blocks.Next()
			if !ok {
				return
			}
			if len(skipped) > 0 && skipped[0] == i {
				skipped = skipped[1:]
				continue
			}
			seq := blk.First()
			for cmds := blk.Commands(); ; seq++ {
				cmd, ok := cmds.Next()
				if !ok {
					break
				}
				if !yield(Message{blk.Session(), seq, cmd}) {
					return
				}
			}
		}
	}
}

// TrimmedError ends a subscription whose next slot this node does not hold any more: it is only in a snapshot.
type TrimmedError struct {
	Asked  wire.Slot
	Oldest wire.Slot // that the node holds
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("engine: slot %d is not held any more, the oldest is %d: take the state machine's state and go on from there, or raise Config.RetainBytes", e.Asked, e.Oldest)
}

// Bounds of what is handed to a subscriber at a time; the first slot always is.
const (
	feedSlots = 64
	feedBytes = 1 << 20
)

// Subscribe delivers the group's messages in slot order, from slot from on (0 and 1: the first), on this node, leader or
// not: each slot once it has been applied here, no-ops and slots of which nothing was executed left out. Every node delivers the
// same. A subscriber sets its own pace: nothing is queued for it, and one that falls behind what the node holds
// (Config.RetainBytes behind a snapshot) is told so. To go on after a restart, subscribe from the last slot + 1: what was
// delivered stays delivered.
//
// It ends with an error: ctx's, *TrimmedError, ErrClosed, ErrAuxiliary. Breaking off the loop ends it too. Any number of
// subscriptions may run.
func (g *Group) Subscribe(ctx context.Context, from wire.Slot) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		if g.node.c.auxiliary() {
			yield(nil, ErrAuxiliary)
			return
		}
		next := max(from, 1)
		for {
			f, err := g.heldFrom(ctx, next)
			if err != nil {
				yield(nil, err)
				return
			}
			next += wire.Slot(len(f.held))
			if !f.hand(yield) {
				return
			}
		}
	}
}

// hand yields the slots and releases them; false: enough.
func (f *feed) hand(yield func(*Delivery, error) bool) bool {
	more := true
	for _, c := range f.held {
		if more && !c.Value.IsNoop() {
			more = f.handOne(c, yield)
		}
		c.Frame.Release()
	}
	return more
}

func (f *feed) handOne(c paxos.Chosen, yield func(*Delivery, error) bool) bool {
	skipped, some := f.skipped[c.Slot]
	if some && skipped == nil {
		return true
	}
	d := Delivery{Slot: c.Slot, Ballot: c.Ballot, batch: c.Value, skipped: skipped}
	if c.Value.Compressed() {
		buf := wire.Get(c.Value.RawLen())
		defer buf.Release()
		var err error
		if d.batch, err = c.Value.Plain(buf); err != nil {
			panic("BUG: engine: a batch that was applied does not decompress: " + err.Error())
		}
	}
	if len(d.skipped) == d.batch.BlockCount() {
		return true
	}
	return yield(&d, nil)
}

// feed is a subscriber's request for slots from next on.
type feed struct {
	next  wire.Slot
	state atomic.Uint32 // who ends it first, the loop or the subscriber
	held  []paxos.Chosen
	err   error
	done  chan struct{} // closed when held and err are set
	then  func()        // is called by the loop instead, if it is set

	// skipped is what of held was not executed, as in skipTable, which may have forgotten it when a slow subscriber gets there.
	skipped map[wire.Slot][]uint32
}

// end tells the subscriber.
func (f *feed) end() {
	if f.then != nil {
		f.then()
		return
	}
	close(f.done)
}

const (
	feedWaits uint32 = iota
	feedServed
	feedAbandoned
)

// heldFrom waits for applied slots from next on; the references in held are the caller's.
func (g *Group) heldFrom(ctx context.Context, next wire.Slot) (*feed, error) {
	f := &feed{next: next, done: make(chan struct{})}
	if !g.mailbox.PutUrgent(event{kind: eventFeed, feed: f}) {
		return nil, ErrClosed
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		if f.state.CompareAndSwap(feedWaits, feedAbandoned) {
			return nil, ctx.Err()
		}
		<-f.done
		for _, c := range f.held {
			c.Frame.Release()
		}
		return nil, ctx.Err()
	}
	return f, f.err
}

// feedAll serves the subscribers whose next slot has been applied, and keeps the others.
func (l *loop) feedAll() {
	if len(l.feeds) == 0 {
		return
	}
	// Asked for before applied is read: whatever the applier does after that makes it nudge.
	l.g.wantApplied.Store(true)
	l.notices()
	l.feeds = slices.DeleteFunc(l.feeds, func(f *feed) bool {
		if f.next > l.applied {
			return f.state.Load() == feedAbandoned
		}
		if !f.state.CompareAndSwap(feedWaits, feedServed) {
			return true
		}
		l.fill(f)
		f.end()
		return true
	})
}

// fill gives a feed what the core holds. Slots of a snapshot that was installed it may hold too, if it learned them while that was
// restored. They were not executed here, and what in them is a repeat is not known: they count as not held.
func (l *loop) fill(f *feed) {
	bytes := 0
	for s := f.next; s > l.installed && s <= l.applied && len(f.held) < feedSlots && bytes < feedBytes; s++ {
		c, ok := l.core.ChosenAt(s)
		if !ok {
			break
		}
		c.Frame.Retain()
		bytes += c.Frame.Len()
		f.held = append(f.held, c)
	}
	f.skipped = l.g.skips.of(f.next, len(f.held))
	if len(f.held) == 0 {
		f.err = &TrimmedError{Asked: f.next, Oldest: max(l.core.Status().Trimmed, l.installed) + 1}
	}
}

// failFeeds ends all subscriptions.
func (l *loop) failFeeds() {
	for _, f := range l.feeds {
		if f.state.CompareAndSwap(feedWaits, feedServed) {
			f.err = ErrClosed
			f.end()
		}
	}
	l.feeds = nil
}

// skipTable says which blocks of the slots held were not executed: repeats of a session's blocks, refused ones, and slots
// whose batch is malformed. There are few, so the usual slot has no entry. Written by the applier, trimmed and read by the
// loop.
type skipTable struct {
	mu     sync.Mutex
	blocks map[wire.Slot][]uint32 // nil: the whole slot
}

// add notes that block i of slot s was not executed.
func (t *skipTable) add(s wire.Slot, i uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.init()
	t.blocks[s] = append(t.blocks[s], i)
}

// addSlot notes that nothing of slot s was executed.
func (t *skipTable) addSlot(s wire.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.init()
	t.blocks[s] = nil
}

func (t *skipTable) init() {
	if t.blocks == nil {
		t.blocks = make(map[wire.Slot][]uint32)
	}
}

// of returns the entries of count slots from s on, all of them applied; nil: there are none.
func (t *skipTable) of(s wire.Slot, count int) (some map[wire.Slot][]uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.blocks) == 0 {
		return nil
	}
	for end := s + wire.Slot(count); s < end; s++ {
		if blocks, ok := t.blocks[s]; ok {
			if some == nil {
				some = make(map[wire.Slot][]uint32)
			}
			some[s] = blocks
		}
	}
	return some
}

// trim forgets the slots up to s.
func (t *skipTable) trim(s wire.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.blocks {
		if k <= s {
			delete(t.blocks, k)
		}
	}
}
