package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/result"
)

// auxiliaryRun runs three processes of which the third is an auxiliary one, and gives its part of the result.
func auxiliaryRun(t *testing.T, c Config) (*result.Result, *result.Node) {
	t.Helper()
	c.Engine.Auxiliary = "3"
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if s := &r.Safety; s.Verdict != result.OK || s.Lost != 0 || s.Duplicated != 0 || s.Acked == 0 || s.Replicas != 2 {
		t.Fatalf("safety: %+v", s)
	}
	n := &r.Nodes[2]
	if !n.Auxiliary || n.Commands != 0 || n.Snapshots != 0 || n.Elections != 0 || r.Nodes[0].Auxiliary {
		t.Errorf("nodes: %+v", r.Nodes)
	}
	if r.Config.Extra["auxiliary"] != "3" || !strings.Contains(strings.Join(r.Validity.Notes, "\n"), "node 3 is an auxiliary one") {
		t.Errorf("nothing is said of it: %+v, %q", r.Config.Extra, r.Validity.Notes)
	}
	return r, n
}

// An auxiliary process could write to its disk for every command, although both others are there, or be counted among those
// that keep the state.
func TestRunAuxiliary(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Load.Duration = 2 * time.Second
	r, n := auxiliaryRun(t, c)
	// A machine so slow that a main node is taken for dead may have it vote for a moment, each time.
	if main := r.Nodes[0].Fsyncs; main < 10 || n.Fsyncs*2 > main {
		t.Errorf("%d fsyncs of the auxiliary node, %d of a main one", n.Fsyncs, main)
	}
}

// With a main process killed, the leader or the other one, nothing acknowledged may be lost, the auxiliary has to vote meanwhile, and
// operations go on.
func TestRunAuxiliaryKilledMain(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Load.Rate, c.Load.Duration = 300, 15*time.Second
	for _, spec := range []string{"kill:leader@500ms+5s", "kill:node2@7s+5s"} {
		f, err := cluster.ParseFault(spec)
		if err != nil {
			t.Fatal(err)
		}
		c.Faults = append(c.Faults, f)
	}
	r, n := auxiliaryRun(t, c)
	if n.Fsyncs == 0 || n.WALBytes == 0 {
		t.Errorf("the auxiliary node wrote nothing: %+v", n)
	}
	if len(r.Faults) != 2 {
		t.Fatalf("faults: %+v", r.Faults)
	}
	for _, f := range r.Faults { // each lasts 5 s, so that a slow machine has time for an election
		if f.Unavailable <= 0 || f.Unavailable >= f.Healed-f.At || f.CaughtUp <= 0 {
			t.Errorf("the auxiliary node did not stand in: %+v", f)
		}
	}
}
