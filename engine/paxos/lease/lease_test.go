package lease

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a lease ends at its holder after the grant has ended at the granter, for some span and some pair of clocks
// within the bound. Exactly: (span-drift)/(1-r) <= span/(1+r).
func TestDriftIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.Int64Range(1, wire.LeaseSpanMax).Draw(t, "span")
		ppm := rapid.Int64Range(0, 500_000).Draw(t, "ppm")
		const one = 1_000_000
		left := new(big.Int).Mul(big.NewInt(span-Drift(span, ppm)), big.NewInt(one+ppm))
		if right := new(big.Int).Mul(big.NewInt(span), big.NewInt(one-ppm)); left.Cmp(right) > 0 {
			t.Fatalf("a drift of %d for a span of %d at %d ppm is too small", Drift(span, ppm), span, ppm)
		}
	})
}

// What can go wrong: a grant ends by something that is older than it.
func TestGrant(t *testing.T) {
	var g Grant
	b1, b2 := wire.NewBallot(1, 1), wire.NewBallot(2, 1)
	g.Give(1, b1, 100)
	g.Give(1, b1, 90) // a repeat
	if !g.Blocks(99, 2) || g.Blocks(99, 1) || g.Blocks(100, 2) {
		t.Error("granted to node 1 until 100")
	}
	g.Give(1, b2, 200)
	g.Release(1, b1)
	if !g.Blocks(199, 2) {
		t.Error("the release of an earlier ballot ended the grant")
	}
	g.Release(2, b2)
	if !g.Blocks(199, 2) {
		t.Error("another node's release ended the grant")
	}
	g.Release(1, b2)
	if g.Blocks(150, 2) {
		t.Error("released, and still there")
	}
	g.Wait(300)
	g.Give(1, b2, 250)
	if !g.Blocks(299, 1) || g.Blocks(300, 1) {
		t.Error("until 300 nobody is promised anything, whoever is granted something meanwhile")
	}
}

func TestUntil(t *testing.T) {
	for need, want := range map[int]int64{1: 9, 2: 7, 3: 3, 4: 0} {
		if got := Until([]int64{3, 0, 9, 7}, need); got != want {
			t.Errorf("%d of them reach to %d, want %d", need, got, want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	err := Config{Self: 4, Nodes: []wire.NodeID{2, 1}, Span: 1, Drift: 5, Retry: -1}.Validate()
	for _, want := range []string{"resource 0", "ascending", "not among", "span of 1", "drift of 5", "retries", "no life"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}

// What can go wrong: the flaw of the published algorithm, message by message (see the package comment). With its rule nodes 1 and 2 both
// own the lease in the end; with the bound on a round's age node 1 has given up.
func TestPublishedFlaw(t *testing.T) {
	for _, published := range []bool{true, false} {
		const span = 100
		nodes := []wire.NodeID{1, 2, 3}
		start := func(id wire.NodeID, life uint64, fresh bool, now int64) *Member {
			m := New(Config{Group: 1, Resource: 1, Self: id, Nodes: nodes, Span: span, Drift: 1, Life: life, Fresh: fresh}, now)
			m.round.published = published
			return m
		}
		m := map[wire.NodeID]*Member{1: start(1, 1, true, 0), 2: start(2, 2, true, 0), 3: start(3, 3, true, 0)}
		m[1].counter = 6
		m[1].Acquire()
		m[1].Tick(0) // Prepare 7.1; its own promise is the first
		prepare := m[1].Output()
		m[3].Step(&prepare[1].M) // node 3 promises; the answer is slow
		slow := m[3].Output()
		m[3] = start(3, 33, false, 10) // and has forgotten it
		now := int64(10 + 2*span)
		for _, id := range nodes {
			m[id].Tick(now)
		}
		m[1].Output()
		m[2].counter = 3
		m[2].Acquire()
		m[2].Tick(now)
		for i := 0; i < 2; i++ { // Prepare and Propose, node 3 answers both
			for _, o := range m[2].Output() {
				if o.To == 3 {
					m[3].Step(&o.M)
				}
			}
			for _, o := range m[3].Output() {
				m[2].Step(&o.M)
			}
		}
		if m[2].Until() <= now {
			t.Fatal("node 2 does not own the lease")
		}
		m[1].Step(&slow[0].M)
		for _, o := range m[1].Output() {
			if o.To == 3 && o.M.Step == wire.LeasePropose {
				m[3].Step(&o.M)
			}
		}
		for _, o := range m[3].Output() {
			m[1].Step(&o.M)
		}
		if both := m[1].Until() > now; both != published {
			t.Errorf("published %v: both own it: %v", published, both)
		}
	}
}

// What can go wrong: a member that restarts begins with ballot 1 again, and what was said to its earlier life is taken for answers to this
// one. Node 3 has promised and accepted node 1's first ballot, and its answers are slow. Node 1 restarts, node 2 owns the lease by
// then, and node 1 asks at the same ballot once more.
func TestLivesAreToldApart(t *testing.T) {
	for _, again := range []uint64{1, 4} { // 1: as if there were no lives
		const span = 100
		nodes := []wire.NodeID{1, 2, 3}
		start := func(id wire.NodeID, life uint64, fresh bool, now int64) *Member {
			return New(Config{Group: 1, Resource: 1, Self: id, Nodes: nodes, Span: span, Drift: 1, Life: life, Fresh: fresh}, now)
		}
		m := map[wire.NodeID]*Member{1: start(1, 1, true, 0), 2: start(2, 2, true, 0), 3: start(3, 3, true, 0)}
		var slow []Outgoing // from node 3 to node 1
		m[1].Acquire()
		m[1].Tick(0)
		for range 2 { // Prepare and Propose reach node 3
			for _, o := range m[1].Output() {
				if o.To == 3 {
					m[3].Step(&o.M)
				}
			}
			for _, o := range m[3].Output() {
				slow = append(slow, o)
				m[1].Step(&o.M)
			}
		}
		m[1] = start(1, again, false, 10)
		now := int64(10 + 2*span)
		for _, id := range nodes {
			m[id].Tick(now)
		}
		m[2].Acquire()
		m[2].counter = 1
		m[2].Tick(now)
		for range 2 {
			for _, o := range m[2].Output() {
				if o.To == 3 {
					m[3].Step(&o.M)
				}
			}
			for _, o := range m[3].Output() {
				m[2].Step(&o.M)
			}
		}
		m[1].Acquire()
		m[1].Tick(now) // at ballot 1.1 again
		for _, o := range slow {
			m[1].Step(&o.M)
		}
		if m[2].Until() <= now || len(slow) != 2 {
			t.Fatalf("node 2 owns the lease until %d; %d slow answers", m[2].Until(), len(slow))
		}
		if both := m[1].Until() > now; both != (again == 1) {
			t.Errorf("life %d: both own it: %v", again, both)
		}
	}
}
