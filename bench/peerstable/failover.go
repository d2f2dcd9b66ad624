package peerstable

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
)

// Failover is all that a run of failover measured: additive changes only, times in nanoseconds.
type Failover struct {
	SchemaVersion int            `json:"schema_version"`
	Kind          string         `json:"kind"` // "peers-failover"
	Partial       bool           `json:"partial"`
	Started       time.Time      `json:"started"`
	Elapsed       time.Duration  `json:"elapsed_ns"`
	Config        FailoverConfig `json:"config"`
	Env           env.Info       `json:"env"`
	Engines       []Engine       `json:"engines"`
	Trials        []Trial        `json:"trials"`
	Invalid       []Invalid      `json:"invalid"`
}

type FailoverConfig struct {
	Trials   int     `json:"trials"` // per engine and kind of timeouts
	Replicas int     `json:"replicas"`
	Rate     float64 `json:"commands_per_s"`
	GOGC     int     `json:"gogc"`
}

type Trial struct {
	Round       int    `json:"round"`
	Engine      string `json:"engine"`
	Fast        bool   `json:"fast"`           // equal fast timeouts; otherwise the engine's settings of the throughput runs
	Unavailable int64  `json:"unavailable_ns"` // from the kill to the first command acknowledged by the next leader
	Acked       uint64 `json:"acked"`          // all of them applied by the survivors
}

// The timeouts that a trial with Fast asks of every engine.
const (
	FastTick      = 5 * time.Millisecond
	FastElection  = 30 * FastTick
	FastHeartbeat = 3 * FastTick
)

// Markdown is the table of both kinds of timeouts.
func (rec *Failover) Markdown() string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "\n%d replicas, one process each; the leader's process is killed under %g commands/s; unavailable: from the kill to the first command that the next leader acknowledges. %d trials each, engines taking turns. %s, %d cores; commit %s; %s.\n",
		rec.Config.Replicas, rec.Config.Rate, rec.Config.Trials, rec.Env.CPU, rec.Env.Cores, short(rec.Env.Commit, rec.Env.Modified), rec.Started.Format(time.DateOnly))
	for _, fast := range []bool{false, true} {
		title := "timeouts of the throughput runs (paxbench 300-600 ms; etcd raft and dragonboat 500-1000 ms; hashicorp its default, 1-2 s)"
		if fast {
			title = fmt.Sprintf("equal timeouts: election %s to %s, heartbeat %s", FastElection, 2*FastElection, FastHeartbeat)
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
			if Ours(e.Name) {
				ownMedian = median(v)
			} else if ownMedian > 0 {
				ratio = fmt.Sprintf("%.2f", ownMedian/median(v))
			}
			fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s |\n", e.Name, len(v), nanos(v[0]), nanos(median(v)), nanos(v[min(len(v)-1, len(v)*9/10)]), nanos(v[len(v)-1]), ratio)
		}
	}
	fmt.Fprintln(out, "\nRatio: paxbench's median by this engine's; below 1 paxbench is back sooner.")
	for _, v := range rec.Invalid {
		fmt.Fprintf(out, "- %s\n", v)
	}
	return out.String()
}
