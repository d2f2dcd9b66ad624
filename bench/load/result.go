package load

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a load measured. Times are nanoseconds from Started.
type Result struct {
	Config Config // with all defaults

	Partial bool // cancelled before its end
	Started time.Time
	// With Config.Settle: how long the warm-up was when the rate had settled; or that it had not when measuring began.
	Settled   time.Duration
	Unsettled bool

	Window time.Duration // the measuring window; up to the last acknowledgement if Config.Ops ended the load

	// Operations acknowledged within the window, and the same per second.
	Ops          uint64
	OpsPerSecond float64

	// Operations that were due within the window and certainly not done, may be done, or never sent because the drain
	// ended first.
	Failed  uint64
	Unknown uint64
	Unsent  uint64
	Expired uint64 // given up in the generator after Config.Patience

	// Latencies of the operations that were due within the window and acknowledged, whenever that was. Response is
	// from due to acknowledged, Service from sent to acknowledged, Lag from due to sent. In a closed loop an
	// operation is due when it is sent: Response and Service are the same and Lag is empty.
	Response *hdrhistogram.Histogram
	Service  *hdrhistogram.Histogram
	Lag      *hdrhistogram.Histogram
	Reads    *hdrhistogram.Histogram // response times of reads, also within Response

	// OwnLag is the part of Lag that is the generator's own doing: from due, or from when the target last made room,
	// to sent.
	OwnLag *hdrhistogram.Histogram

	OutOfRange uint64 // samples clamped to the range of a histogram
	Refused    uint64 // acknowledged commands whose result says that the state machine did not execute them

	Intervals []Interval // measuring and draining
	Stretches []Stretch  // the same time and acknowledgements, in fewer pieces, with full distributions
	Timeline  *Timeline
	Ledger    *Ledger

	OutstandingMean float64 // operations under way, sampled at the ends of the intervals in the window
	BacklogPeak     uint64  // most operations due without outcome, sampled likewise
	BacklogEnd      uint64  // the same when the window ended

	Errors []ErrorCount // most frequent first

	Generators []Generator // of a load that several processes made
}

// ErrorCount is how many operations ended with an error.
type ErrorCount struct {
	Text  string
	Count uint64
}

// result is called after finish.
func (r *run) result() *Result {
	out := &Result{
		Config: *r.config, Partial: r.partial, Started: r.base.Add(time.Duration(r.measure.Load())),
		Settled: r.settling.after, Unsettled: r.config.Settle > 0 && r.settling.after == 0,
		Response: NewHistogram(), Service: NewHistogram(), Lag: NewHistogram(), Reads: NewHistogram(), OwnLag: NewHistogram(),
		Intervals: r.intervals, Stretches: r.stretches.done, Timeline: r.timeline.export(r.measure.Load()), Ledger: r.ledger,
		OutstandingMean: r.outstanding.value(), BacklogPeak: max(r.backlogPeak, r.backlogEnd), BacklogEnd: r.backlogEnd,
	}
	errs := make(map[string]uint64)
	var last int64
	for _, w := range r.workers {
		rec := w.rec
		out.Ops += rec.ops
		out.Failed += rec.failed
		out.Unknown += rec.unknown
		out.OutOfRange += rec.outRange
		out.Refused += rec.refused
		last = max(last, rec.last)
		merge(out.Response, rec.response)
		merge(out.Service, rec.service)
		merge(out.Lag, rec.lag)
		merge(out.Reads, rec.read)
		merge(out.OwnLag, rec.own)
		for text, n := range rec.errors {
			errs[text] += n
		}
		for _, d := range w.drivers {
			out.Unsent += d.unsent
			out.Expired += d.expired
		}
	}
	stop := r.stop.Load()
	if r.complete {
		// The rest of Config.Duration was not measured: counted in, it would make any rate as low as one likes.
		stop = min(stop, last)
	}
	out.Window = time.Duration(max(stop-r.measure.Load(), 0))
	if out.Window > 0 {
		out.OpsPerSecond = float64(out.Ops) / out.Window.Seconds()
	}
	out.Errors = sortErrors(errs)
	return out
}

func sortErrors(errs map[string]uint64) (out []ErrorCount) {
	for text, n := range errs {
		out = append(out, ErrorCount{text, n})
	}
	slices.SortFunc(out, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return out
}

// merge adds a worker's histogram, if there is one. Nothing can be lost: the ranges are equal.
func merge(into, from *hdrhistogram.Histogram) {
	if from == nil {
		return
	}
	if dropped := into.Merge(from); dropped != 0 {
		panic(fmt.Sprintf("BUG: load: %d samples dropped between histograms of equal range", dropped))
	}
}
