package result

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/engine"
)

// SchemaVersion is the version of the JSON form. Fields are only ever added to it.
const SchemaVersion = 1

// Result is one recorded run. Its JSON form is the contract of `paxbench --format json`: durations are integers in
// nanoseconds, times count from the end of warm-up.
type Result struct {
	SchemaVersion int       `json:"schema_version"`
	Partial       bool      `json:"partial"` // interrupted: what was measured until then
	Voided        bool      `json:"voided,omitempty"`
	Name          string    `json:"name,omitempty"` // the subcommand
	Started       time.Time `json:"started,omitzero"`
	Config        Config    `json:"config"`
	Env           env.Info  `json:"env"`
	Seed          uint64    `json:"seed"`

	Validity   Validity   `json:"validity"`
	Safety     Safety     `json:"safety"`
	Throughput Throughput `json:"throughput"`
	Latency    Latencies  `json:"latency_ns"`
	Stages     Stages     `json:"stages_ns"`
	Cost       Cost       `json:"cost_per_op"`
	Nodes      []Node     `json:"nodes,omitempty"`
	Instances  *Instances `json:"instances,omitempty"` // nil with a leader
	Takeovers  *Takeovers `json:"takeovers,omitempty"` // nil without one
	Stale      uint64     `json:"stale,omitempty"`     // messages refused because of a higher promise
	Faults     []Fault    `json:"faults"`
	Limits     Limits     `json:"limits"`
	SLOs       []SLO      `json:"slos,omitempty"`
	Errors     []Error    `json:"errors,omitempty"`
	Intervals  []Interval `json:"intervals"`

	// Histograms are the full distributions; nil: recorded before there were any, or withheld.
	Histograms *Histograms `json:"histograms,omitempty"`
}

// Config is what was asked for, in the words of the flags. It is enough to run the same again.
type Config struct {
	Cluster       string   `json:"cluster"` // process or inproc; remote: somebody else's
	Nodes         int      `json:"nodes"`
	Procs         int      `json:"procs,omitempty"` // processor threads (GOMAXPROCS) of each node that is a process; 0: not recorded
	Mode          string   `json:"mode"`
	Fsync         string   `json:"fsync"`
	BatchBytes    int      `json:"batch_bytes"`
	BatchDelay    int64    `json:"batch_delay_ns"`
	Window        int      `json:"window"`
	Compress      string   `json:"compress"`
	SnapshotBytes int64    `json:"snapshot_bytes,omitempty"`
	RetainBytes   int64    `json:"retain_bytes,omitempty"`
	Clients       int      `json:"clients"`
	Inflight      int      `json:"inflight"` // per client
	Generators    int      `json:"generators,omitempty"`
	Rate          float64  `json:"rate"` // operations per second; 0: closed loop
	Arrival       string   `json:"arrival"`
	Duration      int64    `json:"duration_ns"`
	Warmup        int64    `json:"warmup_ns"`
	Settle        int64    `json:"settle_ns,omitempty"` // by how much the warm-up could be longer
	Ops           uint64   `json:"ops"`
	ValueSize     string   `json:"value_size"`
	ValueRatio    float64  `json:"value_ratio"`
	Keys          int      `json:"keys"`
	Dist          string   `json:"dist"`
	Reads         float64  `json:"reads"`
	ReadMode      string   `json:"read_mode"`
	SM            string   `json:"sm"`
	API           string   `json:"api"`
	HistoryKeys   int      `json:"history_keys,omitempty"`
	Faults        []string `json:"faults,omitempty"`
	SLOs          []string `json:"slos,omitempty"`

	// Extra holds settings that have no field here.
	Extra map[string]string `json:"extra,omitempty"`
}

// Verdicts.
const (
	Valid   = "valid"
	Invalid = "invalid"

	OK        = "ok"
	Violated  = "violated"
	Unchecked = "unchecked"
	Unknown   = "unknown" // checked, without a conclusion
	Stale     = "stale"   // what promises to be linearizable is; stale reads do not, and show states of the past
)

// Validity says whether the numbers mean what they seem to.
type Validity struct {
	Verdict string   `json:"verdict"` // Valid or Invalid
	Reasons []string `json:"reasons"`
	Notes   []string `json:"notes,omitempty"` // worth knowing, no reason for doubt
}

