package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/peer"
)

// failoverRecord is all that a run of failover measured: additive changes only, times in nanoseconds.
type failoverRecord struct {
	SchemaVersion int             `json:"schema_version"`
	Kind          string          `json:"kind"` // "peers-failover"
	Partial       bool            `json:"partial"`
	Started       time.Time       `json:"started"`
	Elapsed       time.Duration   `json:"elapsed_ns"`
	Config        failoverConfig  `json:"config"`
	Env           env.Info        `json:"env"`
	Engines       []engineRecord  `json:"engines"`
	Trials        []failoverTrial `json:"trials"`
	Invalid       []invalid       `json:"invalid"`
}

type failoverConfig struct {
	Trials   int     `json:"trials"` // per engine and kind of timeouts
	Replicas int     `json:"replicas"`
	Rate     float64 `json:"commands_per_s"`
	GOGC     int     `json:"gogc"`
}

type failoverTrial struct {
	Round       int    `json:"round"`
	Engine      string `json:"engine"`
	Fast        bool   `json:"fast"`           // equal fast timeouts; otherwise the engine's settings of the throughput runs
	Unavailable int64  `json:"unavailable_ns"` // from the kill to the first command acknowledged by the next leader
	Acked       uint64 `json:"acked"`          // all of them applied by the survivors
}

const (
	failoverLoad  = 500 * time.Millisecond // of commands before the kill
	failoverLimit = 30 * time.Second       // for the next leader
)

func failoverCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("failover", flag.ContinueOnError)
	names := set.String("engines", "paxbench,etcd-raft,hashicorp-raft,dragonboat", "comma-separated; see the command engines")
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
	rec := &failoverRecord{
		SchemaVersion: schemaVersion, Kind: "peers-failover", Started: time.Now().UTC(), Config: c, Trials: []failoverTrial{}, Invalid: []invalid{},
	}
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
		rec.Engines = append(rec.Engines, engineRecord{e.Name, e.Module, moduleVersion(e.Module), e.Settings})
	}
	err := rec.run(ctx, sides, kinds, *dir)
	rec.Env = env.Collect(*dir)
	rec.Elapsed = time.Since(rec.Started)
	rec.Partial = err != nil
	if *output == "" {
		*output = "../../results/peers-failover-" + rec.Started.Format("20060102-150405") + ".json"
	}
	if e := writeJSON(*output, rec); e != nil {
		return errors.Join(err, e)
	}
	fmt.Fprintf(os.Stderr, "recorded in %s\n", *output)
	rec.table(os.Stdout)
	if err == nil && len(rec.Invalid) > 0 {
		return fmt.Errorf("%w: %d trials, see the record", errInvalid, len(rec.Invalid))
	}
	return err
}

// run has every engine lose a leader in each round.
func (rec *failoverRecord) run(ctx context.Context, sides []peer.Engine, kinds []bool, dir string) error {
	for round := range rec.Config.Trials {
		for _, fast := range kinds {
			for i := range sides {
				e := sides[(i+round)%len(sides)]
				t, err := rec.trial(ctx, e, fast, dir)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					rec.Invalid = append(rec.Invalid, invalid{round, e.Name, err.Error()})
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
func (rec *failoverRecord) trial(ctx context.Context, e peer.Engine, fast bool, dir string) (t failoverTrial, err error) {
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
		if _, err := p.ask(ctx, request{Op: "probe", Rate: rec.Config.Rate, Base: uint64(i+1) << 40}, stateLimit); err != nil {
			return t, err
		}
	}
	if err := sleep(ctx, failoverLoad); err != nil {
		return t, err
	}
	a, err := leader.ask(ctx, request{Op: "probed"}, stateLimit)
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
		err := k.each(ctx, "probed", func(_ *process, a reply) {
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
		if err := k.each(ctx, "state", func(_ *process, a reply) {
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

// table writes Markdown between markers.
func (rec *failoverRecord) table(out io.Writer) {
	fmt.Fprintf(out, "<!-- peers-failover:begin -->\n\n%d replicas, one process each; the leader's process is killed under %g commands/s; unavailable: from the kill to the first command that the next leader acknowledges. %d trials each, engines taking turns. %s, %d cores; commit %s; %s.\n",
		rec.Config.Replicas, rec.Config.Rate, rec.Config.Trials, rec.Env.CPU, rec.Env.Cores, short(rec.Env.Commit, rec.Env.Modified), rec.Started.Format(time.DateOnly))
	for _, fast := range []bool{false, true} {
		title := "timeouts of the throughput runs (paxbench 300-600 ms; etcd raft and dragonboat 500-1000 ms; hashicorp its default, 1-2 s)"
		if fast {
			title = fmt.Sprintf("equal timeouts: election %s to %s, heartbeat %s", peer.FastElection, 2*peer.FastElection, peer.FastHeartbeat)
		}
		fmt.Fprintf(out, "\n**%s**\n\n| engine | trials | lowest | median | 90%% | highest | ratio of medians |\n|---|--:|--:|--:|--:|--:|--:|\n", title)
		ownMedian := 0.0
		for _, e := range rec.Engines {
			var v []float64
			for _, t := range rec.Trials {
				if t.Engine == e.Name && t.Fast == fast {
					v = append(v, float64(t.Unavailable))
				}
			}
			if len(v) == 0 {
				continue
			}
			slices.Sort(v)
			ratio := ""
			if ours(e.Name) {
				ownMedian = median(v)
			} else if ownMedian > 0 {
				ratio = fmt.Sprintf("%.2f", ownMedian/median(v))
			}
			fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s |\n", e.Name, len(v), nanos(v[0]), nanos(median(v)), nanos(v[min(len(v)-1, len(v)*9/10)]), nanos(v[len(v)-1]), ratio)
		}
	}
	fmt.Fprintln(out, "\nRatio: paxbench's median by this engine's; below 1 paxbench is back sooner.")
	for _, v := range rec.Invalid {
		fmt.Fprintf(out, "- INVALID, not counted: %s in round %d: %s\n", v.Engine, v.Round+1, strings.ReplaceAll(v.Why, "\n", " "))
	}
	fmt.Fprintln(out, "<!-- peers-failover:end -->")
}

func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
