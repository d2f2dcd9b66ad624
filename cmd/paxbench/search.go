package main

import (
	"math/rand/v2"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/search"
	"github.com/spf13/cobra"
)

// Runs of a search are short and many.
const (
	searchDuration = 4 * time.Second
	searchWarmup   = time.Second
)

func newSearch(a *app) *cobra.Command {
	c := &scenarioConfig{}
	c.Config = bench.DefaultConfig()
	c.Load.Duration, c.Load.Warmup = searchDuration, searchWarmup
	p := search.Plan{From: 1000, Repeats: 3, Precision: 0.05}
	cmd := &cobra.Command{
		Use:   "search --slo OBJECTIVE",
		Short: "The highest rate that meets an SLO, and the latency-throughput curve",
		Long: `search drives open loops: it doubles the rate until the objectives are missed, then halves the distance between the
highest rate that met them and the lowest that did not. At a rate the majority of --repeats runs decides. An invalid run
counts as not met; if what was sent was served in time but was sent late, the generator is the limit, and search says so.

The latencies of all rates on the way are the latency-throughput curve. Exit codes: 0 found, 3 no rate meets the
objectives, 5 safety violated, 6 the generator is the limit.`,
		Example: `  paxbench search --slo 'p99<5ms'
  paxbench search --nodes 5 --slo 'p99<10ms' --slo 'p999<50ms' --from 10000 --precision 2%
  paxbench search --slo 'p99<5ms' --value-size 1KiB --format json -o curve.json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.Float64Var(&p.From, "from", p.From, "operations per second to begin with")
	fs.Float64Var(&p.To, "to", 0, "operations per second not to go beyond; 0: none")
	fs.IntVar(&p.Repeats, "repeats", p.Repeats, "runs at a rate, of which the majority decides (an odd number)")
	fs.Var(&parsed[float64]{text: "5%", kind: "share", value: &p.Precision, parse: parseShare}, "precision", "how near the rate that meets and the one that misses must come")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "write the search to this file, as JSON")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		if fs.Changed("rate") {
			return usagef("search: it is the rate that is searched; use --from and --to")
		}
		if c.Load.Seed == 0 {
			c.Load.Seed = rand.Uint64() >> 1
		}
		p.Seed, p.SLOs = c.Load.Seed, c.SLOs
		return a.search(c, p)
	})
	return cmd
}

func (a *app) search(c *scenarioConfig, p search.Plan) error {
	if err := c.output.check(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return &codeError{exitUsage, err}
	}
	first := c.Config
	first.Load.Rate = p.From
	if err := first.Validate(); err != nil {
		return &codeError{exitUsage, err}
	}
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	progress := a.newProgress(&c.output, &c.Config)
	c.Name, c.Stop, c.Debug = "run", stop, progress.debug
	if c.output.verbose {
		c.Log, c.Progress = progress.log, progress.interval
	}
	r, err := search.Run(ctx, bench.Run, c.Config, p, progress.log)
	progress.end()
	if err != nil {
		return runError(err)
	}
	if err := a.present(r, &c.output); err != nil {
		return err
	}
	switch {
	case r.Verdict == search.Violated:
		return &codeError{code: exitViolated}
	case r.Partial:
		return &codeError{code: exitInterrupted}
	case r.Verdict == search.Generator:
		return &codeError{code: exitInvalid}
	case r.Verdict == search.None:
		return &codeError{code: exitSLO}
	}
	return nil
}
