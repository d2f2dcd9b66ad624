package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newReplay(a *app) *cobra.Command {
	var own bench.Config
	o := &outputConfig{}
	printOnly := false
	cmd := &cobra.Command{
		Use:   "replay RECORD",
		Short: "A recorded run again: same workload and fault schedule from its seed",
		Long: `replay makes the run again that 'paxbench run --output RECORD' has recorded, with its settings and its seed, and compares
the two outcomes.

The same are: every setting, each client's commands in their order (keys, values, reads), when they are due in an open loop,
when which faults strike and, where their target is drawn, what they hit. Not the same is what timing decides: which node
leads, how commands are cut into blocks, how many a closed loop issues, and so every measured number.

Exit codes are those of run.`,
		Example: `  paxbench run --rate 5000 --fault kill:leader@5s+2s -o run.json
  paxbench replay run.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("replay takes one file that 'paxbench run --output FILE' has written; there are %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.replay(args[0], &own, o, printOnly) },
	}
	fs := cmd.Flags()
	scenarioOutput(fs, o, "write all that was recorded of the new run to this file, as JSON")
	fs.StringVar(&own.DataDir, "data-dir", bench.DefaultDataDir, "the run gets a fresh directory in here")
	fs.BoolVar(&own.KeepData, "keep-data", false, "leave the data there after the run (a run that failed always does)")
	fs.BoolVar(&own.AllowMemory, "allow-tmpfs", false, "allow fsync on a file system in memory, where it promises nothing")
	fs.BoolVar(&own.NoProbe, "no-probe", false, "leave out the probes of the machine's limits")
	historyFlag(fs, &own)
	fs.BoolVar(&printOnly, "print-command", false, "print the command line that makes the run again, and end")
	return cmd
}

func (a *app) replay(file string, own *bench.Config, o *outputConfig, printOnly bool) error {
	if err := o.check(); err != nil {
		return err
	}
	rec, err := readAny(file)
	if err != nil {
		return err
	}
	if rec.run == nil || rec.scenario != nil {
		return usagef("%s is the report of many runs; replay takes a record of one, as 'paxbench run --output FILE' writes it", file)
	}
	args, left, err := replayArgs(rec.run)
	if err != nil {
		return usagef("%s: %v", file, err)
	}
	if printOnly {
		a.begin()
		_, err := fmt.Fprintln(a.out, "paxbench run "+quoted(args))
		return err
	}
	_, c, err := parseSettings(args)
	if err != nil {
		return usagef("%s: this program does not take its settings: %v", file, err)
	}
	c.Name, c.DataDir, c.KeepData, c.AllowMemory, c.NoProbe, c.History = "replay", own.DataDir, own.KeepData, own.AllowMemory, own.NoProbe, own.History
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	p := a.newProgress(o, c)
	c.Stop, c.Log, c.Debug, c.Progress = stop, p.log, p.debug, p.interval
	again, err := bench.Run(ctx, *c)
	p.end()
	if err != nil {
		return runError(err)
	}
	met := again.Check(c.SLOs)
	if o.file != "" {
		if err := writeRecord(again, o.file); err != nil {
			return err
		}
	}
	if err := a.printReplay(rec.run, again, left, o.format); err != nil {
		return err
	}
	return verdictCode(again, met, isClosed(stop))
}

// replayArgs are the flags of run that make a recorded run again. left are settings that this program does not know.
func replayArgs(r *result.Result) (args, left []string, err error) {
	c := &r.Config
	if c.Cluster == bench.Remote {
		return nil, nil, fmt.Errorf("it was made against a cluster that ran already; start one like it and use: paxbench load --targets ... --cluster-id ... --seed %d", r.Seed)
	}
	add := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	whole := func(n int) string { return strconv.Itoa(n) }
	share := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	size := func(n int64) string {
		if n == 0 {
			return ""
		}
		return load.FormatBytes(n)
	}
	add("cluster", c.Cluster)
	add("nodes", whole(c.Nodes))
	if c.Procs > 0 {
		add("procs", whole(c.Procs))
	}
	add("mode", c.Mode)
	add("sm", c.SM)
	add("fsync", c.Fsync)
	add("batch-bytes", size(int64(c.BatchBytes)))
	add("batch-delay", time.Duration(c.BatchDelay).String())
	add("window", whole(c.Window))
	add("compress", c.Compress)
	add("snapshot-bytes", size(c.SnapshotBytes))
	add("retain-bytes", size(c.RetainBytes))
	add("clients", whole(c.Clients))
	add("inflight", whole(c.Inflight))
	add("rate", share(c.Rate))
	add("arrival", c.Arrival)
	add("warmup", time.Duration(c.Warmup).String())
	if c.Duration > 0 {
		add("duration", time.Duration(c.Duration).String())
	}
	add("ops", strconv.FormatUint(c.Ops, 10))
	add("value-size", c.ValueSize)
	add("value-ratio", share(c.ValueRatio))
	add("keys", whole(c.Keys))
	add("dist", c.Dist)
	add("reads", share(c.Reads))
	add("read-mode", c.ReadMode)
	add("api", c.API)
	if c.HistoryKeys > 0 {
		add("history-keys", whole(c.HistoryKeys))
	}
	for _, f := range c.Faults {
		add("fault", f)
	}
	for _, s := range c.SLOs {
		add("slo", s)
	}
	add("seed", strconv.FormatUint(r.Seed, 10))
	more, left := extraArgs(c.Extra)
	return append(args, more...), left, nil
}

// extraArgs are the settings that have no field in a record: those that are flags of run under their name.
func extraArgs(extra map[string]string) (args, left []string) {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaults := bench.DefaultConfig()
	settingFlags(known, &defaults)
	for name, value := range extra {
		flag := strings.ReplaceAll(name, "_", "-")
		if known.Lookup(flag) == nil {
			left = append(left, fmt.Sprintf("%s=%s", name, value))
			continue
		}
		args = append(args, "--"+flag+"="+value)
	}
	slices.Sort(args)
	slices.Sort(left)
	return args, left
}

// quoted is a command line for a shell.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, arg := range args {
		if out[i] = arg; strings.ContainsAny(arg, " <>'\"*$&|;()") {
			out[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

func (a *app) printReplay(was, again *result.Result, left []string, format string) error {
	differ := differences(was, again)
	if format == "json" {
		both := map[string]any{"differences": differ, "not_reproduced": left}
		for name, r := range map[string]*result.Result{"recorded": was, "again": again} {
			var b bytes.Buffer
			if err := r.Encode(&b); err != nil {
				return err
			}
			both[name] = json.RawMessage(b.Bytes())
		}
		e := json.NewEncoder(a.out)
		e.SetIndent("", " ")
		return e.Encode(both)
	}
	t := outcomes(was, again)
	text := t.Text()
	if format == "markdown" {
		text = t.Markdown()
	}
	fmt.Fprintf(a.out, "%s\n\n%s\n", again.Title(), text)
	fmt.Fprintf(a.out, "the same       settings; each client's commands; when they are due; the schedule of faults and what they hit if it is drawn (seed %d)\n", again.Seed)
	fmt.Fprintf(a.out, "not the same   timing: who leads, how commands are cut into blocks, how many a closed loop issues, every measured number\n")
	for _, d := range differ {
		fmt.Fprintf(a.out, "DIFFERENT      %s\n", d)
	}
	for _, l := range left {
		fmt.Fprintf(a.out, "NOT REPRODUCED %s: this program has no such setting\n", l)
	}
	for _, d := range again.Safety.Details {
		fmt.Fprintf(a.out, "SAFETY         %s\n", d)
	}
	for _, reason := range again.Validity.Reasons {
		fmt.Fprintf(a.out, "INVALID        %s\n", reason)
	}
	return nil
}

// outcomes lays the outcomes of two runs side by side. Of one that violated safety there are no numbers.
func outcomes(was, again *result.Result) *table.Table {
	t := &table.Table{Head: []string{"", "recorded", "again", "ratio"}}
	void := was.Safety.Verdict == result.Violated || again.Safety.Verdict == result.Violated
	row := func(name string, v func(*result.Result) float64, text func(float64) string) {
		if void {
			return
		}
		x, y := v(was), v(again)
		ratio := "-"
		if x > 0 {
			ratio = fmt.Sprintf("%.2f", y/x)
		}
		t.Add(name, text(x), text(y), ratio)
	}
	nanos := func(v float64) string {
		if v < 0 {
			return "never"
		}
		return result.Duration(int64(v))
	}
	count := result.Count
	row("operations/s", func(r *result.Result) float64 { return r.Throughput.OpsPerSec }, count)
	row("acknowledged", func(r *result.Result) float64 { return float64(r.Throughput.Ops) }, count)
	row("failed", func(r *result.Result) float64 { return float64(r.Throughput.Failed) }, count)
	row("outcome unknown", func(r *result.Result) float64 { return float64(r.Throughput.Unknown) }, count)
	row("response p50", func(r *result.Result) float64 { return float64(r.Latency.Response.P50) }, nanos)
	row("response p99", func(r *result.Result) float64 { return float64(r.Latency.Response.P99) }, nanos)
	row("response max", func(r *result.Result) float64 { return float64(r.Latency.Response.Max) }, nanos)
	for i := range min(len(was.Faults), len(again.Faults)) {
		at := func(r *result.Result) *result.Fault { return &r.Faults[i] }
		name := fmt.Sprintf("%s %s: unavailable", was.Faults[i].Kind, was.Faults[i].Target)
		row(name, func(r *result.Result) float64 { return float64(at(r).Unavailable) }, nanos)
		t.Add("  nodes hit", fmt.Sprint(at(was).Nodes), fmt.Sprint(at(again).Nodes), "")
	}
	t.Add("safety", was.Safety.Verdict, again.Safety.Verdict, "")
	t.Add("linearizable", was.Safety.Linearizable, again.Safety.Linearizable, "")
	t.Add("validity", was.Validity.Verdict, again.Validity.Verdict, "")
	return t
}

// differences are what differs between two runs apart from chance: the machine and the program.
func differences(was, again *result.Result) (out []string) {
	cmp := func(what, a, b string) {
		if a != b {
			out = append(out, fmt.Sprintf("%s: recorded %s, again %s", what, orNothing(a), orNothing(b)))
		}
	}
	x, y := &was.Env, &again.Env
	commit := func(c string, modified bool) string {
		if modified {
			return c + " and changes"
		}
		return c
	}
	cmp("host", x.Host, y.Host)
	cmp("processor", x.CPU, y.CPU)
	cmp("cores", strconv.Itoa(x.Cores), strconv.Itoa(y.Cores))
	cmp("kernel", x.Kernel, y.Kernel)
	cmp("disk", x.Disk.Type+" "+x.Disk.Device, y.Disk.Type+" "+y.Disk.Device)
	cmp("program", commit(x.Commit, x.Modified), commit(y.Commit, y.Modified))
	cmp("compiler", x.Go, y.Go)
	if was.Partial != again.Partial {
		out = append(out, "one of the two was interrupted")
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
