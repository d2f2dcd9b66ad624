package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/failover"
	"github.com/spf13/cobra"
)

const (
	failoverRate   = 1000
	failoverWarmup = 2 * time.Second
)

func newFailover(a *app) *cobra.Command {
	c := &scenarioConfig{}
	c.Config = bench.DefaultConfig()
	c.Name, c.Load.Rate, c.Load.Warmup = "failover", failoverRate, failoverWarmup
	p := failover.Plan{Fault: "kill:leader", Kills: failover.LossesMin, Down: 2 * time.Second, Gap: 2 * time.Second}
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Many leader losses in one cluster: the distribution of unavailability, for the cut and for the heal",
		Long: `failover drives an open loop while the leader is lost again and again, each time healed before the next loss, and reports
how long nothing was acknowledged: as a distribution, for the cut and for the heal, with the bootstrap interval of the
median. All acknowledged writes are read back at the end.

The seed decides when losses strike, besides keys and values. 20 losses take about two minutes. --fault may be any that
'paxbench help faults' explains, without a time.`,
		Example: `  paxbench failover
  paxbench failover --nodes 5 --kills 30 --fault pause:leader --down 3s
  paxbench failover --fault partition:leader:clients=yes
  paxbench failover --slo 'unavailable<1s' --format json -o failover.json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.IntVar(&p.Kills, "kills", p.Kills, "losses")
	fs.DurationVar(&p.Down, "down", p.Down, "from a loss to its heal")
	fs.DurationVar(&p.Gap, "gap", p.Gap, "from a heal to the next loss, and up to a quarter more")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "write all that was recorded to this file, as JSON")
	f := fs.Lookup("fault")
	f.Value, f.DefValue = &parsed[string]{text: p.Fault, kind: "kind[:target][:name=value,...]", value: &p.Fault, parse: parseLoss}, p.Fault
	f.Usage = "what is done each time, as in kill:leader, partition:leader or stall-fsync:leader (see paxbench help faults)"
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		switch {
		case fs.Changed("duration"), fs.Changed("ops"):
			return usagef("failover: the losses decide how long it takes; use --kills, --down and --gap")
		case c.Load.Rate == 0:
			return usagef("failover: --rate must be above 0: a closed loop stops asking while the cluster is away")
		}
		p.Seed = c.seed()
		return a.failover(c, p)
	})
	return cmd
}

func parseLoss(text string) (string, error) {
	if strings.Contains(text, "@") {
		return "", fmt.Errorf("want a fault without a time, as in kill:leader: --down and --gap say when")
	}
	f, err := cluster.ParseFault(text + "@1s+1s")
	return f.What(), err
}

func (a *app) failover(c *scenarioConfig, p failover.Plan) error {
	planned := c.Config
	var mistake error
	planned.Faults, planned.Load.Duration, mistake = p.Schedule()
	var r *failover.Report
	met := false
	stopped, err := a.perform(c, &planned, mistake, false, func(ctx context.Context, show *progress) (_ renderer, err error) {
		show.log("%d losses in %s, seed %d", p.Kills, planned.Load.Duration, p.Seed)
		if r, err = failover.Run(ctx, bench.Run, c.Config, p); err == nil {
			met = r.Run.Check(c.SLOs)
		}
		return r, err
	})
	if err != nil {
		return err
	}
	return verdictCode(r.Run, met, stopped)
}
