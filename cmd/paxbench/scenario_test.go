package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/sweep"
)

// A scenario takes minutes: what is wrong with it must be said before it begins.
func TestScenarioUsage(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"compare"}, "compare needs two sides"},
		{[]string{"compare", "--a", "--window 8", "--b", "--windw 9"}, "--b '--windw 9'"},
		{[]string{"compare", "--a", "--window 8", "--b", "--nodes 0"}, "there can be 1 to 64"},
		{[]string{"compare", "--a", "--value-size 'x", "--b", ""}, "a quote is not closed"},
		{[]string{"compare", "--a", "8", "--b", ""}, "is not a flag"},
		{[]string{"compare", "--binary-a", "/nonexistent/paxbench", "--a", "", "--b", ""}, "--binary-a"},
		{[]string{"compare", "--threshold", "300%"}, "a share below 100%"},
		{[]string{"compare", "--gate", "p99,thruput"}, `did you mean "throughput"`},
		{[]string{"compare", "one.json"}, "two recorded files"},
		{[]string{"compare", empty, empty}, "there is no *.json"},
		{[]string{"compare", "--rounds", "3", empty, empty}, "recorded sets are given"},
		{[]string{"metastability", "--rate", "5"}, "use --peak"},
		{[]string{"metastability", "--overload", "0.5"}, "--overload 0.5"},
		{[]string{"metastability", "--after", "1s"}, "5s after"},
		{[]string{"compare", "--slice", "1ms", "--a", "", "--b", ""}, "slices of at least 50ms"},
		{[]string{"compare", "--rounds", "0", "--a", "", "--b", ""}, "--rounds 0"},
		{[]string{"failover", "--kills", "0"}, "--kills 0"},
		{[]string{"failover", "--fault", "kill:leader@1s+1s"}, "without a time"},
		{[]string{"failover", "--duration", "3s"}, "use --kills"},
		{[]string{"failover", "--rate", "0"}, "--rate must be above 0"},
		{[]string{"failover", "--fault", "kill:node9"}, "no node 9"},
		{[]string{"scenario"}, "split-brain, holes, duel"},
		{[]string{"scenario", "dual"}, `did you mean "duel"`},
		{[]string{"scenario", "duel", "--nodes", "2"}, "--nodes 2"},
		{[]string{"scenario", "holes", "--fault", "kill:leader@1s+1s"}, "use --rounds"},
		{[]string{"sweep"}, "sweep needs --vary"},
		{[]string{"sweep", "--vary", "nodes"}, "want a setting and its values"},
		{[]string{"sweep", "--vary", "noeds=1,3"}, `did you mean "nodes"`},
		{[]string{"sweep", "--vary", "nodes=1,0"}, "there can be 1 to 64"},
		{[]string{"sweep", "--vary", "nodes=1,3", "--vary", "nodes=5"}, "varied twice"},
		{[]string{"search"}, "--slo 'p99<5ms'"},
		{[]string{"search", "--slo", "p99<5ms", "--rate", "100"}, "use --from"},
		{[]string{"search", "--slo", "p99<5ms", "--repeats", "2"}, "an odd number"},
	} {
		code, out, errs := call(nil, c.args...)
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, stdout %q, want 2 and %q in:\n%s", c.args, code, out, c.want, errs)
		}
	}
	for _, name := range []string{"compare", "failover", "sweep", "search", "metastability"} {
		if code, out, _ := call(nil, name, "--help"); code != exitOK || !strings.Contains(out, "Examples:") || !strings.Contains(out, "--batch-bytes") {
			t.Errorf("%s --help: exit %d\n%s", name, code, out)
		}
	}
}

