package paxos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// Mode says how a slot gets its ballot: the algorithms that share acceptor, log and learner.
type Mode uint8

const (
	// ModeMulti prepares once for all slots; the leader then sends Accepts only.
	ModeMulti Mode = iota
	// ModeBasic runs both phases in every slot, on a ballot of its own. Any node proposes.
	ModeBasic
	// ModeFast prepares once for all slots as well, at a fast ballot: any node sends values straight to the acceptors.
	ModeFast
)

var modeNames = [...]string{"multi", "basic", "fast"}

func (m Mode) String() string { return modeNames[m] }

// Backoff says what a proposer of an independent instance does when it meets a higher ballot.
type Backoff uint8

const (
	BackoffRandom        Backoff = iota // wait for a random while that grows with each defeat
	BackoffNone                         // try again at once: two proposers may go on for ever (livelock)
	BackoffDistinguished                // only one node proposes; others send their clients there
)

var backoffNames = [...]string{"random", "none", "distinguished"}

func (b Backoff) String() string { return backoffNames[b] }

// Learn says whom acceptors tell of their votes (Paxos Made Simple, section 2.3).
type Learn int

const (
	LearnOne Learn = 0  // the proposer of the ballot, which then tells the others
	LearnAll Learn = -1 // everybody, so that nobody needs to be told
	// n > 0: the proposer and the n-1 nodes after it, which then tell the others
)

func (l Learn) String() string {
	switch l {
	case LearnOne:
		return "one"
	case LearnAll:
		return "all"
	}
	return fmt.Sprintf("set:%d", int(l))
}

// ParseMode is the inverse of Mode.String.
func ParseMode(s string) (Mode, error) {
	i := slices.Index(modeNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("paxos: mode %q: need one of %s", s, strings.Join(modeNames[:], ", "))
	}
	return Mode(i), nil
}

// ParseBackoff is the inverse of Backoff.String.
func ParseBackoff(s string) (Backoff, error) {
	i := slices.Index(backoffNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("paxos: back-off %q: need one of %s", s, strings.Join(backoffNames[:], ", "))
	}
	return Backoff(i), nil
}

// ParseLearn is the inverse of Learn.String.
func ParseLearn(s string) (Learn, error) {
	switch size, ok := strings.CutPrefix(s, "set:"); {
	case s == "one":
		return LearnOne, nil
	case s == "all":
		return LearnAll, nil
	case ok:
		if n, err := strconv.Atoi(size); err == nil && n > 0 {
			return Learn(n), nil
		}
	}
	return 0, fmt.Errorf("paxos: learners %q: need one, all or set:N", s)
}

// Quorums are the sizes of the sets of nodes that decide: Prepare of those that must promise, Accept of those that must vote. They
// need not be majorities, as long as any two of different kinds share a node (Howard, Malkhi, Spiegelman, Flexible Paxos, 2016):
// fewer voters make a slot cheaper, and more promises a new leader dearer. 0 is a majority.
//
// Fast, in ModeFast, is of those that must vote for the same value at a fast ballot. Any two such quorums must have a node in common
// with any Prepare nodes, or these could not tell which of two values may have been chosen (Fast Paxos, section 3.1). 0 is the
// least that do; with majorities three quarters of the nodes.
type Quorums struct{ Prepare, Accept, Fast int }

// ParseQuorums is the inverse of Quorums.String: "majority", or "p1=4,p2=2" for sizes of Prepare and Accept, with ",fast=4" behind.
func ParseQuorums(s string) (q Quorums, err error) {
	if s == "majority" {
		return q, nil
	}
	if n, _ := fmt.Sscanf(s, "p1=%d,p2=%d,fast=%d", &q.Prepare, &q.Accept, &q.Fast); n < 2 || q.String() != s {
		return Quorums{}, fmt.Errorf("paxos: quorums %q: need majority or p1=N,p2=M, in mode fast also p1=N,p2=M,fast=F", s)
	}
	return q, nil
}

func (q Quorums) String() string {
	if q == (Quorums{}) {
		return "majority"
	}
	if q.Fast == 0 {
		return fmt.Sprintf("p1=%d,p2=%d", q.Prepare, q.Accept)
	}
	return fmt.Sprintf("p1=%d,p2=%d,fast=%d", q.Prepare, q.Accept, q.Fast)
}

// of fills in majorities of n nodes, and the least fast quorum.
func (q Quorums) of(n int) Quorums {
	prepare := cmp.Or(q.Prepare, majority(n))
	return Quorums{prepare, cmp.Or(q.Accept, majority(n)), cmp.Or(q.Fast, fastQuorum(n, prepare))}
}

