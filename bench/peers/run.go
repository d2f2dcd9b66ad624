package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peerstable"
)

// errInvalid: a session's acknowledgements and its replicas contradict each other.
var errInvalid = errors.New("invalid")

// connectLoad comes first in every session: connections, heaps and log segments exist when it is over.
var connectLoad = peer.Load{Outstanding: 256, Count: 1, Size: 16, Length: 200 * time.Millisecond}

// fillLoad comes next: an engine that recycles its log files has made those it needs by then, and one that only ever
// writes new ones has written some.
var fillLoad = peer.Load{Outstanding: 16, Count: 64, Size: 1024}

type runFlags struct {
	config  runConfig
	engines []peer.Engine
	cells   []cell
	dir     string
	output  string
	device  string
	profile string
}

func parseRun(args []string) (f runFlags, err error) {
	set := flag.NewFlagSet("run", flag.ContinueOnError)
	quick := set.Bool("quick", false, "two to three minutes: --rounds 3 --cells quick --length 400ms --fill 800ms")
	names := set.String("engines", "all", "comma-separated; see the command engines")
	set.StringVar(&f.config.Matrix, "cells", "standard", "quick, brief, standard, peak, all, or a list like call:16:256,block:16:16384")
	set.IntVar(&f.config.Rounds, "rounds", 5, "sessions of each engine, interleaved")
	set.IntVar(&f.config.Replicas, "replicas", 3, "of each cluster")
	set.BoolVar(&f.config.Single, "one-process", false, "all replicas in one process, over loopback TCP all the same")
	set.BoolVar(&f.config.Fsync, "fsync", true, "false: without it, and only the engines that can")
	set.IntVar(&f.config.GOGC, "gogc", 400, "of all engines' processes")
	set.DurationVar(&f.config.Fill, "fill", 2*time.Second, "how long each session fills the logs before its first cell")
	set.DurationVar(&f.config.Warmup, "warmup", 150*time.Millisecond, "before each cell")
	set.DurationVar(&f.config.Length, "length", 750*time.Millisecond, "of each cell")
	set.StringVar(&f.dir, "dir", ".", "where the replicas' data goes: a file system on a real disk")
	set.StringVar(&f.profile, "profile", "", "existing directory for a CPU profile of every process; the last round's stays")
	set.StringVar(&f.output, "output", "", "where the record goes; default ../../results/peers-TIME.json")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return f, err
		}
		return f, fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.profile != "" {
		// The children have working directories of their own.
		if f.profile, err = filepath.Abs(f.profile); err != nil {
			return f, err
		}
	}
	f.config.API = "closed loop in the leader's process"
	if *quick {
		f.config.Rounds, f.config.Matrix, f.config.Length = 3, "quick", 400*time.Millisecond
		f.config.Fill = 800 * time.Millisecond
	}
	if f.cells, err = parseCells(f.config.Matrix); err != nil {
		return f, err
	}
	for _, c := range f.cells {
		if c.PerSecond > 0 {
			return f, fmt.Errorf("%w: cells %q: rates are for curve; here open:%d:OUTSTANDING is half of what an engine reaches", errUsage, f.config.Matrix, c.Size)
		}
	}
	if set.NArg() > 0 || f.config.Rounds < 1 || f.config.Replicas < 1 {
		return f, fmt.Errorf("%w: %s", errUsage, strings.Join(args, " "))
	}
	f.engines = engines()
	if *names != "all" {
		f.engines = nil
		for name := range strings.SplitSeq(*names, ",") {
			e, err := findEngine(name)
			if err != nil {
				return f, fmt.Errorf("%w: %w", errUsage, err)
			}
			f.engines = append(f.engines, e)
		}
	}
	if !f.config.Fsync {
		f.engines = slices.DeleteFunc(f.engines, func(e peer.Engine) bool { return !e.NoFsync })
	}
	return f, nil
}

