package result

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// GoBench writes the Go benchmark format (golang.org/design/14313-benchmark-format): settings as configuration lines,
// then one result line with all units. benchstat and golang.org/x/perf read it. Concatenated runs are samples of the
// same benchmark where their names are equal.
//
// Settings and machine are configuration, by which benchstat parts its tables: only like runs are compared, or those that differ in the
// setting that `benchstat -col` names. What differs from run to run by itself, or is what is compared (seed, commit), is a comment.
//
// A run that violated safety gives a comment and no result line; an invalid one carries "validity: invalid", so that
// it can be filtered.
func (r *Result) GoBench(w io.Writer) error {
	r = r.void()
	var b strings.Builder
	for _, kv := range r.benchConfig() {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", kv[0], oneLine(kv[1]))
		}
	}
	fmt.Fprintf(&b, "# seed %d\n", r.Seed)
	if r.Env.Commit != "" {
		fmt.Fprintf(&b, "# commit %s\n", oneLine(r.Env.Commit))
	}
	if r.Voided {
		fmt.Fprintf(&b, "# safety violated: %s; no numbers\n", oneLine(r.Safety.words()))
	} else {
		for _, reason := range r.Validity.Reasons {
			fmt.Fprintf(&b, "# invalid: %s\n", oneLine(reason))
		}
		b.WriteString("Unit ops/s better=higher\n")
		fmt.Fprintf(&b, "Benchmark%s %d", r.benchName(), max(r.Throughput.Ops, 1))
		for _, m := range r.benchValues() {
			fmt.Fprintf(&b, " %s %s", strconv.FormatFloat(m.value, 'g', -1, 64), m.unit)
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("result: write report: %w", err)
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// benchConfig is the settings and the machine: keys in lower case, as the format demands.
func (r *Result) benchConfig() [][2]string {
	c, e := &r.Config, &r.Env
	n := func(v int) string { return strconv.Itoa(v) }
	return [][2]string{
		{"goos", e.OS}, {"goarch", e.Arch}, {"pkg", "github.com/paxbench/paxbench"}, {"cpu", e.CPU},
		{"host", e.Host}, {"kernel", e.Kernel}, {"go", e.Go}, {"disk", e.Disk.Type},
		{"cluster", c.Cluster}, {"nodes", n(c.Nodes)}, {"mode", c.Mode}, {"fsync", c.Fsync}, {"sm", c.SM},
		{"batch-bytes", n(c.BatchBytes)}, {"batch-delay-ns", strconv.FormatInt(c.BatchDelay, 10)}, {"window", n(c.Window)},
		{"compress", c.Compress}, {"clients", n(c.Clients)}, {"inflight", n(c.Inflight)},
		{"rate", strconv.FormatFloat(c.Rate, 'g', -1, 64)}, {"arrival", c.Arrival}, {"value-size", c.ValueSize},
		{"keys", n(c.Keys)}, {"dist", c.Dist}, {"reads", strconv.FormatFloat(c.Reads, 'g', -1, 64)}, {"api", c.API},
		{"validity", r.Validity.Verdict}, {"safety", r.Safety.Verdict},
	}
}

// benchName is the benchmark's name: what distinguishes runs that must not be averaged.
func (r *Result) benchName() string {
	c := &r.Config
	name := r.Name
	if name == "" {
		name = "run"
	}
	loop := "closed"
	if c.Rate > 0 {
		loop = strconv.FormatFloat(c.Rate, 'f', -1, 64)
	}
	parts := []string{
		strings.ToUpper(name[:1]) + name[1:], "nodes=" + strconv.Itoa(c.Nodes), "mode=" + c.Mode, "fsync=" + c.Fsync, "sm=" + c.SM,
		"value=" + c.ValueSize, "clients=" + strconv.Itoa(c.Clients), "inflight=" + strconv.Itoa(c.Inflight), "rate=" + loop,
	}
	return strings.Join(strings.Fields(strings.Join(parts, "/")), "_")
}

type benchValue struct {
	value float64
	unit  string
}

// benchValues are the metrics. Units are those that x/perf's benchunit knows: ns is scaled to seconds, and smaller is
// better but where a Unit line says otherwise.
func (r *Result) benchValues() []benchValue {
	p := &r.Throughput
	var out []benchValue
	add := func(v float64, unit string) { out = append(out, benchValue{v, unit}) }
	if p.OpsPerSec > 0 {
		add(1e9/p.OpsPerSec, "ns/op")
	}
	add(p.OpsPerSec, "ops/s")
	for _, l := range []struct {
		name string
		Latency
	}{{"response", r.Latency.Response}, {"service", r.Latency.Service}, {"lag", r.Latency.Lag}} {
		if l.Count == 0 {
			continue
		}
		for _, q := range []struct {
			name string
			v    int64
		}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p999", l.P999}, {"max", l.Max}} {
			add(float64(q.v), l.name+"-"+q.name+"-ns")
		}
	}
	if c := &r.Cost; *c != (Cost{}) {
		add(c.CPU, "cpu-ns/op")
		add(c.WALBytes, "wal-B/op")
		add(c.NetBytes, "net-B/op")
		add(c.Fsyncs, "fsyncs/op")
		add(c.Messages, "messages/op")
		add(c.Allocs, "allocs/op")
	}
	for i := range r.Faults {
		f := &r.Faults[i]
		if f.Unavailable != Never {
			add(float64(f.Unavailable), fmt.Sprintf("fault%d-unavailable-ns", i+1))
		}
	}
	add(float64(p.Failed), "failed")
	add(float64(p.Unknown), "unknown")
	return out
}
