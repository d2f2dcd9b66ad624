package main

import (
	"context"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/scenario"
	"github.com/spf13/cobra"
)

func newScenario(a *app) *cobra.Command {
	c := &scenarioConfig{}
	c.Config = bench.DefaultConfig()
	c.Name = "scenario"
	p := scenario.Plan{}
	var long strings.Builder
	long.WriteString("scenario shows what Paxos is known for, on real processes, in both ways of Multi-Paxos: independent instances (--mode basic) and prepare\nonly once (--mode multi). Without --mode both are run.\n")
	for _, name := range scenario.Names {
		long.WriteString("\n  " + name + "\n    " + scenario.Words[name] + ".\n")
	}
	long.WriteString("\nFaults and load are the scenario's; flags that are given go before them. All acknowledged writes are read back in every run.\n\n" +
		"Exit codes: 0 shown, 5 safety violated, 6 not shown.")
	cmd := &cobra.Command{
		Use:   "scenario split-brain|holes|duel",
		Short: "Split brain, holes and duels of proposers, shown and counted on real processes",
		Long:  long.String(),
		Example: `  paxbench scenario duel
  paxbench scenario split-brain --nodes 5
  paxbench scenario holes --mode multi --rounds 8 --format json -o holes.json`,
		Args:      oneScenario,
		ValidArgs: scenario.Names,
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.IntVar(&p.Rounds, "rounds", 0, "losses or cuts, one after the other; 0: as many as the scenario needs")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "write all that was recorded to this file, as JSON")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		p.Name = fs.Arg(0)
		p.Modes = []string{"multi", "basic"}
		if fs.Changed("mode") {
			p.Modes = []string{c.Engine.Mode}
		}
		if p.Rounds == 0 {
			p.Rounds = scenario.RoundsDefault(p.Name)
		}
		if fs.Changed("fault") || fs.Changed("duration") && p.Name != scenario.Duel {
			return usagef("scenario %s: faults, and with them the time, are the scenario's; use --rounds", p.Name)
		}
		return a.scenario(c, p)
	})
	return cmd
}

func oneScenario(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("scenario needs one name: %s", strings.Join(scenario.Names, ", "))
	}
	p := scenario.Plan{Name: args[0], Rounds: 1}
	if err := p.Check(3); err != nil {
		return usagef("%v%s", err, didYouMean(args[0], scenario.Names))
	}
	return nil
}

func (a *app) scenario(c *scenarioConfig, p scenario.Plan) error {
	var r *scenario.Report
	stopped, err := a.perform(c, &c.Config, p.Check(c.Nodes), false, func(ctx context.Context, show *progress) (_ renderer, err error) {
		r, err = scenario.Run(ctx, bench.Run, c.Config, p, c.fs.Changed, show.log)
		return r, err
	})
	if err != nil {
		return err
	}
	code := exitInvalid
	switch r.Verdict {
	case scenario.Violated:
		code = exitViolated
	case scenario.Shown:
		code = exitOK
	}
	return codeOf(code, stopped)
}
