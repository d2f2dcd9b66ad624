package cluster

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// FaultKind is what is done to a node.
type FaultKind string

// The kinds of faults.
const (
	// Kill is SIGKILL: the process is gone at once, its memory with it. It heals by a restart on the same
	// data directory and address.
	Kill FaultKind = "kill"
	// Pause is SIGSTOP: the process keeps its memory, sockets and leases and does nothing. It heals by SIGCONT.
	Pause FaultKind = "pause"
)

var faultKinds = []string{string(Kill), string(Pause)}

// Targets that are roles: which node it is, is decided when the fault strikes.
const (
	TargetLeader   = "leader"
	TargetFollower = "follower"
	TargetAll      = "all"
)

// Fault is one entry of a fault schedule.
type Fault struct {
	Kind FaultKind
	// Target is "leader", "follower", "all" or "nodeN".
	Target string
	// Node is N if Target is "nodeN", else 0.
	Node wire.NodeID
	// At is when it strikes, counted from the end of warm-up.
	At time.Duration
	// For is how long it lasts: the node is healed at At+For.
	For time.Duration
}

const faultForm = "kind:target@at+duration, as in kill:leader@10s+5s"

// String gives the fault in the form ParseFault reads.
func (f Fault) String() string {
	return fmt.Sprintf("%s:%s@%s+%s", f.Kind, f.Target, f.At, f.For)
}

// ParseFault reads kind:target@at+duration. The errors say which part is wrong and what would be right.
func ParseFault(spec string) (Fault, error) {
	wrong := func(format string, args ...any) (Fault, error) {
		return Fault{}, fmt.Errorf("fault %q: %s (the form is %s)", spec, fmt.Sprintf(format, args...), faultForm)
	}
	kind, rest, ok := strings.Cut(spec, ":")
	if !ok {
		return wrong("no ':' after the kind")
	}
	f := Fault{Kind: FaultKind(kind)}
	if f.Kind != Kill && f.Kind != Pause {
		return wrong("unknown kind %q; there are %s", kind, strings.Join(faultKinds, ", "))
	}
	target, when, ok := strings.Cut(rest, "@")
	if !ok {
		return wrong("no '@' after the target")
	}
	if err := f.parseTarget(target); err != nil {
		return wrong("%v", err)
	}
	at, length, ok := strings.Cut(when, "+")
	if !ok {
		return wrong("no '+duration' after the time: every fault heals within the run")
	}
	var err error
	if f.At, err = time.ParseDuration(at); err != nil || f.At < 0 {
		return wrong("bad time %q; give it with a unit, as in 10s", at)
	}
	if f.For, err = time.ParseDuration(length); err != nil || f.For <= 0 {
		return wrong("bad duration %q; give it with a unit, as in 5s", length)
	}
	return f, nil
}

func (f *Fault) parseTarget(target string) error {
	switch target {
	case TargetLeader, TargetFollower, TargetAll:
		f.Target = target
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(target, "node"), 10, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("unknown target %q; there are leader, follower, all, and nodes by number as in node2", target)
	}
	f.Node = wire.NodeID(n)
	f.Target = "node" + strconv.FormatUint(n, 10)
	return nil
}

// CheckFaults says whether a schedule can be run on so many nodes within a measured time of length run (0: not
// known, as with a count of operations). Faults strike one at a time: an overlap is refused, because the unavailability after
// a fault could not be laid at any one's door.
func CheckFaults(faults []Fault, nodes int, run time.Duration) error {
	sorted := Sorted(faults)
	for i, f := range sorted {
		if int(f.Node) > nodes {
			return fmt.Errorf("fault %s: there is no node %d in a cluster of %d", f, f.Node, nodes)
		}
		if f.Target == TargetFollower && nodes == 1 {
			return fmt.Errorf("fault %s: a cluster of one has no follower; use --nodes 3 or target the leader", f)
		}
		if run > 0 && f.At+f.For >= run {
			return fmt.Errorf("fault %s: it would heal %s after warm-up but the run ends at %s; use --duration %s or more",
				f, f.At+f.For, run, f.At+f.For+5*time.Second)
		}
		if i > 0 {
			before := sorted[i-1]
			if before.At+before.For > f.At {
				return fmt.Errorf("faults %s and %s overlap; they run one at a time: start the second at %s or later",
					before, f, before.At+before.For)
			}
		}
	}
	return nil
}

// Sorted gives the faults in the order in which they strike; the input is left alone.
func Sorted(faults []Fault) []Fault {
	sorted := append([]Fault(nil), faults...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].At < sorted[j].At })
	return sorted
}

// victims resolves the target at the moment the fault strikes. A follower is drawn from rng, so that the same
// seed draws the same rank among the followers.
func (f Fault) victims(leader wire.NodeID, nodes int, rng *rand.Rand) []wire.NodeID {
	switch f.Target {
	case TargetLeader:
		return []wire.NodeID{leader}
	case TargetAll:
		all := make([]wire.NodeID, nodes)
		for i := range all {
			all[i] = wire.NodeID(i + 1)
		}
		return all
	case TargetFollower:
		pick := wire.NodeID(rng.IntN(nodes-1) + 1)
		if pick >= leader {
			pick++
		}
		return []wire.NodeID{pick}
	}
	return []wire.NodeID{f.Node}
}
