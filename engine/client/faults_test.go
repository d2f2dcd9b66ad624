package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a node dies and comes back, or another takes over, and the client waits for long or for ever.
func TestNodeRestart(t *testing.T) {
	f := newFakeCluster(t, 3)
	c := dial(t, testConfig(f))
	mustDo(t, c, "before")
	f.nodes[0].stop()
	go func() {
		time.Sleep(50 * time.Millisecond)
		f.lead(2)
	}()
	start := time.Now()
	mustDo(t, c, "after failover")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("failover took %v, the cluster needed 50 ms", took)
	}
	f.nodes[0].start(f.nodes[0].addr)
	f.nodes[1].stop()
	f.lead(1)
	mustDo(t, c, "after restart")
}

// What can go wrong: duplicate or overtaken replies confuse the matching.
func TestRepeatedAndReorderedReplies(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.AttemptTimeout, cfg.BlockCommands = 5*time.Second, 3
	c := dial(t, cfg)
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action { return twice })
	x := newCollector()
	for i := range 100 {
		x.propose(t, c, name(i))
	}
	x.check(t, f)
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action { return hold })
	x = newCollector()
	for round := range 5 {
		for i := range 20 {
			x.propose(t, c, name(1000+round*100+i))
		}
		eventually(t, "six blocks under way", func() bool { return f.heldCount() >= 6 })
		f.release(true)
	}
	f.setScript(nil)
	f.release(true)
	if ok, _, _ := x.check(t, f); ok != 100 {
		t.Fatalf("%d of 100 done", ok)
	}
}

// What can go wrong: a busy cluster makes commands fail, is hammered without a pause, or loses those that wait.
func TestBusyIsRetried(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	tries := 0
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action {
		if tries++; tries%4 != 0 {
			return busy
		}
		return serve
	})
	x := newCollector()
	for i := range 50 {
		x.propose(t, c, name(i))
		if i%5 == 0 {
			mustDo(t, c, "do-"+name(i))
		}
	}
	if ok, _, _ := x.check(t, f); ok != 50 {
		t.Fatalf("%d of 50 done", ok)
	}
}

// What can go wrong: a connection is reset as soon as it was made, the manager hears of its end before it hears of it, and
// takes it for one to the node: the address is neither asked nor dialled again until the search ends, which it never
// does if it is the leader's.
func TestConnectionEndsBeforeItIsReported(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := newClient(testConfig(f).withDefaults())
	s := newSeeker(c)
	next := func(want eventKind) event {
		t.Helper()
		select {
		case e := <-s.events:
			if e.kind != want || want == eventDialed && e.err != nil {
				t.Fatalf("%+v", e)
			}
			return e
		case <-time.After(10 * time.Second):
			t.Fatal("nothing happens")
		}
		panic("unreachable")
	}
	s.active = true
	s.schedule(Now())
	s.askOne(f.nodes[0].addr)
	dialed := next(eventDialed)
	dialed.link.close()
	s.take(next(eventClosed))
	s.take(dialed)
	s.ask(Now())
	again := next(eventDialed)
	again.link.close()
	next(eventClosed)
	c.running.Wait()
}

// What can go wrong: a leader that stands still (SIGSTOP: its kernel accepts and acknowledges, the process answers
// nothing) holds its clients until their timeout, although another node leads by now.
func TestSilentLeaderIsLeft(t *testing.T) {
	f := newFakeCluster(t, 3)
	c := dial(t, testConfig(f))
	mustDo(t, c, "before")
	f.nodes[0].freeze(true)
	x := newCollector()
	for i := range 20 {
		x.propose(t, c, name(i))
	}
	time.Sleep(150 * time.Millisecond)
	f.lead(2)
	start := time.Now()
	mustDo(t, c, "after")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v after the new leader was there", took)
	}
	if ok, _, _ := x.check(t, f); ok != 20 {
		t.Fatalf("%d of 20 done", ok)
	}
	f.nodes[1].freeze(true) // and back to the first, which wakes up
	f.nodes[0].freeze(false)
	f.lead(1)
	mustDo(t, c, "back")
}

// What can go wrong: a leader that is merely slow is left and everything sent again, which makes it slower still.
func TestSlowLeaderIsKept(t *testing.T) {
	f := newFakeCluster(t, 3)
	cfg := testConfig(f)
	cfg.AttemptTimeout = 20 * time.Millisecond
	c := dial(t, cfg)
	dials, sends := f.nodes[0].dialCount(), 0
	f.setScript(func(_ *fakeNode, kind wire.Kind, _ wire.Block) action {
		sends++
		return hold
	})
	x := newCollector()
	x.propose(t, c, "slow")
	time.Sleep(400 * time.Millisecond)
	f.setScript(nil)
	f.release(false)
	x.check(t, f)
	if n := f.nodes[0].dialCount(); n != dials || sends != 1 {
		t.Fatalf("%d connections instead of %d, %d sends instead of 1", n, dials, sends)
	}
}

