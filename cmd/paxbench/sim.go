package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/paxbench/paxbench/engine/sim"
	"github.com/spf13/cobra"
)

// simConfig is what the flags of sim say.
type simConfig struct {
	seeds   uint64
	seed    uint64
	nodes   int
	workers int
	most    int // violations
	trace   bool
	beyond  bool
	one     bool // --seed was given and --seeds was not

	explore     string // scope
	exploreOnly string // properties
	exploreMiB  int
	exploreEnds int
}

func newSim(a *app) *cobra.Command {
	var c simConfig
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate clusters with crashes, losses and partitions, and check that nothing is lost",
		Long: `sim plays whole clusters on a virtual clock, network and disk, one schedule for each seed: the engine's own code, step by
step, with faults at random. After every event it checks that nothing acknowledged is lost, done twice or contradicted, and
at the end of each schedule that a quorum that is left alone gets things done.

With --beyond each schedule ends with more losses than the protocol promises to survive: all logs torn, a quorum's logs damaged,
emptied or exchanged, the same slot damaged on every node. Then nothing may be chosen any more, nothing that was chosen may be
contradicted, and every node that has lost something must say so: refuse, naming file and offset or the way out, or be suspect.

Exit code 5: a property was violated; what is printed names it, with the events before it and the command that plays the
schedule again.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.one = cmd.Flags().Changed("seed") && !cmd.Flags().Changed("seeds")
			if c.nodes < 0 || c.nodes > 9 {
				return usagef("sim: --nodes %d: it takes 1 to 9, or 0 for a mixture", c.nodes)
			}
			if c.beyond && (c.explore != "" || c.nodes == 1 || c.nodes == 2) {
				return usagef("sim: --beyond takes three nodes at least, and goes without --explore")
			}
			if c.workers < 1 {
				return usagef("sim: --workers %d: it takes 1 or more", c.workers)
			}
			if c.most < 1 {
				return usagef("sim: --findings %d: it takes 1 or more", c.most)
			}
			a.begin()
			if c.explore != "" {
				return a.explore(&c)
			}
			if c.one {
				return a.simOne(&c)
			}
			return a.simMany(&c)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&c.seeds, "seeds", 1000, "how many schedules")
	f.Uint64Var(&c.seed, "seed", 1, "seed of the first schedule; without --seeds only this one is played")
	f.IntVar(&c.nodes, "nodes", 0, "nodes of each cluster; 0: drawn from the seed")
	f.IntVar(&c.workers, "workers", runtime.GOMAXPROCS(0), "schedules played at a time")
	f.IntVar(&c.most, "findings", 1, "end after so many violated schedules")
	f.StringVar(&c.explore, "explore", "", "instead of schedules from seeds, visit every state of the core in this scope; \"list\" lists the scopes")
	f.StringVar(&c.exploreOnly, "explore-only", "", "with --explore: check these properties only, as in S1,S7")
	f.IntVar(&c.exploreMiB, "explore-memory", 4096, "with --explore: MiB for the states of the cluster; beyond, it ends without having visited all")
	f.IntVar(&c.exploreEnds, "explore-ends", 0, "with --explore: try so many of the states without a next step for progress; 0: all, -1: none")
	f.BoolVar(&c.beyond, "beyond", false, "end each schedule with losses that cannot be survived, which must halt the cluster and nothing else")
	f.BoolVar(&c.trace, "trace", false, "print every event (with --seed alone)")
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// simOne plays one schedule.
func (a *app) simOne(c *simConfig) error {
	o := sim.Options{Seed: c.seed, Nodes: c.nodes, Beyond: c.beyond}
	if c.trace {
		o.Trace = func(line string) { fmt.Fprintln(a.out, line) }
	}
	r := sim.Run(o)
	fmt.Fprintf(a.out, "seed %d: %v\n%d events, %v simulated, trace %016x\n%v\n", r.Seed, r.Knobs, r.Events, r.SimTime.Round(time.Millisecond), r.Hash, r.Counts)
	return a.simVerdict(c, r.Violation, !c.trace)
}

// simSlow is how long a schedule may take before it is spoken of: one that never ends would otherwise look like a slow machine.
const simSlow = time.Minute

// simMany plays a batch. ^C ends it after the schedules under way.
func (a *app) simMany(c *simConfig) error {
	_, stop, release := a.signals()
	defer release()
	// Schedules make much garbage and keep little: a heap of some hundred megabytes is swept less often.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	b := sim.Batch{First: c.seed, Seeds: c.seeds, Nodes: c.nodes, Beyond: c.beyond, Workers: c.workers, Most: c.most, Stop: stop}
	told := map[uint64]bool{}
	b.Progress = func(s *sim.Summary) {
		for _, v := range s.Found {
			if !told[v.Seed] {
				told[v.Seed] = true
				fmt.Fprintf(a.err, "VIOLATED %v\nagain: %s\n", v, c.again(v))
			}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(a.err, "%d of %d schedules, %.0f/s, %v simulated, %d violations, heap %d MiB\n",
			s.Schedules, c.seeds, s.Rate(), s.SimTime.Round(time.Second), len(s.Found), m.HeapAlloc>>20)
		if s.Since > simSlow {
			fmt.Fprintf(a.err, "seed %d has been played for %v\n", s.Slowest, s.Since.Round(time.Second))
		}
	}
	s := b.Run()
	fmt.Fprintf(a.out, "%d schedules, %d events, %v simulated in %v: %.0f schedules/s on %d workers\n%v\n",
		s.Schedules, s.Events, s.SimTime.Round(time.Second), s.Elapsed.Round(10*time.Millisecond), s.Rate(), c.workers, s.Counts)
	if len(s.Found) > 1 {
		for _, v := range s.Found[1:] {
			fmt.Fprintf(a.out, "VIOLATED %v\nagain: %s\n", v, c.again(v))
		}
	}
	if err := a.simVerdict(c, s.Violation, true); err != nil {
		return err
	}
	if s.Schedules < c.seeds && len(s.Missing) == 0 {
		fmt.Fprintf(a.out, "go on: paxbench sim --seed %d --seeds %d\n", s.Next, c.seed+c.seeds-s.Next)
	}
	if len(s.Missing) > 0 && s.Schedules >= 1000 {
		return &codeError{exitInvalid, fmt.Errorf("the harness is broken: in %d schedules there was not one of %q", s.Schedules, s.Missing)}
	}
	if s.Schedules < c.seeds {
		return &codeError{exitInterrupted, nil}
	}
	return nil
}

// simVerdict prints a violation and how to play it again.
func (a *app) simVerdict(c *simConfig, v *sim.Violation, trace bool) error {
	if v == nil {
		fmt.Fprintln(a.out, "0 violations")
		return nil
	}
	if trace {
		for _, line := range v.Trace {
			fmt.Fprintln(a.out, line)
		}
	}
	fmt.Fprintf(a.out, "VIOLATED %v\nagain: %s\n", v, c.again(v))
	return &codeError{exitViolated, nil}
}

// again is the command that plays a violated schedule once more.
func (c *simConfig) again(v *sim.Violation) string {
	s := fmt.Sprintf("paxbench sim --seed %d --trace", v.Seed)
	if c.beyond {
		s += " --beyond"
	}
	if c.nodes != 0 {
		s += fmt.Sprintf(" --nodes %d", c.nodes)
	}
	return s
}
