package explore

import (
	"time"
)

// Options says what to explore and how.
type Options struct {
	Scope      Scope
	Reductions *Reductions // nil: all
	Only       []string    // properties to check; nil: all. Others are let pass, to see what comes of them
	BytesMax   int64       // memory for the states of the cluster; 0: 4 GiB
	Ends       int         // states without a next step to try for liveness, the first so many; 0: all of them, -1: none
	Progress   func(*Report)
	Stop       <-chan struct{}
}

// Report is what an exploration found.
type Report struct {
	Scope       Scope
	States      uint64 // of the cluster
	Transitions uint64 // steps taken between them, also to states met before
	NodeStates  uint64 // of single nodes
	NodeSteps   uint64 // worked out with a real replica
	Depth       int    // most steps that a state is away from the beginning
	Ends        uint64 // states without a next step
	EndsTried   uint64 // of them, how many were tried for liveness
	Exhausted   bool   // every state of the scope was visited
	Why         string // why not
	Elapsed     time.Duration
	Bytes       int64 // memory for the states of the cluster
	Counts      map[string]uint64
	Violation   *Violation
	Trace       []string // to the violation, by a shortest way
	Steps       int      // of it
}

// Rate is states for each second.
func (r *Report) Rate() float64 { return float64(r.States) / max(r.Elapsed.Seconds(), 1e-9) }

// A state of the cluster is its nodes' states, nodeBits for each: an exact key, so that no two states are ever taken for one and
// there are no odds of a collision to state.
const (
	nodeBits  = 21
	nodesMost = 3
)

type key uint64

func (k key) node(i int) nodeState { return nodeState(k>>(nodeBits*i)) & (1<<nodeBits - 1) }

func (k key) with(i int, at nodeState) key {
	return k&^((1<<nodeBits-1)<<(nodeBits*i)) | key(at)<<(nodeBits*i)
}

// search is a breadth-first search: what it finds first is found by a shortest way.
type search struct {
	o     *Options
	s     *space
	set   stateSet
	rep   *Report
	begin time.Time
	last  time.Time
	holds map[[nodesMost]uint32]bool // facts of the nodes, checked
	next  []move
}

// move is a step of the cluster: one node's.
type move struct {
	node int
	edge edge
	to   key
}

// Run explores a scope until a property does not hold, or nothing is left, or memory is.
func Run(o Options) *Report {
	s := &search{o: &o, rep: &Report{Scope: o.Scope}, begin: time.Now(), holds: map[[nodesMost]uint32]bool{}}
	red := AllReductions
	if o.Reductions != nil {
		red = *o.Reductions
	}
	if o.BytesMax == 0 {
		o.BytesMax = 4 << 30
	}
	if o.Scope.Nodes > nodesMost {
		panic("BUG: explore: a key holds three nodes")
	}
	s.s = newSpace(&o.Scope, red, o.Only)
	defer s.s.close()
	s.last = s.begin
	s.set.init()
	s.set.add(0, 0)
	if bad := s.first(); bad != nil {
		s.violated(0, nil, bad)
	} else {
		s.walk()
	}
	s.finish()
	return s.rep
}

// first looks at the first state: a scope may begin with steps that were taken already (setup.go).
func (s *search) first() *Violation {
	for i := range s.s.locals {
		if f := s.s.locals[i][0].fault; f != nil {
			return f
		}
	}
	return s.check(0)
}

// walk visits the states in the order they were found. Those of one depth lie in a row.
func (s *search) walk() {
	levelEnd := uint32(1)
	for at := uint32(0); at < s.set.len(); at++ {
		if at == levelEnd {
			s.rep.Depth++
			levelEnd = s.set.len()
		}
		if at&0xfff == 0 && !s.goOn() {
			return
		}
		k := s.set.key(at)
		s.moves(k)
		if len(s.next) == 0 {
			if bad := s.end(k); bad != nil {
				s.violated(at, nil, bad)
				return
			}
		}
		for i := range s.next {
			m := &s.next[i]
			s.rep.Transitions++
			if f := s.s.locals[m.node][m.edge.to].fault; f != nil {
				s.violated(at, m, f)
				return
			}
			if !s.set.add(m.to, at) {
				continue
			}
			if bad := s.check(m.to); bad != nil {
				s.violated(at, m, bad)
				return
			}
		}
	}
	s.rep.Exhausted = true
}