// Safety says whether acknowledged writes are where they belong.
type Safety struct {
	Verdict      string `json:"verdict"` // OK, Violated or Unchecked
	Acked        uint64 `json:"acked"`   // acknowledged writes that were looked for
	Lost         uint64 `json:"lost"`
	Duplicated   uint64 `json:"duplicated"`
	Linearizable string `json:"linearizable"` // OK, Violated, Unknown, Stale or Unchecked

	Wrong    uint64   `json:"wrong,omitempty"`    // keys or sessions whose state contradicts the acknowledgements otherwise
	Unknown  uint64   `json:"unknown,omitempty"`  // writes that may be there or not
	Replicas int      `json:"replicas,omitempty"` // that were read back
	Diverged bool     `json:"diverged,omitempty"` // replicas or their logs contradict each other
	Details  []string `json:"details,omitempty"`  // findings, in words

	History *History `json:"history,omitempty"` // what Linearizable stands on
}

// History is what was recorded and judged of a run's operations.
type History struct {
	File string `json:"file,omitempty"` // where it was kept

	Calls     int `json:"calls"`               // blocks and queries whose order in the log agrees with real time
	Ops       int `json:"ops"`                 // operations on sampled keys, executed again in the order of the log
	Keys      int `json:"keys"`                // sampled keys that porcupine has decided
	Undecided int `json:"undecided,omitempty"` // sampled keys for which there was not enough time
	Stale     int `json:"stale,omitempty"`     // stale reads; each showed the state of the slot that it named
	Behind    int `json:"behind,omitempty"`    // of these, those that missed what was acknowledged before they were sent

	Dropped uint64 `json:"dropped,omitempty"` // calls that are not in the record
	Cut     *int64 `json:"cut_ns,omitempty"`  // operations on sampled keys sent later are not judged: there were too many
}

// Throughput counts operations. Ops were acknowledged within the window; Failed, Unknown and Unsent were due in it.
type Throughput struct {
	Ops       uint64  `json:"ops"`
	OpsPerSec float64 `json:"ops_per_s"`
	Failed    uint64  `json:"failed"`  // certainly not done
	Unknown   uint64  `json:"unknown"` // may be done
	Unsent    uint64  `json:"unsent,omitempty"`
	Expired   uint64  `json:"expired,omitempty"` // given up in the generator
	Resent    uint64  `json:"resent,omitempty"`  // blocks that the client libraries sent again, warm-up included
	Busy      uint64  `json:"busy,omitempty"`    // times that they were turned away because a queue was full
	Window    int64   `json:"window_ns"`
}

