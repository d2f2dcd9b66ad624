package load

import (
	"fmt"
	"math"
	"time"
)

// Limits say when a result cannot be trusted. The zero value of a field means its default.
type Limits struct {
	// OwnLag and OwnLagShare: the generator is too slow when the p99 of its own lag exceeds OwnLag, default 1 ms, and
	// this share of the response p99, default a third. Response times count from when an operation was due, so the
	// lag makes them longer, never shorter.
	OwnLag      time.Duration
	OwnLagShare float64

	// Samples is the least number of latencies, default 1000: with fewer, the p99 rests on less than ten.
	Samples uint64

	// Little is how far throughput x mean latency may be from the operations under way, default 0.4: in a closed loop
	// the time the generator takes to replace an operation is missing from it, and an open loop's are a sample.
	Little float64

	// Drift is how far the rate of the last third of the window may be from that of the first, default 0.2. More is
	// worth a note; it does not invalidate.
	Drift float64

	// Faults tells that faults were injected: then a run need not be steady, and what only holds for a steady one is
	// not asked. So it is of a load with bursts.
	Faults bool
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.OwnLag, time.Millisecond)
	setDefault(&l.OwnLagShare, 1.0/3)
	setDefault(&l.Samples, 1000)
	setDefault(&l.Little, 0.4)
	setDefault(&l.Drift, 0.2)
	return l
}

// Judge says why the result is not valid, a sentence a reason; none: it is. Notes are worth knowing all the same.
// It depends on the result alone.
func (r *Result) Judge(l Limits) (reasons, notes []string) {
	l = l.withDefaults()
	l.Faults = l.Faults || len(r.Config.Bursts) > 0
	add := func(to *[]string, text string) {
		if text != "" {
			*to = append(*to, text)
		}
	}
	add(&reasons, r.samples(l))
	add(&reasons, r.saturated(l))
	add(&reasons, r.late(l))
	for i, g := range r.Generators {
		if used := g.CPU.Seconds() / r.Window.Seconds(); r.Window > 0 && used > busyCores*float64(g.Cores) {
			add(&reasons, fmt.Sprintf("generator saturated: process %d of %d used %.2f of the %d cores that it can use; use more --generators, or lower --rate", i+1, len(r.Generators), used, g.Cores))
		}
	}
	if r.OutOfRange > 0 {
		add(&reasons, fmt.Sprintf("%d latencies were outside the range of the histograms (%v) and were clamped", r.OutOfRange, time.Duration(latencyMax)))
	}
	if r.Refused > 0 {
		add(&reasons, fmt.Sprintf("the state machine did not execute %d acknowledged commands: the load does not fit --sm", r.Refused))
	}
	if len(r.Ledger.faults) > 0 {
		add(&reasons, "the client library broke its promises: "+r.Ledger.faults[0])
	}
	if r.Expired > 0 {
		add(&notes, fmt.Sprintf("%d operations were given up after they had waited %v to be sent", r.Expired, r.Config.Patience))
	}
	if r.Unsettled {
		add(&notes, fmt.Sprintf("the rate had not settled after %v of warm-up: over the last second it still differed from the one before by more than %.0f%%", r.Config.Warmup+r.Config.Settle, 100*settleShare))
	} else if r.Settled > 0 {
		add(&notes, fmt.Sprintf("the rate had settled after %v of warm-up", r.Settled.Round(100*time.Millisecond)))
	}
	if !l.Faults {
		add(&reasons, r.little(l))
		add(&notes, r.drift(l))
	}
	return reasons, notes
}

// busyCores is the share of its cores from which on a generator process is the limit.
const busyCores = 0.9

func (r *Result) samples(l Limits) string {
	n := uint64(r.Response.TotalCount())
	switch {
	case n == 0:
		return "no operation was acknowledged"
	case n < l.Samples:
		return fmt.Sprintf("too few samples: %d, at least %d are needed; run longer", n, l.Samples)
	}
	return ""
}

