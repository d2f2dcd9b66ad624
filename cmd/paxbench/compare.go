package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/compare"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/spf13/cobra"
)

// compareConfig are the flags of compare.
type compareConfig struct {
	scenarioConfig
	flags    [2]string // of each side
	binaries [2]string
	names    [2]string // what they are called; "": programs and flags
	rounds   int
	most     int
	limit    time.Duration
	detect   float64
	slices   int
	slice    time.Duration
	lockstep int
	force    bool
	options  compare.Options
}

// Runs of a comparison are short and many: what differs from one to the next is what intervals are made of.
const (
	compareDuration = 4 * time.Second
	compareWarmup   = time.Second
	compareRounds   = 8
	compareMost     = 24
	compareLimit    = 100 * time.Second
	compareSlices   = 12
	compareSlice    = 250 * time.Millisecond
	lockstepRuns    = 3
	lockstepOps     = 1000
)

func newCompare(a *app) *cobra.Command {
	c := &compareConfig{options: compare.DefaultOptions(), detect: 0.07}
	c.Config = bench.DefaultConfig()
	c.Load.Duration, c.Load.Warmup = compareDuration, compareWarmup
	cmd := &cobra.Command{
		Use:   "compare [flags] [FILE_A FILE_B]",
		Short: "Two settings or builds interleaved on this machine, or two recorded sets: a verdict and an exit code",
		Long: `compare measures two sides in turns, on one machine. Or it compares two recorded results, or folders of them (*.json of
one configuration).

A pair is two clusters that are up at the same time, of which one is driven and the other rests: A B, B A, A B ..., a slice
of --slice each, --slices a side, with the same seed. So whatever else the machine does hits neighbouring slices alike,
and their ratios say what the sides differ by. The median of the ratios is the pair's. With --slices 0, or with --fault,
a pair is two whole runs, one after the other, and a first pair of them is thrown away.

After --rounds pairs more are made, up to --rounds-max and for --limit at most, until a time that gates can show a change
of --detect. By default that takes about two minutes.

Counts come first: fsyncs, messages, log and network bytes, allocations per command, and commands per batch, in lockstep
runs with one command in flight, where next to nothing depends on timing. A count is exact if all runs of a side lie
within its tolerance (log bytes 1%, occupancy 2%, messages and network bytes 3%, fsyncs and allocations 10%); it is worse if the
best run of B is worse than the worst of A by more than the tolerance. Counts under load gate too where they are exact.

Times are compared by the ratios B/A of the pairs: the Hodges-Lehmann estimate and the interval of Wilcoxon's signed-rank
test, at a confidence at which all gates together hold at 95%, if there are pairs enough. Worse is only what lies wholly
beyond the threshold. Recorded sets have no pairs; there it is the interval of the Mann-Whitney test. 'detects' is the
minimum detectable effect. Fewer than 6 usable runs a side are inconclusive.

Flags that are not --a or --b hold for both sides. Exit codes: 0 no regression shown, 4 regression, 5 safety violated,
6 inconclusive.`,
		Example: `  paxbench compare --a '--window 8' --b '--window 32' --rounds 10
  paxbench compare --binary-a ./paxbench.base --binary-b ./paxbench --threshold 5% --format markdown
  paxbench compare --rate 2000 --gate p50,p99 --a '--fsync always' --b '--fsync interval=10ms'
  paxbench compare results/base results/head`,
		Args: cobra.MaximumNArgs(2),
	}
	fs := cmd.Flags()
	c.fs = fs
	fs.StringVar(&c.flags[0], "a", "", "flags of run for side A, in quotes")
	fs.StringVar(&c.flags[1], "b", "", "flags of run for side B, in quotes")
	fs.StringVar(&c.binaries[0], "binary-a", "", "program of side A (default this one)")
	fs.StringVar(&c.binaries[1], "binary-b", "", "program of side B (default this one)")
	fs.StringVar(&c.names[0], "name-a", "", "what side A is called in the report (default its program and flags)")
	fs.StringVar(&c.names[1], "name-b", "", "what side B is called in the report")
	fs.IntVar(&c.rounds, "rounds", compareRounds, "pairs to measure, at least; 6 are needed for a verdict")
	fs.IntVar(&c.most, "rounds-max", compareMost, "pairs to measure, at most, until --detect is reached")
	fs.DurationVar(&c.limit, "limit", compareLimit, "how long pairs are added to --rounds until --detect is reached; 0s: without end")
	fs.Var(&parsed[float64]{text: "7%", kind: "share", value: &c.detect, parse: parseShare}, "detect", "change for the worse that is to be detected, four times in five")
	fs.IntVar(&c.slices, "slices", compareSlices, "slices a side and pair; 0: a pair is two whole runs")
	fs.DurationVar(&c.slice, "slice", compareSlice, "length of a slice")
	fs.IntVar(&c.lockstep, "lockstep", lockstepRuns, "lockstep runs a side, for the exact counts; 0: none")
	fs.Var(&parsed[float64]{text: "3%", kind: "share", value: &c.options.Threshold, parse: parseShare}, "threshold", "change that matters")
	fs.Var(&parsed[[]string]{kind: "names", value: &c.options.Gates, parse: parseGates}, "gate",
		"times that can fail it: "+strings.Join(compare.TimeNames(), ",")+" (default throughput,p99,cpu; with --rate p50,p99,cpu)")
	fs.BoolVar(&c.force, "force", false, "compare recorded sets of unlike machines")
	settingFlags(fs, &c.Config)
	scenarioOutput(fs, &c.output, "write the comparison to this file, as JSON")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		if err := c.output.check(); err != nil {
			return err
		}
		if fs.NArg() > 0 {
			return a.compareRecorded(c, fs.Args())
		}
		return a.compareRuns(c)
	})
	return cmd
}

