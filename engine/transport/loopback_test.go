package transport

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

func loopPair(t *testing.T, seed uint64) (*Loopback, Transport, Transport, inbox, inbox) {
	t.Helper()
	l := NewLoopback(seed)
	t.Cleanup(func() { l.Close() })
	a, b := l.Node(1), l.Node(2)
	return l, a, b, serve(t, a), serve(t, b)
}

// Without faults a loopback must deliver everything, in order, by reference: a copy would hide a use after release.
func TestLoopbackDelivers(t *testing.T) {
	mark := wire.Outstanding()
	l, a, b, inA, inB := loopPair(t, 1)
	f := newFrame(1, 100, 1)
	a.Send(2, f.Retain())
	got := <-inB
	if got.f != f || got.from != 1 {
		t.Errorf("another frame arrived, from %d", got.from)
	}
	got.f.Release()
	f.Release()
	for i := range uint64(1000) {
		a.Send(2, newFrame(1, 16, i+1))
	}
	for i := range uint64(1000) {
		if n, _ := inB.next(t); n != i+1 {
			t.Fatalf("frame %d in place of %d", n, i+1)
		}
	}
	b.Send(1, newFrame(2, 16, 5))
	inA.next(t)
	if a.Send(9, newFrame(1, 16, 1)) || a.Send(1, newFrame(1, 16, 1)) {
		t.Error("frame to nobody was taken")
	}
	if s := a.Stats(); s.FramesSent != 1001 || s.FramesReceived != 1 || s.Dropped[DropUnknown] != 2 {
		t.Errorf("stats: %+v", s)
	}
	l.Close()
	if a.Send(2, newFrame(1, 16, 1)) {
		t.Error("Send after Close said true")
	}
	if err := a.Serve(discard); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
	noneOutstanding(t, mark)
}

// The same seed must give the same decisions, another seed others: this is what makes a failure repeatable.
func TestLoopbackDecisionsFollowTheSeed(t *testing.T) {
	run := func(seed uint64) (arrived []int) {
		l, a, _, _, inB := loopPair(t, seed)
		defer l.Close()
		l.SetFault(Fault{Drop: 0.3, Duplicate: 0.2})
		const frames = 500
		arrived = make([]int, frames+1)
		for i := range uint64(frames) {
			a.Send(2, newFrame(1, 16, i+1))
		}
		for range a.Stats().FramesSent {
			n, _ := inB.next(t)
			arrived[n]++
		}
		return arrived
	}
	first := run(42)
	if !reflect.DeepEqual(first, run(42)) {
		t.Error("the same seed decides otherwise")
	}
	if reflect.DeepEqual(first, run(43)) {
		t.Error("another seed decides the same")
	}
	counts := [3]int{}
	for _, n := range first[1:] {
		counts[n]++
	}
	if counts[0] < 100 || counts[0] > 200 || counts[2] < 40 || counts[2] > 110 {
		t.Errorf("lost %d, once %d, twice %d of 500", counts[0], counts[1], counts[2])
	}
}

// Delays must keep the order unless reordering is asked for, and reordering must reorder and lose nothing.
func TestLoopbackDelaysAndReorders(t *testing.T) {
	l, a, _, _, inB := loopPair(t, 7)
	l.SetLink(1, 2, Fault{DelayMin: time.Millisecond, DelayMax: 3 * time.Millisecond})
	start := time.Now()
	for i := range uint64(200) {
		a.Send(2, newFrame(1, 16, i+1))
	}
	for i := range uint64(200) {
		if n, _ := inB.next(t); n != i+1 {
			t.Fatalf("frame %d in place of %d", n, i+1)
		}
	}
	if took := time.Since(start); took < time.Millisecond {
		t.Errorf("not delayed: %v", took)
	}
	l.SetLink(1, 2, Fault{Reorder: 0.5})
	for i := range uint64(200) {
		a.Send(2, newFrame(1, 16, i+1))
	}
	seen, overtaken := make(map[uint64]bool), 0
	for last := uint64(0); len(seen) < 200; {
		n, _ := inB.next(t)
		if n < last {
			overtaken++
		}
		last, seen[n] = n, true
	}
	if overtaken < 10 {
		t.Errorf("%d of 200 were overtaken", overtaken)
	}
}

