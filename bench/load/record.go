package load

import (
	"runtime"
	"sort"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencyMax bounds what a histogram holds: an hour. What lies beyond, or below 0, is clamped and counted.
const latencyMax = int64(time.Hour)

// NewHistogram makes a histogram as all latencies of a load are kept in: 1 ns to 1 h, three significant digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, latencyMax, 3) }

// put records v n times; false: it was out of range and clamped.
func put(h *hdrhistogram.Histogram, v int64, n int) bool {
	in := min(max(v, 0), latencyMax)
	if err := h.RecordValues(in, int64(n)); err != nil {
		panic("BUG: load: " + err.Error())
	}
	return in == v
}

// recorder keeps the figures of one worker. The worker owns it while it runs, except for the atomics.
//
// Operations count as measured if they were due within the measuring window, whenever they completed. The window's
// throughput and the intervals count what completed in it, whenever it was due. In a steady state the two agree; after
// a fault each shows what the other hides.
type recorder struct {
	run *run

	response *hdrhistogram.Histogram // acknowledged and measured: done - due
	service  *hdrhistogram.Histogram // done - sent
	lag      *hdrhistogram.Histogram // sent - due; open loop
	read     *hdrhistogram.Histogram // response of reads; nil until there is one
	own      *hdrhistogram.Histogram // ownLag; open loop

	ops      uint64 // acknowledged within the window
	last     int64  // last acknowledgement
	failed   uint64 // measured
	unknown  uint64 // measured
	outRange uint64 // clamped samples
	refused  uint64 // commands whose result makes no sense
	errors   map[string]uint64

	// live is the record of the current interval. Whoever swaps it out owns it: the worker takes it for the time it
	// needs to enter a round of completions and puts it back; the collector takes it for good and leaves an empty
	// one. The worker never waits.
	live atomic.Pointer[pulse]
	held *pulse // by the worker, between begin and end

	outstanding atomic.Int64 // operations under way
	backlog     atomic.Int64 // operations due without outcome
	ended       atomic.Bool  // everything was issued
}

// pulse is what completed in one interval.
type pulse struct {
	response             *hdrhistogram.Histogram
	ops, failed, unknown uint64
}

func newPulse() *pulse { return &pulse{response: NewHistogram()} }

func (p *pulse) reset() {
	p.response.Reset()
	p.ops, p.failed, p.unknown = 0, 0, 0
}

func newRecorder(r *run) *recorder {
	rec := &recorder{run: r, response: NewHistogram(), service: NewHistogram(), errors: make(map[string]uint64)}
	if r.open {
		rec.lag, rec.own = NewHistogram(), NewHistogram()
	}
	rec.live.Store(newPulse())
	return rec
}

func (r *recorder) begin() { r.held = r.live.Swap(nil) }

func (r *recorder) end() {
	r.live.Store(r.held)
	r.held = nil
}

// swap takes the current interval's record and leaves an empty one.
func (r *recorder) swap(empty *pulse) *pulse {
	for {
		if p := r.live.Load(); p != nil && r.live.CompareAndSwap(p, empty) {
			return p
		}
		runtime.Gosched() // the worker is entering a round
	}
}

// record enters a completed flight, between begin and end.
func (r *recorder) record(f *flight) {
	switch f.outcome {
	case Done:
		r.recordDone(f)
		return
	case Failed:
		r.held.failed += uint64(f.count)
		r.failed += r.measured(f)
	case Unknown:
		r.held.unknown += uint64(f.count)
		r.unknown += r.measured(f)
	}
	if f.err != nil {
		text := f.err.Error()
		if _, known := r.errors[text]; known || len(r.errors) < errorsMax {
			r.errors[text] += uint64(f.count)
		}
	}
}

// measured is how many operations of a flight were due within the window.
func (r *recorder) measured(f *flight) uint64 {
	if len(f.intended) == 0 {
		if f.round >= r.run.measure.Load() {
			return uint64(f.count)
		}
		return 0
	}
	return uint64(len(f.intended) - r.firstMeasured(f))
}

func (r *recorder) firstMeasured(f *flight) int {
	if f.intended[0] >= r.run.measure.Load() {
		return 0
	}
	return sort.Search(len(f.intended), func(i int) bool { return f.intended[i] >= r.run.measure.Load() })
}

func (r *recorder) recordDone(f *flight) {
	r.held.ops += uint64(f.count)
	r.last = max(r.last, f.done)
	if f.done >= r.run.measure.Load() && f.done < r.run.stop.Load() {
		r.ops += uint64(f.count)
	}
	r.refused += uint64(f.refused)
	r.run.timeline.add(f.done, f.count)
	if r.run.open {
		r.recordOpen(f)
		return
	}
	r.run.timeline.due(f.sent, f.done)
	put(r.held.response, f.done-f.sent, f.count)
	if f.round < r.run.measure.Load() {
		return
	}
	r.keep(r.response, f.done-f.sent, f.count)
	r.keep(r.service, f.done-f.sent, f.count)
	r.recordReads(f, f.sent, f.reads)
}

// recordOpen enters a flight whose operations were due at times of their own.
func (r *recorder) recordOpen(f *flight) {
	from := r.firstMeasured(f)
	for i, due := range f.intended {
		if i == 0 || !r.run.timeline.sameBucket(due, f.intended[i-1]) {
			r.run.timeline.due(due, f.done)
		}
		put(r.held.response, f.done-due, 1)
		if i >= from {
			r.keep(r.response, f.done-due, 1)
			r.keep(r.lag, f.sent-due, 1)
		}
	}
	if n := f.count - from; n > 0 {
		r.keep(r.service, f.done-f.sent, n)
		r.recordReads(f, f.intended[f.count-1], min(f.reads, n))
	}
}

// recordReads enters n reads of a flight as due at due: a block does not tell which of its operations are the reads,
// and a query is alone in its flight.
func (r *recorder) recordReads(f *flight, due int64, n int) {
	if n == 0 {
		return
	}
	if r.read == nil {
		r.read = NewHistogram()
	}
	r.keep(r.read, f.done-due, n)
}

// ownLag notes how late the measured operations of a flight are sent without the target being the cause: against the
// time due or, if that was later, the time at which the target made room. A clock that was read for the whole round
// may lie before that time; that is no lag.
func (r *recorder) ownLag(f *flight, freed int64) {
	for _, due := range f.intended[r.firstMeasured(f):] {
		r.keep(r.own, max(f.sent-max(due, freed), 0), 1)
	}
}

func (r *recorder) keep(h *hdrhistogram.Histogram, v int64, n int) {
	if !put(h, v, n) {
		r.outRange += uint64(n)
	}
}

// errorsMax bounds the different error texts that are kept.
const errorsMax = 16
