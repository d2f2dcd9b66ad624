package bench

import (
	"context"
	"runtime"
	"testing"

	"github.com/paxbench/paxbench/bench/cluster"
)

// Nodes that run on more threads than the record says, or fewer, would make two sets of numbers that nobody
// can tell apart. Not parallel: it changes the environment, which the nodes inherit.
func TestRunProcs(t *testing.T) {
	t.Setenv(cluster.ProcsVariable, "")
	for name, c := range map[string]struct {
		asked       int
		environment string
		want        int
	}{
		"all":         {0, "", runtime.GOMAXPROCS(0)},
		"asked":       {5, "", 5},
		"environment": {0, "7", 7},
		"both":        {5, "7", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(cluster.ProcsVariable, c.environment)
			config := quick(t)
			config.Procs = c.asked
			var got []int
			config.hooks.cluster = func(cl *cluster.Cluster) {
				for i := range cl.Addrs() {
					m, err := cl.Nodes().Metrics(context.Background(), i, false)
					if err != nil {
						t.Error(err)
					}
					got = append(got, m.Procs)
				}
			}
			r := mustRun(t, config)
			if len(got) != 3 {
				t.Fatalf("%d nodes were asked", len(got))
			}
			for i, n := range got {
				if n != c.want {
					t.Errorf("node %d has %d threads, want %d", i+1, n, c.want)
				}
			}
			if r.Config.Procs != c.want {
				t.Errorf("the record says %d, want %d", r.Config.Procs, c.want)
			}
		})
	}
}

// A cluster in this process has this process's threads, and its record names none that could be taken for its nodes'.
func TestInProcessProcs(t *testing.T) {
	t.Parallel()
	before := runtime.GOMAXPROCS(0)
	c := quick(t)
	c.Cluster = InProc
	r := mustRun(t, c)
	if runtime.GOMAXPROCS(0) != before || r.Config.Procs != 0 {
		t.Errorf("%d threads before, %d after; recorded %d", before, runtime.GOMAXPROCS(0), r.Config.Procs)
	}
}
