package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine/client"
)

func nothing(string) bool { return false }

// ran is what a run of the settings counts, as if it had gone as theory has it.
func ran(c *bench.Config) *result.Result {
	r := &result.Result{SchemaVersion: result.SchemaVersion, Validity: result.Validity{Verdict: result.Valid}, Safety: result.Safety{Verdict: result.OK, Acked: 100, Linearizable: result.OK}}
	r.Throughput.OpsPerSec = map[string]float64{"none": 100, "random": 200, "distinguished": 400}[c.Engine.Backoff]
	slots := uint64(100)
	for n := 1; n <= c.Nodes; n++ {
		r.Nodes = append(r.Nodes, result.Node{Node: n, Slots: slots})
	}
	r.Nodes[0].Slots, r.Nodes[0].Restarts = 3*slots, 1 // it applied its log again
	if c.Engine.Mode == "basic" {
		r.Instances = &result.Instances{Ballots: map[string]uint64{"none": 500, "random": 150, "distinguished": 100}[c.Engine.Backoff], Won: slots, Holes: 2, HoleNanos: 4e8}
		if c.Engine.Backoff != "distinguished" {
			r.Instances.Duels = 50
		}
	} else {
		r.Takeovers = &result.Takeovers{Prepared: 5, Won: 4, Reproposed: 8, Holes: 2, FillNanos: 8e6}
	}
	for _, f := range c.Faults {
		r.Faults = append(r.Faults, result.Fault{Kind: string(f.Kind), Target: f.Target, Nodes: []int{1}, At: int64(f.At), Healed: int64(f.At + f.For)})
		for n := range r.Nodes {
			for at := f.At; f.Kind == "partition" && at < f.At+f.For; at += f.For / 8 {
				s := result.NodeSample{At: int64(at), HeapBytes: 1, Slots: 7}
				if n > 0 {
					s.Slots += uint64(at)
				}
				r.Nodes[n].Samples = append(r.Nodes[n].Samples, s)
			}
		}
	}
	return r
}

// What can go wrong: a scenario's settings are refused; a run that shows nothing passes, or one that does is not believed; the record
// does not come back.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		what, name, want string
		spoil            func(*bench.Config, *result.Result)
	}{
		{"as it should", SplitBrain, Shown, nil},
		{"as it should", Holes, Shown, nil},
		{"as it should", Duel, Shown, nil},
		{"a minority chooses", SplitBrain, NotShown, func(_ *bench.Config, r *result.Result) {
			for i := range r.Nodes[0].Samples {
				r.Nodes[0].Samples[i].Slots += uint64(i)
			}
		}},
		{"nobody chooses", SplitBrain, NotShown, func(_ *bench.Config, r *result.Result) {
			for n := range r.Nodes {
				r.Nodes[n].Samples = nil
			}
		}},
		{"no hole", Holes, NotShown, func(_ *bench.Config, r *result.Result) {
			if r.Takeovers != nil {
				r.Takeovers.Holes, r.Takeovers.Reproposed = 0, 0
			}
		}},
		{"no duel", Duel, NotShown, func(_ *bench.Config, r *result.Result) {
			if r.Instances != nil {
				r.Instances.Ballots, r.Instances.Duels = 100, 0
			}
		}},
		{"distinguished duels", Duel, NotShown, func(c *bench.Config, r *result.Result) {
			if c.Engine.Mode == "basic" && c.Engine.Backoff == "distinguished" {
				r.Instances.Ballots = 149
			}
		}},
		{"something is lost", Duel, Violated, func(_ *bench.Config, r *result.Result) { r.Safety.Verdict, r.Safety.Lost = result.Violated, 1 }},
		{"something is lost", Holes, Violated, func(_ *bench.Config, r *result.Result) { r.Safety.Verdict, r.Safety.Lost = result.Violated, 1 }},
	} {
		p := Plan{Name: c.name, Modes: []string{"multi", "basic"}, Rounds: RoundsDefault(c.name)}
		run := func(_ context.Context, bc bench.Config) (*result.Result, error) {
			if err := bc.Validate(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			r := ran(&bc)
			if c.spoil != nil {
				c.spoil(&bc, r)
			}
			return r, nil
		}
		rep, err := Run(context.Background(), run, bench.DefaultConfig(), p, nothing, nil)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != c.want || (c.want == Shown) != (len(rep.Reasons) == 0) {
			t.Errorf("%s, %s: %s %q, want %s", c.name, c.what, rep.Verdict, rep.Reasons, c.want)
		}
		var text, again bytes.Buffer
		if err := rep.JSON(&text); err != nil {
			t.Fatal(err)
		}
		var back Report
		if err := json.Unmarshal(text.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		if err := back.JSON(&again); err != nil || !bytes.Equal(text.Bytes(), again.Bytes()) {
			t.Errorf("%s: the record does not come back as it was (%v)", c.name, err)
		}
		var page bytes.Buffer
		if err := rep.Page().Text(&page); err != nil || !strings.Contains(page.String(), c.want) {
			t.Errorf("%s: %v\n%s", c.name, err, page.String())
		}
	}
}

// What can go wrong: a duel that does not end takes the whole scenario with it, or another failure is taken for one.
func TestEndlessDuel(t *testing.T) {
	p := Plan{Name: Duel, Modes: []string{"basic"}, Rounds: 1}
	for _, c := range []struct {
		err  error
		fine bool
	}{{fmt.Errorf("load: %w", client.ErrTimeout), true}, {fmt.Errorf("no disk"), false}} {
		rep, err := Run(context.Background(), func(_ context.Context, bc bench.Config) (*result.Result, error) {
			if bc.Engine.Backoff == "none" {
				return nil, c.err
			}
			return ran(&bc), nil
		}, bench.DefaultConfig(), p, nothing, nil)
		if (err == nil) != c.fine {
			t.Fatalf("%v: %v", c.err, err)
		}
		if c.fine && (rep.Verdict != Shown || rep.Rows[0].Endless == "") {
			t.Errorf("%s %q", rep.Verdict, rep.Reasons)
		}
	}
}

// What can go wrong: what the user has set is overwritten by what the scenario likes.
func TestGivenSettingsStay(t *testing.T) {
	base := bench.DefaultConfig()
	base.Load.Clients, base.Load.Inflight = 7, 9
	for _, name := range Names {
		p := Plan{Name: name, Modes: []string{"multi", "basic"}, Rounds: 1}
		_, err := Run(context.Background(), func(_ context.Context, bc bench.Config) (*result.Result, error) {
			if bc.Load.Clients != 7 || bc.Load.Inflight != 9 {
				t.Errorf("%s: %d clients, %d in flight", name, bc.Load.Clients, bc.Load.Inflight)
			}
			return ran(&bc), nil
		}, base, p, func(flag string) bool { return flag == "clients" || flag == "inflight" }, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlanCheck(t *testing.T) {
	for _, c := range []struct {
		p     Plan
		nodes int
		want  string
	}{
		{Plan{"dual", nil, 1}, 3, "there are split-brain, holes, duel"},
		{Plan{Duel, nil, 0}, 3, "--rounds 0"},
		{Plan{Duel, nil, 1}, 2, "--nodes 2"},
		{Plan{Duel, []string{"fast"}, 1}, 3, "multi and basic"},
	} {
		if err := c.p.Check(c.nodes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.p, err, c.want)
		}
	}
}
