package main

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/sweep"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sweepConfig are the flags of sweep.
type sweepConfig struct {
	scenarioConfig
	axes    []sweep.Axis
	repeats int
	dir     string
	again   bool
}

func newSweep(a *app) *cobra.Command {
	c := &sweepConfig{repeats: 1, dir: "results"}
	c.Config = bench.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "sweep --vary SETTING=V1,V2 ...",
		Short: "All combinations of some settings, each recorded in a file of its own, and a table",
		Long: `sweep runs all combinations of the settings that --vary names, and records each as JSON. --vary takes any flag of run;
values that hold commas are parted by semicolons, as in 'value-size=16;list:16,64'.

A sweep that was stopped goes on where it was: what is recorded with the same settings is not measured again, unless
--again is given. One combination that fails does not end the others.`,
		Example: `  paxbench sweep --vary nodes=1,3,5 --vary batch-bytes=64KiB,1MiB
  paxbench sweep --vary fsync=always,never --repeats 5 --duration 5s -o results/fsync
  paxbench sweep --rate 1000 --vary value-size=16,1KiB,16KiB --format markdown`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.Var(&repeated[sweep.Axis]{kind: "setting=values", value: &c.axes, parse: sweep.ParseAxis}, "vary", "a setting and the values it takes (repeatable)")
	fs.IntVar(&c.repeats, "repeats", c.repeats, "runs of each combination")
	fs.StringVarP(&c.dir, "output", "o", c.dir, "directory of the recorded runs")
	fs.BoolVar(&c.again, "again", false, "measure also what is recorded")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		return a.sweep(c)
	})
	return cmd
}

// notVaried are flags of which nothing about the measurement depends: the same point with others is the same point.
var notVaried = []string{"seed", "data-dir", "keep-data", "allow-tmpfs", "no-probe", "profile"}

// points are the combinations with their settings, all of them valid.
func (c *sweepConfig) points() ([]sweep.Point, error) {
	if len(c.axes) == 0 {
		return nil, usagef("sweep needs --vary SETTING=V1,V2,..., as in --vary nodes=1,3,5")
	}
	if c.repeats < 1 {
		return nil, usagef("--repeats %d: it takes 1 or more", c.repeats)
	}
	points, err := sweep.Combine(c.axes, c.repeats)
	if err != nil {
		return nil, usagef("--vary: %v", err)
	}
	known, _, _ := parseSettings(nil)
	for _, axis := range c.axes {
		if known.Lookup(axis.Name) == nil || slices.Contains(notVaried, axis.Name) && axis.Name != "seed" {
			return nil, usagef("--vary %s: it is no setting of a run%s", axis.Name, didYouMean(axis.Name, settingNames(known)))
		}
	}
	if c.Load.Seed == 0 {
		c.Load.Seed = rand.Uint64() >> 1
	}
	for i := range points {
		p := &points[i]
		args := append(settingArgs(c.fs, "seed"), "--seed="+strconv.FormatUint(c.Load.Seed+uint64(p.Repeat-1), 10))
		for _, s := range p.Settings {
			_, list := known.Lookup(s.Name).Value.(pflag.SliceValue)
			if !list || s.Value != "" { // a list may be without values: no fault, say
				args = append(args, "--"+s.Name+"="+s.Value)
			}
		}
		fs, config, err := parseSettings(args)
		if err != nil {
			return nil, usagef("--vary, at %s: %v", p, err)
		}
		p.Config = *config
		p.Config.Name = "run"
		p.All = allSettings(fs, p)
	}
	return points, nil
}

// allSettings are what makes a point: also defaults, which another version may have changed.
func allSettings(fs *pflag.FlagSet, p *sweep.Point) (all []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		varied := slices.ContainsFunc(p.Settings, func(s sweep.Setting) bool { return s.Name == f.Name })
		if varied || !slices.Contains(notVaried, f.Name) {
			all = append(all, f.Name+"="+strings.TrimSpace(f.Value.String()))
		}
	})
	slices.Sort(all)
	return all
}

func (a *app) sweep(c *sweepConfig) error {
	points, err := c.points()
	if err != nil {
		return err
	}
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	p := a.newProgress(&c.output, &c.Config)
	for i := range points {
		config := &points[i].Config
		config.Stop, config.Debug = stop, p.debug
		if c.output.verbose {
			config.Log, config.Progress = p.log, p.interval
		}
		if i > 0 {
			config.NoProbe = true // the machine is the same
		}
	}
	r, err := sweep.Run(ctx, sweep.Config{Points: points, Dir: c.dir, Again: c.again, Run: bench.Run, Stop: stop, Log: p.log})
	p.end()
	if err != nil {
		return runError(err)
	}
	if err := a.present(r, &c.output); err != nil {
		return err
	}
	return sweepCode(r)
}

// sweepCode is the gravest of all rows.
func sweepCode(r *sweep.Report) error {
	code := exitOK
	rank := []int{exitOK, exitSLO, exitInvalid, exitRuntime, exitInterrupted, exitViolated}
	graver := func(to int) {
		if slices.Index(rank, to) > slices.Index(rank, code) {
			code = to
		}
	}
	if r.Partial {
		graver(exitInterrupted)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		switch {
		case row.Violated():
			graver(exitViolated)
		case row.Error != "":
			graver(exitRuntime)
		case row.Validity == result.Invalid:
			graver(exitInvalid)
		case row.SLOsMet != nil && !*row.SLOsMet:
			graver(exitSLO)
		}
	}
	return codeOf(code, false)
}
