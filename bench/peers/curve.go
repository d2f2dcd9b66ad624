package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/paxos"
	"github.com/paxbench/paxbench/bench/peerstable"
)

// curveRecord is a record that is being made.
type curveRecord struct{ *peerstable.Curve }

// curveCells are the loads of a curve: eight closed loops of single commands.
const curveCells = "call:16:1,call:16:4,call:16:16,call:16:64,call:16:256,call:16:1024,call:16:4096,call:16:16384"

func curveCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("curve", flag.ContinueOnError)
	rec := curveRecord{&peerstable.Curve{
		SchemaVersion: peerstable.SchemaVersion, Kind: peerstable.KindCurve, Started: time.Now().UTC(), Samples: []peerstable.CurveSample{}, Invalid: []invalid{},
		Config: peerstable.CurveConfig{Replicas: 3, Fixed: 32},
	}}
	c := &rec.Config
	set.IntVar(&c.Sessions, "sessions", 3, "clusters, one after the other")
	set.IntVar(&c.Rounds, "rounds", 5, "of all loads with all windows, in each session")
	set.IntVar(&c.GOGC, "gogc", 400, "of all processes")
	set.DurationVar(&c.Warmup, "warmup", 50*time.Millisecond, "before each measurement")
	set.DurationVar(&c.Length, "length", 200*time.Millisecond, "of each measurement")
	set.DurationVar(&c.Delay, "delay", 0, "of what a replica sends to another, through a proxy: a round trip takes twice as long; 0: no proxy")
	windows := set.String("windows", "0,1,2,4,8,16,32", "slots in flight, comma-separated; 0: adapting")
	cells := set.String("cells", curveCells, "loads, as for run, or rate:BYTES:PER_SECOND")
	dir := set.String("dir", ".", "where the replicas' data goes: a file system on a real disk")
	output := set.String("output", "../../results/curve.json", "where the record goes")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	for text := range strings.SplitSeq(*windows, ",") {
		w, err := strconv.Atoi(text)
		if err != nil || w < 0 || w > c.Fixed {
			return fmt.Errorf("%w: window %q: need 0 to %d", errUsage, text, c.Fixed)
		}
		rec.Windows = append(rec.Windows, w)
	}
	var err error
	if rec.Cells, err = parseCells(*cells); err != nil {
		return err
	}
	for _, cell := range rec.Cells {
		if cell.API == "open" || (cell.PerSecond > 0) != rec.Open() {
			return fmt.Errorf("%w: cells %q: want either closed loops (call, block) or rates (rate)", errUsage, *cells)
		}
	}
	c.Procs = procs(paxos.Engine(), c.Replicas, false)
	if set.NArg() > 0 || c.Sessions < 1 || c.Rounds < 1 || c.Length <= 0 || c.Delay < 0 {
		return fmt.Errorf("%w: %s", errUsage, strings.Join(args, " "))
	}
	disk, err := env.DiskOf(*dir)
	if err != nil {
		return err
	}
	if disk.Memory() {
		return fmt.Errorf("%w: --dir %s is in memory (%s), where fsync promises nothing", errUsage, *dir, disk.Type)
	}
	for session := range c.Sessions {
		err = rec.session(ctx, session, *dir, disk.Device)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
			break
		}
		if err != nil {
			rec.Invalid = append(rec.Invalid, invalid{Round: session, Engine: "paxbench", Why: err.Error()})
			fmt.Fprintf(os.Stderr, "session %d/%d INVALID: %v\n", session+1, c.Sessions, err)
			err = nil
		}
	}
	rec.Env = env.Collect(*dir)
	rec.Elapsed = time.Since(rec.Started)
	rec.Partial = err != nil
	if e := writeJSON(*output, rec.Curve); e != nil {
		return errors.Join(err, e)
	}
	fmt.Fprintf(os.Stderr, "recorded in %s\n", *output)
	fmt.Print(rec.Markdown())
	if err == nil && len(rec.Invalid) > 0 {
		return fmt.Errorf("%w: %d sessions, see the record", errInvalid, len(rec.Invalid))
	}
	return err
}

// session is one cluster, whose samples count if it is verified at the end. The windows take turns at each load within it, so that what differs from cluster to cluster, and
// from minute to minute, is the same for all of them; who is first changes.
func (rec curveRecord) session(ctx context.Context, session int, dir, device string) error {
	c := &rec.Config
	k, err := startCluster(ctx, clusterConfig{Engine: paxos.Engine(), Replicas: c.Replicas, Dir: dir, Device: device, Fsync: true, GOGC: c.GOGC, Delay: c.Delay})
	if err != nil {
		return err
	}
	defer k.stop()
	fill := fillLoad
	fill.Length = 2 * time.Second
	if _, _, err := k.load(ctx, fill); err != nil {
		return fmt.Errorf("filling the logs: %w", err)
	}
	var samples []peerstable.CurveSample
	for r := range c.Rounds {
		round := session*c.Rounds + r
		for at, cell := range rec.Cells {
			for i := range rec.Windows {
				w := rec.Windows[(i+round)%len(rec.Windows)]
				leader, err := k.leader(ctx)
				if err != nil {
					return err
				}
				if _, err := leader.ask(ctx, node.Request{Op: "window", Window: w}, stateLimit); err != nil {
					return err
				}
				l := loadOf(cell)
				if l.Length = c.Warmup; l.Length > 0 {
					if _, _, err := k.load(ctx, l); err != nil {
						return fmt.Errorf("%s, warm-up: %w", cell, err)
					}
				}
				l.Length = c.Length
				res, _, err := k.load(ctx, l)
				if err != nil {
					return fmt.Errorf("%s: %w", cell, err)
				}
				samples = append(samples, peerstable.CurveSample{Round: round, Cell: at, Window: w, PerSecond: res.PerSecond, Latency: res.Latency})
			}
		}
		fmt.Fprintf(os.Stderr, "session %d/%d, round %d/%d\n", session+1, c.Sessions, r+1, c.Rounds)
	}
	if err := k.verify(ctx); err != nil {
		return err
	}
	rec.Samples = append(rec.Samples, samples...)
	return nil
}
