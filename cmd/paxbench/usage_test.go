package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench/env"
)

// Whoever types something wrong must be told what, and what would be right, with exit code 2, before anything starts.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		line string
		want string
	}{
		{"rnu", `unknown command "rnu"; did you mean "run"?`},
		{"sweeep", `unknown command "sweeep"; did you mean "sweep"?`},
		{"run --nodse 3", `unknown flag --nodse; did you mean "nodes"?`},
		{"run --warm 3s", `unknown flag --warm; did you mean "warmup"?`},
		{"run --xyzzyplugh", "unknown flag --xyzzyplugh"},
		{"run -z", "unknown flag -z"},
		{"run extra", `"extra"`},
		{"run --nodes", "flag needs an argument"},
		{"run --nodes three", "--nodes three: it takes a whole number"},
		{"run --nodes 0", "--nodes 0: there can be 1 to 64"},
		{"run --nodes 65", "--nodes 65"},
		{"run --duration 10", "--duration 10: it takes a duration with a unit"},
		{"run --rate fast", "--rate fast: it takes a number"},
		{"run --rate -1", "--rate"},
		{"run --batch-bytes 64XB", "64XB"},
		{"run --batch-bytes 9GiB", "below 2GiB"},
		{"run --mode faster", `there are multi, basic, fast`},
		{"run --mode basi", `did you mean "basic"`},
		{"run --nodes 5 --quorum p1=3,p2=2", "3 + 2 = 5, need more than 5"},
		{"run --quorum most", "majority or p1=N,p2=M"},
		{"run --learn set:0", "one, all or set:N"},
		{"run --backoff never", "random, none, distinguished"},
		{"run --mode fast --nodes 5 --quorum p1=3,p2=3,fast=3", "3 + 3 + 3 = 9, need more than 2 x 5 = 10"},
		{"run --nodes 5 --quorum p1=3,p2=3,fast=4", "only mode fast has fast ballots"},
		{"run --mode mutli", `did you mean "multi"?`},
		{"run --cluster sim", `"sim" is not in this build; use process`},
		{"run --fsync sometimes", "want always, never or interval"},
		{"run --fsync interval=10", "interval"},
		{"run --compress gzip", "there are none, s2"},
		{"run --value-size 0", "1 to"},
		{"run --value-size list:16,x", "list:"},
		{"run --value-ratio 2", "--value-ratio"},
		{"run --value-ratio 0", "--value-ratio 0: it must be above 0 and at most 1; it is the share that does not compress"},
		{"run --value-ratio NaN", "--value-ratio NaN: it must be above 0"},
		{"run --dist zipf:1.2", "above 0 and below 1; zipf:0.99 is customary"},
		{"run --dist zipf:0", "above 0 and below 1"},
		{"run --dist hotspot:2:0.8", "hotspot:0.2:0.8"},
		{"run --keys 0", "--keys 0: it must be 1 to 16777216"},
		{"run --clients 0", "--clients 0: it must be 1 to 65536"},
		{"run --inflight 0", "--inflight 0: it must be 1 to"},
		{"run --generators 0", "--generators 0: it must be 1 to 64"},
		{"run --generators 8", "no more than --clients"},
		{"run --window 0", "--window 0: it must be 1 to 1024"},
		{"run --window 5000", "--window 5000"},
		{"run --batch-bytes 0", "--batch-bytes 0B: it must be 1B to 12MiB"},
		{"run --batch-bytes 100MiB", "--batch-bytes 100MiB: it must be 1B to 12MiB"},
		{"run --batch-bytes -1", "want a number of bytes such as 16, 512B or 64KiB"},
		{"run --batch-delay -1s", "--batch-delay -1s: it must be 0s to 10s"},
		{"run --batch-delay 5", "--batch-delay 5: it takes a duration with a unit"},
		{"run --snapshot-bytes 0", "--snapshot-bytes 0B"},
		{"run --retain-bytes 0", "--retain-bytes 0B"},
		{"run --segment-bytes 2GiB", "--segment-bytes 2GiB: it must be 1B to 1GiB"},
		{"run --duration 10000h", "--duration 10000h0m0s: it must be 0s to 24h0m0s"},
		{"run --duration -1s", "--duration -1s"},
		{"run --duration 0s", "give how long to measure"},
		{"run --warmup -1s", "--warmup -1s"},
		{"run --warmup 1000h", "--warmup 1000h0m0s"},
		{"run --settle -1s", "--settle -1s"},
		{"run --rate NaN", "--rate NaN: it must be 0 to 1000000000; operations per second, or 0 for a closed loop"},
		{"run --rate 1e12", "--rate 1e+12"},
		{"run --reads NaN", "--reads"},
		{"run --ops -1", "--ops -1"},
		{"run --seed -1", "--seed -1"},
		{"run --history-keys -1", "--history-keys"},
		{"run --fsync interval=0s", "interval=D with D such as 10ms"},
		{"run --value-size uniform:9..1", "want uniform:1..9"},
		{"run --value-size 2MiB", "a value has 1 to"},
		{"failover --kills 0", "--kills 0: it must be 1 to"},
		{"failover --down 0s", "--down 0s: it must be above 0s"},
		{"sweep --vary nodes=1,3 --repeats 0", "--repeats 0"},
		{"search --slo p99<5ms --from -1", "--from -1"},
		{"metastability --overload 0", "--overload"},
		{"compare --a --window=1 --b --window=2 --rounds 0", "--rounds 0"},
		{"run --config " + file("value-ratio: 0\n"), "--value-ratio 0: it must be above 0"},
		{"run --config " + file("duration: 10\n"), "line 1: duration"},
		{"run --dist zipf:nine", "zipf"},
		{"run --arrival late", "uniform"},
		{"run --reads 1.5", "--reads"},
		{"run --reads 0.5 --sm null", "--reads"},
		{"run --read-mode lent", "want one of quorum, log, lease, stale"},
		{"run --mode basic --reads 0.5 --read-mode lease", "there is nobody to hold a lease; use quorum"},
		{"run --lease 2m", "--lease 2m0s: it must be 0s to 1m0s"},
		{"run --sm redis", "there are kv, null"},
		{"run --slo p99", "paxbench: run: --slo p99: want a metric, a comparison and a bound, as in p99<5ms"},
		{"help rum", `unknown command "rum"; did you mean "run"?`},
		{"wal verfy", "'paxbench wal --help' explains it."},
		{"run --slo p98<5ms", "there is no metric"},
		{"run --fault kill:leader", "paxbench: run: --fault kill:leader: no '@' and time"},
		{"run --fault explode:leader@1s+1s", "there are kill, power, pause"},
		{"run --fault partition:leader:how=maybe@1s+1s", "there are hold, swallow, refuse"},
		{"run --fault partition:leader@1s+1s --nodes 1", "nobody to be cut off from"},
		{"run --fault slow-link@1s+1s", "latency=5ms"},
		{"failover --fault kill:leader@1s+1s", "without a time"},
		{"run --fault overload@1s+1s", "give --rate"},
		{"failover --fault restrat", "there are kill, power"},
		{"run --fault kill:node4@1s+1s", "no node 4 in a cluster of 3"},
		{"run --fault kill:follower@1s+1s --nodes 1", "has no follower"},
		{"run --fault kill:leader@12s+5s", "the run ends at 15s; use --duration"},
		{"run --fault kill:leader@1s+3s --fault pause:2@2s+1s", "overlap"},
		{"run --fault kill:leader@1s+3s --cluster inproc", "use --cluster process"},
		{"run --format xml", "there are text, json, markdown, go"},
		{"run --output /nonexistent/dir/r.json", "there is no directory /nonexistent/dir"},
		{"run --output /", "is a directory"},
		{"run --config /nonexistent.yaml", "no such file"},
		{"run --config " + file("nodse: 3\n"), `line 1: unknown setting "nodse"; did you mean "nodes"?`},
		{"run --config " + file("nodes: 3\n\nnodes: 5\n"), "nodes"},
		{"run --config " + file("nodes: [1, 2]\n"), "it takes one value"},
		{"run --config " + file("nodes: three\n"), "line 1: nodes"},
		{"run --config " + file("nodes: {a: 1}\n"), "it takes a value or a list"},
		{"run --config " + file("- nodes\n"), "mapping"},
		{"run --config " + file("nodes: \"3\n"), "configuration file"},
		{"run --config " + file("config: other.yaml\n"), `unknown setting "config"`},
		{"load", "load needs --targets"},
		{"load --targets 127.0.0.1", "host:port"},
		{"load --targets 127.0.0.1:1", "--cluster-id"},
		{"load --targets 127.0.0.1:1,127.0.0.1:1 --cluster-id 7", "stands twice"},
		{"load --targets 127.0.0.1:1 --cluster-id zero", "whole number"},
		{"serve", "serve needs --node"},
		{"serve --node 1", "serve needs --cluster-id"},
		{"serve --node 1 --cluster-id 7", "serve needs --peers"},
		{"serve --node 1 --cluster-id 7 --peers 1=a:1", "serve needs --data-dir"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,2=b:2 --data-dir x", "--node 4 is not among --peers 1=a:1,2=b:2"},
		{"serve --peers 1=nowhere", "host:port"},
		{"serve --node 1 --cluster-id 7 --peers 1=a:1 --data-dir x --with-disk-control", "goes with --with-parent"},
		{"serve --peers 1=a:1,1=b:2", "named twice"},
		{"serve --node 1 --cluster-id 7 --peers 1=a:1 --data-dir x --listen a:http", "port must be a number"},
		{"serve --node 1 --cluster-id 7 --peers 1=a:1 --data-dir x --pprof here", "--pprof"},
		{"serve --node 4 --cluster-id 7 --peers 4=d:4 --data-dir x --join", "a member at least from which it hears"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,4=d:4,5=e:5 --data-dir x --join --bootstrap", "node 4 is not above node 5"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,2=b:2,4=d:4 --data-dir x --join --rejoin", "'paxbench members remove 4'"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,4=d:4 --data-dir x --join --mode basic", "in mode basic with --learn one the members are fixed"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,4=d:4 --data-dir x --join --learn all", "--mode multi --learn one"},
		{"serve --node 4 --cluster-id 7 --peers 1=a:1,4=d:4 --join", "serve needs --data-dir"},
		{"members", "members needs --targets"},
		{"members list", "members needs --targets"},
		{"members --targets 127.0.0.1:1", "members needs --cluster-id"},
		{"members lsit", `unknown operation "lsit"; did you mean "list"?`},
		{"members list 3", "takes nothing more"},
		{"members add", "takes one node, N=HOST:PORT"},
		{"members add 4", "no '='"},
		{"members add 4=nowhere", "host:port"},
		{"members add 4=a:0", "port must be a number other than 0"},
		{"members add 4=a:1,5=b:1", "one node at a time"},
		{"members add 0=a:1", "whole numbers from 1"},
		{"members remove", "takes one node id"},
		{"members remove 0", "whole numbers from 1"},
		{"members remove 2 3", "takes one node id"},
		{"members remove 2 --targets 127.0.0.1:1 --cluster-id 7 --timeout 0s", "--timeout 0s: it must be above 0s"},
		{"members remove 2 --targets 127.0.0.1:1 --cluster-id 7 --format xml", "text, json"},
		{"wal", ""},
		{"wal inspct", `did you mean "inspect"`},
		{"wal inspect", "needs a node's data directory"},
		{"wal verify /nonexistent", "not a directory"},
		{"wal repair", "needs a node's data directory"},
		{"wal repair . --from /nonexistent", "not a directory"},
		{"wal repair . .", "one log at a time"},
		{"report", "report needs a file"},
		{"report /nonexistent.json", "no such file"},
	} {
		code, out, errs := call(nil, strings.Fields(c.line)...)
		if c.want == "" {
			if code != exitOK || out == "" {
				t.Errorf("%s: exit %d, %q", c.line, code, out)
			}
			continue
		}
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: exit %d, stdout %q, want 2 and %q in:\n%s", c.line, code, out, c.want, errs)
		}
		if strings.Contains(errs, "goroutine ") {
			t.Errorf("%s: panicked:\n%s", c.line, errs)
		}
	}
}