// parseShare reads 3% or 0.03.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || math.IsNaN(v) || v < 0 || v >= 1 {
		return 0, fmt.Errorf("it takes a share below 100%%, as in 3%%")
	}
	return v, nil
}

func parseGates(text string) ([]string, error) {
	gates := strings.Split(text, ",")
	for _, g := range gates {
		known := false
		for _, name := range compare.TimeNames() {
			known = known || g == name
		}
		if !known {
			return nil, fmt.Errorf("there is no time %q; there are %s%s", g, strings.Join(compare.TimeNames(), ", "), didYouMean(g, compare.TimeNames()))
		}
	}
	return gates, nil
}

func (a *app) compareRecorded(c *compareConfig, paths []string) error {
	if len(paths) != 2 {
		return usagef("compare takes two recorded files or folders; %d is given", len(paths))
	}
	for _, name := range []string{"a", "b", "binary-a", "binary-b", "rounds"} {
		if c.fs.Changed(name) {
			return usagef("compare: --%s is for runs; recorded sets are given", name)
		}
	}
	var sets [2][]*result.Result
	for i, path := range paths {
		var err error
		if sets[i], err = compare.Read(path); err != nil {
			return usagef("%v", err)
		}
	}
	a.begin()
	r, err := compare.Recorded(sets[0], sets[1], c.force, c.options)
	var unlike *compare.HostError
	if errors.As(err, &unlike) {
		return &codeError{exitUsage, err}
	}
	if err != nil {
		return err
	}
	r.LabelA, r.LabelB = paths[0], paths[1]
	return a.compared(r, c)
}

// side is how one side is run.
type side struct {
	binary         string
	args, lockstep []string
	sliced         []string // nil: its settings need whole runs
	label          string
}

