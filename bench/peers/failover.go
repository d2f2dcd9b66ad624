package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peerstable"
)

type (
	failoverConfig = peerstable.FailoverConfig
	failoverTrial  = peerstable.Trial
)

// failoverRecord is a record that is being made.
type failoverRecord struct{ *peerstable.Failover }

const (
	failoverLoad  = 500 * time.Millisecond // of commands before the kill
	failoverLimit = 30 * time.Second       // for the next leader
)

func failoverCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("failover", flag.ContinueOnError)
	names := set.String("engines", "paxbench,etcd-raft,etcd-raft-3.7,hashicorp-raft,dragonboat", "comma-separated; see the command engines")
	var c failoverConfig
	set.IntVar(&c.Trials, "trials", 20, "kills of each engine, with each kind of timeouts; engines take turns")
	set.IntVar(&c.Replicas, "replicas", 3, "of each cluster")
	set.Float64Var(&c.Rate, "rate", 1000, "commands per second at the leader")
	set.IntVar(&c.GOGC, "gogc", 400, "of all engines' processes")
	timeouts := set.String("timeouts", "both", "engine (those of the throughput runs), fast (equal for all), or both")
	dir := set.String("dir", ".", "where the replicas' data goes: a file system on a real disk")
	output := set.String("output", "", "where the record goes; default ../../results/peers-failover-TIME.json")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	kinds, ok := map[string][]bool{"engine": {false}, "fast": {true}, "both": {false, true}}[*timeouts]
	if !ok || set.NArg() > 0 || c.Trials < 1 || c.Replicas < 3 || c.Rate <= 0 {
		return fmt.Errorf("%w: %s", errUsage, strings.Join(args, " "))
	}
	rec := failoverRecord{&peerstable.Failover{
		SchemaVersion: peerstable.SchemaVersion, Kind: peerstable.KindFailover, Started: time.Now().UTC(), Config: c, Trials: []failoverTrial{}, Invalid: []invalid{},
	}}
	var sides []peer.Engine
	for name := range strings.SplitSeq(*names, ",") {
		e, err := findEngine(name)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if e.Bare {
			return fmt.Errorf("%w: %s has no leaders", errUsage, name)
		}
		sides = append(sides, e)
		d, err := describe(e, procs(e, c.Replicas, false))
		if err != nil {
			return err
		}
		rec.Engines = append(rec.Engines, d)
	}
	err := rec.run(ctx, sides, kinds, *dir)
	rec.Env = env.Collect(*dir)
	rec.Elapsed = time.Since(rec.Started)
	rec.Partial = err != nil
	if *output == "" {
		*output = "../../results/peers-failover-" + rec.Started.Format("20060102-150405") + ".json"
	}
	if e := writeJSON(*output, rec.Failover); e != nil {
		return errors.Join(err, e)
	}
	fmt.Fprintf(os.Stderr, "recorded in %s\n", *output)
	fmt.Printf("<!-- peers-failover:begin -->\n%s<!-- peers-failover:end -->\n", rec.Markdown())
	if err == nil && len(rec.Invalid) > 0 {
		return fmt.Errorf("%w: %d trials, see the record", errInvalid, len(rec.Invalid))
	}
	return err
}

// run has every engine lose a leader in each round.
func (rec failoverRecord) run(ctx context.Context, sides []peer.Engine, kinds []bool, dir string) error {
	for round := range rec.Config.Trials {
		for _, fast := range kinds {
			for i := range sides {
				e := sides[(i+round)%len(sides)]
				t, err := rec.trial(ctx, e, fast, dir)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					rec.Invalid = append(rec.Invalid, invalid{Round: round, Engine: e.Name, Why: err.Error()})
					fmt.Fprintf(os.Stderr, "round %d  %-16s INVALID: %v\n", round+1, e.Name, err)
					continue
				}
				t.Round = round
				rec.Trials = append(rec.Trials, t)
				fmt.Fprintf(os.Stderr, "round %d/%d  %-16s fast %-5v  unavailable for %s\n", round+1, rec.Config.Trials, e.Name, fast, time.Duration(t.Unavailable).Round(time.Millisecond))
			}
		}
	}
	return nil
}

// trial starts a cluster, kills its leader under load, and waits for the first command that another one acknowledges.
func (rec failoverRecord) trial(ctx context.Context, e peer.Engine, fast bool, dir string) (t failoverTrial, err error) {
	t = failoverTrial{Engine: e.Name, Fast: fast}
	k, err := startCluster(ctx, clusterConfig{Engine: e, Replicas: rec.Config.Replicas, Dir: dir, Fsync: true, GOGC: rec.Config.GOGC, Fast: fast})
	if err != nil {
		return t, err
	}
	defer k.stop()
	leader, err := k.leader(ctx)
	if err != nil {
		return t, err
	}
	for i, p := range k.processes {
		if _, err := p.ask(ctx, node.Request{Op: "probe", Rate: rec.Config.Rate, Base: uint64(i+1) << 40}, stateLimit); err != nil {
			return t, err
		}
	}
	if err := sleep(ctx, failoverLoad); err != nil {
		return t, err
	}
	a, err := leader.ask(ctx, node.Request{Op: "probed"}, stateLimit)
	if err != nil {
		return t, err
	}
	if a.Probed.Commands == 0 {
		return t, errors.New("the leader acknowledged nothing before the kill")
	}
	t.Acked = a.Probed.Commands
	killed := peer.Monotonic()
	k.kill(leader)
	first, acked, err := k.firstAfter(ctx, killed)
	if err != nil {
		return t, err
	}
	t.Unavailable = first - killed
	t.Acked += acked
	return t, k.appliedAtLeast(ctx, t.Acked)
}

// firstAfter waits until a process has acknowledged a command after the kill, and says when, and how many have been.
func (k *cluster) firstAfter(ctx context.Context, killed int64) (first int64, acked uint64, err error) {
	for deadline := time.Now().Add(failoverLimit); ; {
		err := k.each(ctx, "probed", func(_ *process, a node.Reply) {
			acked += a.Probed.Commands
			if f := a.Probed.First; f > killed && (first == 0 || f < first) {
				first = f
			}
		})
		if err != nil || first > 0 {
			return first, acked, err
		}
		if acked = 0; time.Now().After(deadline) {
			return 0, 0, fmt.Errorf("nothing was acknowledged within %s of the kill", failoverLimit)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return 0, 0, err
		}
	}
}

// appliedAtLeast waits until every survivor has applied what was acknowledged.
func (k *cluster) appliedAtLeast(ctx context.Context, acked uint64) error {
	for deadline := time.Now().Add(agreeLimit); ; {
		fewest := ^uint64(0)
		if err := k.each(ctx, "state", func(_ *process, a node.Reply) {
			for _, r := range a.Replicas {
				fewest = min(fewest, r.Commands)
			}
		}); err != nil {
			return err
		}
		if fewest >= acked {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d commands acknowledged, a survivor has applied %d", errDisagree, acked, fewest)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}