// A durable run in memory must be refused with the ways out, and leave nothing there.
func TestMemoryRefused(t *testing.T) {
	t.Parallel()
	disk, err := env.DiskOf("/dev/shm")
	if err != nil || !disk.Memory() {
		t.Logf("no file system in memory at /dev/shm here: %+v, %v", disk, err)
		return
	}
	dir := filepath.Join("/dev/shm", "paxbench-"+filepath.Base(t.TempDir())+strconv.Itoa(os.Getpid()))
	code, out, errs := call(nil, "run", "--data-dir", dir)
	if code != exitUsage || out != "" || !strings.Contains(errs, "--allow-tmpfs") || !strings.Contains(errs, "tmpfs") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made", dir)
	}
}

// A setting taken from the wrong source measures something else than was asked for.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "c.yaml")
	text := "# a run\nnodes: 5\nclients: 9\nwindow: 7\nbatch-bytes: 64KiB\nduration: 30s\nfault:\n  - kill:leader@1s+1s\n  - pause:2@5s+1s\nslo: ['p99<5ms']\nvalue-size: list:16,64\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PAXBENCH_CLIENTS=8", "PAXBENCH_WINDOW=6", "PAXBENCH_CONFIG=" + config, "PAXBENCH_CLEINTS=3", "HOME=/"}
	code, out, errs := call(env, "run", "--window", "5", "--print-config")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"window: 5 # flag", "clients: 8 # environment", "nodes: 5 # file", "inflight: ", "# default",
		"batch-bytes: 64KiB # file", "duration: 30s # file", "fault: ['kill:leader@1s+1s', 'pause:2@5s+1s'] # file",
		"slo: ['p99<5ms'] # file", "value-size: 'list:16,64' # file",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if !strings.Contains(errs, `PAXBENCH_CLEINTS is ignored: no such setting; did you mean "PAXBENCH_CLIENTS"?`) {
		t.Errorf("no warning of the misspelt variable: %s", errs)
	}
	// What is printed is a configuration file that means the same.
	again := filepath.Join(t.TempDir(), "again.yaml")
	if err := os.WriteFile(again, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	code, second, errs := call(nil, "run", "--config", again, "--print-config")
	strip := func(s string) string {
		var lines []string
		for _, line := range strings.Split(s, "\n") {
			line, _, _ = strings.Cut(line, " # ")
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	if code != exitOK || strip(second) != strip(out) {
		t.Errorf("exit %d, %s\nfirst:\n%s\nread back:\n%s", code, errs, out, second)
	}
}

// A wrong value in the environment must name the variable, and a list in it is parted by commas.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	code, _, errs := call([]string{"PAXBENCH_NODES=many"}, "run", "--print-config")
	if code != exitUsage || !strings.Contains(errs, "environment variable PAXBENCH_NODES") {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, _, errs = call([]string{"PAXBENCH_VALUE_RATIO=0"}, "run", "--print-config")
	if code != exitUsage || !strings.Contains(errs, "--value-ratio 0: it must be above 0") {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, _, errs = call([]string{"PAXBENCH_BATCH_DELAY=5"}, "run", "--print-config")
	if code != exitUsage || !strings.Contains(errs, "environment variable PAXBENCH_BATCH_DELAY") {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, out, errs := call([]string{"PAXBENCH_FAULT=kill:leader@1s+1s,pause:2@3s+1s"}, "run", "--print-config")
	if code != exitOK || !strings.Contains(out, "fault: ['kill:leader@1s+1s', 'pause:2@3s+1s'] # environment") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
}

// The help is what a newcomer reads first; an empty or broken one would send them away.
func TestHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := call(nil)
	for _, want := range []string{"run", "serve", "load", "probe", "wal", "report", "version", "members", "130 interrupted"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in:\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "pipe-peer") {
		t.Error("the hidden command shows")
	}
	if code, out, _ = call(nil, "help", "faults"); code != exitOK || !strings.Contains(out, "stall-fsync:leader@at+duration") {
		t.Errorf("help faults: exit %d\n%s", code, out)
	}
	if code, out, _ = call(nil, "run", "--help"); code != exitOK || !strings.Contains(out, "kill:leader@5s+5s") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if code, out, _ = call(nil, "version"); code != exitOK || !strings.HasPrefix(out, "paxbench ") {
		t.Errorf("exit %d: %s", code, out)
	}
}