// Check says what is wrong with quorums of n nodes, showing the sum.
func (q Quorums) Check(n int) error {
	switch q := q.of(n); {
	case q.Prepare < 1 || q.Prepare > n || q.Accept < 1 || q.Accept > n:
		return fmt.Errorf("paxos: quorums of %d and %d nodes: need 1 to %d", q.Prepare, q.Accept, n)
	case q.Prepare+q.Accept <= n:
		return fmt.Errorf("paxos: quorums p1=%d and p2=%d of %d nodes may have no node in common: %d + %d = %d, need more than %d, or a new leader hears nothing of what was chosen",
			q.Prepare, q.Accept, n, q.Prepare, q.Accept, q.Prepare+q.Accept, n)
	case q.Fast < 1 || q.Fast > n:
		return fmt.Errorf("paxos: fast quorums of %d of %d nodes: need 1 to %d", q.Fast, n, n)
	case 2*q.Fast+q.Prepare <= 2*n:
		return fmt.Errorf("paxos: two fast quorums of %d and p1=%d of %d nodes may have no node in common: %d + %d + %d = %d, need more than 2 x %d = %d, or a recovery cannot tell which of two values may have been chosen",
			q.Fast, q.Prepare, n, q.Fast, q.Fast, q.Prepare, 2*q.Fast+q.Prepare, n, 2*n)
	}
	return nil
}

// CheckIn is Check for a mode: only ModeFast has fast quorums.
func (q Quorums) CheckIn(m Mode, n int) error {
	if m != ModeFast && q.Fast != 0 {
		return fmt.Errorf("paxos: fast quorums of %d nodes in mode %v: only mode %v has fast ballots", q.Fast, m, ModeFast)
	}
	return q.Check(n)
}

// Config describes one replica. The zero value of a field means its default; Self and Nodes have none.
type Config struct {
	Cluster wire.ClusterID
	Group   wire.GroupID
	Self    wire.NodeID
	Nodes   []wire.NodeID // every founding member in ascending order, Self among them; at most wire.NodesMax
	Addrs   []string      // where each of Nodes is reached, for those who join; nil: nobody needs to know

	// Join is for a node that was not among the founding members: it takes part in nothing before it learns that it was made one.
	// Nodes is then whom it may hear from, Self included.
	Join bool

	// Auxiliary is those of Nodes, in ascending order, that are acceptors only and vote while another node does not answer
	// (auxiliary.go): so many that the others are as many as must vote. ModeMulti, without leases. The same on all nodes, and for ever.
	Auxiliary []wire.NodeID

	Mode    Mode    // the same on all nodes, and for ever
	Backoff Backoff // ModeBasic; the same on all nodes
	Learn   Learn   // the same on all nodes
	Quorums Quorums // the same on all nodes, and for ever

	Window          int   // slots in flight; default 32, at most wire.WindowMax
	Alpha           int   // slots from a change of the membership to the first slot that the new members decide; at least Window, the same on all nodes, and for ever; default wire.WindowMax
	HeartbeatTicks  int   // between a leader's heartbeats; default 2
	ElectionTicks   int   // silence before a follower probes, drawn from [ElectionTicks, 2*ElectionTicks); default 30
	RetransmitTicks int   // before an unanswered Accept, Prepare or Fetch is sent again; default 20
	HoleTicks       int   // ModeBasic: silence in an open slot before another finishes it, drawn from [HoleTicks, 2*HoleTicks); ModeFast: before its coordinator settles it; default 10
	SuspectTicks    int   // with auxiliary nodes: silence of another node before they are asked; default 5 heartbeats
	StallTicks      int   // a leader whose own disk finishes nothing for so long resigns; default 2*ElectionTicks
	ApplyLagMax     int   // chosen slots not yet applied beyond which Propose answers Busy; default 1024
	PromiseBytes    int   // votes in one part of a promise, in bytes; default wire.PromiseBytesMax
	LogBytesMax     int64 // frames of chosen slots kept until Trim, beyond which no vote for more is taken; default 1 GiB
	AheadBytesMax   int64 // frames of votes above the chosen prefix, beyond which only the next slot's is taken; default 256 MiB
	PromiseTotalMax int64 // frames of the promises that a candidate collects, beyond which it gives up; default 1 GiB

	// Lease is how long a follower's grant of the leader's lease lasts, in nanoseconds of Clock; 0: no leases. LeaseDrift is how much of it
	// two clocks may differ by while it lasts, default an eighth: lease.Drift computes it. ModeMulti. The same on all nodes: a restarted
	// node promises nothing for the length of one lease, so one that was longer in its earlier life may be broken.
	// A change needs a pause of one lease without any node running.
	Lease, LeaseDrift int64

	Fresh bool   // the replica never ran before: there is nothing that it may have forgotten
	Seed  uint64 // of the election jitter and of incarnations; should differ from start to start
}

// LogBytesBound is the most bytes of frames that a replica holds for slots, none larger than frame: what full lets in, an answer
// to a Fetch, and what a candidate learns and proposes again, which is what it was promised.
func (c Config) LogBytesBound(frame int64) int64 {
	bound := c.LogBytesMax + c.AheadBytesMax + min(2*fetchBytes, fetchSlots*frame) + c.PromiseTotalMax + 2*frame
	switch c.Mode {
	case ModeBasic:
		bound += 2 * int64(c.Window) * frame // what was taken, or is being finished, gets its vote in any case
	case ModeFast:
		bound += 2*int64(c.Window)*frame + c.AheadBytesMax // the same, and the second value in a slot
	}
	return bound
}