// saturated judges an open loop's backlog.
func (r *Result) saturated(l Limits) string {
	c := &r.Config
	if c.Rate == 0 {
		return ""
	}
	worth := func(n uint64) string { return fmt.Sprintf("%.1f s worth of the rate", float64(n)/c.Rate) }
	switch {
	case r.Unsent > 0:
		return fmt.Sprintf("generator saturated: %d operations that were due were never sent, for want of room (--inflight %d per client) or time; lower --rate or raise --inflight",
			r.Unsent, c.Inflight)
	case r.BacklogPeak > c.BacklogMax:
		return fmt.Sprintf("generator saturated: up to %d operations (%s) that were due had no outcome, the bound is %d; lower --rate",
			r.BacklogPeak, worth(r.BacklogPeak), c.BacklogMax)
	case !l.Faults && !r.Partial && float64(r.BacklogEnd) > max(0.1*c.Rate, 0.05*float64(r.Response.TotalCount())):
		return fmt.Sprintf("the rate was not sustained: when measuring ended, %d operations (%s) were due without outcome, so latencies depend on how long it was run; lower --rate",
			r.BacklogEnd, worth(r.BacklogEnd))
	}
	return ""
}

// late judges the lag that the generator causes itself.
func (r *Result) late(l Limits) string {
	if r.OwnLag.TotalCount() == 0 || r.Response.TotalCount() == 0 {
		return ""
	}
	own, response := r.OwnLag.ValueAtQuantile(99), r.Response.ValueAtQuantile(99)
	for _, g := range r.Generators { // the others must not hide one that is late
		own = max(own, g.OwnLag)
	}
	if own <= int64(l.OwnLag) || float64(own) <= l.OwnLagShare*float64(response) {
		return ""
	}
	return fmt.Sprintf("generator late: it sent operations up to %v (p99) after they were due without the target being the cause, of %v (p99) response time; lower --rate or give it more processor",
		time.Duration(own).Round(time.Microsecond), time.Duration(response).Round(time.Microsecond))
}

// little checks Little's law, operations under way = throughput x mean time in the system: the one relation between
// three numbers that are measured in three ways.
func (r *Result) little(l Limits) string {
	mean := r.Service.Mean()
	bad := float64(r.Failed + r.Unknown + r.Unsent + r.Expired)
	steady := r.Window > 0 && !r.Partial && float64(r.Window) >= 20*mean && bad <= 0.01*float64(r.Ops)
	if !steady || r.Ops == 0 {
		return ""
	}
	through := r.OpsPerSecond * mean / 1e9
	if r.Config.Rate > 0 {
		if r.OutstandingMean < 16 || len(r.Intervals) < 20 || math.Abs(through/r.OutstandingMean-1) <= l.Little {
			return "" // with few under way, or few samples, chance alone explains the difference
		}
		return fmt.Sprintf("Little's law does not hold: throughput x mean service time is %.0f, but %.0f operations were under way", through, r.OutstandingMean)
	}
	asked := float64(r.Config.Clients * r.Config.Inflight)
	if uint64(asked)*4 > r.Ops || math.Abs(through/asked-1) <= l.Little {
		return ""
	}
	if r.Config.Conflict.On && through >= asked/2*(1-l.Little) && through < asked {
		return "" // half of the clients are rivals, silent between their blocks
	}
	if through < asked {
		return fmt.Sprintf("generator saturated: it was to keep %.0f operations under way and kept %.0f (throughput x mean latency); use fewer --clients or less --inflight",
			asked, through)
	}
	return fmt.Sprintf("Little's law does not hold: throughput x mean latency is %.0f, but %.0f operations were under way", through, asked)
}

// drift compares the first and the last third of the window.
func (r *Result) drift(l Limits) string {
	rates := r.Rates()
	third := len(rates) / 3
	if third < 3 {
		return ""
	}
	first, last := average(rates[:third]), average(rates[len(rates)-third:])
	if first == 0 || math.Abs(last/first-1) <= l.Drift {
		return ""
	}
	return fmt.Sprintf("not steady: the rate went from %.0f/s in the first third to %.0f/s in the last; a longer --warmup may help", first, last)
}

// Rates is the throughput of each whole interval within the window, in operations per second.
func (r *Result) Rates() []float64 {
	var out []float64
	for _, i := range r.Intervals {
		if i.Start+i.Length <= int64(r.Window) && i.Length >= int64(r.Config.Interval) {
			out = append(out, float64(i.Ops)/float64(i.Length)*1e9)
		}
	}
	return out
}

func average(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