// Latency sums up a distribution of durations in nanoseconds.
type Latency struct {
	P50   int64 `json:"p50"`
	P90   int64 `json:"p90"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
	Mean  int64 `json:"mean"`
	Count int64 `json:"count"`
}

// Latencies are those of acknowledged operations that were due in the window. Response = acknowledged - due,
// service = acknowledged - sent, lag = sent - due. In a closed loop an operation is due when it is sent, and lag is
// empty.
type Latencies struct {
	Response Latency  `json:"response"`
	Service  Latency  `json:"service"`
	Lag      Latency  `json:"lag"`
	Reads    *Latency `json:"reads,omitempty"` // response times of reads; also within Response
}

// Stages are where the time goes inside the cluster.
type Stages struct {
	Queue  Latency `json:"queue"`
	Batch  Latency `json:"batch"`
	WAL    Latency `json:"wal"`
	Quorum Latency `json:"quorum"`
	Apply  Latency `json:"apply"`
}

// Cost is what an operation costs, over all nodes of the cluster.
type Cost struct {
	CPU      float64 `json:"cpu_ns"` // a whole number in a run's record
	WALBytes float64 `json:"wal_bytes"`
	NetBytes float64 `json:"net_bytes"`
	Fsyncs   float64 `json:"fsyncs"`
	Messages float64 `json:"messages"`
	Allocs   float64 `json:"allocs"`
}

// Instances and Takeovers count what became of slots that every node might propose in, and of those that a leader left open.
type (
	Instances = engine.Instances
	Takeovers = engine.Takeovers
)

// Never stands in a Fault for what did not happen within the run.
const Never = -1

// Fault is an injected fault and what it did. Durations are nanoseconds. What happens before the next fault, or the end
// of measuring, is laid at a fault's door.
type Fault struct {
	Kind   string `json:"kind"`
	Target string `json:"target"`
	Params string `json:"params,omitempty"` // as they were given
	Nodes  []int  `json:"nodes,omitempty"`  // that were hit
	At     int64  `json:"at_ns"`
	Healed int64  `json:"healed_ns"` // Never: not within the run

	// LeaderBefore led when it struck, LeaderAfter when it was healed; 0: not known.
	LeaderBefore int `json:"leader_before,omitempty"`
	LeaderAfter  int `json:"leader_after,omitempty"`

	// CaughtUp is when the nodes hit had applied everything that was learned when they were healed; 0: nobody looked; Never: they had
	// not when the run ended.
	CaughtUp int64 `json:"caught_up_ns,omitempty"`

	// Unavailable is from At to the first acknowledgement of an operation that was due after At; UnavailableAfterHeal
	// the same from Healed. Recovered is from At until the rate is back to 95% of what it was; 0: it never fell.
	Unavailable          int64 `json:"unavailable_ns"`
	Recovered            int64 `json:"recovered_95pct_ns"`
	UnavailableAfterHeal int64 `json:"unavailable_after_heal_ns"`

	LongestGap int64   `json:"longest_gap_ns"` // without any acknowledgement
	GapAt      int64   `json:"longest_gap_at_ns"`
	RateBefore float64 `json:"rate_before_ops_per_s"`

	*FaultCost // nil: recorded before there was any, or withheld

	Notes []string `json:"notes,omitempty"` // what else is known of its effect
}

// FaultCost is what a fault did to operations.
type FaultCost struct {
	// RecoveredAfterHeal is from Healed until the rate is back to 95%; 0 also if it was back before.
	RecoveredAfterHeal int64 `json:"recovered_95pct_after_heal_ns"`

	// Failed and Unknown are operations that ended so meanwhile. Lost ones are acknowledged writes that the audit did not
	// find; it looks at the whole run and cannot lay them at one fault's door: Safety.Lost counts them.
	Failed  uint64 `json:"failed"`
	Unknown uint64 `json:"unknown"`

	// ExtraLatency is the area under the latency curve that the fault added: the sum over all operations acknowledged
	// meanwhile, but no later than AreaAfterHeal after the heal, of their response time, less as many times the usual one
	// before the fault (the median of the intervals' means, AreaBefore back at most); in nanoseconds, never below 0.
	// An operation that is waited for 2 s adds 2 s; two of them, 4 s. In an open loop that is what users felt; a closed
	// loop asks less while it waits, and shows less.
	ExtraLatency int64 `json:"extra_latency_ns"`
}

// How far FaultCost.ExtraLatency looks back for what was usual, and beyond the heal for what was not.
const (
	AreaBefore    = int64(5 * time.Second)
	AreaAfterHeal = int64(5 * time.Second)
)

// Limits are what the machine can do, measured by probes next to the run; 0: not measured.
type Limits struct {
	FsyncP50       int64   `json:"fsync_p50_ns"`
	FsyncP99       int64   `json:"fsync_p99_ns"`
	LoopbackRTTP50 int64   `json:"loopback_rtt_p50_ns"`
	PipeOpsPerSec  float64 `json:"pipe_ops_per_s"` // replication without a protocol
}

// Error is how many operations ended with an error.
type Error struct {
	Text  string `json:"text"`
	Count uint64 `json:"count"`
}

// Interval is what completed in a stretch of time, whenever it was due.
type Interval struct {
	Start       int64  `json:"start_ns"`
	Length      int64  `json:"length_ns"`
	Ops         uint64 `json:"ops"`
	P50         int64  `json:"p50"`
	P99         int64  `json:"p99"`
	Max         int64  `json:"max"`
	Mean        int64  `json:"mean"`
	Failed      uint64 `json:"failed,omitempty"`
	Unknown     uint64 `json:"unknown,omitempty"`
	Outstanding int    `json:"outstanding"`
	Waiting     uint64 `json:"waiting,omitempty"` // due and not sent
}

// Invalidate adds a reason why the result cannot be trusted.
func (r *Result) Invalidate(format string, args ...any) {
	r.Validity.Verdict = Invalid
	r.Validity.Reasons = append(r.Validity.Reasons, fmt.Sprintf(format, args...))
}

// void returns the result as it may be shown: a run that violated safety has no performance numbers.
func (r *Result) void() *Result {
	if r.Safety.Verdict != Violated && r.Safety.Linearizable != Violated {
		return r
	}
	v := *r
	v.Voided = true
	v.Throughput, v.Latency, v.Stages, v.Cost = Throughput{Window: r.Throughput.Window}, Latencies{}, Stages{}, Cost{}
	v.Intervals, v.SLOs, v.Nodes, v.Histograms = []Interval{}, nil, nil, nil
	v.Faults = make([]Fault, len(r.Faults))
	for i, f := range r.Faults {
		v.Faults[i] = Fault{
			Kind: f.Kind, Target: f.Target, Params: f.Params, Nodes: f.Nodes, At: f.At, Healed: f.Healed, CaughtUp: f.CaughtUp,
			LeaderBefore: f.LeaderBefore, LeaderAfter: f.LeaderAfter, Notes: f.Notes,
		}
	}
	return &v
}

// Validate reports everything in a result that cannot be: a decoder's guard against files that were cut, edited or
// made by something else.
func (r *Result) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("result: "+format, args...)) }
	if r.SchemaVersion != SchemaVersion {
		bad("schema_version %d: this program reads %d", r.SchemaVersion, SchemaVersion)
	}
	oneOf := func(field, got string, of ...string) {
		for _, v := range of {
			if got == v {
				return
			}
		}
		bad("%s is %q, not one of %q", field, got, of)
	}
	oneOf("validity.verdict", r.Validity.Verdict, Valid, Invalid)
	oneOf("safety.verdict", r.Safety.Verdict, OK, Violated, Unchecked)
	oneOf("safety.linearizable", r.Safety.Linearizable, OK, Violated, Unknown, Stale, Unchecked)
	if r.Validity.Verdict == Invalid && len(r.Validity.Reasons) == 0 {
		bad("invalid without a reason")
	}
	if r.Safety.Verdict == OK && (r.Safety.Lost > 0 || r.Safety.Duplicated > 0 || r.Safety.Wrong > 0 || r.Safety.Diverged) {
		bad("safety is ok with %d lost, %d duplicated, %d wrong", r.Safety.Lost, r.Safety.Duplicated, r.Safety.Wrong)
	}
	if v := r.Throughput.OpsPerSec; v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		bad("throughput.ops_per_s is %v", v)
	}
	for _, l := range r.latencies() {
		if !l.Latency.ordered() {
			bad("%s: percentiles are not in order: %+v", l.name, *l.Latency)
		}
	}
	for i, v := range r.Intervals {
		if i > 0 && v.Start < r.Intervals[i-1].Start {
			bad("intervals[%d] starts before the one ahead of it", i)
			break
		}
	}
	r.checkHistograms(bad)
	return errors.Join(errs...)
}

type namedLatency struct {
	name string
	*Latency
}

func (r *Result) latencies() []namedLatency {
	all := []namedLatency{
		{"latency_ns.response", &r.Latency.Response}, {"latency_ns.service", &r.Latency.Service}, {"latency_ns.lag", &r.Latency.Lag},
		{"stages_ns.queue", &r.Stages.Queue}, {"stages_ns.batch", &r.Stages.Batch}, {"stages_ns.wal", &r.Stages.WAL},
		{"stages_ns.quorum", &r.Stages.Quorum}, {"stages_ns.apply", &r.Stages.Apply},
	}
	if r.Latency.Reads != nil {
		all = append(all, namedLatency{"latency_ns.reads", r.Latency.Reads})
	}
	return all
}

func (l *Latency) ordered() bool {
	return l.Count >= 0 && l.P50 >= 0 && l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max && l.Mean <= l.Max
}