// WithDefaults returns c with every zero field set to its default.
func (c Config) WithDefaults() Config { return c.withDefaults() }

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Window, 32)
	def(&c.Alpha, wire.WindowMax)
	def(&c.HeartbeatTicks, 2)
	def(&c.ElectionTicks, 30)
	def(&c.RetransmitTicks, 20)
	def(&c.HoleTicks, 10)
	def(&c.StallTicks, 2*c.ElectionTicks)
	def(&c.SuspectTicks, 5*c.HeartbeatTicks)
	def(&c.ApplyLagMax, 1024)
	def(&c.PromiseBytes, wire.PromiseBytesMax)
	bound := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	bound(&c.LeaseDrift, (c.Lease+7)/8)
	bound(&c.LogBytesMax, 1<<30)
	bound(&c.AheadBytesMax, 256<<20)
	bound(&c.PromiseTotalMax, 1<<30)
	return c
}

// Validate joins every fault of the configuration, zero values counting as their defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("paxos: "+format, args...))
		}
	}
	fault(c.Group == 0, "group id 0: groups count from 1")
	fault(len(c.Nodes) == 0 || len(c.Nodes) > wire.NodesMax, "%d nodes: need 1 to %d", len(c.Nodes), wire.NodesMax)
	self := false
	for i, n := range c.Nodes {
		self = self || n == c.Self
		for _, m := range c.Nodes[:i] {
			fault(c.Mode == ModeFast && n%wire.NodesMax == m%wire.NodesMax, "nodes %d and %d would own the same ballots in mode fast: need ids that differ modulo %d", m, n, wire.NodesMax)
		}
		fault(n == 0, "node id 0: ids count from 1")
		fault(i > 0 && n <= c.Nodes[i-1], "nodes %v: need ascending order without repeats", c.Nodes)
	}
	fault(!self, "node %d is not among the nodes %v", c.Self, c.Nodes)
	fault(c.Window < 1 || c.Window > wire.WindowMax, "window of %d slots: need 1 to %d", c.Window, wire.WindowMax)
	fault(c.Alpha < c.Window || c.Alpha > wire.WindowMax, "changes of the membership after %d slots: need the window of %d at least, and %d at most", c.Alpha, c.Window, wire.WindowMax)
	fault(c.Addrs != nil && len(c.Addrs) != len(c.Nodes), "%d addresses of %d nodes", len(c.Addrs), len(c.Nodes))
	fault(c.Join && (c.Mode != ModeMulti || c.Learn != LearnOne), "a node cannot join in mode %v with learners %v: need %v and %v", c.Mode, c.Learn, ModeMulti, LearnOne)
	fault(c.HeartbeatTicks < 1, "heartbeat every %d ticks: need 1 or more", c.HeartbeatTicks)
	fault(c.ElectionTicks < 3*c.HeartbeatTicks, "election after %d ticks: need at least three heartbeats (%d ticks)", c.ElectionTicks, 3*c.HeartbeatTicks)
	fault(c.RetransmitTicks < 1, "retransmission after %d ticks: need 1 or more", c.RetransmitTicks)
	fault(int(c.Mode) >= len(modeNames), "mode %d: need 0 to %d", c.Mode, len(modeNames)-1)
	fault(int(c.Backoff) >= len(backoffNames), "back-off %d: need 0 to %d", c.Backoff, len(backoffNames)-1)
	fault(c.Learn < LearnAll || int(c.Learn) > len(c.Nodes), "a set of %d learners: need 1 to %d", c.Learn, len(c.Nodes))
	fault(c.HoleTicks < 1, "holes after %d ticks: need 1 or more", c.HoleTicks)
	fault(c.StallTicks < 1, "disk stall of %d ticks: need 1 or more", c.StallTicks)
	fault(c.ApplyLagMax < 1, "apply lag of %d slots: need 1 or more", c.ApplyLagMax)
	fault(c.PromiseBytes < 1 || c.PromiseBytes > wire.PromiseBytesMax, "promise parts of %d bytes: need 1 to %d", c.PromiseBytes, wire.PromiseBytesMax)
	fault(c.LogBytesMax < 1 || c.AheadBytesMax < 1 || c.PromiseTotalMax < 1, "log of %d bytes, %d ahead, promises of %d: need 1 or more",
		c.LogBytesMax, c.AheadBytesMax, c.PromiseTotalMax)
	fault(c.Lease < 0 || c.Lease > wire.LeaseSpanMax, "leases of %d ns: need 0 to %d", c.Lease, int64(wire.LeaseSpanMax))
	fault(c.Lease > 0 && (c.LeaseDrift < 0 || c.LeaseDrift >= c.Lease), "leases of %d ns with a drift of %d ns: need less than the lease", c.Lease, c.LeaseDrift)
	c.checkAuxiliary(fault)
	if len(c.Nodes) > 0 && !c.Join && int(c.Mode) < len(modeNames) {
		errs = append(errs, c.Quorums.CheckIn(c.Mode, len(c.Nodes)))
	}
	return errors.Join(errs...)
}
