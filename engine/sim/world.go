package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Options says which schedule to run.
type Options struct {
	Seed  uint64
	Nodes int               // 0: drawn from the seed (3, sometimes 1 or 5)
	Trace func(line string) // told of every event as it happens; nil: only the last ones are kept
	Knobs func(k *Knobs)    // may change what was drawn; nil: nothing

	// Beyond has the schedule end with more losses than the protocol promises to survive (beyond.go). Three nodes at least, fsync always.
	Beyond bool
}

// Result is what became of one schedule.
type Result struct {
	Seed      uint64
	Knobs     Knobs
	Events    int
	SimTime   time.Duration // virtual
	Hash      uint64        // of the trace: equal for equal options
	Counts    Counts
	Violation *Violation // nil: everything held
}

// Violation is a broken property.
type Violation struct {
	Property string // S1, L5, ...; BUG: the code found its own invariant broken
	Detail   string
	Seed     uint64
	Event    int
	At       time.Duration // virtual
	Node     wire.NodeID   // 0: the cluster
	Slot     wire.Slot     // 0: none
	Trace    []string      // the events up to it
}

func (v *Violation) Error() string {
	s := fmt.Sprintf("%s: %s (seed %d, event %d at %v", v.Property, v.Detail, v.Seed, v.Event, v.At)
	if v.Node != 0 {
		s += fmt.Sprintf(", node %d", v.Node)
	}
	if v.Slot != 0 {
		s += fmt.Sprintf(", slot %d", v.Slot)
	}
	return s + ")"
}

// world is one schedule being played: everything there is, owned by one goroutine.
type world struct {
	o     Options
	k     Knobs
	rng   *rand.Rand
	now   int64 // virtual nanoseconds since the start
	queue timeline
	seq   uint64 // of the last scheduled event

	procs     []*proc // by node id - 1
	changing  int     // changes of the members under way
	changeErr error   // of the last that ended
	net       network
	clients   []*client
	oracles   []*oracle // by group id - 1
	nemesis   nemesis

	events int
	hash   uint64
	ring   [128]entry
	counts Counts
	fresh  bool // clients begin new operations
	quiet  bool // the faults are over, and what they left on the network has arrived
	ruined bool // more was lost than can be survived (beyond.go)
	taught int  // Learn frames sent to nodes with a working disk
}

// Run plays the schedule of o.Seed to its end or to the first violation.
func Run(o Options) (r *Result) {
	w := newWorld(o)
	defer func() {
		r = w.result()
		if x := recover(); x != nil {
			r.Violation = w.violation(x) // what it holds is in any state: nothing is released
			return
		}
		w.close()
	}()
	w.start()
	w.chaos()
	if o.Beyond {
		w.beyond()
		w.linearizable()
		return nil
	}
	w.settle()
	w.judge()
	return nil
}

func (w *world) result() *Result {
	return &Result{Seed: w.o.Seed, Knobs: w.k, Events: w.events, SimTime: time.Duration(w.now - epoch), Hash: w.hash, Counts: w.counts}
}

// violation makes a Violation of what a step panicked with.
func (w *world) violation(x any) *Violation {
	v, ok := x.(*Violation)
	if !ok {
		v = &Violation{Property: "BUG", Detail: fmt.Sprintf("panic: %v\n%s", x, debug.Stack())}
	}
	v.Seed, v.Event, v.At = w.o.Seed, w.events, time.Duration(w.now)
	for i := max(0, w.events-len(w.ring)+1); i <= w.events; i++ {
		if e := &w.ring[i%len(w.ring)]; e.what != "" {
			v.Trace = append(v.Trace, e.String())
		}
	}
	return v
}

// fail ends the schedule: a property is broken.
func (w *world) fail(property string, node wire.NodeID, slot wire.Slot, format string, args ...any) {
	panic(&Violation{Property: property, Node: node, Slot: slot, Detail: fmt.Sprintf(format, args...)})
}

// epoch is the virtual time at which schedules begin.
const epoch = int64(time.Second)

func newWorld(o Options) *world {
	w := &world{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x70617862656e6368)), now: epoch, hash: 14695981039346656037}
	if o.Beyond && o.Nodes == 0 {
		o.Nodes = 3 + 2*w.rng.IntN(2)
	}
	w.k = drawKnobs(w.rng, o.Nodes)
	if o.Knobs == nil && !o.Beyond { // which go by numbers of nodes and quorums of their own
		w.k.drawAuxiliary(o.Seed)
	}
	if o.Beyond {
		w.k.Fsync, w.k.Quorums, w.k.Changes = always, paxos.Quorums{}, false
	}
	if o.Knobs != nil {
		o.Knobs(&w.k)
		k := &w.k // what was changed may not go with what was drawn
		k.Alpha, k.Most = max(k.Alpha, k.Window), max(k.Most, k.Nodes)
		k.Changes = k.Changes && k.Mode == paxos.ModeMulti && k.Learn == paxos.LearnOne && k.Groups == 1 && k.Quorums == (paxos.Quorums{})
	}
	w.counts = Counts{}
	w.k.Limits.Frame = frameMax(&w.k)
	for g := range w.k.Groups {
		w.oracles = append(w.oracles, newOracle(w, wire.GroupID(g+1)))
	}
	w.net.init(w)
	for i := range w.k.Nodes {
		w.procs = append(w.procs, newProc(w, wire.NodeID(i+1)))
	}
	for i := range w.k.Clients {
		w.clients = append(w.clients, newClient(w, i))
	}
	return w
}