func (a *app) compareRuns(c *compareConfig) error {
	if c.flags[0] == c.flags[1] && c.binaries[0] == c.binaries[1] && !(c.fs.Changed("a") && c.fs.Changed("b")) {
		return usagef("compare needs two sides: --a 'FLAGS' --b 'FLAGS', --binary-a F --binary-b F, or two recorded files or folders")
	}
	if c.rounds < 1 || c.lockstep < 0 {
		return usagef("--rounds %d --lockstep %d: it takes at least one pair", c.rounds, c.lockstep)
	}
	if c.fs.Changed("rounds") && !c.fs.Changed("rounds-max") {
		c.most = c.rounds // so many were asked for
	}
	if err := checkSlices(c.slices, c.slice); err != nil {
		return usagef("%v", err)
	}
	var sides [2]side
	for i := range sides {
		var err error
		if sides[i], err = c.side(i); err != nil {
			return err
		}
	}
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	p := a.newProgress(&c.output, &c.Config)
	env := plainEnv(a.environ)
	plan := compare.Config{
		Options: c.options, Rounds: c.rounds, RoundsMax: c.most, Detect: c.detect, Limit: c.limit, Lockstep: c.lockstep, Seed: c.seed(), Stop: stop, Log: p.log,
		Labels: [2]string{sides[0].label, sides[1].label},
		Run: func(ctx context.Context, stop <-chan struct{}, o compare.Order) (*result.Result, error) {
			s := &sides[o.Side]
			args := s.args
			if o.Lockstep {
				args = s.lockstep
			}
			args = append(append([]string{}, args...), "--seed="+strconv.FormatUint(o.Seed, 10))
			if !o.First {
				args = append(args, "--no-probe")
			}
			p.debug("%s run %s", s.binary, strings.Join(args, " "))
			return compare.Spawn(ctx, stop, s.binary, args, env)
		},
	}
	if c.slices > 0 && sides[0].sliceable(env, p.log) && sides[1].sliceable(env, p.log) {
		plan.Slices = c.slices
		plan.Live = func(_ context.Context, i int, seed uint64) (compare.Session, error) {
			args := append(slices.Clone(sides[i].sliced), "--seed="+strconv.FormatUint(seed, 10))
			p.debug("%s slices %s", sides[i].binary, strings.Join(args, " "))
			return compare.Open(sides[i].binary, args, env)
		}
	}
	r, err := compare.Run(ctx, plan)
	p.end()
	if err != nil {
		return runError(err)
	}
	return a.compared(r, c)
}

// sliceable says whether a side can be driven in slices. A program from before there were any cannot.
func (s *side) sliceable(env []string, log func(string, ...any)) bool {
	if s.sliced == nil {
		return false
	}
	ask := exec.Command(s.binary, "slices", "--help")
	ask.Env = env
	if err := ask.Run(); err != nil {
		log("%s cannot be driven in slices; pairs are whole runs", s.binary)
		return false
	}
	return true
}

// ownLoad are the flags that a lockstep run has its own values of.
var ownLoad = []string{"clients", "inflight", "rate", "arrival", "duration", "warmup", "ops", "fault", "slo", "seed", "profile"}

// side puts the arguments of one side together, and reads them as its run will, to find mistakes before anything
// starts. Of another program's flags only those are known that this one has.
func (c *compareConfig) side(i int) (side, error) {
	name := string("ab"[i])
	s := side{binary: c.binaries[i], label: c.flags[i]}
	if s.binary == "" {
		own, err := os.Executable()
		if err != nil {
			return s, fmt.Errorf("compare: %w", err)
		}
		s.binary = own
	} else {
		path, err := exec.LookPath(s.binary)
		if err != nil {
			return s, usagef("--binary-%s: %v", name, err)
		}
		if s.binary, err = filepath.Abs(path); err != nil {
			return s, usagef("--binary-%s: %v", name, err)
		}
		s.label = strings.TrimSpace(c.binaries[i] + " " + c.flags[i])
	}
	if c.names[i] != "" {
		s.label = strings.TrimSpace(c.names[i] + " " + c.flags[i])
	} else if s.label == "" {
		s.label = "defaults"
	}
	given, err := words(c.flags[i])
	if err != nil {
		return s, usagef("--%s '%s': %v", name, c.flags[i], err)
	}
	base := []string{"--warmup=" + c.Load.Warmup.String()}
	if c.Load.Duration > 0 {
		base = append(base, "--duration="+c.Load.Duration.String())
	}
	base = append(base, settingArgs(c.fs, "seed")...)
	fs, settings, err := parseSettings(append(base, given...))
	if err != nil {
		return s, usagef("--%s '%s': %v", name, c.flags[i], err)
	}
	s.args = settingArgs(fs, "seed")
	if len(settings.Faults) == 0 && settings.Load.Ops == 0 {
		s.sliced = append(settingArgs(fs, "seed", "duration", "warmup", "slo", "profile"), "--duration="+c.slice.String())
	}
	s.lockstep = append(settingArgs(fs, ownLoad...), "--clients=1", "--inflight=1", "--warmup=300ms", "--ops="+strconv.Itoa(lockstepOps))
	return s, nil
}

// compared writes the report and gives its exit code.
func (a *app) compared(r *compare.Report, c *compareConfig) error {
	if err := a.present(r, &c.output); err != nil {
		return err
	}
	return codeOf(map[string]int{compare.Violated: exitViolated, compare.Regression: exitRegression, compare.Inconclusive: exitInvalid}[r.Verdict], r.Partial)
}
