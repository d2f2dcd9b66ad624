package paxos

import (
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// feed gives r a message as from the net, takes the output, and returns its records.
func feed(r *Replica, m wire.Message) []wire.Record {
	m.Group = 1
	f := m.Encode(testCluster)
	d := mustDecode(f)
	r.Step(&d)
	f.Release()
	return take(r)
}

// take releases an output's frames but those of its records, and makes the records durable.
func take(r *Replica) []wire.Record {
	out := r.Output()
	recs := append([]wire.Record(nil), out.Records...)
	for _, m := range out.Messages {
		m.Frame.Release()
	}
	for _, c := range out.Chosen {
		c.Frame.Release()
	}
	r.Durable(out.LastLSN)
	return recs
}

// What can go wrong: a vote on a slot that was learned at the same, higher ballot raises the promise in memory and not on
// the disk; after a restart the replica would promise less than it told.
func TestPromiseRaisedByAcceptIsRecorded(t *testing.T) {
	r := New(Config{Cluster: testCluster, Group: 1, Self: 3, Nodes: []wire.NodeID{1, 2, 3}, Fresh: true}, nil)
	f := testAccept("v")
	defer f.Release()
	v := wire.TrustedValue(f)
	b3, b5 := wire.NewBallot(3, 1), wire.NewBallot(5, 2)
	var recs []wire.Record
	recs = append(recs, feed(r, wire.Message{Kind: wire.KindHeartbeat, From: 1, Ballot: b3, Chosen: 1})...)
	recs = append(recs, feed(r, wire.Message{Kind: wire.KindLearn, From: 1, Ballot: b5, Slot: 1, Chosen: 1, Value: v})...)
	recs = append(recs, feed(r, wire.Message{Kind: wire.KindAccept, From: 2, Ballot: b5, Slot: 1, Value: v})...)
	st := NewState(0)
	for i := range recs {
		if err := st.Load(&recs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if r.promised != b5 || st.promised != b5 {
		t.Errorf("promised %v in memory and %v on the disk, want %v in both", r.promised, st.promised, b5)
	}
}

// What can go wrong: frames with a good CRC, each lifting the ballot counter by as much as one may, use up all ballots
// within one tick, and the node never asks for votes again (FAULTS.md F40).
func TestBallotsAreNotUsedUp(t *testing.T) {
	r := New(Config{Cluster: testCluster, Group: 1, Self: 3, Nodes: []wire.NodeID{1, 2, 3}}, nil)
	own := wire.NewBallot(1, 3)
	for n := uint32(1); n <= 4095; n++ {
		feed(r, wire.Message{Kind: wire.KindReject, From: 1, Ballot: own, Promised: wire.NewBallot(n*wire.BallotJumpMax, 1)})
	}
	if r.counter > wire.BallotJumpMax {
		t.Errorf("the counter was lifted to %d in one tick, the bound is %d", r.counter, wire.BallotJumpMax)
	}
	for range 100 {
		r.Tick()
		take(r)
	}
	if r.role == Follower {
		t.Error("never asks for votes again")
	}
}

// What can go wrong: the leader's queue of own votes grows by an entry a slot while its pipeline never runs empty.
func TestOwnVotesStayBounded(t *testing.T) {
	r := New(Config{Cluster: testCluster, Group: 1, Self: 1, Nodes: []wire.NodeID{1}}, nil)
	release := func(recs []wire.Record) {
		for _, rec := range recs {
			rec.Frame.Release()
		}
	}
	for i := 0; r.role != Leader || r.chosen == 0; i++ {
		if i > 1000 {
			t.Fatal("a cluster of one elects nobody")
		}
		r.Tick()
		release(take(r))
	}
	release(take(r))
	previous := r.lsn
	for range 20_000 {
		if _, o := r.Propose(testAccept("x")); o != Taken {
			t.Fatal(o)
		}
		out := r.Output()
		release(out.Records)
		last := out.LastLSN
		r.Durable(previous) // the slot before: this one is still on its way to the disk
		for _, c := range r.Output().Chosen {
			c.Frame.Release()
		}
		previous = last
		r.Applied(r.chosen)
		r.Trim(r.chosen)
	}
	if n := len(r.own.q); n > 1000 {
		t.Errorf("%d own votes queued with at most 2 in flight", n)
	}
}

// What can go wrong: in a fast round each repeat of an Accept queues the coordinator's own vote again, which nothing takes away before the
// next record is durable; an idle coordinator has none to come.
func TestRepeatedOffersStayBounded(t *testing.T) {
	c := idle(t, Config{Mode: ModeFast}, 3)
	defer c.close()
	if _, o := c.propose(c.node(2), "a"); o != Taken {
		t.Fatal(o)
	}
	var offers []packet
	for _, p := range c.net {
		if wire.Kind(p.frame[5]) == wire.KindAccept && p.to == 1 {
			offers = append(offers, p)
		}
	}
	if len(offers) != 1 {
		t.Fatalf("%d offers to node 1, want 1", len(offers))
	}
	c.hand(offers[0])
	c.syncAll()
	for range 100 {
		c.hand(offers[0])
	}
	if own := &c.node(1).r.own; len(own.q)-own.head > 1 {
		t.Errorf("%d own records wait after 100 repeats", len(own.q)-own.head)
	}
}