// frameMax is the memory of the largest frame with a batch: a batch is closed by the block that fills it.
func frameMax(k *Knobs) int64 {
	block := 3*(k.Value+64) + 2*wire.BlockHeaderSize
	b := wire.Get(wire.AcceptHeadroom + wire.BatchHeaderSize + max(k.BatchBytes, block) + 256)
	defer b.Release()
	return int64(b.Cap())
}

// start brings everything up.
func (w *world) start() {
	for _, p := range w.procs {
		p.start(true)
	}
	w.fresh = true
	for _, c := range w.clients {
		c.wake(w.between(0, 50*time.Millisecond))
	}
	w.nemesis.init(w)
}

// chaos plays until the faults end.
func (w *world) chaos() {
	w.runUntil(w.now+int64(w.k.Chaos), nil)
}

// runUntil plays events up to a time, or until done says so.
func (w *world) runUntil(end int64, done func() bool) bool {
	for {
		if done != nil && done() {
			return true
		}
		if w.queue.len() == 0 || w.queue.next() > end {
			w.now = end
			return false
		}
		at, ev := w.queue.pop()
		w.now = at
		switch {
		case ev.fn != nil:
			ev.fn()
		case ev.parcel != nil:
			w.net.arrive(ev.parcel)
		default:
			ev.action.p.step(ev.action)
		}
		w.oneLease()
	}
}

// after schedules fn. Events of equal time run in the order in which they were scheduled.
func (w *world) after(d time.Duration, fn func()) { w.schedule(d, event{fn: fn}) }

// step schedules a step of a node.
func (w *world) step(d time.Duration, a action) { w.schedule(d, event{action: a}) }

func (w *world) schedule(d time.Duration, e event) {
	w.seq++
	w.queue.push(w.now+int64(max(d, 0)), w.seq, e)
	if w.queue.len() > queueMax {
		w.fail("S17", 0, 0, "%d events are scheduled", w.queue.len())
	}
}

// queueMax bounds the events scheduled at a time: each is a frame, a step or a timer, all of which are bounded.
const queueMax = 1 << 16

// between draws a duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return n > 0 && w.rng.IntN(n) == 0 }

// percent is true p times in a hundred.
func (w *world) percent(p int) bool { return w.rng.IntN(100) < p }

// close releases everything, whatever state it is in.
func (w *world) close() {
	for _, p := range w.procs {
		p.discard()
	}
	w.net.close()
}

// event is something that will happen: fn, else a parcel's arrival, else a step. The last two are by far the most frequent, and
// need no closure.
type event struct {
	fn     func()
	parcel *parcel
	action action
}

// action is a step of a process, or of one of its replicas.
type action struct {
	p    *proc
	r    *replica // nil: of the node
	s    stage
	life int // of the process: a later one has nothing to do with it
}

// timeline is a heap of events. What moves in the heap holds no pointer: the collector need not be told of each move.
type timeline struct {
	h      []due
	events []event
	free   []int32 // of events
}

// due says when an event is due.
type due struct {
	at  int64
	seq uint64
	of  int32 // in events
}

func (e *due) before(o *due) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (t *timeline) len() int    { return len(t.h) }
func (t *timeline) next() int64 { return t.h[0].at }

func (t *timeline) push(at int64, seq uint64, e event) {
	d := due{at: at, seq: seq, of: int32(len(t.events))}
	if n := len(t.free); n > 0 {
		d.of, t.free = t.free[n-1], t.free[:n-1]
		t.events[d.of] = e
	} else {
		t.events = append(t.events, e)
	}
	t.h = append(t.h, d)
	for i := len(t.h) - 1; i > 0; {
		up := (i - 1) / 2
		if !t.h[i].before(&t.h[up]) {
			break
		}
		t.h[i], t.h[up] = t.h[up], t.h[i]
		i = up
	}
}

func (t *timeline) pop() (at int64, e event) {
	top := t.h[0]
	e = t.events[top.of]
	t.events[top.of] = event{}
	t.free = append(t.free, top.of)
	last := len(t.h) - 1
	t.h[0] = t.h[last]
	t.h = t.h[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && t.h[c+1].before(&t.h[c]) {
			c++
		}
		if !t.h[c].before(&t.h[i]) {
			break
		}
		t.h[i], t.h[c] = t.h[c], t.h[i]
		i = c
	}
	return top.at, e
}
