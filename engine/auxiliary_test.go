package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: an auxiliary node answers from a state that it does not have, or leads; commands stop with the first main node that is
// gone; it writes for each command; or it comes up again as something else than it was.
func TestAuxiliary(t *testing.T) {
	c := newCluster(t, 3, true, func(c *Config) { c.Auxiliary = []wire.NodeID{3} })
	defer c.close()
	for range 20 {
		c.propose("a")
	}
	aux := c.nodes[3].Group(1)
	eventually(t, "all main nodes are there, and the auxiliary node is told what it need not keep", func() bool {
		c.propose("a") // what was proposed when they were not there yet is forgotten with what comes after it
		st := aux.Status()
		return st.Trimmed >= 20 && st.LogBytes == 0 && !c.leader().Group(1).Status().Engaged
	})
	if st := aux.Status(); st.Role != "auxiliary" || !st.Auxiliary || st.Applied != 0 || st.Commands != 0 || st.LogBytes != 0 {
		t.Errorf("%+v", st)
	}
	engaged := func() (n uint64) {
		for _, node := range c.nodes {
			n += node.Group(1).Metrics().Engaged
		}
		return n
	}
	before, asked := aux.Metrics().WALRecords, engaged()
	for range 100 {
		c.propose("b")
	}
	wrote := aux.Metrics().WALRecords - before
	switch { // a machine that stands still for a moment takes a main node for dead
	case engaged() != asked:
		t.Logf("%d records, and it was asked", wrote)
	case wrote > 5: // a mark of what was forgotten before may come late
		t.Errorf("%d records for 100 commands, and nobody asked", wrote)
	}
	if _, err := aux.QueryStale(context.Background(), []byte("a")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a stale query: %v", err)
	}
	if _, err := aux.Propose(context.Background(), []byte("a")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a proposal: %v", err)
	}
	for _, err := range aux.Subscribe(context.Background(), 1) {
		if !errors.Is(err, ErrAuxiliary) {
			t.Errorf("a subscription: %v", err)
		}
	}
	for _, gone := range []wire.NodeID{1, 2} { // the leader is one of them
		c.stop(gone)
		if got := c.propose("c"); got == "" {
			t.Errorf("without node %d nothing is done", gone)
		}
		c.stop(3)
		c.start(3) // what it has voted for, it still knows
		aux = c.nodes[3].Group(1)
		c.propose("d")
		c.start(gone)
		eventually(t, "the main node is back, and no vote is kept", func() bool {
			return aux.Status().LogBytes == 0 && !c.leader().Group(1).Status().Engaged
		})
	}
	c.stop(3)
	c.config = func(c *Config) {}
	var other *wal.IdentityError
	if _, err := c.open(3, false, nil); !errors.As(err, &other) {
		t.Errorf("as a main node: %v", err)
	}
}
