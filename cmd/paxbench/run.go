package main

import (
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// runConfig are the flags of run and load.
type runConfig struct {
	bench.Config
	output     outputConfig
	configFile string
	printOnly  bool
}

// outputConfig is where the result and the progress go.
type outputConfig struct {
	file    string
	format  string
	quiet   bool
	verbose bool
	noColor bool
}

func newRun(a *app) *cobra.Command {
	c := &runConfig{Config: bench.DefaultConfig()}
	c.Name = "run"
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start a cluster, drive load, inject faults, check safety, report (the main job; needs no argument)",
		Long: `run starts a cluster of real processes on this machine, drives load, optionally breaks nodes, reads every acknowledged
write back from every replica, and reports.

Faults are kind[:target][:name=value,...]@at+duration, as in kill:leader@5s+3s: processes are killed, stopped or restarted,
links cut or slowed, disks slow, stuck, broken or full, or the load is raised. 'paxbench help faults' explains them. Times
count from the end of warm-up. Faults strike one at a time: schedules that overlap are refused. Only where faults of the
network are asked for do links go through proxies, and only where faults of the disk are is there a layer before the files.

Settings come from flags, else from the environment (--batch-bytes is PAXBENCH_BATCH_BYTES), else from --config, else from
the defaults. The first ^C ends the load, checks and reports what there is; the second ends everything at once.`,
		Example: `  paxbench run
  paxbench run --nodes 5 --rate 2000 --duration 20s --fault kill:leader@5s+5s --format json
  paxbench run --rate 2000 --fault partition:leader@3s+3s --fault stall-fsync:leader@9s+3s
  paxbench run --sm null --clients 1 --inflight 1 --slo 'p50<1ms'`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	settingFlags(fs, &c.Config)
	historyFlag(fs, &c.Config)
	outputFlags(fs, &c.output)
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		return a.measure(c)
	})
	return cmd
}

// settingFlags are the settings of a run, which all commands that make runs share.
func settingFlags(fs *pflag.FlagSet, c *bench.Config) {
	fs.Var(&choice{value: &c.Cluster, choices: []string{bench.Process, bench.InProc}, later: map[string]string{
		"sim": "use process (real processes) or inproc (all nodes in this process)",
	}}, "cluster", "process: a real process per node; inproc: all nodes in this process")
	fs.IntVar(&c.Nodes, "nodes", c.Nodes, "replicas")
	fs.Var(&procsFlag{value: &c.Procs, words: func() string { return nodeProcs(c) }}, "procs",
		"processor threads (GOMAXPROCS) of each node that is a process; 0: the runtime's choice, GOMAXPROCS of the environment or all cores. 1 costs less processor time where nodes share the cores, and some throughput where the load fills them")
	engineFlags(fs, &c.Engine)
	loadFlags(fs, &c.Load)
	generatorsFlag(fs, c)
	fs.Var(&repeated[cluster.Fault]{kind: "fault", value: &c.Faults, parse: cluster.ParseFault}, "fault", "kind[:target][:name=value,...]@at+duration, as in kill:leader@10s+5s (repeatable; see paxbench help faults)")
	sloFlag(fs, c)
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "each run gets a fresh directory in here")
	fs.BoolVar(&c.KeepData, "keep-data", false, "leave the data there after the run (a run that failed always does)")
	fs.BoolVar(&c.AllowMemory, "allow-tmpfs", false, "allow fsync on a file system in memory, where it promises nothing")
	fs.BoolVar(&c.NoProbe, "no-probe", false, "leave out the probes of the machine's limits")
	fs.StringVar(&c.ProfileDir, "profile", "", "write processor profiles of nodes and generator into this directory")
}

func historyFlag(fs *pflag.FlagSet, c *bench.Config) {
	fs.StringVar(&c.History, "history", "", "keep the record of the operations in this file, for paxbench verify (a run that violates safety always keeps it)")
}

// settle brings settings in line that follow from one another.
func settle(fs *pflag.FlagSet, c *bench.Config) {
	c.Load.SM, _ = load.ParseSM(c.Engine.StateMachine) // the flag's choices are those of ParseSM
	if c.Load.Ops > 0 && !fs.Changed("duration") {
		c.Load.Duration = 0 // a default must not cut short what was asked for
	}
}

func generatorsFlag(fs *pflag.FlagSet, c *bench.Config) {
	fs.IntVar(&c.Generators, "generators", 1, "processes that make the load, each with a part of the clients; their measurements are merged without loss")
}

func sloFlag(fs *pflag.FlagSet, c *bench.Config) {
	fs.Var(&repeated[result.SLO]{kind: "slo", value: &c.SLOs, parse: result.ParseSLO}, "slo", "objective, as in 'p99<5ms' or 'ops_per_s>100000' (repeatable); exit 3 if missed")
}

func outputFlags(fs *pflag.FlagSet, o *outputConfig) {
	o.format = "text"
	fs.StringVarP(&o.file, "output", "o", "", "write all that was recorded to this file, as JSON")
	fs.Var(&choice{value: &o.format, choices: formats}, "format", "of the report: text, json, markdown, or go (for benchstat)")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "no progress")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "more progress")
	fs.BoolVar(&o.noColor, "no-color", false, "no colours; NO_COLOR and TERM=dumb are honoured too")
}

// measure runs the benchmark and writes its result.
func (a *app) measure(c *runConfig) error {
	if err := c.output.check(); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return &codeError{exitUsage, err}
	}
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	p := a.newProgress(&c.output, &c.Config)
	c.Stop, c.Log, c.Debug, c.Progress = stop, p.log, p.debug, p.interval
	out, err := bench.Run(ctx, c.Config)
	p.end()
	if err != nil {
		return runError(err)
	}
	met := out.Check(c.SLOs)
	if err := a.report(out, &c.output); err != nil {
		return err
	}
	return verdictCode(out, met, isClosed(stop))
}

// runError gives the errors of a run their exit codes.
func runError(err error) error {
	var memory *bench.MemoryDiskError
	switch {
	case errors.As(err, &memory):
		return &codeError{exitUsage, err}
	case errors.Is(err, bench.ErrInterrupted):
		return &codeError{exitInterrupted, fmt.Errorf("interrupted")}
	}
	return err
}

// verdictCode is the exit code of a run that has a result. The report has said why.
func verdictCode(r *result.Result, met, interrupted bool) error {
	switch {
	case r.Violates():
		return &codeError{code: exitViolated}
	case interrupted:
		return &codeError{code: exitInterrupted}
	case r.Validity.Verdict == result.Invalid:
		return &codeError{code: exitInvalid}
	case !met:
		return &codeError{code: exitSLO}
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