// Partitions must cut exactly what they name, in each direction by itself, including what is under way; and healing
// must mend it.
func TestLoopbackPartitions(t *testing.T) {
	mark := wire.Outstanding()
	l := NewLoopback(3)
	defer l.Close()
	nodes, ins := map[wire.NodeID]Transport{}, map[wire.NodeID]inbox{}
	for id := wire.NodeID(1); id <= 4; id++ {
		nodes[id] = l.Node(id)
		ins[id] = serve(t, nodes[id])
	}
	talk := func() (links map[linkKey]bool) {
		links = make(map[linkKey]bool)
		for from := range nodes {
			for to := range nodes {
				if from != to && nodes[from].Send(to, newFrame(from, 16, 1)) {
					_, got := ins[to].next(t)
					links[linkKey{got, to}] = true
				}
			}
		}
		return links
	}
	both := func(pairs ...[2]wire.NodeID) map[linkKey]bool {
		m := make(map[linkKey]bool)
		for _, p := range pairs {
			m[linkKey{p[0], p[1]}], m[linkKey{p[1], p[0]}] = true, true
		}
		return m
	}
	all := both([2]wire.NodeID{1, 2}, [2]wire.NodeID{1, 3}, [2]wire.NodeID{1, 4}, [2]wire.NodeID{2, 3}, [2]wire.NodeID{2, 4}, [2]wire.NodeID{3, 4})
	expect := func(what string, want map[linkKey]bool) {
		t.Helper()
		if got := talk(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", what, got)
		}
	}
	expect("no cut", all)
	l.Partition([]wire.NodeID{1, 2}, []wire.NodeID{3, 4})
	expect("two sides", both([2]wire.NodeID{1, 2}, [2]wire.NodeID{3, 4}))
	l.Partition([]wire.NodeID{1, 2}, []wire.NodeID{2, 3})
	expect("chain, 4 alone", both([2]wire.NodeID{1, 2}, [2]wire.NodeID{2, 3}))
	l.Heal()
	expect("healed", all)
	l.Isolate(1, true)
	expect("1 isolated", both([2]wire.NodeID{2, 3}, [2]wire.NodeID{2, 4}, [2]wire.NodeID{3, 4}))
	l.Isolate(1, false)
	l.Cut(1, 2, true)
	want := both([2]wire.NodeID{1, 2}, [2]wire.NodeID{1, 3}, [2]wire.NodeID{1, 4}, [2]wire.NodeID{2, 3}, [2]wire.NodeID{2, 4}, [2]wire.NodeID{3, 4})
	delete(want, linkKey{1, 2})
	expect("one direction", want)
	l.Heal()
	l.Filter(func(from, to wire.NodeID, f *wire.Buffer) bool { return !(from == 1 && to == 2) })
	expect("filtered", want)
	l.Heal()

	l.SetLink(1, 2, Fault{DelayMin: 50 * time.Millisecond, DelayMax: 50 * time.Millisecond})
	nodes[1].Send(2, newFrame(1, 16, 1))
	l.Cut(1, 2, true)
	eventually(t, "the frame under way is lost", func() bool {
		return nodes[1].Stats().Dropped[DropFault] > 0 && wire.Outstanding() == mark
	})
}

// A node that closes and comes back under its id must be reached by links that existed before, and hear nothing from
// before its return once it is gone.
func TestLoopbackRestart(t *testing.T) {
	mark := wire.Outstanding()
	l, a, b, _, inB := loopPair(t, 1)
	a.Send(2, newFrame(1, 16, 1))
	inB.next(t)
	b.Close()
	a.Send(2, newFrame(1, 16, 2))
	eventually(t, "dropped", func() bool { return a.Stats().Dropped[DropDown] == 1 })
	b = l.Node(2)
	a.Send(2, newFrame(1, 16, 3))
	eventually(t, "dropped before Serve", func() bool { return a.Stats().Dropped[DropDown] == 2 })
	in := serve(t, b)
	a.Send(2, newFrame(1, 16, 4))
	if n, _ := in.next(t); n != 4 || len(inB) != 0 {
		t.Errorf("frame %d", n)
	}
	noneOutstanding(t, mark)
}
