package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/result"
)

// synthetic is a run of a machine whose speed is speed, with the noise of a busy one: 5% between runs, skewed tails.
func synthetic(rng *rand.Rand, speed float64) *result.Result {
	rate := 500_000 * speed * math.Exp(0.05*rng.NormFloat64())
	p99 := 10e6 / speed * math.Exp(0.15*rng.NormFloat64()+0.05*rng.ExpFloat64())
	return &result.Result{
		SchemaVersion: 1, Validity: result.Validity{Verdict: result.Valid},
		Safety:     result.Safety{Verdict: result.OK, Linearizable: result.Unchecked},
		Throughput: result.Throughput{OpsPerSec: rate, Ops: uint64(rate)},
		Latency:    result.Latencies{Response: result.Latency{P50: int64(2e9 / rate), P90: int64(p99), P99: int64(p99), P999: int64(p99), Max: int64(p99), Count: 1000}},
		Cost: result.Cost{
			CPU: 2000 / speed * math.Exp(0.03*rng.NormFloat64()), WALBytes: 84.5 + 0.02*rng.NormFloat64(), NetBytes: 60 + 0.2*rng.NormFloat64(),
			Fsyncs: 0.002 * math.Exp(0.1*rng.NormFloat64()), Messages: 0.008 * math.Exp(0.05*rng.NormFloat64()), Allocs: 0.03 * math.Exp(0.5*rng.NormFloat64()),
		},
		Nodes:  []result.Node{{Node: 1, Commands: uint64(rate)}},
		Stages: result.Stages{Batch: result.Latency{Count: int64(rate / 900 * math.Exp(0.03*rng.NormFloat64()))}},
	}
}

// locked is a lockstep run.
func locked(rng *rand.Rand) *result.Result {
	r := synthetic(rng, 1)
	r.Cost = result.Cost{CPU: 500_000, WALBytes: 419.5 + 0.2*rng.NormFloat64(), NetBytes: 540 + 2*rng.NormFloat64(), Fsyncs: 2.9 + 0.04*rng.NormFloat64(), Messages: 5.08 + 0.02*rng.NormFloat64(), Allocs: 12.5 + 0.2*rng.NormFloat64()}
	r.Nodes[0].Commands, r.Stages.Batch.Count = 1000, 1000
	return r
}

// drifting is pairs of runs on a machine whose speed wanders by more than what is looked for. B's is slower by slow.
func drifting(seed uint64, pairs int, slow float64) Sets {
	rng := rand.New(rand.NewPCG(seed, 9))
	s := Sets{Paired: true}
	drift := 0.0
	for range pairs {
		drift = 0.8*drift + 0.1*rng.NormFloat64()
		s.A = append(s.A, synthetic(rng, math.Exp(drift)))
		s.B = append(s.B, synthetic(rng, math.Exp(drift)*(1-slow)))
	}
	for range 3 {
		s.LockA, s.LockB = append(s.LockA, locked(rng)), append(s.LockB, locked(rng))
	}
	return s
}

// A gate that cries regression at noise is switched off by its users, and one that overlooks a real slowdown need not
// be there. Pairs vary by 7% here, and the machine drifts by more.
func TestRates(t *testing.T) {
	cried, found, cheered := 0, 0, 0
	for seed := range uint64(100) {
		if r := Judge(drifting(seed, 10, 0), DefaultOptions()); r.Verdict != OK {
			cried++
			t.Logf("same build, seed %d: %v", seed, r.Reasons)
		}
		if Judge(drifting(seed, 16, 0.10), DefaultOptions()).Verdict == Regression {
			found++
		}
		if r := Judge(drifting(seed, 10, -0.10), DefaultOptions()); r.Verdict != OK {
			cheered++
		}
	}
	if cried != 0 || cheered != 0 {
		t.Errorf("the same build was called a regression in %d of 100 draws, a faster one in %d", cried, cheered)
	}
	if found < 90 {
		t.Errorf("a slowdown of 10%% was found in %d of 100 draws of 16 pairs", found)
	}
	t.Logf("10%% found in %d of 100", found)
}

// find gives a metric.
func find(t *testing.T, r *Report, stage, name string) Metric {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Stage == stage && m.Name == name {
			return m
		}
	}
	t.Fatalf("no %s %s in %+v", stage, name, r.Metrics)
	return Metric{}
}

