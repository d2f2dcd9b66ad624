package main

import (
	"context"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/metastable"
	"github.com/spf13/cobra"
)

// More than a cluster can take must be able to reach it: with fewer operations outstanding, the overload would wait in
// the generator, where it does no harm.
const (
	overloadClients  = 8
	overloadInflight = 1 << 14

	// overloadBytes bounds what a client has outstanding: large values would otherwise need more memory than an overload.
	overloadBytes = 32 << 20
)

func newMetastability(a *app) *cobra.Command {
	c := &scenarioConfig{}
	c.Config = bench.DefaultConfig()
	c.Name, c.Load.Clients, c.Load.Inflight, c.Load.Warmup = "metastability", overloadClients, overloadInflight, 2*time.Second
	p := metastable.DefaultPlan()
	cmd := &cobra.Command{
		Use:   "metastability",
		Short: "Twice the load that the cluster can take, for a while: does it recover, and when?",
		Long: `metastability measures the cluster's peak in closed loops, unless --peak gives it, and then drives one open loop in three
phases: at --usual times the peak, at --overload times the peak, and at --usual times again. A cluster that goes on being
slow though the overload is over, because of what it left behind (queues of work that nobody waits for any more,
retries), is in a metastable failure.

It has recovered when, over a second, the p99 is back below twice the usual and 95% of what is due is acknowledged, and when the last third
of the time is like that, too. Operations that wait longer than --patience to be sent are given up, as users would: with
--patience 0 they wait, and what has piled up must be worked off.

Exit codes: 0 recovered, 3 not recovered, 5 safety violated, 6 the usual load was too much already.`,
		Example: `  paxbench metastability
  paxbench metastability --overload 3 --for 20s --after 60s
  paxbench metastability --peak 200000 --value-size 1KiB --format json -o metastability.json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.Float64Var(&p.Peak, "peak", p.Peak, "operations per second that the cluster can do; 0: measure it")
	fs.Float64Var(&p.Usual, "usual", p.Usual, "load before and after, as a share of the peak")
	fs.Float64Var(&p.Overload, "overload", p.Overload, "load in between, as a multiple of the peak")
	fs.DurationVar(&p.Before, "before", p.Before, "how long the usual load is measured first")
	fs.DurationVar(&p.For, "for", p.For, "how long the overload lasts")
	fs.DurationVar(&p.After, "after", p.After, "how long the usual load is measured after it")
	fs.DurationVar(&p.Patience, "patience", p.Patience, "how long an operation waits to be sent until it is given up; 0: for ever")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "write all that was recorded to this file, as JSON")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		if !fs.Changed("inflight") {
			c.Load.Inflight = min(overloadInflight, max(overloadBytes/c.Load.Values.Sizes.Max(), 64))
		}
		for _, name := range []string{"rate", "duration", "ops", "fault"} {
			if fs.Changed(name) {
				return usagef("metastability: --%s follows from the phases; use --peak, --before, --for and --after", name)
			}
		}
		c.seed()
		return a.metastability(c, p)
	})
	return cmd
}

func (a *app) metastability(c *scenarioConfig, p metastable.Plan) error {
	planned := c.Config
	planned.Load.Duration = p.Before + p.For + p.After
	var r *metastable.Report
	met := false
	stopped, err := a.perform(c, &planned, p.Check(), false, func(ctx context.Context, show *progress) (_ renderer, err error) {
		if r, err = metastable.Run(ctx, bench.Run, c.Config, p, show.log); err == nil {
			met = r.Run.Check(c.SLOs)
		}
		return r, err
	})
	if err != nil {
		return err
	}
	code := map[string]int{metastable.Violated: exitViolated, metastable.Invalid: exitInvalid, metastable.NotRecovered: exitSLO}[r.Verdict]
	if code == exitOK && !met {
		code = exitSLO
	}
	return codeOf(code, stopped)
}
