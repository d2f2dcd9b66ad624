package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/result"
)

func plan() Plan {
	return Plan{Fault: "kill:leader", Kills: 20, Down: 2 * time.Second, Gap: 2 * time.Second, Seed: 7}
}

// Losses that overlap, or that another run with the same seed places elsewhere, are no experiment.
func TestSchedule(t *testing.T) {
	p := plan()
	faults, length, err := p.Schedule()
	if err != nil || len(faults) != 20 {
		t.Fatal(len(faults), err)
	}
	if err := cluster.CheckFaults(faults, 3, length); err != nil {
		t.Error(err)
	}
	gaps := map[time.Duration]bool{}
	for i, f := range faults[1:] {
		gap := f.At - faults[i].At - p.Down
		gaps[gap] = true
		if gap < p.Gap-time.Millisecond || gap > p.Gap*5/4+time.Millisecond {
			t.Errorf("%s follows %s", f, faults[i])
		}
	}
	if len(gaps) < 10 {
		t.Errorf("losses in step: %v", gaps)
	}
	again, _, _ := p.Schedule()
	p.Seed++
	other, _, _ := p.Schedule()
	if !slices.Equal(faults, again) || slices.Equal(faults, other) {
		t.Error("the seed does not decide")
	}
	for _, wrong := range []Plan{{Fault: "kill:leader"}, {Fault: "kill:king", Kills: 1, Down: 1, Gap: 1}, {Fault: "kill:leader@1s+1s", Kills: 1, Down: 1, Gap: 1}} {
		if _, _, err := wrong.Schedule(); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// fake gives the losses of a config, the i-th unavailable for i+1 ms; the last one of them for ever.
func fake(_ context.Context, c bench.Config) (*result.Result, error) {
	r := &result.Result{
		SchemaVersion: 1, Seed: c.Load.Seed, Config: result.Config{Nodes: c.Nodes, Rate: c.Load.Rate, Fsync: "always"},
		Validity: result.Validity{Verdict: result.Valid}, Safety: result.Safety{Verdict: result.OK, Linearizable: result.Unchecked, Acked: 1000, Replicas: 3},
	}
	for i, f := range c.Faults {
		d := int64(i+1) * 1e6
		if i == len(c.Faults)-1 {
			d = result.Never
		}
		r.Faults = append(r.Faults, result.Fault{Kind: "kill", Target: "leader", At: int64(f.At), Healed: int64(f.At + f.For), CaughtUp: int64(f.At+f.For) + 5e6, Unavailable: d, UnavailableAfterHeal: 2e6})
	}
	return r, nil
}

// An outage that never ended could fall out of the distribution, which would make it look better.
func TestDistributions(t *testing.T) {
	c := bench.DefaultConfig()
	c.Load.Rate = 1000
	r, err := Run(context.Background(), fake, c, plan())
	if err != nil {
		t.Fatal(err)
	}
	cut := r.Distributions[0]
	if cut.Count != 20 || cut.Never != 1 || cut.Min != 1e6 || cut.P50 != 10.5e6 || cut.P90 != 18e6 || cut.Max != result.Never || cut.Lo < 4e6 || cut.Hi > 16e6 || cut.Lo >= cut.Hi {
		t.Errorf("%+v", cut)
	}
	if heal := r.Distributions[1]; heal.Name != "heal" || heal.P50 != 2e6 || heal.Never != 0 {
		t.Errorf("%+v", heal)
	}
	if up := r.Distributions[6]; up.Max != 5e6 {
		t.Errorf("%+v", up)
	}
	var text, markdown, encoded bytes.Buffer
	if err := errors.Join(r.Page().Text(&text), r.Page().Markdown(&markdown), r.JSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"20 of 20 x kill:leader on 3 nodes", "never", "10.5 ms", "0 lost"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s\n%s", want, &text, &markdown)
		}
	}
	var back Report
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || back.Run == nil || len(back.Run.Faults) != 20 || back.Distributions[0].P50 != cut.P50 {
		t.Errorf("%v\n%s", err, &encoded)
	}
	t.Logf("\n%s", &text)
}

// Of a run that lost writes, no number may be shown.
func TestViolated(t *testing.T) {
	r, _ := Run(context.Background(), func(ctx context.Context, c bench.Config) (*result.Result, error) {
		r, err := fake(ctx, c)
		r.Safety.Verdict, r.Safety.Lost = result.Violated, 3
		return r, err
	}, bench.DefaultConfig(), plan())
	var text, encoded bytes.Buffer
	if err := errors.Join(r.Page().Text(&text), r.JSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), " ms") || !strings.Contains(text.String(), "3 lost") || !strings.Contains(encoded.String(), `"voided": true`) {
		t.Errorf("%s\n%s", &text, &encoded)
	}
}
