package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// What can go wrong: a setting gets lost between the record and the second run, and two different runs are compared.
func TestReplay(t *testing.T) {
	t.Parallel()
	record, second := filepath.Join(t.TempDir(), "a.json"), filepath.Join(t.TempDir(), "b.json")
	code, out, errs := spawn(t, small(t, "-o", record, "--nodes", "3", "--reads", "0.25", "--read-mode", "log", "--value-size", "list:16,64", "--value-ratio", "0.5",
		"--dist", "zipf:0.8", "--arrival", "poisson", "--batch-bytes", "64KiB", "--batch-delay", "1ms", "--window", "9", "--compress", "s2", "--api", "call",
		"--history-keys", "33", "--fault", "kill:follower@200ms+300ms", "--slo", "p50<1h", "--snapshot-bytes", "1MiB", "--retain-bytes", "2MiB")...)
	decode(t, code, out, errs)
	code, out, errs = spawn(t, "replay", record, "-o", second, "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "-q")
	if code != exitOK && code != exitInvalid { // this machine may be busy
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	a, err := readAny(record)
	if err != nil {
		t.Fatal(err)
	}
	b, err := readAny(second)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.run.Config, b.run.Config) || a.run.Seed != b.run.Seed || b.run.Name != "replay" {
		t.Errorf("recorded %+v seed %d\nagain    %+v seed %d", a.run.Config, a.run.Seed, b.run.Config, b.run.Seed)
	}
	if len(a.run.Faults) != 1 || len(b.run.Faults) != 1 {
		t.Errorf("faults %+v and %+v", a.run.Faults, b.run.Faults)
	}
	for _, want := range []string{"recorded", "operations/s", "linearizable", "unavailable", "the same", "not the same"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	code, out, _ = call(nil, "replay", record, "--print-command")
	if code != exitOK || !strings.Contains(out, "--fault=kill:follower@200ms+300ms") || !strings.Contains(out, "'--slo=p50<1h'") || !strings.Contains(out, "--seed=7") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// What can go wrong: what cannot be replayed is replayed as something else.
func TestReplayRefuses(t *testing.T) {
	for _, args := range [][]string{{"replay"}, {"replay", "none.json"}, {"replay", "a", "b"}} {
		if code, _, errs := call(nil, args...); code != exitUsage || errs == "" {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
	r := &result.Result{Seed: 3}
	r.Config.Cluster = bench.Remote
	if _, _, err := replayArgs(r); err == nil || !strings.Contains(err.Error(), "paxbench load") {
		t.Errorf("a remote cluster: %v", err)
	}
	r.Config.Cluster = bench.Process
	r.Config.Extra = map[string]string{"segment_bytes": "1048576", "warp_factor": "9"}
	args, left, err := replayArgs(r)
	if err != nil || !strings.Contains(strings.Join(args, " "), "--segment-bytes=1048576") || len(left) != 1 || left[0] != "warp_factor=9" {
		t.Errorf("%q, %q, %v", args, left, err)
	}
}
