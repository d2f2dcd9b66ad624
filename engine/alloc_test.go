//go:build !race

package engine

// The race detector makes sync.Pool forget on purpose: allocations mean nothing under it, hence the build tag.

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// done is a reusable Completion.
type done chan wire.Status

func (d done) Complete(r *Result) { d <- r.Status }

// steady makes the log short, so that the buffers it holds come back to their pools within the test.
func steady(c *Config) {
	c.NewStateMachine = func(wire.GroupID) StateMachine { return &null{} }
	c.SnapshotBytes, c.RetainBytes, c.SegmentBytes = 2<<20, 1<<20, 4<<20
	c.Fsync = wal.Policy{Mode: wal.Never} // the disk's time is not what is measured
}

// mallocsPer counts the allocations of the whole process per call of fn. It is the best of several intervals: what
// happens once in a while (a snapshot, a collection that empties the pools, a disk that lets queues grow) is not what
// every block pays.
func mallocsPer(n int, fn func()) float64 {
	best := math.Inf(1)
	for range 8 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			fn()
		}
		runtime.ReadMemStats(&after)
		best = min(best, float64(after.Mallocs-before.Mallocs)/float64(n))
	}
	return best
}

// The hot path allocates nothing in steady state, or the collector takes the time that commands should have. What is
// counted is everything the process does between a block and its reply, on every goroutine; ticks and the emptying of
// pools by the collector make it a little more than zero.
func TestProposeAllocs(t *testing.T) {
	c := newCluster(t, 1, false, steady)
	g := c.leader().Group(1)
	id := c.openSession()
	first := wire.Seq(1)
	d := make(done, 1)
	per := mallocsPer(1000, func() {
		f := wire.Get(4 << 10)
		commands16(f, id, first, 100)
		first += 100
		if err := g.ProposeBlock(f, d); err != nil {
			t.Fatal(err)
		}
		if s := <-d; s != wire.StatusOK {
			t.Fatal(s)
		}
	})
	t.Logf("%.3f allocations per block", per)
	if per > 0.5 {
		t.Errorf("%.2f allocations per block of 100 commands", per)
	}
}

// replies is a client that answers every Reply frame with the next block.
type replies struct {
	t    testing.TB
	done chan struct{}
}

func (r *replies) Frame(f *wire.Buffer) {
	var reply wire.Reply
	if err := wire.DecodeReply(f.Bytes(), &reply); err != nil || reply.Status != wire.StatusOK {
		r.t.Errorf("%+v %v", reply, err)
	}
	f.Release()
	r.done <- struct{}{}
}

func (r *replies) Closed(error) {}

// The same through a client's connection and three nodes: frames, calls and waiters are reused.
func TestClientAllocs(t *testing.T) {
	c := newCluster(t, 3, true, steady)
	id := c.openSession()
	r := &replies{t, make(chan struct{}, 1)}
	conn, err := transport.DialClient(context.Background(), c.leader().Addr().String(), transport.ClientConfig{Cluster: 77},
		func(*transport.ClientConn) transport.ClientHandler { return r })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first := wire.Seq(1)
	per := mallocsPer(1000, func() {
		f := wire.NewPropose(4 << 10)
		commands16(f, id, first, 100)
		wire.SealPropose(f, 77, 1, uint64(first), 0)
		first += 100
		conn.Send(f)
		<-r.done
	})
	t.Logf("%.3f allocations per block", per)
	if per > 0.5 {
		t.Errorf("%.2f allocations per block of 100 commands, on three nodes and a client", per)
	}
}

// countdown is a reusable CommandDone for a number of commands, all told by one goroutine.
type countdown struct {
	left int
	done chan struct{}
}

func (d *countdown) CommandDone(r *CommandResult) {
	if d.left--; d.left == 0 {
		d.done <- struct{}{}
	}
}

// Commands that are gathered cost no allocation either: blocks and their lists of waiters are reused.
func TestGoAllocs(t *testing.T) {
	c := newCluster(t, 1, false, steady)
	g := c.leader().Group(1)
	cmd := make([]byte, 16)
	last := countdown{done: make(chan struct{}, 1)}
	per := mallocsPer(1000, func() {
		last.left = 100
		for range 100 {
			if err := g.Go(cmd, &last); err != nil {
				t.Fatal(err)
			}
		}
		<-last.done
	})
	t.Logf("%.3f allocations per 100 commands", per)
	if per > 0.5 {
		t.Errorf("%.2f allocations per 100 commands", per)
	}
}