// What can go wrong: leadership is lost with blocks under way (Unknown), and the client reports that instead of asking
// again with the same numbers.
func TestUnknownIsRetriedUntilKnown(t *testing.T) {
	f := newFakeCluster(t, 2)
	c := dial(t, testConfig(f))
	n := 0
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action {
		n++
		switch {
		case blk.Count() == 0:
			return serve
		case n%3 == 0:
			return unknown
		case n%5 == 0:
			return notLeader
		}
		return serve
	})
	x := newCollector()
	for i := range 60 {
		x.propose(t, c, name(i))
		if i%4 == 0 {
			mustDo(t, c, "do-"+name(i))
		}
	}
	if ok, _, _ := x.check(t, f); ok != 60 {
		t.Fatalf("%d of 60 done", ok)
	}
}

// What can go wrong: results that the cluster could not keep are asked for until the timeout.
func TestLostResultsAreFinal(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action { return lost })
	_, err := c.Do(context.Background(), []byte("x"))
	if !MayBeDone(err) || f.executions("x") != 1 {
		t.Fatalf("%v", err)
	}
}

// What can go wrong: a command whose session is gone is executed again although it may have been, or fails although it
// certainly was not.
func TestSessionGone(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	mustDo(t, c, "first")
	old := c.Session()
	f.mu.Lock()
	clear(f.sessions) // evicted
	f.mu.Unlock()
	mustDo(t, c, "certainly not executed: moves to a new session")
	if c.Session() == old || c.Session() == 0 {
		t.Fatalf("session %d after %d was evicted", c.Session(), old)
	}
	n := 0
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action {
		switch n++; n {
		case 1:
			return cutAfter // executed, and nobody heard of it
		case 2:
			return gone
		}
		return serve
	})
	_, err := c.Do(context.Background(), []byte("perhaps"))
	if !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrSessionGone) || f.executions("perhaps") != 1 {
		t.Fatalf("%v, executed %d times", err, f.executions("perhaps"))
	}
	mustDo(t, c, "goes on")
}

// What can go wrong: an error says "certainly not done" of something that was sent, or "unknown" of what never was.
func TestTimeoutsTellSentFromUnsent(t *testing.T) {
	f := newFakeCluster(t, 2)
	cfg := testConfig(f)
	cfg.Timeout = 300 * time.Millisecond
	c := dial(t, cfg)
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action { return executeOnly })
	if _, err := c.Do(context.Background(), []byte("sent")); !errors.Is(err, ErrUnknown) {
		t.Fatalf("sent without an answer: %v", err)
	}
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action { return busy })
	for i := 0; ; i++ { // the deadline may hit while an attempt is under way: unknown, but not every time
		_, err := c.Do(context.Background(), []byte("refused"))
		if errors.Is(err, ErrTimeout) && !MayBeDone(err) {
			break
		}
		if i == 5 {
			t.Fatalf("always busy: %v", err)
		}
	}
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action { return full })
	for i := 0; ; i++ {
		_, err := c.Do(context.Background(), []byte("refused"))
		if errors.Is(err, ErrTimeout) && errors.Is(err, ErrDiskFull) && !MayBeDone(err) {
			break
		}
		if i == 5 {
			t.Fatalf("a full disk: %v", err)
		}
	}
	f.setScript(nil)
	f.lead(0)
	for _, n := range f.nodes {
		n.stop()
	}
	eventually(t, "the client notices", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.link == nil
	})
	if _, err := c.Do(context.Background(), []byte("unsent")); !errors.Is(err, ErrTimeout) || MayBeDone(err) {
		t.Fatalf("no leader: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, []byte("impatient")); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("context ended: %v", err)
	}
	if _, err := c.Query(context.Background(), []byte("q"), wire.QueryLinearizable); !errors.Is(err, ErrTimeout) {
		t.Fatalf("query without a leader: %v", err)
	}
	for i, n := range f.nodes {
		n.start(n.addr)
		f.lead(wire.NodeID(i + 1))
	}
	mustDo(t, c, "goes on")
	if n := f.executions("unsent") + f.executions("refused"); n != 0 {
		t.Fatal("a command that certainly was not done was executed")
	}
}

// What can go wrong: Invalid for a block is retried, or is certain although an earlier attempt may have been executed.
func TestInvalidIsFinal(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	n := 0
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action {
		switch n++; n {
		case 1, 3:
			return invalid
		default:
			return cutBefore
		}
	})
	if _, err := c.Do(context.Background(), []byte("a")); !errors.Is(err, ErrInvalid) || MayBeDone(err) {
		t.Fatalf("refused: %v", err)
	}
	if _, err := c.Do(context.Background(), []byte("b")); !errors.Is(err, ErrInvalid) || !MayBeDone(err) {
		t.Fatalf("refused after a try without an answer: %v", err)
	}
}

