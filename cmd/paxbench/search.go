package main

import (
	"context"
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
		p.Seed, p.SLOs = c.seed(), c.SLOs
		return a.search(c, p)
	})
	return cmd
}

func (a *app) search(c *scenarioConfig, p search.Plan) error {
	first := c.Config
	first.Load.Rate = p.From
	c.Name = "run"
	var r *search.Report
	_, err := a.perform(c, &first, p.Check(), true, func(ctx context.Context, show *progress) (_ renderer, err error) {
		r, err = search.Run(ctx, bench.Run, c.Config, p, show.log)
		return r, err
	})
	if err != nil {
		return err
	}
	return codeOf(map[string]int{search.Violated: exitViolated, search.Generator: exitInvalid, search.None: exitSLO}[r.Verdict], r.Partial)
}
