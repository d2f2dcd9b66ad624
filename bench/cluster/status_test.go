package cluster

import (
	"errors"
	"testing"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// A deposed leader says for a while that it leads: taken at its word, a fault aimed at the leader would hit a bystander.
func TestLeaderOf(t *testing.T) {
	gone := errors.New("down")
	node := func(id, leader wire.NodeID, role string, counter uint32) engine.Status {
		return engine.Status{Node: id, Leader: leader, Role: role, Ballot: wire.NewBallot(counter, id)}
	}
	ok := []error{nil, nil, nil}
	for name, c := range map[string]struct {
		all  []engine.Status
		errs []error
		want wire.NodeID
	}{
		"steady":        {[]engine.Status{node(1, 2, "follower", 0), node(2, 2, "leader", 3), node(3, 2, "follower", 0)}, ok, 2},
		"two claims":    {[]engine.Status{node(1, 1, "leader", 3), node(2, 2, "leader", 4), node(3, 2, "follower", 0)}, ok, 2},
		"no majority":   {[]engine.Status{node(1, 1, "leader", 3), node(2, 0, "follower", 0), node(3, 0, "follower", 0)}, ok, 0},
		"leader down":   {[]engine.Status{node(1, 2, "follower", 0), {}, node(3, 2, "follower", 0)}, []error{nil, gone, nil}, 0},
		"follower down": {[]engine.Status{{}, node(2, 2, "leader", 3), node(3, 2, "follower", 0)}, []error{gone, nil, nil}, 2},
		"alone":         {[]engine.Status{node(1, 1, "leader", 1)}, []error{nil}, 1},
	} {
		if got := leaderOf(c.all, c.errs); got != c.want {
			t.Errorf("%s: node %d, want %d", name, got, c.want)
		}
	}
}

// Replicas taken for equal too early make the audit see losses that are none; a vote that never gets chosen must not
// make it wait for ever.
func TestLagging(t *testing.T) {
	all := []engine.Status{
		{Node: 1, Role: "leader", Leader: 1, Ballot: 1, Chosen: 9, Applied: 9, LastSlot: 9},
		{Node: 2, Leader: 1, Chosen: 9, Applied: 9, LastSlot: 9},
		{Node: 3, Leader: 1, Chosen: 9, Applied: 9, LastSlot: 12},
	}
	errs := []error{nil, nil, nil}
	if err := lagging(all, errs); err != nil {
		t.Errorf("equal replicas, one with an old vote beyond: %v", err)
	}
	all[0].LastSlot = 10
	if lagging(all, errs) == nil {
		t.Error("the leader has slot 10 under way")
	}
	all[0].LastSlot, all[1].Chosen = 9, 10
	if lagging(all, errs) == nil {
		t.Error("node 2 has learned slot 10")
	}
	all[1].Chosen, all[1].Applied = 9, 8
	if lagging(all, errs) == nil {
		t.Error("node 2 has applied 8 of 9")
	}
	all[1].Applied, errs[2] = 9, errors.New("down")
	if lagging(all, errs) == nil {
		t.Error("node 3 does not answer")
	}
	errs[2], all[0].Role = nil, "follower"
	if lagging(all, errs) == nil {
		t.Error("nobody leads")
	}
}
