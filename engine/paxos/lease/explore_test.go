package lease

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

var (
	seedFlag  = flag.Uint64("lease.seed", 0, "run only this schedule")
	seedsFlag = flag.Uint64("lease.seeds", 2000, "number of random schedules")
)

// rules are what a schedule runs with: those of this package, or broken ones.
type rules struct {
	name    string
	noWait  bool // a restarted member takes part at once
	noDrift bool
}

// What can go wrong: two members believe that they own the lease at the same moment of true time. Members ask, renew, release, crash and
// come back with nothing; their clocks show different times and run apart as far as they may; frames are lost, repeated, and
// delivered in any order, however late. Once the faults stop somebody who asks gets it.
func TestRandomSchedules(t *testing.T) {
	first, n := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	total := map[string]int{}
	for seed := first; seed < first+n; seed++ {
		stats, found := schedule(rules{}, seed)
		if found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
		for k, v := range stats {
			total[k] += v
		}
	}
	t.Log(total)
	for _, k := range []string{"owners", "renewed", "handed over", "released", "crashes", "late"} {
		if total[k] == 0 {
			t.Errorf("in %d schedules there was not one: %s", n, k)
		}
	}
}

// What can go wrong: the schedules see nothing. Each rule is broken in turn, and one of the schedules must find two owners. (The
// flaw of the published algorithm takes more steps in order than chance puts together: TestPublishedFlaw.)
func TestBrokenRulesAreFound(t *testing.T) {
	for _, r := range []rules{{name: "no wait after a restart", noWait: true}, {name: "no drift", noDrift: true}} {
		t.Run(r.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 20000; seed++ {
				if _, found := schedule(r, seed); strings.Contains(found, "own the lease") {
					t.Logf("seed %d: %s", seed, found)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// node is a member with its clock.
type node struct {
	m     *Member
	id    wire.NodeID
	base  int64
	rate  float64
	lives uint64
	owns  bool
}

type world struct {
	r     rules
	rng   *rand.Rand
	now   int64 // true
	span  int64
	nodes []*node
	net   []parcel
	last  wire.NodeID // who owned it last
	stats map[string]int
}

type parcel struct {
	to   wire.NodeID
	m    wire.Message
	sent int64
}

const ppm = 100_000

func (w *world) clock(n *node) int64 { return n.base + int64(float64(w.now)*n.rate) }

func (w *world) start(n *node) {
	n.lives++
	nodes := make([]wire.NodeID, len(w.nodes))
	for i := range nodes {
		nodes[i] = wire.NodeID(i + 1)
	}
	c := Config{
		Group: 1, Resource: 1, Self: n.id, Nodes: nodes, Span: w.span, Drift: Drift(w.span, ppm) + 2, // the clocks show whole units
		Retry: 1 + w.span/int64(1+w.rng.IntN(8)), Life: n.lives<<8 | uint64(n.id), Fresh: n.lives == 1 || w.r.noWait,
	}
	if w.r.noDrift {
		c.Drift = 1
	}
	n.m = New(c, w.clock(n))
}

// schedule plays one; found is what is wrong.
func schedule(r rules, seed uint64) (stats map[string]int, found string) {
	w := &world{r: r, rng: rand.New(rand.NewPCG(seed, 2)), stats: map[string]int{}}
	w.span = 50 + w.rng.Int64N(300)
	w.nodes = make([]*node, 3+2*w.rng.IntN(2))
	for i := range w.nodes {
		w.nodes[i] = &node{id: wire.NodeID(i + 1), base: w.rng.Int64N(1 << 20), rate: 1 + (2*w.rng.Float64()-1)*ppm/1e6}
	}
	for _, n := range w.nodes {
		w.start(n)
	}
	loss, late, crash := w.rng.IntN(20), w.rng.IntN(30), w.rng.IntN(8)
	for range 3000 {
		w.now++
		w.step(w.nodes[w.rng.IntN(len(w.nodes))], loss, late, crash)
		if found = w.owners(); found != "" {
			return w.stats, found
		}
	}
	return w.stats, w.calm()
}

func (w *world) step(n *node, loss, late, crash int) {
	switch k := w.rng.IntN(1000); {
	case k < 600:
		w.deliver(loss, late)
	case n.m == nil:
		if k < 640 {
			w.start(n)
		}
	case k < 900:
		n.m.Tick(w.clock(n))
	case k < 930:
		n.m.Acquire()
	case k < 935:
		n.m.Release()
		w.stats["released"]++
	case k < 935+crash:
		n.m, n.owns = nil, false
		w.stats["crashes"]++
		return
	}
	w.collect(n)
}

func (w *world) collect(n *node) {
	if n.m == nil {
		return
	}
	for _, o := range n.m.Output() {
		w.net = append(w.net, parcel{o.To, o.M, w.now})
	}
}

// deliver takes one of the frames; some are kept for long, and some come twice.
func (w *world) deliver(loss, late int) {
	if len(w.net) == 0 {
		return
	}
	i := w.rng.IntN(len(w.net))
	p := w.net[i]
	if w.rng.IntN(100) < late && len(w.net) < 400 {
		return
	}
	if w.rng.IntN(20) > 0 {
		w.net = append(w.net[:i], w.net[i+1:]...)
	}
	n := w.nodes[p.to-1]
	if w.rng.IntN(100) < loss || n.m == nil {
		return
	}
	if w.now-p.sent > w.span {
		w.stats["late"]++
	}
	n.m.Tick(w.clock(n))
	n.m.Step(&p.m)
	w.collect(n)
}

// owners says what is wrong with who owns the lease now.
func (w *world) owners() string {
	owner := wire.NodeID(0)
	for _, n := range w.nodes {
		owns := n.m != nil && n.m.Until() > w.clock(n)
		switch {
		case owns && owner != 0:
			return fmt.Sprintf("at %d nodes %d and %d own the lease", w.now, owner, n.id)
		case owns && !n.owns:
			w.stats["owners"]++
			if w.last != 0 && w.last != n.id {
				w.stats["handed over"]++
			}
			w.last = n.id
		case owns:
			w.stats["renewed"]++
		}
		n.owns = owns
		if owns {
			owner = n.id
		}
	}
	return ""
}

// calm ends the faults: somebody who asks becomes the owner, within a few leases.
func (w *world) calm() string {
	for _, n := range w.nodes {
		if n.m == nil {
			w.start(n)
		}
		n.m.Release()
		w.collect(n)
	}
	asker := w.nodes[w.rng.IntN(len(w.nodes))]
	asker.m.Acquire()
	for end := w.now + 12*w.span; w.now < end; w.now++ {
		for len(w.net) > 0 {
			p := w.net[0]
			w.net = w.net[1:]
			n := w.nodes[p.to-1]
			n.m.Tick(w.clock(n))
			n.m.Step(&p.m)
			w.collect(n)
		}
		for _, n := range w.nodes {
			n.m.Tick(w.clock(n))
			w.collect(n)
		}
		if found := w.owners(); found != "" {
			return found
		}
		if asker.owns {
			return ""
		}
	}
	return fmt.Sprintf("node %d asks, and nobody owns the lease after %d", asker.id, 12*w.span)
}
