package paxos

import (
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a repeat counts as a second node, or a grant of an older ballot as one of this ballot; then a minority
// chooses.
func TestTally(t *testing.T) {
	var ty tally
	b1, b2 := wire.NewBallot(1, 1), wire.NewBallot(2, 2)
	ty.reset(b1)
	if n := ty.add(b1, 0); n != 1 {
		t.Errorf("first grant counts %d", n)
	}
	if n := ty.add(b1, 0); n != 1 {
		t.Errorf("a repeat makes it %d", n)
	}
	if n := ty.add(b2, 1); n != 0 {
		t.Errorf("a grant of another ballot counts %d", n)
	}
	ty.reset(b2)
	if n := ty.add(b2, 2); n != 1 {
		t.Errorf("after the ballot moved the first grant counts %d", n)
	}
	if n := ty.add(b1, 1); n != 0 {
		t.Errorf("a grant of the old ballot counts %d", n)
	}
}

// What can go wrong: two quorums without a common node, of any cluster size.
func TestMajoritiesIntersect(t *testing.T) {
	for n := 1; n <= wire.NodesMax; n++ {
		if q := majority(n); 2*q <= n || q > n {
			t.Errorf("%d nodes: quorum %d", n, q)
		}
	}
}

// What can go wrong: sizes that do not intersect are taken, or ones that do are refused; or a setting is not read back as it was
// written.
func TestQuorums(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for p := 1; p <= n; p++ {
			for a := 1; a <= n; a++ {
				q := Quorums{Prepare: p, Accept: a}
				if err := q.Check(n); (err == nil) != (p+a > n) {
					t.Errorf("%v of %d nodes: %v", q, n, err)
				}
				if back, err := ParseQuorums(q.String()); back != q || err != nil {
					t.Errorf("%v reads %v, %v", q, back, err)
				}
			}
		}
		if err := (Quorums{}).Check(n); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "p1=3", "p1=3,p2=", "p1=3,p2=2x", "p1=03,p2=2", "most"} {
		if q, err := ParseQuorums(s); err == nil {
			t.Errorf("%q reads %v", s, q)
		}
	}
}

// What can go wrong: a proposer picks a value that is not the one a lower ballot may have chosen (P2c).
func TestHigherVote(t *testing.T) {
	none := wire.Vote{}
	low := wire.Vote{Slot: 1, Ballot: wire.NewBallot(1, 3)}
	high := wire.Vote{Slot: 1, Ballot: wire.NewBallot(2, 1)}
	for _, c := range []struct{ a, b, want wire.Vote }{
		{none, low, low}, {low, none, low}, {low, high, high}, {high, low, high},
	} {
		if got := higherVote(c.a, c.b); got.Ballot != c.want.Ballot {
			t.Errorf("of ballots %v and %v: %v", c.a.Ballot, c.b.Ballot, got.Ballot)
		}
	}
}

// What can go wrong: a senseless configuration is taken and shows up as a hang later; or only its first fault is told.
func TestConfigFaults(t *testing.T) {
	good := Config{Group: 1, Self: 1, Nodes: []wire.NodeID{1, 2, 3}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Self = 9 }, "node 9 is not among"},
		{func(c *Config) { c.Nodes = []wire.NodeID{2, 1, 3} }, "ascending"},
		{func(c *Config) { c.Nodes = nil }, "0 nodes"},
		{func(c *Config) { c.Window = wire.WindowMax + 1 }, "window"},
		{func(c *Config) { c.ElectionTicks, c.HeartbeatTicks = 5, 4 }, "three heartbeats"},
		{func(c *Config) { c.Group = 0 }, "groups count from 1"},
		{func(c *Config) { c.Quorums = Quorums{Prepare: 1, Accept: 2} }, "p1=1 and p2=2 of 3 nodes may have no node in common: 1 + 2 = 3, need more than 3"},
		{func(c *Config) { c.Quorums.Accept = 4 }, "need 1 to 3"},
		{func(c *Config) { c.Learn = 4 }, "set of 4 learners"},
		{func(c *Config) { c.Mode = 99 }, "mode 99"},
	} {
		bad := good
		c.change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want a fault naming %q, got %v", c.want, err)
		}
	}
	two := Config{Self: 1, Nodes: []wire.NodeID{1}, Window: -1}
	if err := two.Validate(); err == nil || strings.Count(err.Error(), "paxos:") < 2 {
		t.Errorf("want both faults, got %v", err)
	}
}

// What can go wrong: a frame with a good CRC and senseless content moves the ballot counter out of reach, makes the log grow
// to its slot, or speaks for another node (FAULTS.md F36, F40).
func TestSenselessMessages(t *testing.T) {
	c := newTestCluster(t, 3, Config{Seed: 1})
	defer c.close()
	r := c.node(1).r
	far := wire.NewBallot(wire.BallotJumpMax+1, 2)
	ok := wire.NewBallot(1, 2)
	noop := testNoop(t)
	for name, m := range map[string]wire.Message{
		"ballot out of reach":              {Kind: wire.KindPrepare, From: 2, Ballot: far, Slot: 1},
		"promise out of reach":             {Kind: wire.KindReject, From: 2, Ballot: ok, Promised: far},
		"another node's ballot":            {Kind: wire.KindPrepare, From: 3, Ballot: ok, Slot: 1},
		"ballot of no member":              {Kind: wire.KindReject, From: 2, Ballot: wire.NewBallot(1, 9)},
		"slot out of reach":                {Kind: wire.KindAccept, From: 2, Ballot: ok, Slot: wire.SlotsAheadMax + 1, Value: noop},
		"slot 0":                           {Kind: wire.KindAccept, From: 2, Ballot: ok, Slot: 0, Value: noop},
		"sender is no member":              {Kind: wire.KindHeartbeat, From: 9, Ballot: wire.NewBallot(1, 9)},
		"sender is this replica":           {Kind: wire.KindHeartbeat, From: 1, Ballot: wire.NewBallot(1, 1)},
		"another group":                    {Kind: wire.KindHeartbeat, From: 2, Ballot: ok, Group: 5},
		"a learned value without a ballot": {Kind: wire.KindLearn, From: 2, Slot: 1, Value: noop},
	} {
		if m.Group == 0 {
			m.Group = 1
		}
		before := r.Status()
		r.Step(&m)
		out := r.Output()
		after := r.Status()
		if after.Ignored != before.Ignored+1 {
			t.Errorf("%s: not counted as ignored", name)
		}
		after.Ignored = before.Ignored
		if after != before || len(out.Records)+len(out.Messages) != 0 {
			t.Errorf("%s: changed the state from %+v to %+v", name, before, after)
		}
	}
}

func testNoop(t *testing.T) wire.Batch {
	b, err := wire.ParseBatch(wire.AppendNoop(nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
