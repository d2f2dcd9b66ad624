package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// broadcast is what one node delivered.
type broadcast struct {
	mu       sync.Mutex
	messages []string
	slots    []wire.Slot
	err      error
	stop     context.CancelFunc
	ended    chan struct{}
}

// follow subscribes on a node from the slot after the last delivered.
func (b *broadcast) follow(g *Group) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.ended = cancel, make(chan struct{})
	from := wire.Slot(1)
	if n := len(b.slots); n > 0 {
		from = b.slots[n-1] + 1
	}
	go func() {
		defer close(b.ended)
		for d, err := range g.Subscribe(ctx, from) {
			b.mu.Lock()
			if err != nil {
				b.err = err
			} else {
				b.slots = append(b.slots, d.Slot)
				for m := range d.Messages() {
					b.messages = append(b.messages, fmt.Sprintf("%d/%d:%s", m.Session, m.Seq, m.Command))
				}
			}
			b.mu.Unlock()
		}
	}()
}

func (b *broadcast) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages)
}

// What can go wrong: two nodes deliver in different orders, one delivers a message twice because a client sent it twice,
// or leaves one out at a change of leader or when a node comes back and goes on from where it was.
func TestSubscribeIsAtomicBroadcast(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	nodes := map[wire.NodeID]*broadcast{}
	for id, n := range c.nodes {
		nodes[id] = &broadcast{}
		nodes[id].follow(n.Group(1))
	}
	id := c.openSession()
	const blocks = 40
	for i := range blocks {
		first := wire.Seq(1 + 2*i)
		c.retry(id, first, first, fmt.Sprint("a", i), fmt.Sprint("b", i))
		if i%3 == 0 {
			c.retry(id, first, first, fmt.Sprint("a", i), fmt.Sprint("b", i)) // is in the log again
		}
		if i%10 == 5 {
			leader := c.leader().c.Node
			b := nodes[leader]
			c.stop(leader)
			<-b.ended
			if !errors.Is(b.err, ErrClosed) {
				t.Fatalf("the subscription of a closed node ended with %v", b.err)
			}
			c.leader()
			c.retry(id, first, first, fmt.Sprint("a", i), fmt.Sprint("b", i))
			b.follow(c.start(leader).Group(1))
		}
	}
	var want []string
	for i := range blocks {
		want = append(want, fmt.Sprintf("%d/%d:a%d", id, 1+2*i, i), fmt.Sprintf("%d/%d:b%d", id, 2+2*i, i))
	}
	for node, b := range nodes {
		eventually(t, "everything is delivered", func() bool { return b.len() >= len(want) })
		b.stop()
		<-b.ended
		if !errors.Is(b.err, context.Canceled) {
			t.Errorf("node %d: %v", node, b.err)
		}
		if !slices.Equal(b.messages, want) {
			t.Errorf("node %d delivered %v, want %v", node, b.messages, want)
		}
		if !slices.IsSorted(b.slots) || len(slices.Compact(b.slots)) != len(b.slots) {
			t.Errorf("node %d: slots %v", node, b.slots)
		}
	}
}

