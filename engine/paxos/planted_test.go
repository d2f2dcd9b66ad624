//go:build planted

package paxos

import (
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the random schedules stop seeing what a suspect replica must not do. Each bug of healing is planted in
// turn, and one of the schedules must find it.
func TestPlanted(t *testing.T) {
	const most = 30000
	for _, p := range []struct {
		bug  plant.Bug
		mode Mode
	}{
		{plant.SuspectVotes, ModeMulti},
		{plant.HealCountsSelf, ModeMulti},
		{plant.SlotPromiseNotRecorded, ModeBasic},
		{plant.SlotBallotsAnnounce, ModeBasic},
		{plant.ChosenTakenForAnyVote, ModeBasic},
		{plant.TrimmedSlotAcked, ModeBasic},
		{plant.PromiseWithoutVote, ModeBasic},
		{plant.LeaseFromReceipt, ModeMulti},
		{plant.LeaseWithoutDrift, ModeMulti},
		{plant.LeaseBeforeBarrier, ModeMulti},
		{plant.GrantForgotten, ModeMulti},
		{plant.QuorumsApart, ModeMulti},
		{plant.AuxiliaryCounted, ModeMulti},
		{plant.AuxiliaryVotesIgnored, ModeMulti},
		{plant.HeldByOneMain, ModeMulti},
		{plant.QuorumsApart, ModeBasic},
		{plant.LowestVoteWins, ModeBasic},
		{plant.VotesCountedTwice, ModeBasic},
		{plant.FastMajority, ModeFast},
		{plant.FastQuorumSmall, ModeFast},
		{plant.FastVotesTwice, ModeFast},
		{plant.AnyBeforePromises, ModeFast},
		{plant.FastReadByAcks, ModeFast},
		{plant.SuspectVotes, ModeFast},
		{plant.HealCountsSelf, ModeFast},
		{plant.QuorumsApart, ModeFast},
		{plant.LowestVoteWins, ModeFast},
	} {
		t.Run(fmt.Sprint(p.mode, "/", p.bug), func(t *testing.T) {
			plant.Choose(p.bug)
			defer plant.Choose(plant.None)
			for seed := uint64(1); seed <= most; seed++ {
				if found := violates(t, p.mode, seed); found != "" {
					t.Logf("seed %d: %s", seed, found)
					return
				}
			}
			t.Errorf("not found in %d schedules", most)
		})
	}
	for _, bug := range []plant.Bug{plant.ConfigAtProposal, plant.TodaysQuorum, plant.MembersNotInSnapshot, plant.ChangeUncovered} {
		t.Run(fmt.Sprint("changes/", bug), func(t *testing.T) {
			plant.Choose(bug)
			defer plant.Choose(plant.None)
			for seed := uint64(1); seed <= most; seed++ {
				if found := fails(func() { randomChanges(failing{t}, seed) }); found != "" {
					t.Logf("seed %d: %s", seed, found)
					return
				}
			}
			t.Errorf("not found in %d schedules", most)
		})
	}
	t.Run(plant.IncarnationIgnored.String(), func(t *testing.T) { told(t, plant.IncarnationIgnored, staleLife) })
	t.Run(plant.BackAtOnce.String(), func(t *testing.T) { told(t, plant.BackAtOnce, olderCopy) })
	t.Run(plant.VoteNoPromise.String(), func(t *testing.T) { told(t, plant.VoteNoPromise, olderVote) })
	t.Run(plant.LeftOutBallotsReused.String(), func(t *testing.T) { told(t, plant.LeftOutBallotsReused, leftOut) })
}

// told plays a story to its end, with the bug and without: only with it may something be broken. For what happens too rarely by
// chance to wait for.
func told(t *testing.T, bug plant.Bug, story func(c *simCluster)) {
	for _, b := range []plant.Bug{bug, plant.None} {
		plant.Choose(b)
		found := ""
		func() {
			defer func() {
				if x := recover(); x != nil {
					found = fmt.Sprint(x)
				}
			}()
			story(newTestCluster(failing{t}, 5, Config{Seed: 1}))
		}()
		plant.Choose(plant.None)
		if (found != "") != (b != plant.None) {
			t.Errorf("with %v: %q", b, found)
		}
		t.Logf("with %v: %.60q", b, found)
	}
}

// candidate has node n prepare the next ballot without asking first.
func (c *simCluster) candidate(n wire.NodeID) {
	r := c.node(n).r
	r.begin()
	r.startProbe()
	r.startPrepare()
	c.collect(c.node(n))
	c.sync(c.node(n), 1<<30)
}

// to delivers what is under way of a kind from one node to another, which syncs.
func (c *simCluster) to(k wire.Kind, from, to wire.NodeID) {
	var rest []packet
	for _, p := range c.net {
		if wire.Kind(p.frame[5]) == k && p.from == from && p.to == to {
			c.hand(p)
			c.sync(c.node(to), 1<<30)
		} else {
			rest = append(rest, p)
		}
	}
	c.net = append(rest, c.net[len(rest):]...)
}

// healing has node n, which has lost its last record, be healed by others.
func (c *simCluster) healing(n wire.NodeID, by ...wire.NodeID) {
	c.crash(c.node(n), 0)
	c.rot(c.node(n), 1)
	c.start(c.node(n))
	c.tick(c.node(n))
	for _, other := range by {
		c.to(wire.KindHealRequest, n, other)
		c.to(wire.KindHealReply, other, n)
	}
}

// What can go wrong: incarnations are carried around and decide nothing. The story of testdata/17_stale_life: with the bug two
// values are chosen in one slot. (It takes five nodes, a candidate whose Prepare reaches one of them, and that one's promise
// overtaken by its healing.)
func staleLife(c *simCluster) {
	(&trace{c: c, quiet: true}).elect(failing{}, c.node(2))
	c.candidate(1) // only node 5 hears of it, and its promise is slow
	c.to(wire.KindPrepare, 1, 5)
	c.healing(5, 2, 3, 4) // it has lost the promise
	// Node 2, which still leads, has "a" chosen by 2, 4 and 5.
	c.propose(c.node(2), "a")
	c.sync(c.node(2), 1<<30)
	for _, n := range []wire.NodeID{4, 5} {
		c.to(wire.KindAccept, 2, n)
		c.to(wire.KindAccepted, n, 2)
	}
	if len(c.chosen) != 2 {
		c.t.Fatalf("slots chosen: %d", len(c.chosen))
	}
	// Node 3 promises node 1, and node 5's old promise arrives.
	c.to(wire.KindPrepare, 1, 3)
	c.to(wire.KindPromise, 3, 1)
	c.to(wire.KindPromise, 5, 1)
	c.sync(c.node(1), 1<<30)
	for _, n := range []wire.NodeID{3, 4} {
		c.to(wire.KindAccept, 1, n)
		c.to(wire.KindAccepted, n, 1)
	}
}

// What can go wrong: a healed node leaves out the ballots that it may have forgotten, and has forgotten after a restart that it
// does (testdata/27_left_out).
func leftOut(c *simCluster) {
	(&trace{c: c, quiet: true}).elect(failing{}, c.node(2))
	c.candidate(5)
	c.healing(5, 1, 2, 3, 4)
	if c.node(5).suspect != "" {
		c.t.Fatalf("not healed")
	}
	c.crash(c.node(5), 0)
	c.start(c.node(5))
	c.candidate(5)
}

// What can go wrong: a node on an older copy of its directory votes before anybody can tell it (testdata/32_back_promise). With the
// bug two values are chosen in one slot.
func olderCopy(c *simCluster) {
	(&trace{c: c, quiet: true}).elect(failing{}, c.node(1))
	// Node 2 leads by the promises of 3 and 5. Node 1 hears nothing of it, and node 5's is lost.
	c.candidate(2)
	for _, n := range []wire.NodeID{3, 5} {
		c.to(wire.KindPrepare, 2, n)
		c.to(wire.KindPromise, n, 2)
	}
	c.crash(c.node(5), 0)
	c.rot(c.node(5), 1)
	c.node(5).suspect, c.rotted = "", false // it does not know
	c.start(c.node(5))
	c.asks(5, 1, 2)
	c.propose(c.node(1), "a")
	c.sync(c.node(1), 1<<30)
	for _, a := range []struct{ leader, voter wire.NodeID }{{1, 4}, {1, 5}, {2, 3}, {2, 4}} {
		c.to(wire.KindAccept, a.leader, a.voter)
		c.to(wire.KindAccepted, a.voter, a.leader)
	}
}

// asks has node n, which has started, ask others what they have seen of it.
func (c *simCluster) asks(n wire.NodeID, others ...wire.NodeID) {
	for _, other := range others {
		c.to(wire.KindBack, n, other)
		c.to(wire.KindSeen, other, n)
	}
}

// What can go wrong: a node is asked for its promises only, and an older copy ends with the same slot, but lacks the vote at a higher ballot
// there (testdata/33_back_vote). With the bug two values are chosen in one slot.
func olderVote(c *simCluster) {
	(&trace{c: c, quiet: true}).elect(failing{}, c.node(1))
	c.propose(c.node(1), "a")
	c.sync(c.node(1), 1<<30)
	c.to(wire.KindAccept, 1, 5)
	c.net = nil
	// Node 2 leads by the promises of 3 and 4, and has a no-op chosen in that slot by 2, 3 and 5.
	c.candidate(2)
	for _, n := range []wire.NodeID{3, 4} {
		c.to(wire.KindPrepare, 2, n)
		c.to(wire.KindPromise, n, 2)
	}
	c.sync(c.node(2), 1<<30)
	for _, n := range []wire.NodeID{3, 5} {
		c.to(wire.KindAccept, 2, n)
		c.to(wire.KindAccepted, n, 2)
	}
	c.crash(c.node(5), 0)
	c.rot(c.node(5), 3) // the promise and the votes in slots 1 and 2
	c.node(5).suspect, c.rotted = "", false
	c.start(c.node(5))
	c.asks(5, 1, 2, 3, 4)
	// Node 1, which has voted for a, would be promised by 4 and 5, at the second try.
	for range 2 {
		c.candidate(1)
		for _, n := range []wire.NodeID{4, 5} {
			c.to(wire.KindPrepare, 1, n)
			c.to(wire.KindReject, n, 1)
			c.to(wire.KindPromise, n, 1)
		}
	}
	c.sync(c.node(1), 1<<30)
	for _, n := range []wire.NodeID{4, 5} {
		c.to(wire.KindAccept, 1, n)
		c.to(wire.KindAccepted, n, 1)
	}
}

// violates plays a schedule and returns how it fails; "" if it does not.
func violates(t *testing.T, mode Mode, seed uint64) (found string) {
	return fails(func() { randomSchedule(failing{t}, mode, seed) })
}

// fails returns how fn fails; "" if it does not.
func fails(fn func()) (found string) {
	defer func() {
		if x := recover(); x != nil {
			found = fmt.Sprint(x)
		}
	}()
	fn()
	return ""
}

// failing is a test whose failure is a panic.
type failing struct{ testing.TB }

func (failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (failing) Logf(string, ...any)               {}
