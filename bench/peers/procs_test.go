package main

import (
	"runtime"
	"strings"
	"testing"

	ports "github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
)

// A side that is held to its share of the cores where it should have all, or the other way round, is compared with a handicap. Not
// parallel: it changes the environment, which the processes inherit.
func TestProcs(t *testing.T) {
	t.Setenv(ports.ProcsVariable, "")
	all := runtime.GOMAXPROCS(0)
	share := max(1, (all+2)/3)
	for _, c := range []struct {
		name        string
		single      bool
		environment string
		want        int
	}{
		{"paxbench", false, "", share},
		{"paxbench", true, "", all}, // one process has nobody to share with
		{"paxbench", false, "6", 6},
		{"pipe", false, "", all},
		{"etcd-raft", false, "", all},
		{"etcd-raft", false, "6", 6},
	} {
		e, err := findEngine(c.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(ports.ProcsVariable, c.environment)
		ctx, k := testCluster(t, e, c.single, true)
		asked := 0
		if err := k.each(ctx, "counters", func(_ *process, a node.Reply) {
			if asked++; a.Procs != c.want {
				t.Errorf("%s in one process: %v, GOMAXPROCS %q: %d threads, want %d", c.name, c.single, c.environment, a.Procs, c.want)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1, false: 3}[c.single]; asked != want {
			t.Errorf("%d processes, want %d", asked, want)
		}
		k.stop()
	}
}

// The records of run and failover must name what the processes are given, and nothing where the runtime chooses.
func TestProcsRecorded(t *testing.T) {
	t.Setenv(ports.ProcsVariable, "")
	share := max(1, (runtime.GOMAXPROCS(0)+2)/3)
	for _, e := range engines() {
		want := 0
		if e.ShareCores {
			want = share
		}
		if e.ShareCores != strings.Contains(e.Settings, "GOMAXPROCS") {
			t.Errorf("%s: what is configured is not what is said: %s", e.Name, e.Settings)
		}
		if got := procs(e, 3, false); got != want || procs(e, 3, true) != 0 {
			t.Errorf("%s: %d threads, want %d", e.Name, got, want)
		}
	}
	d, err := describe(peer.Engine{Name: "x", ShareCores: true}, 4)
	if err != nil || d.Procs != 4 {
		t.Errorf("%+v, %v", d, err)
	}
}