// goOn reports progress and looks at the bounds.
func (s *search) goOn() bool {
	s.rep.Bytes = s.set.bytes()
	switch {
	case s.rep.Bytes > s.o.BytesMax:
		s.rep.Why = "out of memory for states"
		return false
	case s.set.len() > 1<<32-1<<26:
		s.rep.Why = "more states than there are numbers for them"
		return false
	}
	for i := range s.s.locals {
		if len(s.s.locals[i]) >= 1<<nodeBits-1<<10 {
			s.rep.Why = "more states of a node than a key can hold"
			return false
		}
	}
	select {
	case <-s.o.Stop:
		s.rep.Why = "stopped"
		return false
	default:
	}
	if now := time.Now(); s.o.Progress != nil && now.Sub(s.last) >= 5*time.Second {
		s.last = now
		s.measure()
		s.o.Progress(s.rep)
	}
	return true
}

func (s *search) measure() {
	r := s.rep
	r.States, r.Elapsed, r.Bytes = uint64(s.set.len()), time.Since(s.begin), s.set.bytes()
	r.NodeStates, r.NodeSteps, r.Counts = 0, s.s.steps, s.s.counts
	for i := range s.s.locals {
		r.NodeStates += uint64(len(s.s.locals[i]))
	}
}

func (s *search) finish() { s.measure() }

// moves collects the steps that can be taken in a state.
//
// Reductions.Sync: when no crash is left, a follower's disk that has something to finish finishes all of it before anything else
// happens. That loses nothing. Whatever else would happen first happens as well after it, with the same result: another
// node's step does not touch this one; a message that this node takes, or an election that it starts, meets the same replica,
// because a follower's memory does not depend on what is durable; what waited for the disk and what will are sent in the end
// either way, and all that is sent earlier is more that can be delivered, never less. What the properties say of votes on the
// disk stays broken once it is broken; and who claims too much (S7) is caught in a schedule in which this node did not get the
// message at all. A candidate or a leader is no follower: its own promise and votes count when they are durable, which decides what
// it does next.
func (s *search) moves(k key) {
	s.next = s.next[:0]
	crashes, active, floor := 0, 0, uint8(0)
	for i := range s.o.Scope.Nodes {
		l := &s.s.locals[i][k.node(i)]
		crashes += int(l.crashes)
		floor = max(floor, l.reached)
		if l.active {
			active++
		}
	}
	if active > 1 {
		s.s.counts["states with two candidates or leaders"]++
	}
	spent := crashes >= s.o.Scope.Crashes
	if s.s.r.Sync && spent && s.o.Scope.Reads == 0 {
		for i := range s.o.Scope.Nodes {
			if at := k.node(i); s.s.locals[i][at].calm {
				for _, e := range s.s.innerSteps(i, at) {
					if e.in.op == opSync {
						s.next = append(s.next[:0], move{i, e, k.with(i, e.to)}) // the last one is for all
					}
				}
				return
			}
		}
	}
	for i := range s.o.Scope.Nodes {
		s.movesOf(k, i, spent, floor)
	}
}

// movesOf collects one node's steps.
func (s *search) movesOf(k key, i int, spent bool, floor uint8) {
	at := k.node(i)
	all := func(list []edge) {
		for _, e := range list {
			s.next = append(s.next, move{i, e, k.with(i, e.to)})
		}
	}
	all(s.s.innerSteps(i, at))
	for j := range s.o.Scope.Nodes {
		if j != i {
			all(s.s.arrivals(i, at, s.s.locals[j][k.node(j)].outbox[i]))
		}
	}
	if s.s.locals[i][at].reads {
		if e, ok := s.s.readStep(i, at, floor); ok {
			s.next = append(s.next, move{i, e, k.with(i, e.to)})
		}
	}
	if !spent {
		all(s.s.crashSteps(i, at))
	}
}

// check holds a state against the properties. Few combinations of facts occur, however many states there are.
func (s *search) check(k key) *Violation {
	var ids [nodesMost]uint32
	for i := range s.o.Scope.Nodes {
		ids[i] = s.s.locals[i][k.node(i)].facts
	}
	if s.holds[ids] {
		return nil
	}
	nodes := make([]*facts, s.o.Scope.Nodes)
	for i := range nodes {
		nodes[i] = &s.s.known[ids[i]]
	}
	bad := check(s.s.v, s.o.Scope.Slots, nodes)
	if bad != nil && s.s.v.checks(bad.Property) {
		return bad
	}
	s.holds[ids] = true
	return nil
}