// What can go wrong: Close forgets a callback, calls one twice, calls something certain that is not, or returns before
// its goroutines ended (TestMain).
func TestCloseSettlesEverything(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.AttemptTimeout, cfg.BlockCommands = 5*time.Second, 10
	c := dial(t, cfg)
	f.setScript(func(_ *fakeNode, _ wire.Kind, blk wire.Block) action {
		if blk.Count() == 0 {
			return serve
		}
		return executeOnly
	})
	x := newCollector()
	for i := range 200 {
		x.propose(t, c, name(i))
	}
	eventually(t, "something was executed", func() bool { return f.executions(name(0)) == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ok, failed, unknown := x.check(t, f)
	if ok != 0 || unknown == 0 || failed+unknown != 200 {
		t.Fatalf("%d done, %d failed, %d unknown", ok, failed, unknown)
	}
	if err := c.Go([]byte("x"), DoneFunc(func(*Result) {})); !errors.Is(err, ErrClosed) {
		t.Fatalf("Go after Close: %v", err)
	}
	if _, err := c.Query(context.Background(), nil, wire.QueryStale); !errors.Is(err, ErrClosed) {
		t.Fatalf("Query after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is closed in the cluster", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.sessions) == 0
	})
}

// What can go wrong: one block without a reply and many behind it exceed what a session may keep (checked by the fake),
// or waiting blocks grow without bound.
func TestWindowAndQueueAreBounded(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.AttemptTimeout, cfg.BlockCommands, cfg.Window, cfg.QueueBlocks = time.Minute, 1, 16, 8
	c := dial(t, cfg)
	first := true
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action {
		if first {
			first = false
			return hold
		}
		return serve
	})
	x := newCollector()
	full := 0
	for i := range 100 {
		x.wg.Add(1)
		b := c.NewBlock()
		b.Add([]byte(name(i)))
		err := c.Submit(b, BlockDoneFunc(func(r *BlockResult) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.errs[name(i)] = r.Err
			x.wg.Done()
		}))
		if errors.Is(err, ErrBusy) {
			b.Release()
			x.wg.Done()
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full != 100-16-8 {
		t.Errorf("%d blocks turned away, want all beyond window and queue", full)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	for i := range 2 { // one opens a block, the other finds no room
		if _, err := c.Do(ctx, []byte(name(1000+i))); !errors.Is(err, context.DeadlineExceeded) || MayBeDone(err) != (i == 0) {
			t.Errorf("Do %d with a full queue: %v", i, err)
		}
	}
	f.release(false)
	if ok, _, _ := x.check(t, f); ok != 24 {
		t.Fatalf("%d of 24 done", ok)
	}
	mustDo(t, c, "room again")
}

// What can go wrong: anything, when everything happens at once. Random faults and leaders for a while; then every
// outcome must agree with what was executed.
func TestChaos(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 99))
		f := newFakeCluster(t, 3)
		cfg := testConfig(f)
		cfg.Timeout, cfg.AttemptTimeout, cfg.BlockCommands, cfg.QueueBlocks = 2*time.Second, 20*time.Millisecond, 20, 1000
		c := dial(t, cfg)
		calm := false
		actions := []action{serve, serve, serve, serve, busy, swallow, executeOnly, twice, cutBefore, cutAfter, unknown, notLeader, gone}
		f.setScript(func(_ *fakeNode, kind wire.Kind, blk wire.Block) action {
			if calm || rng.IntN(3) > 0 {
				return serve
			}
			if rng.IntN(20) == 0 {
				f.leader = wire.NodeID(rng.IntN(4))
			}
			return actions[rng.IntN(len(actions))]
		})
		stop := make(chan struct{})
		go func() { // a cluster without a leader elects one
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				f.mu.Lock()
				if f.leader == 0 {
					f.leader = wire.NodeID(1 + rng.IntN(3))
				}
				f.mu.Unlock()
			}
		}()
		x := newCollector()
		for i := range 2000 {
			x.propose(t, c, name(i))
			if i%50 == 49 {
				time.Sleep(2 * time.Millisecond)
			}
		}
		time.Sleep(100 * time.Millisecond)
		f.mu.Lock()
		calm = true
		f.mu.Unlock()
		ok, failed, unknown := x.check(t, f)
		close(stop)
		if ok == 0 {
			t.Fatalf("seed %d: nothing was done", seed)
		}
		t.Logf("seed %d: %d done, %d failed, %d unknown, %d sessions", seed, ok, failed, unknown, f.opens)
		mustDo(t, c, "calm")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
