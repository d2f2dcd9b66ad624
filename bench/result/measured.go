package result

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/load"
)

// FromHistogram sums up a histogram of nanoseconds; nil is an empty one.
func FromHistogram(h *hdrhistogram.Histogram) Latency {
	if h == nil || h.TotalCount() == 0 {
		return Latency{}
	}
	return Latency{
		P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9),
		Max: h.Max(), Mean: int64(h.Mean()), Count: h.TotalCount(),
	}
}

// New is a result with what a load measured and what load.Result.Judge says of it: seed, validity, throughput,
// latencies, intervals, errors, and the part of Config that describes the load. Safety is unchecked; the rest is the
// caller's to fill in.
func New(l *load.Result, limits load.Limits) *Result {
	c := &l.Config
	r := &Result{
		SchemaVersion: SchemaVersion, Partial: l.Partial, Started: l.Started, Seed: c.Seed,
		Config: Config{
			Clients: c.Clients, Inflight: c.Inflight, Rate: c.Rate, Arrival: c.Arrival.String(),
			Duration: int64(c.Duration), Warmup: int64(c.Warmup), Settle: int64(c.Settle), Ops: c.Ops,
			ValueSize: c.Values.Sizes.String(), ValueRatio: c.Values.Ratio, Keys: c.Keys, Dist: c.Dist.String(),
			Reads: c.Reads, ReadMode: c.ReadMode.String(), SM: c.SM.String(), API: c.API.String(), HistoryKeys: c.HistoryKeys,
		},
		Validity: Validity{Verdict: Valid},
		Safety:   Safety{Verdict: Unchecked, Linearizable: Unchecked},
		Throughput: Throughput{
			Ops: l.Ops, OpsPerSec: l.OpsPerSecond, Failed: l.Failed, Unknown: l.Unknown, Unsent: l.Unsent, Expired: l.Expired, Window: int64(l.Window),
		},
		Latency:    Latencies{Response: FromHistogram(l.Response), Service: FromHistogram(l.Service), Lag: FromHistogram(l.Lag)},
		Histograms: histogramsOf(l),
	}
	if r.Config.ValueRatio == 0 {
		r.Config.ValueRatio = 1
	}
	if l.Reads.TotalCount() > 0 {
		reads := FromHistogram(l.Reads)
		r.Latency.Reads = &reads
	}
	reasons, notes := l.Judge(limits)
	for _, reason := range reasons {
		r.Invalidate("%s", reason)
	}
	r.Validity.Notes = notes
	for _, i := range l.Intervals {
		r.Intervals = append(r.Intervals, Interval{
			Start: i.Start, Length: i.Length, Ops: i.Ops, P50: i.P50, P99: i.P99, Max: i.Max, Mean: i.Mean,
			Failed: i.Failed, Unknown: i.Unknown, Outstanding: i.Outstanding, Waiting: i.Waiting,
		})
	}
	for _, e := range l.Errors {
		r.Errors = append(r.Errors, Error(e))
	}
	return r
}

// MeasureFaults fills in what each fault did, from the load's timeline: of Kind, Target, Nodes, At and Healed the
// caller tells. Faults are in the order in which they struck; what happens before the next one is laid at a fault's
// door.
func MeasureFaults(faults []Fault, l *load.Result) {
	for i := range faults {
		f := &faults[i]
		until := int64(l.Window)
		if i+1 < len(faults) {
			until = min(until, faults[i+1].At)
		}
		o := l.Timeline.Outage(f.At, until)
		f.Unavailable, f.Recovered = o.FirstSuccess, o.Recovered
		f.LongestGap, f.GapAt, f.RateBefore = o.LongestGap, o.GapAt, o.RateBefore
		f.UnavailableAfterHeal, f.FaultCost = Never, &FaultCost{RecoveredAfterHeal: Never}
		if f.Healed != Never && f.Healed < until {
			f.UnavailableAfterHeal = l.Timeline.Outage(f.Healed, until).FirstSuccess
			if o.Recovered != Never {
				f.RecoveredAfterHeal = max(f.At+o.Recovered-f.Healed, 0)
			}
		}
		f.count(l.Intervals, until)
	}
}

// count fills in what operations became of, and how much longer they took: from At to until.
func (f *Fault) count(all []load.Interval, until int64) {
	var before []load.Interval
	var during float64 // response times
	var ops uint64
	areaEnd := until
	if f.Healed != Never {
		areaEnd = min(until, f.Healed+AreaAfterHeal)
	}
	for _, i := range all {
		switch end := i.Start + i.Length; {
		case i.Start >= f.At-AreaBefore && i.Start >= 0 && end <= f.At:
			before = append(before, i)
		case end > f.At && i.Start < until: // the interval in which it strikes is in
			f.Failed, f.Unknown = f.Failed+i.Failed, f.Unknown+i.Unknown
			if i.Start < areaEnd {
				during, ops = during+float64(i.Ops)*float64(i.Mean), ops+i.Ops
			}
		}
	}
	if usual, ok := usualMean(before); ok {
		f.ExtraLatency = max(int64(during-float64(ops)*float64(usual)), 0)
	}
}

// usualMean is the median of the intervals' mean response times, each counted as often as it has operations: what the
// fault before left behind does not move it.
func usualMean(all []load.Interval) (int64, bool) {
	slices.SortFunc(all, func(a, b load.Interval) int { return cmp.Compare(a.Mean, b.Mean) })
	var ops, below uint64
	for _, i := range all {
		ops += i.Ops
	}
	for _, i := range all {
		if below += i.Ops; 2*below >= ops && below > 0 {
			return i.Mean, true
		}
	}
	return 0, false
}

// SetSafety enters the audit of every replica against the ledger, one entry each. Without any, safety stays
// unchecked. diverged: replicas or their logs contradict each other; the caller adds to Safety.Details how.
func (r *Result) SetSafety(audits []*load.Findings, diverged bool) {
	if len(audits) == 0 && !diverged {
		return
	}
	s := &r.Safety
	s.Replicas, s.Diverged, s.Verdict = len(audits), diverged, OK
	complete := true
	for i, f := range audits {
		s.Acked, s.Unknown = f.Acked, f.Unknown
		// A write that two replicas lack is one lost write.
		s.Lost, s.Duplicated, s.Wrong = max(s.Lost, f.Lost), max(s.Duplicated, f.Duplicated), max(s.Wrong, f.Wrong)
		complete = complete && f.Complete
		for _, d := range f.Details {
			s.Details = append(s.Details, fmt.Sprintf("replica %d: %s", i+1, d))
		}
		if !f.OK() {
			s.Verdict = Violated
		}
	}
	if diverged {
		s.Verdict = Violated
	}
	if !complete {
		r.Validity.Notes = append(r.Validity.Notes, "the audit could not exclude that writes of unknown outcome were doubled")
	}
}
