//go:build !race

// Not under the race detector: there sync.Pool drops buffers at random, on purpose.

package paxos

import (
	"runtime/debug"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// hotPath is a leader of three and one follower, driven slot by slot as the shell does.
type hotPath struct {
	leader, follower *Replica
	batch            []byte
	m                wire.Message
}

func newHotPath(t testing.TB, batchBytes int) *hotPath {
	c := newTestCluster(t, 3, Config{Seed: 1})
	for c.node(1).r.role != Leader {
		c.tick(c.node(1))
		if !c.settle(1, func() bool { return len(c.net) == 0 }) {
			continue
		}
	}
	c.settle(4, func() bool { return false })
	t.Cleanup(c.close)
	f := testAccept(string(make([]byte, batchBytes)))
	defer f.Release()
	return &hotPath{leader: c.node(1).r, follower: c.node(2).r, batch: append([]byte(nil), f.Bytes()[wire.AcceptHeadroom:]...)}
}

// slot proposes, votes, chooses, applies and trims one slot.
func (h *hotPath) slot(t testing.TB) {
	f := wire.NewAccept(len(h.batch))
	f.Append(h.batch)
	s, o := h.leader.Propose(f)
	if o != Taken {
		t.Fatalf("propose: %v", o)
	}
	var accept *wire.Buffer
	h.drain(h.leader, wire.KindAccept, 2, &accept)
	h.step(h.follower, accept)
	var accepted *wire.Buffer
	h.drain(h.follower, wire.KindAccepted, 1, &accepted)
	h.step(h.leader, accepted)
	if h.leader.chosen != s {
		t.Fatalf("slot %d not chosen: prefix %d", s, h.leader.chosen)
	}
	var none *wire.Buffer
	h.drain(h.leader, 0, 0, &none)
	for _, r := range []*Replica{h.leader, h.follower} {
		r.Applied(r.chosen)
		r.Trim(r.chosen)
	}
}

func (h *hotPath) step(r *Replica, f *wire.Buffer) {
	if err := wire.DecodeMessage(f, &h.m); err != nil {
		panic(err)
	}
	r.Step(&h.m)
	f.Release()
}

// drain takes an output, keeps the first frame of a kind to a node, releases the rest, and reports the records durable.
func (h *hotPath) drain(r *Replica, kind wire.Kind, to wire.NodeID, keep **wire.Buffer) {
	out := r.Output()
	for _, rec := range out.Records {
		rec.Frame.Release()
	}
	for _, m := range out.Messages {
		hd, err := wire.ParseHeader(m.Frame.Bytes())
		if err != nil {
			panic(err)
		}
		if hd.Kind == kind && m.To == to && *keep == nil {
			*keep = m.Frame
			continue
		}
		m.Frame.Release()
	}
	for _, ch := range out.Chosen {
		ch.Frame.Release()
	}
	r.Durable(out.LastLSN)
}

// What can go wrong: an allocation per slot, which at tens of thousands of slots a second is a garbage collector in the
// path of every command.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	// A collection empties the pools, and filling them again would count here.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	h := newHotPath(t, 1000)
	for range 1000 {
		h.slot(t)
	}
	if n := testing.AllocsPerRun(2000, func() { h.slot(t) }); n > 0 {
		t.Errorf("%v allocations per slot, want 0", n)
	}
}

// fastPath is a cluster of mode fast, driven slot by slot: node 1 coordinates, any node proposes, all three vote and learn.
type fastPath struct {
	nodes [3]*Replica
	batch []byte
	net   []Outgoing
	m     wire.Message
}

func newFastPath(t testing.TB, batchBytes int) *fastPath {
	c := idle(t, Config{Mode: ModeFast}, 3)
	t.Cleanup(c.close)
	f := testAccept(string(make([]byte, batchBytes)))
	defer f.Release()
	p := &fastPath{batch: append([]byte(nil), f.Bytes()[wire.AcceptHeadroom:]...)}
	for i := range p.nodes {
		p.nodes[i] = c.node(wire.NodeID(i + 1)).r
	}
	return p
}

// slot has node index at propose, and everybody vote, choose, apply and trim one slot.
func (p *fastPath) slot(t testing.TB, at int) {
	f := wire.NewAccept(len(p.batch) + wire.TagSize)
	f.Append(p.batch)
	s, o := p.nodes[at].Propose(f)
	if o != Taken {
		t.Fatalf("propose: %v", o)
	}
	for i := range p.nodes {
		p.collect(i)
	}
	for k := 0; k < len(p.net); k++ { // grows meanwhile
		m := p.net[k]
		if err := wire.DecodeMessage(m.Frame, &p.m); err != nil {
			panic(err)
		}
		p.nodes[m.To-1].Step(&p.m)
		m.Frame.Release()
		p.collect(int(m.To) - 1)
	}
	p.net = p.net[:0]
	for i, r := range p.nodes {
		if r.chosen != s {
			t.Fatalf("node %d: slot %d not learned: prefix %d", i+1, s, r.chosen)
		}
		r.Applied(s)
		r.Trim(s)
	}
}

// collect puts on the net what a replica says now, when its records are durable and of that again.
func (p *fastPath) collect(i int) {
	for r := p.nodes[i]; ; {
		out := r.Output()
		for _, rec := range out.Records {
			rec.Frame.Release()
		}
		p.net = append(p.net, out.Messages...)
		for _, ch := range out.Chosen {
			ch.Frame.Release()
		}
		if out.LastLSN == r.durable {
			return
		}
		r.Durable(out.LastLSN)
	}
}

// What can go wrong: a tally of votes for several values, kept for each open slot, is made anew for each; or the proposer's list of
// what is under way. With a proposer at the coordinator, and elsewhere.
func TestFastSteadyStateAllocatesNothing(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // as above
	for _, at := range []int{0, 1} {
		h := newFastPath(t, 1000)
		for range 1000 {
			h.slot(t, at)
		}
		if n := testing.AllocsPerRun(2000, func() { h.slot(t, at) }); n > 0 {
			t.Errorf("node %d proposes: %v allocations per slot, want 0", at+1, n)
		}
	}
}

func BenchmarkSlot(b *testing.B) {
	for _, size := range []int{64, 1024, 64 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			h := newHotPath(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				h.slot(b)
			}
		})
	}
}

func sizeName(n int) string {
	if n >= 1024 {
		return string(rune('0'+n/1024/10)) + string(rune('0'+n/1024%10)) + "KiB"
	}
	return "64B"
}