// Exact counts must fail at a change that noise would hide in times, and must not fail where timing makes them vary.
func TestExact(t *testing.T) {
	s := drifting(1, 10, 0)
	r := Judge(s, DefaultOptions())
	for stage, want := range map[string]map[string]bool{
		Lockstep: {"fsyncs": true, "messages": true, "log bytes": true, "network bytes": true, "allocations": true, "batch occupancy": true},
		Load:     {"fsyncs": false, "messages": false, "log bytes": true, "network bytes": true, "allocations": false, "batch occupancy": false},
	} {
		for name, exact := range want {
			if m := find(t, r, stage, name); m.Exact != exact || m.Gate != exact || exact && m.Verdict != Same || !exact && m.Verdict != Info {
				t.Errorf("%s %s: %+v", stage, name, m)
			}
		}
	}
	for _, b := range s.LockB {
		b.Cost.Fsyncs++
	}
	if r = Judge(s, DefaultOptions()); r.Verdict != Regression || find(t, r, Lockstep, "fsyncs").Verdict != Worse || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], "fsyncs per command") {
		t.Errorf("a third more fsyncs: %s %v", r.Verdict, r.Reasons)
	}
	// Even with too few runs for any interval.
	s.A, s.B = s.A[:1], s.B[:1]
	if r = Judge(s, DefaultOptions()); r.Verdict != Regression {
		t.Errorf("with one pair: %s", r.Verdict)
	}
	s.LockA, s.LockB = s.LockB, s.LockA
	if r = Judge(s, DefaultOptions()); r.Verdict != Inconclusive || find(t, r, Lockstep, "fsyncs").Verdict != Better {
		t.Errorf("a third fewer: %s", r.Verdict)
	}
	// Occupancy is better when higher.
	for _, b := range s.LockB {
		b.Stages.Batch.Count *= 2
	}
	if r = Judge(s, DefaultOptions()); find(t, r, Lockstep, "batch occupancy").Verdict != Worse {
		t.Errorf("half the occupancy: %+v", find(t, r, Lockstep, "batch occupancy"))
	}
}

// When the nodes are asked late, their costs lack what they did until then: divided by the operations of the whole
// time, a count would seem to have fallen.
func TestPerCommand(t *testing.T) {
	r := &result.Result{
		Nodes:     []result.Node{{Commands: 950}, {Commands: 970}, {Commands: 960}},
		Intervals: []result.Interval{{Start: -100, Ops: 50}, {Start: 0, Ops: 600}, {Start: 100, Ops: 400}},
	}
	r.Cost.Fsyncs = 3 * 960.0 / 1000
	if got := perCommand(r, r.Cost.Fsyncs); math.Abs(got-3) > 1e-9 {
		t.Errorf("%v fsyncs per command", got)
	}
	r.Config.Reads = 0.5
	if got := perCommand(r, 2); got != 2 {
		t.Errorf("with reads: %v", got)
	}
}

// Too few runs must be called so, not ok.
func TestFew(t *testing.T) {
	for n, want := range map[int]string{0: Inconclusive, 5: Inconclusive, 6: OK} {
		s := drifting(2, n, 0)
		for _, paired := range []bool{true, false} {
			s.Paired = paired
			if r := Judge(s, DefaultOptions()); r.Verdict != want {
				t.Errorf("%d runs a side, paired %v: %s", n, paired, r.Verdict)
			}
		}
	}
	r := Judge(drifting(2, 6, 0), DefaultOptions())
	m := find(t, r, Load, "throughput")
	if m.Lo == nil || m.Confidence != 1-2.0/64 || m.Detectable == nil || *m.Detectable <= 0.03 || *m.Detectable >= 1 || m.P == nil || !m.Gate {
		t.Errorf("%+v", m)
	}
	if find(t, r, Load, "p50").Gate {
		t.Error("the median latency of a closed loop gates")
	}
}

// What violates safety may not be compared at all.
func TestViolated(t *testing.T) {
	s := drifting(3, 10, 0)
	s.B[4].Safety.Verdict = result.Violated
	if r := Judge(s, DefaultOptions()); r.Verdict != Violated || len(r.Metrics) != 0 || !strings.Contains(r.Reasons[0], "side B") {
		t.Errorf("%+v", r)
	}
}

// Without interleaving, a drift of the machine becomes a difference; without repetition, an invalid run a hole.
func TestRun(t *testing.T) {
	var order strings.Builder
	rng := rand.New(rand.NewPCG(1, 1))
	seeds := map[int][]uint64{}
	invalid, probes := true, 0
	c := Config{Options: DefaultOptions(), Rounds: 6, Lockstep: 2, Seed: 40, Labels: [2]string{"old", "new"}}
	c.Run = func(_ context.Context, _ <-chan struct{}, o Order) (*result.Result, error) {
		if o.First {
			probes++
		}
		if o.Lockstep {
			order.WriteString(string("ab"[o.Side]))
			return locked(rng), nil
		}
		order.WriteString(string("AB"[o.Side]))
		seeds[o.Side] = append(seeds[o.Side], o.Seed)
		r := synthetic(rng, 1)
		if order.Len() == 10 && invalid {
			invalid = false
			r.Invalidate("for a test")
		}
		return r, nil
	}
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "AB" + "abba" + "ABBAABBAABBAAB"; order.String() != want {
		t.Errorf("order %s, want %s", order.String(), want)
	}
	if r.RunsA != 6 || r.RunsB != 6 || r.Verdict != OK || probes != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "for a test") {
		t.Errorf("%+v, %d probes", r, probes)
	}
	for i := range seeds[0] {
		if seeds[0][i] != seeds[1][i] {
			t.Errorf("seeds differ: %v", seeds)
		}
	}
}