// What can go wrong: a subscriber of what is only in a snapshot waits for ever, or is handed a log with a hole.
func TestSubscribeToTrimmedSlots(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		c.SnapshotBytes, c.RetainBytes, c.SegmentBytes = 64<<10, 16<<10, 1<<20
		c.Fsync = wal.Policy{Mode: wal.Never}
	})
	g := c.leader().Group(1)
	next, stop := context.WithCancel(context.Background())
	defer stop()
	var slow error
	cmd := make([]byte, 8<<10)
	c.propose("first")
	for d, err := range g.Subscribe(next, 1) {
		if slow = err; err != nil {
			break
		}
		for g.Status().Trimmed <= d.Slot+2*feedSlots { // this subscriber takes a slot each time the log has moved on
			if _, err := g.Propose(context.Background(), cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	var trimmed *TrimmedError
	if !errors.As(slow, &trimmed) || trimmed.Oldest <= trimmed.Asked {
		t.Fatalf("a subscriber that fell behind: %v", slow)
	}
	for from := trimmed.Oldest; ; from = trimmed.Oldest { // a snapshot under way may trim some more
		var d *Delivery
		var err error
		for d, err = range g.Subscribe(next, from) {
			break
		}
		if !errors.As(err, &trimmed) {
			if err != nil || d.Slot != from {
				t.Errorf("from %d on: %+v, %v", from, d, err)
			}
			return
		}
	}
}

// What can go wrong: while a subscriber is busy with a slot the log is trimmed behind what it was handed, which blocks of that were
// not executed is forgotten with it, and a repeat is delivered as if it had been.
func TestSubscriberIsBusyWhileTheLogIsTrimmed(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		c.SnapshotBytes, c.RetainBytes, c.SegmentBytes = 64<<10, 16<<10, 1<<20
		c.Fsync = wal.Policy{Mode: wal.Never}
	})
	g := c.leader().Group(1)
	id := c.openSession()
	c.retry(id, 1, 1, "once")
	c.retry(id, 1, 1, "once") // is in the log again
	repeat := g.Status().Applied
	c.retry(id, 2, 2, "last")
	cmd := make([]byte, 8<<10)
	var got []string
	for d, err := range g.Subscribe(context.Background(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for m := range d.Messages() {
			got = append(got, string(m.Command))
		}
		if d.Slot > repeat {
			break
		}
		for g.Status().Trimmed <= repeat+1 {
			if _, err := g.Propose(context.Background(), cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"once", "last"}; !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
}

// What can go wrong: a subscriber that gives up while it waits is served nevertheless, and its frames are never given back
// (the cluster's end demands that all are).
func TestSubscribersThatGiveUp(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) { c.Fsync = wal.Policy{Mode: wal.Never} })
	g := c.leader().Group(1)
	var wg sync.WaitGroup
	for i := range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			n := 0
			for _, err := range g.Subscribe(ctx, 1) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				if n++; n > i {
					cancel()
				}
			}
		})
		c.propose(fmt.Sprint("x", i))
	}
	for range 50 {
		c.propose("y")
	}
	wg.Wait()
}

// What can go wrong: a replica that learned slots while it restored a snapshot of them hands them out, although it has not executed
// them and cannot know what in them was a repeat.
func TestSlotsOfAnInstalledSnapshotAreNotDelivered(t *testing.T) {
	d := soleDriver(t)
	g := d.Groups()[0]
	run := func() {
		for range 5 {
			g.Turn(true)
			for d.WriteDue() {
				d.Write()
				d.Sync()
			}
			g.Turn(false)
			for g.ApplyDue() {
				g.Apply()
			}
		}
	}
	for range 20 {
		run()
	}
	propose := func(id wire.SessionID, first wire.Seq, cmds ...string) (r wire.Reply) {
		if err := g.Group().ProposeBlock(encodeBlock(id, first, 0, cmds...), CompletionFunc(func(o *Result) { r = o.Reply })); err != nil {
			t.Fatal(err)
		}
		run()
		return r
	}
	id := propose(0, 4711).Session
	propose(id, 1, "once")
	propose(id, 1, "once")
	s := g.g.applier.applied
	propose(id, 2, "last")
	// The applier restores a snapshot at s; the core had learned more by itself by then.
	g.g.restored.Store(&restored{slot: s})
	g.g.installed.Store(uint64(s))
	run()
	ask := func(from wire.Slot) *feed {
		f := &feed{next: from, done: make(chan struct{})}
		g.g.mailbox.PutUrgent(event{kind: eventFeed, feed: f})
		run()
		<-f.done
		for _, c := range f.held {
			c.Frame.Release()
		}
		return f
	}
	var trimmed *TrimmedError
	if f := ask(1); !errors.As(f.err, &trimmed) || trimmed.Oldest != s+1 || len(f.held) > 0 {
		t.Errorf("from 1 on: %d slots, %v, want the error that slot %d is the oldest", len(f.held), f.err, s+1)
	}
	if f := ask(s + 1); f.err != nil || len(f.held) == 0 {
		t.Errorf("from %d on: %d slots, %v", s+1, len(f.held), f.err)
	}
}

// soleDriver is a driven node that is alone in its cluster.
func soleDriver(t *testing.T) *Driver {
	t.Helper()
	now := int64(0)
	clock := func() int64 { now += int64(1e6); return now }
	d, err := NewDriver(Config{
		Node: 1, Cluster: 77, Members: map[wire.NodeID]string{1: "node-1"}, Dir: t.TempDir(), Bootstrap: true, NewStateMachine: newTally,
		Transport: &chunks{}, FS: vfs.NewMem(), Fsync: wal.Policy{Mode: wal.Always},
	}, DriverConfig{
		Now: clock, Clock: clock, Salt: func() uint64 { return 1 }, Core: func(*paxos.Config) {}, Event: func(wire.GroupID, paxos.Event) {},
		Chosen: func(wire.GroupID, wire.Slot, wire.Ballot, wire.Batch) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