// The flags of a side could come apart on their way to the process that runs it.
func TestSides(t *testing.T) {
	t.Parallel()
	got, err := words(`--a 'b c'  --d="e f" '' g`)
	if want := []string{"--a", "b c", "--d=e f", "", "g"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	c := &compareConfig{}
	c.Config = bench.DefaultConfig()
	c.Load.Duration = compareDuration
	c.fs, _, err = parseSettings([]string{"--nodes", "5", "--slo", "p99<5ms", "--fault", "kill:leader@1s+1s", "--seed", "7"})
	if err != nil {
		t.Fatal(err)
	}
	c.flags[1], c.names[1] = "--window 8 --clients 2 --nodes 3", "head"
	s, err := c.side(1)
	if err != nil || s.label != "head --window 8 --clients 2 --nodes 3" {
		t.Fatalf("%q, %v", s.label, err)
	}
	for _, want := range []string{"--nodes=3", "--window=8", "--clients=2", "--duration=4s", "--slo=p99<5ms", "--fault=kill:leader@1s+1s"} {
		if !slices.Contains(s.args, want) {
			t.Errorf("no %s in %q", want, s.args)
		}
	}
	for _, want := range []string{"--nodes=3", "--window=8", "--clients=1", "--inflight=1"} {
		if !slices.Contains(s.lockstep, want) {
			t.Errorf("no %s in lockstep %q", want, s.lockstep)
		}
	}
	if s.sliced != nil {
		t.Errorf("a fault would be left out in slices: %q", s.sliced)
	}
	if all := strings.Join(s.lockstep, " "); strings.Contains(all, "fault") || strings.Contains(all, "seed") || strings.Contains(all, "duration") {
		t.Errorf("lockstep %s", all)
	}
}

// smallLoad are flags of runs that are over soon.
func smallLoad(t *testing.T, more ...string) []string {
	return append([]string{
		"--nodes", "1", "--clients", "2", "--inflight", "64", "--keys", "200", "--warmup", "100ms", "--duration", "300ms",
		"--segment-bytes", "1MiB", "--seed", "7", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q",
	}, more...)
}

// Real runs, once each: the injected ones of the packages cannot tell whether the parts fit together.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, pairs := range []string{"--slices=0", "--slices=2"} {
		code, out, errs := spawn(t, append([]string{"compare", "--a", "", "--b", "--window 8", "--rounds", "1", "--lockstep", "0", pairs}, smallLoad(t)...)...)
		var compared struct {
			Kind, Verdict string
			LabelB        string `json:"label_b"`
			Metrics       []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(out), &compared); err != nil || code != exitInvalid || compared.Verdict != "inconclusive" || compared.LabelB != "--window 8" ||
			len(compared.Metrics) == 0 && !strings.Contains(out, "left out with their pairs as invalid") { // this machine may be busy
			t.Errorf("compare %s: exit %d, %v\n%s%s", pairs, code, err, out, errs)
		}
	}
	dir := filepath.Join(t.TempDir(), "sweep")
	code, out, errs := 0, "", ""
	for range 2 {
		code, out, errs = spawn(t, append([]string{"sweep", "--vary", "window=8,16", "-o", dir}, smallLoad(t)...)...)
		files, _ := os.ReadDir(dir)
		if code != exitOK && code != exitInvalid || len(files) != 2 || !strings.Contains(out, `"kind": "sweep"`) {
			t.Errorf("sweep: exit %d, %d files\n%s%s", code, len(files), out, errs)
		}
	}
	if strings.Count(out, `"recorded": true`) != 2 {
		t.Errorf("sweep measured again what it had:\n%s", out)
	}
	code, out, errs = spawn(t, append([]string{"search", "--slo", "p99<1ns", "--from", "2", "--to", "2", "--repeats", "1"}, smallLoad(t)...)...)
	if code != exitSLO || !strings.Contains(out, `"verdict": "none"`) {
		t.Errorf("search: exit %d\n%s%s", code, out, errs)
	}
}

// Two losses of a real leader.
func TestFailover(t *testing.T) {
	t.Parallel()
	code, out, errs := spawn(t, "failover", "--kills", "2", "--down", "500ms", "--gap", "1s", "--rate", "300", "--clients", "2", "--keys", "200", "--warmup", "200ms",
		"--segment-bytes", "1MiB", "--seed", "7", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q")
	var r struct {
		Losses        int
		Distributions []struct {
			Name        string
			Count       int
			Min, Median int64
		} `json:"distributions_ns"`
		Run result.Result
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK && code != exitInvalid {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
	}
	if r.Run.Safety.Verdict != result.OK || r.Run.Safety.Lost != 0 || r.Run.Safety.Acked == 0 {
		t.Errorf("safety %+v", r.Run.Safety)
	}
	if code == exitOK && (r.Losses != 2 || r.Distributions[0].Count != 2 || r.Distributions[0].Min <= 0) {
		t.Errorf("exit %d: %+v", code, r)
	}
}

// Of several bad rows of a sweep the gravest must decide the exit code.
func TestSweepCode(t *testing.T) {
	t.Parallel()
	missed := false
	rows := []sweep.Row{{}, {SLOsMet: &missed}, {Validity: result.Invalid}, {Error: "no disk"}, {Safety: result.Violated}}
	for i, want := range []int{exitOK, exitSLO, exitInvalid, exitRuntime, exitViolated} {
		reversed := slices.Clone(rows[:i+1])
		slices.Reverse(reversed)
		for _, r := range [][]sweep.Row{rows[:i+1], reversed} {
			if got := exitCode(sweepCode(&sweep.Report{Rows: r}), true); got != want {
				t.Errorf("%d rows: exit %d, want %d", i+1, got, want)
			}
		}
	}
}