// An interrupted comparison reports what it has; a failed run ends it with the side's name; a violation ends it.
func TestRunEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	run := func(after int, r *result.Result, err error) (*Report, error) {
		n := 0
		return Run(context.Background(), Config{Options: DefaultOptions(), Rounds: 6, Run: func(context.Context, <-chan struct{}, Order) (*result.Result, error) {
			if n++; n > after {
				return r, err
			}
			return synthetic(rng, 1), nil
		}})
	}
	if r, err := run(7, nil, bench.ErrInterrupted); err != nil || !r.Partial || r.RunsA != 2 || r.Verdict != Inconclusive {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := run(1, nil, bench.ErrInterrupted); r != nil || !errors.Is(err, bench.ErrInterrupted) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := run(1, nil, errors.New("no disk")); err == nil || !strings.Contains(err.Error(), "side B: no disk") {
		t.Error(err)
	}
	lost := synthetic(rng, 1)
	lost.Safety.Verdict = result.Violated
	if r, err := run(0, lost, nil); err != nil || r.Verdict != Violated {
		t.Errorf("%+v, %v", r, err)
	}
}

// Recorded sets could be of other machines or settings, and would be compared without a word.
func TestRecorded(t *testing.T) {
	s := drifting(4, 8, 0.4)
	dir := t.TempDir()
	for i, r := range s.A {
		var b bytes.Buffer
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".json"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read, err := Read(dir)
	if err != nil || len(read) != 8 {
		t.Fatalf("%d, %v", len(read), err)
	}
	if r, err := Recorded(read, s.B, false, DefaultOptions()); err != nil || r.Verdict != Regression || r.Paired {
		t.Errorf("%+v, %v", r, err)
	}
	for _, r := range s.B {
		r.Env = env.Info{Host: "other"}
		r.Config.Window = 7
	}
	var unlike *HostError
	if _, err := Recorded(read, s.B, false, DefaultOptions()); !errors.As(err, &unlike) || !strings.Contains(err.Error(), `host "" and "other"`) {
		t.Errorf("%v", err)
	}
	s.B[0].Invalidate("for a test")
	r, err := Recorded(read, s.B, true, DefaultOptions())
	notes := strings.Join(r.Notes, "\n")
	if err != nil || r.RunsB != 7 || !strings.Contains(notes, `window "0" and "7"`) || !strings.Contains(notes, "--force") || !strings.Contains(notes, "for a test") {
		t.Errorf("%v: %s", err, notes)
	}
	if err := oneConfig("x", []*result.Result{s.A[0], s.B[0]}); err == nil || !strings.Contains(err.Error(), "different settings") {
		t.Errorf("%v", err)
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("an empty folder is a set")
	}
}

// Records from before nodes' threads were recorded must compare with later ones, and with fewer threads it must be said.
func TestRecordedProcs(t *testing.T) {
	old := &result.Result{Config: result.Config{Cluster: "process"}, Env: env.Info{GOMAXPROCS: 2}}
	for procs, want := range map[int]string{0: "", 2: "", 1: `procs "2" and "1"`} {
		later := *old
		later.Config.Procs = procs
		if got := strings.Join(settingsDiffer(old, &later), "; "); got != want {
			t.Errorf("%d threads: %s, want %s", procs, got, want)
		}
	}
	if old.Config.Procs != 0 {
		t.Error("the record has been changed")
	}
}

// A report that leaves out the interval, or breaks its JSON with an infinite number, is of no use.
func TestFormats(t *testing.T) {
	for n, want := range map[int]string{2: "INCONCLUSIVE", 10: "ok: no regression"} {
		r := Judge(drifting(5, n, 0), DefaultOptions())
		r.LabelA, r.LabelB = "--window 8", "--window 16"
		var text, markdown, encoded bytes.Buffer
		if err := errors.Join(r.Page().Text(&text), r.Page().Markdown(&markdown), r.JSON(&encoded)); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{want, "throughput (gate)", "log bytes", "--window 16"} {
			if !strings.Contains(text.String(), s) || !strings.Contains(markdown.String(), s) {
				t.Errorf("%d pairs: no %q in\n%s\n%s", n, s, &text, &markdown)
			}
		}
		var back Report
		if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || back.Verdict != r.Verdict || len(back.Metrics) != len(r.Metrics) {
			t.Errorf("%v\n%s", err, &encoded)
		}
		if n == 10 {
			t.Logf("\n%s", &text)
		}
	}
}
