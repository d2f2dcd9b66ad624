package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/result"
)

// A node that takes --procs and leaves the threads as they are would share nothing.
func TestServeProcs(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]int{"--procs=3": 3, "--procs=0": 6} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			addr := freeAddrs(t, 1)[0]
			s := startServerIn(t, cluster.WithProcs(os.Environ(), 6), serveArgs(1, filepath.Join(t.TempDir(), "data"), "1="+addr, "--bootstrap", flag)...)
			m, err := cluster.Nodes{Cluster: 7, Addrs: []string{s.ready.Addr}}.Metrics(context.Background(), 0, false)
			if err != nil || m.Procs != want {
				t.Errorf("%d threads, want %d; %v", m.Procs, want, err)
			}
		})
	}
}

// Wherever a number of threads comes from, a wrong one must be refused in the same words, and a right one told before anything is
// started.
func TestProcsFlag(t *testing.T) {
	t.Setenv(cluster.ProcsVariable, "")
	all := strconv.Itoa(runtime.GOMAXPROCS(0)) + ", all cores, the runtime's choice"
	for _, c := range []struct {
		environ []string
		args    []string
		want    string
	}{
		{nil, []string{"run"}, "procs: 0 # default; in effect: " + all},
		{nil, []string{"run", "--procs", "9"}, "procs: 9 # flag; in effect: 9, as asked for"},
		{nil, []string{"run", "--cluster", "inproc"}, "procs: 0 # default; in effect: all nodes are in this process"},
		{[]string{"PAXBENCH_PROCS=4"}, []string{"failover"}, "procs: 4 # environment; in effect: 4, as asked for"},
		{nil, []string{"serve", "--procs", "2"}, "procs: 2 # flag; in effect: 2, as asked for"},
		{nil, []string{"serve"}, "procs: 0 # default; in effect: " + all},
	} {
		code, out, errs := call(c.environ, append(c.args, "--print-config")...)
		if code != exitOK || !strings.Contains(out, c.want) {
			t.Errorf("%q %q: exit %d, %s; no %q in\n%s", c.environ, c.args, code, errs, c.want, out)
		}
	}
	t.Setenv(cluster.ProcsVariable, "7")
	if _, out, _ := call(nil, "run", "--print-config"); !strings.Contains(out, "procs: 0 # default; in effect: 7, GOMAXPROCS of the environment") {
		t.Error(out)
	}
	for _, command := range []string{"run", "serve", "failover", "sweep", "metastability", "search", "compare"} {
		for _, bad := range []string{"-1", "1025", "many", "1.5", ""} {
			code, _, errs := call(nil, command, "--procs", bad)
			if code != exitUsage || !strings.Contains(errs, "--procs") || !strings.Contains(errs, "1 to 1024, or 0") {
				t.Errorf("%s --procs %q: exit %d, %s", command, bad, code, errs)
			}
		}
	}
	if code, _, errs := call(nil, "run", "--cluster", "inproc", "--procs", "1"); code != exitUsage || !strings.Contains(errs, "--procs with --cluster inproc") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// A record is made again with as many threads as it was made with; of one from before there was such a setting nothing is known.
func TestReplayProcs(t *testing.T) {
	t.Parallel()
	for procs, want := range map[int]string{1: "--procs=1", 0: ""} {
		r := &result.Result{}
		r.Config.Cluster, r.Config.Procs = bench.Process, procs
		args, _, err := replayArgs(r)
		got := ""
		for _, arg := range args {
			if strings.HasPrefix(arg, "--procs") {
				got = arg
			}
		}
		if err != nil || got != want {
			t.Errorf("%d threads: %q, %v", procs, args, err)
		}
	}
}
