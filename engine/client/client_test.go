package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// TestMain demands that no test leaves a goroutine behind, except for those of fastrpc, which have no end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.(*Client).worker"),
		goleak.IgnoreAnyFunction("github.com/valyala/fastrpc.(*Client).init.func1"))
}

// What can go wrong: results are given to the wrong commands, sequence numbers have gaps, or concurrent callers disturb
// each other.
func TestConcurrentCommandsGetTheirOwnResults(t *testing.T) {
	f := newFakeCluster(t, 3)
	c := dial(t, testConfig(f))
	x := newCollector()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 500 {
				if i%10 == 0 {
					mustDo(t, c, "do-"+name(g*1000+i))
				}
				x.propose(t, c, name(g*1000+i))
			}
		}()
	}
	wg.Wait()
	if ok, _, _ := x.check(t, f); ok != 4000 {
		t.Fatalf("%d of 4000 done", ok)
	}
	if s := c.Stats(); s.Commands != 4400 || s.Blocks == 0 || s.Blocks > 4400 || s.Resends != 0 || s.Sessions != 1 || s.Attaches != 1 || s.Searches != 1 {
		t.Fatalf("%+v", s)
	}
}

// What can go wrong: a block is cut, or its results, slot, session or sequence number are not its own.
func TestSubmitKeepsBlocksWhole(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	next := wire.Seq(1)
	for n := 1; n <= 100; n += 33 {
		b := c.NewBlock()
		for i := range n {
			if !b.Add([]byte(name(1000*n + i))) {
				t.Fatal("block full")
			}
		}
		done := make(chan struct{})
		err := c.Submit(b, BlockDoneFunc(func(r *BlockResult) {
			defer close(done)
			if r.Err != nil || r.Count != n || r.First != next || r.Session != c.Session() || r.Slot == 0 || r.DoneNanos < r.SentNanos || r.SentNanos == 0 {
				t.Errorf("%+v", *r)
			}
			for i := range n {
				if p, ok := r.Results.Next(); !ok || string(p) != name(1000*n+i) {
					t.Errorf("result %d of %d: %q", i, n, p)
				}
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		<-done
		next += wire.Seq(n)
	}
	b := c.NewBlock()
	defer b.Release()
	if err := c.Submit(b, nil); !errors.Is(err, ErrInvalid) {
		t.Fatalf("empty block: %v", err)
	}
}

// What can go wrong: a block takes more than its limit, refuses the largest command, or changes when it is full.
func TestBlockLimits(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.BlockBytes, cfg.BlockCommands = 100, 5
	c := dial(t, cfg)
	b := c.NewBlock()
	defer b.Release()
	for i := range 5 {
		if !b.Add([]byte("x")) {
			t.Fatalf("full after %d of 5", i)
		}
	}
	if b.Add([]byte("x")) || b.Count() != 5 {
		t.Fatalf("block of 5 took a sixth, has %d", b.Count())
	}
	big := c.NewBlock()
	defer big.Release()
	if !big.Add(make([]byte, 60)) || big.Add(make([]byte, 60)) || !big.Add(make([]byte, 30)) {
		t.Fatal("limit of 100 bytes not kept")
	}
	largest := strings.Repeat("x", wire.CommandBytesMax)
	mustDo(t, c, largest)
	if _, err := c.Do(context.Background(), append([]byte(largest), 'x')); !errors.Is(err, ErrTooLarge) || MayBeDone(err) {
		t.Fatalf("one byte too many: %v", err)
	}
}

// What can go wrong: a client that knows only a follower does not find the leader, or does not follow it when it moves.
func TestLeaderIsFoundAndFollowed(t *testing.T) {
	f := newFakeCluster(t, 3)
	cfg := testConfig(f)
	f.lead(3)
	cfg.Addrs = cfg.Addrs[1:2]
	c := dial(t, cfg)
	for i := range 30 {
		f.lead(wire.NodeID(1 + i%3))
		start := time.Now()
		mustDo(t, c, name(i))
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("redirect took %v", took)
		}
		if n := f.executions(name(i)); n != 1 {
			t.Fatalf("executed %d times", n)
		}
	}
}

// What can go wrong: a lost connection loses blocks, doubles them, or changes their bytes. The connection is cut before
// and after execution, again and again, under load.
func TestCutConnections(t *testing.T) {
	f := newFakeCluster(t, 3)
	c := dial(t, testConfig(f))
	n := 0
	f.setScript(func(_ *fakeNode, kind wire.Kind, blk wire.Block) action {
		n++
		if blk.Count() == 0 {
			return serve
		}
		switch n % 7 {
		case 2:
			return cutBefore
		case 5:
			return cutAfter
		}
		return serve
	})
	x := newCollector()
	for i := range 300 {
		x.propose(t, c, name(i))
		if i%3 == 0 {
			mustDo(t, c, "do-"+name(i))
		}
	}
	if ok, failed, unknown := x.check(t, f); ok != 300 {
		t.Fatalf("%d done, %d failed, %d unknown", ok, failed, unknown)
	}
}

// What can go wrong: a query is not redirected, not retried, or its refusal is lost.
func TestQueries(t *testing.T) {
	f := newFakeCluster(t, 3)
	f.lead(2)
	c := dial(t, testConfig(f))
	ctx := context.Background()
	n := 0
	f.setScript(func(_ *fakeNode, kind wire.Kind, _ wire.Block) action {
		n++
		switch n % 5 {
		case 1:
			return busy
		case 3:
			return cutBefore
		}
		return serve
	})
	for i := range 30 {
		f.lead(wire.NodeID(1 + i%3))
		p, err := c.Query(ctx, []byte(name(i)), wire.QueryLinearizable)
		if err != nil || string(p) != "answer to "+name(i) {
			t.Fatalf("%d: %q, %v", i, p, err)
		}
	}
	f.setScript(nil)
	if _, err := c.Query(ctx, []byte("bad"), wire.QueryStale); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no such thing") {
		t.Fatalf("bad query: %v", err)
	}
	if _, err := c.Query(ctx, make([]byte, wire.QueryBytesMax+1), wire.QueryStale); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("long query: %v", err)
	}
}

// What can go wrong: Dial hangs, or says nothing useful, when there is nobody, no leader, or another cluster.
func TestDialSaysWhy(t *testing.T) {
	f := newFakeCluster(t, 2)
	f.lead(0)
	cfg := testConfig(f)
	cfg.Timeout = 200 * time.Millisecond
	if _, err := Dial(context.Background(), cfg); !errors.Is(err, ErrTimeout) {
		t.Fatalf("no leader: %v", err)
	}
	cfg.Timeout = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("context: %v", err)
	}
	cfg.Cluster++
	_, err := Dial(context.Background(), cfg)
	var denied *transport.DeniedError
	if !errors.As(err, &denied) {
		t.Fatalf("another cluster: %v", err)
	}
	for _, n := range f.nodes {
		n.stop()
	}
	cfg.Cluster, cfg.Timeout = testCluster, 100*time.Millisecond
	if _, err := Dial(context.Background(), cfg); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("nobody: %v", err)
	}
	bad := Config{Addrs: []string{"nonsense"}, Pipeline: -1, Timeout: -1}
	if _, err := Dial(context.Background(), bad); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Fatalf("four faults: %v", err)
	}
}