func runCommand(ctx context.Context, args []string) error {
	f, err := parseRun(args)
	if err != nil {
		return err
	}
	disk, err := env.DiskOf(f.dir)
	if err != nil {
		return err
	}
	if f.config.Fsync && disk.Memory() {
		return fmt.Errorf("%w: --dir %s is in memory (%s), where fsync promises nothing; choose a disk or say --fsync=false", errUsage, f.dir, disk.Type)
	}
	f.device = disk.Device
	rec := &record{
		SchemaVersion: peerstable.SchemaVersion, Kind: peerstable.KindRun, Started: time.Now().UTC(), Config: f.config, Cells: f.cells,
		Samples: []sample{}, Invalid: []invalid{},
	}
	for _, e := range f.engines {
		d, err := describe(e, procs(e, f.config.Replicas, f.config.Single))
		if err != nil {
			return err
		}
		rec.Engines = append(rec.Engines, d)
	}
	steal := env.Steal()
	err = f.rounds(ctx, rec)
	rec.Env = env.Collect(f.dir)
	rec.Env.StealNanos = int64(env.Steal() - steal)
	rec.Elapsed = time.Since(rec.Started)
	rec.Partial = err != nil
	if f.output == "" {
		kind := ""
		if f.config.Single {
			kind += "one-process-"
		}
		if !f.config.Fsync {
			kind += "no-fsync-"
		}
		f.output = "../../results/peers-" + kind + rec.Started.Format("20060102-150405") + ".json"
	}
	if e := writeJSON(f.output, rec); e != nil {
		return errors.Join(err, e)
	}
	fmt.Fprintf(os.Stderr, "recorded in %s\n", f.output)
	if e := writeTable(os.Stdout, []*record{rec}); e != nil {
		return errors.Join(err, e)
	}
	if err == nil && len(rec.Invalid) > 0 {
		return fmt.Errorf("%w: %d sessions, see the record", errInvalid, len(rec.Invalid))
	}
	return err
}

// rounds runs one session of every engine in each round. Who is first changes, and so does the direction, so that no
// engine always follows the same one or always runs late.
func (f *runFlags) rounds(ctx context.Context, rec *record) error {
	for round := range f.config.Rounds {
		order := slices.Concat(f.engines[round%len(f.engines):], f.engines[:round%len(f.engines)])
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, e := range order {
			begun := time.Now()
			samples, err := f.session(ctx, e, round)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				rec.Invalid = append(rec.Invalid, invalid{Round: round, Engine: e.Name, Why: err.Error()})
				fmt.Fprintf(os.Stderr, "round %d/%d  %-16s INVALID: %v\n", round+1, f.config.Rounds, e.Name, err)
				continue
			}
			rec.Samples = append(rec.Samples, samples...)
			fmt.Fprintf(os.Stderr, "round %d/%d  %-16s %2d cells in %s\n", round+1, f.config.Rounds, e.Name, len(samples), time.Since(begun).Round(100*time.Millisecond))
		}
	}
	return nil
}

// session starts a cluster, runs every cell on it, and verifies. Samples of a session with an error are void.
func (f *runFlags) session(ctx context.Context, e peer.Engine, round int) (samples []sample, err error) {
	k, err := startCluster(ctx, clusterConfig{
		Engine: e, Replicas: f.config.Replicas, Single: f.config.Single, Dir: f.dir, Device: f.device, Fsync: f.config.Fsync, GOGC: f.config.GOGC, Profile: f.profile,
	})
	if err != nil {
		return nil, err
	}
	defer k.stop()
	if _, _, err := k.load(ctx, connectLoad); err != nil {
		return nil, err
	}
	if l := fillLoad; f.config.Fill > 0 {
		l.Length = f.config.Fill
		if _, _, err := k.load(ctx, l); err != nil {
			return nil, fmt.Errorf("filling the logs: %w", err)
		}
	}
	rates := map[cell]float64{}
	for i, c := range f.cells {
		l := loadOf(c)
		if c.API == "open" {
			if e.Bare {
				continue
			}
			l.Rate, l.Outstanding = rates[c.Reference()]/2, openOutstanding
		}
		if l.Length = f.config.Warmup; l.Length > 0 {
			if _, _, err := k.load(ctx, l); err != nil {
				return nil, fmt.Errorf("%s, warm-up: %w", c, err)
			}
		}
		l.Length = f.config.Length
		r, used, err := k.load(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		rates[c] = r.PerSecond
		samples = append(samples, newSample(round, e.Name, i, r, used))
	}
	if e.Bare {
		return samples, nil
	}
	return samples, k.verify(ctx)
}

// openOutstanding bounds what an open loop has under way: more than half the peak rate needs for a tenth of a second.
const openOutstanding = 1 << 17
