package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// Targets that are roles: which nodes they are is decided when the fault strikes.
const (
	TargetLeader    = "leader"
	TargetFollower  = "follower"
	TargetFollowers = "followers"
	TargetMinority  = "minority"
	TargetHalf      = "half"
	TargetAll       = "all"
)

// targets says what they are.
var targets = []struct{ name, words string }{
	{TargetLeader, "the node that leads when the fault strikes"},
	{TargetFollower, "one that does not, drawn with the seed"},
	{TargetFollowers, "all but the leader"},
	{TargetMinority, "the leader and as many followers as leave a majority without it"},
	{TargetHalf, "the leader and followers up to a half of all: of four nodes two, so that nobody has a majority"},
	{TargetAll, "every node"},
}

const targetForm = "leader, follower, followers, minority, half, all, and nodes by number as in node2 or node1/node3"

// parseTarget checks a target and gives its usual form.
func (k *kind) parseTarget(text string) (string, error) {
	if k.target == "" {
		return "", fmt.Errorf("%s takes no target: %q", k.name, text)
	}
	for _, t := range targets {
		if t.name == text {
			return text, nil
		}
	}
	nodes, err := parseNodes(text)
	if err != nil {
		return "", err
	}
	return formatNodes(nodes), nil
}

func parseNodes(text string) ([]wire.NodeID, error) {
	var nodes []wire.NodeID
	for _, part := range strings.Split(text, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "node"), 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("unknown target %q; there are %s", text, targetForm)
		}
		nodes = append(nodes, wire.NodeID(n))
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), nil
}

func formatNodes(nodes []wire.NodeID) string {
	var parts []string
	for _, n := range nodes {
		parts = append(parts, "node"+strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(parts, "/")
}

// checkTarget says whether the target is anything in a cluster of so many nodes.
func (f Fault) checkTarget(nodes int) error {
	k := kindOf(f.Kind)
	size := nodes
	switch f.Target {
	case "", TargetAll:
	case TargetLeader:
		size = 1
	case TargetFollower, TargetFollowers:
		if nodes == 1 {
			return fmt.Errorf("a cluster of one has no follower; use --nodes 3 or target the leader")
		}
		size = 1
	case TargetMinority:
		if size = (nodes - 1) / 2; size == 0 {
			return fmt.Errorf("a cluster of %d has no minority; use --nodes 3", nodes)
		}
	case TargetHalf:
		size = nodes / 2
	default:
		named, err := parseNodes(f.Target)
		if err != nil {
			return err
		}
		if last := named[len(named)-1]; int(last) > nodes {
			return fmt.Errorf("there is no node %d in a cluster of %d", last, nodes)
		}
		size = len(named)
	}
	if k.rest && (size == 0 || size >= nodes) {
		return fmt.Errorf("of %d nodes %s would leave nobody to be cut off from", nodes, f.Target)
	}
	return nil
}

// byRole says whether the target depends on who leads.
func (f Fault) byRole() bool {
	return slices.Contains([]string{TargetLeader, TargetFollower, TargetFollowers, TargetMinority, TargetHalf}, f.Target)
}

// victims resolves the target at the moment the fault strikes. Followers are drawn from rng, so that the same
// seed draws the same ranks among the followers.
func (f Fault) victims(leader wire.NodeID, nodes int, rng *rand.Rand) []wire.NodeID {
	var all, others []wire.NodeID
	for i := range nodes {
		node := wire.NodeID(i + 1)
		all = append(all, node)
		if node != leader {
			others = append(others, node)
		}
	}
	with := func(n int) []wire.NodeID {
		rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		return append([]wire.NodeID{leader}, others[:n-1]...)
	}
	switch f.Target {
	case "", TargetAll:
		return all
	case TargetLeader:
		return []wire.NodeID{leader}
	case TargetFollower:
		return []wire.NodeID{others[rng.IntN(len(others))]}
	case TargetFollowers:
		return others
	case TargetMinority:
		return with((nodes - 1) / 2)
	case TargetHalf:
		return with(max(nodes/2, 1))
	}
	named, _ := parseNodes(f.Target) // ParseFault has
	return named
}
