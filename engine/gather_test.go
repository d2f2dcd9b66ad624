package engine

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// outcomes collects what commands became, in the order in which it was told.
type outcomes struct {
	mu   sync.Mutex
	text []string
	errs []error
	left sync.WaitGroup
}

func (o *outcomes) CommandDone(r *CommandResult) {
	o.mu.Lock()
	o.text, o.errs = append(o.text, string(r.Result)), append(o.errs, r.Err)
	o.mu.Unlock()
	o.left.Done()
}

// What can go wrong: gathering loses a command, executes one twice, gives it another's result, or changes the order of
// one goroutine's commands when a block is full. The number makes several full blocks.
func TestGoKeepsOrderAndResults(t *testing.T) {
	c := newCluster(t, 3, false, func(c *Config) { c.Window = 2 })
	g := c.leader().Group(1)
	const n = 3*gatherCommands + 17
	var o outcomes
	o.left.Add(n)
	for i := range n {
		if err := g.Go(fmt.Appendf(nil, "c%d", i), &o); err != nil {
			t.Fatal(err)
		}
	}
	o.left.Wait()
	for i := range n {
		if want := fmt.Sprintf("c%d:1", i); o.text[i] != want || o.errs[i] != nil {
			t.Fatalf("outcome %d: %q, %v; want %q", i, o.text[i], o.errs[i], want)
		}
	}
	if blocks := g.Metrics().Blocks; blocks >= n/10 {
		t.Errorf("%d blocks for %d commands: nothing was gathered", blocks, n)
	}
	if left := g.clientBytes.Load(); left != 0 {
		t.Errorf("%d bytes still count as waiting", left)
	}
}

// What can go wrong: a large command, or one that just fills a block, is refused or cut.
func TestGoTakesEverySize(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) { c.Fsync = wal.Policy{Mode: wal.Never} })
	g := c.leader().Group(1)
	sizes := []int{0, 1, 127, 128, gatherBytes - 100, gatherBytes - 1, gatherBytes, gatherBytes + 1, wire.CommandBytesMax}
	var o outcomes
	for _, n := range sizes {
		o.left.Add(1)
		if err := g.Go(make([]byte, n), &o); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	o.left.Wait()
	for i, n := range sizes {
		if o.errs[i] != nil || len(o.text[i]) != n+len(":1") {
			t.Errorf("%d bytes: result of %d bytes, %v", n, len(o.text[i]), o.errs[i])
		}
	}
	if err := g.Go(make([]byte, wire.CommandBytesMax+1), &o); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte too many: %v", err)
	}
}

// What can go wrong: a follower keeps a command for ever, or a closed node takes one.
func TestGoIsRefused(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	leader := c.leader()
	for _, n := range c.nodes {
		if n == leader {
			continue
		}
		eventually(t, "the follower knows the leader", func() bool { return n.Group(1).Status().Leader == leader.c.Node })
		eventually(t, "it has heard of the leader", func() bool { return n.Group(1).Status().Leader == leader.c.Node })
		var o outcomes
		o.left.Add(1)
		if err := n.Group(1).Go([]byte("x"), &o); err != nil {
			t.Fatal(err)
		}
		o.left.Wait()
		var not *NotLeaderError
		if !errors.As(o.errs[0], &not) || not.Leader != leader.c.Node {
			t.Errorf("follower: %v", o.errs[0])
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Group(1).Go([]byte("x"), &o); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		return
	}
}
