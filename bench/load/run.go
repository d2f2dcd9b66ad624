package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// run is one load under way.
//
// Times are nanoseconds since base, the start of the load:
//
//	0          measure                      stop
//	| warm-up  | measuring                  | draining ...
type run struct {
	config  *Config
	base    time.Time
	measure atomic.Int64 // with Config.Settle, the latest it can be until the rate has settled
	origin  int64        // of the times in a history: what measure is at first
	stop    atomic.Int64 // no operation due from here on is issued; never: Ops decides
	open    bool
	limited bool // Config.Ops is set

	blockSize  int
	blockLimit int

	workers  []*worker
	timeline *timeline
	sample   sample // of keys, for the history
	ledgerMu sync.Mutex
	ledger   *Ledger

	giveUp    atomic.Bool   // the drain took too long
	aborted   chan struct{} // closed: workers return at once
	abortOnce sync.Once     // closes aborted
	over      chan struct{} // closed: all workers have returned

	// The rest belongs to the goroutine of control.
	partial     bool
	known       bool // measure is final
	settling    settling
	complete    bool // Config.Ops, not the time, ended the load
	spare       *pulse
	sum         *pulse
	begun       int64 // start of the current interval
	intervals   []Interval
	stretches   stretches
	outstanding mean
	backlogPeak uint64
	backlogEnd  uint64
}

// mean is a running mean.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) { m.sum, m.n = m.sum+v, m.n+1 }

func (m *mean) value() float64 { return m.sum / float64(max(m.n, 1)) }

// Run drives the load and returns what it measured. There is one target per client.
//
// When ctx is cancelled, nothing more is issued, what is under way is waited for (Config.Drain), and the result is
// marked partial; closing Config.Abort ends that, too. Targets that still owed an outcome at the end of the drain are
// closed, the others stay open. An error means that nothing was run.
func Run(ctx context.Context, c Config, targets []Target) (*Result, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(targets) != c.Own() {
		return nil, fmt.Errorf("load: %d targets for %d clients", len(targets), c.Own())
	}
	r := newRun(&c, targets)
	r.start()
	r.control(ctx)
	return r.result(), nil
}

func newRun(c *Config, targets []Target) *run {
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, len(targets))
	if c.Conflict.On {
		workers = min(workers, len(targets)/2)
	}
	length := c.Duration
	if length == 0 {
		length = time.Hour
	}
	r := &run{
		config: c, origin: int64(c.Warmup + c.Settle), open: c.Rate > 0, limited: c.Ops > 0,
		blockSize: c.blockSize(), blockLimit: c.blockLimit(),
		timeline: newTimeline(c.Warmup + c.Settle + length + c.Drain), ledger: NewLedger(c.SM, c.Values, c.Keys),
		aborted: make(chan struct{}), over: make(chan struct{}), spare: newPulse(), sum: newPulse(),
	}
	r.measureFrom(r.origin)
	r.sample = newSample(c)
	for i := range workers {
		r.workers = append(r.workers, newWorker(r, i, workers, targets))
	}
	return r
}

// measureFrom sets when measuring begins. It is called before the workers start, and then at most once, well before the
// time: nobody has issued, or settled, what was due after it.
func (r *run) measureFrom(at int64) {
	r.measure.Store(at)
	r.stop.Store(never)
	if d := r.config.Duration; d > 0 {
		r.stop.Store(at + int64(d))
	}
}

// now is nanoseconds since the start of the load.
func (r *run) now() int64 { return int64(time.Since(r.base)) }

func (r *run) start() {
	r.base = time.Now()
	if !r.config.Begin.IsZero() {
		r.base = monotonic(r.config.Begin)
		time.Sleep(time.Until(r.base))
	}
	if r.config.Settle == 0 {
		r.tellStart()
	}
	var all sync.WaitGroup
	for _, w := range r.workers {
		all.Go(w.loop)
	}
	go func() {
		all.Wait()
		close(r.over)
	}()
}

// ClockSlack is how far the clocks of processes on one machine that were given the same Begin may be apart.
const ClockSlack = 100 * time.Microsecond

// monotonic finds the moment of a wall clock's time on this process's own clock. A reading of both in which something came in
// between shows the moment too late, so the earliest of several is the best.
func monotonic(wall time.Time) time.Time {
	var at time.Time
	for i := range 16 {
		now := time.Now()
		if t := now.Add(wall.Round(0).Sub(now.Round(0))); i == 0 || t.Before(at) {
			at = t
		}
	}
	return at
}

// tellStart tells when measuring begins, once that is known.
func (r *run) tellStart() {
	r.known = true
	if r.config.Started != nil {
		r.config.Started(r.base.Add(time.Duration(r.measure.Load())))
	}
}

// control watches over the load until all workers have returned.
func (r *run) control(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	cancelled, abort := ctx.Done(), r.config.Abort
	end := func() {
		abort, r.partial = nil, true
		r.stop.Store(min(r.stop.Load(), r.now())) // what would have been due later is not missing
		r.abortOnce.Do(func() { close(r.aborted) })
	}
	deadline := int64(never) // of the drain, then of the closing of targets
	for {
		now, stop := r.now(), r.stop.Load()
		if deadline == never && (now >= stop || r.allIssued()) {
			r.complete = now < stop
			deadline = now + int64(r.config.Drain)
			r.backlogEnd = r.backlog()
		}
		if now >= deadline {
			if r.giveUp.Swap(true) {
				end()
				<-r.over
				r.finish()
				return
			}
			deadline = now + int64(closeWait)
		}
		boundary, wake := r.boundary(), deadline
		if stop > now {
			wake = min(wake, stop)
		}
		tick.Reset(time.Duration(min(boundary, wake) - now))
		select {
		case <-r.over:
			// All may have been issued and answered since the last look.
			r.complete = r.complete || deadline == never && r.now() < r.stop.Load()
			r.finish()
			return
		case <-tick.C:
			if now := r.now(); now >= boundary {
				r.interval(r.lastBoundary(boundary, now))
			}
		case <-cancelled:
			cancelled, r.partial = nil, true
			r.stop.Store(min(stop, r.now()))
		case <-abort:
			end()
		}
		for _, w := range r.workers {
			w.inbox.poke() // to see stop and giveUp, and to tell their backlog
		}
	}
}

// closeWait is how long targets may take to complete what they owe after they were closed.
const closeWait = 2 * time.Second

func (r *run) allIssued() bool {
	for _, w := range r.workers {
		if !w.rec.ended.Load() {
			return false
		}
	}
	return true
}

func (r *run) backlog() (n uint64) {
	for _, w := range r.workers {
		n += uint64(w.rec.backlog.Load())
	}
	return n
}

// boundary is where the current interval ends. Measuring begins with an interval; the one before may be short.
func (r *run) boundary() int64 {
	width := int64(r.config.Interval)
	if m := r.measure.Load(); r.begun < m {
		return min(r.begun+width, m)
	}
	return r.begun + width
}

// lastBoundary is where an interval ends that is closed at now although it could have been at first: what has completed
// since is in it. Closed at first all the same, and the next ones at once, it would have it in too short a time, and they
// nothing: on a machine that is too slow to close ten a second, a report was late by ever more. Of several generators all
// intervals must be the same.
func (r *run) lastBoundary(first, now int64) int64 {
	if r.begun < r.measure.Load() || r.config.Pulse != nil {
		return first
	}
	width := int64(r.config.Interval)
	return first + max(now-first, 0)/width*width
}

// Interval is what happened in a stretch of time: what completed in it, whenever it was due. The last one of a run, and
// the last one of a warm-up, may be short; one that was closed late is long.
type Interval struct {
	Start  int64 // nanoseconds from the start of measuring; below 0: warm-up; beyond Result.Window: draining
	Length int64 // nanoseconds

	Ops, Failed, Unknown uint64
	P50, P99, Max, Mean  int64 // response times of the acknowledged operations, nanoseconds

	Outstanding int    // operations under way at the end
	Waiting     uint64 // operations due and not sent at the end; open loop
}

// describe sets the response times.
func (i *Interval) describe(h *hdrhistogram.Histogram) {
	if i.Ops > 0 {
		i.P50, i.P99, i.Max, i.Mean = h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.Max(), int64(h.Mean())
	}
}

// interval closes the current interval at end.
func (r *run) interval(end int64) {
	i := Interval{Start: r.begun - r.measure.Load(), Length: end - r.begun}
	r.sum.reset()
	for _, w := range r.workers {
		p := w.rec.swap(r.spare)
		if dropped := r.sum.response.Merge(p.response); dropped != 0 {
			panic(fmt.Sprintf("BUG: load: %d samples dropped between histograms of equal range", dropped))
		}
		i.Ops, i.Failed, i.Unknown = i.Ops+p.ops, i.Failed+p.failed, i.Unknown+p.unknown
		p.reset()
		r.spare = p
		i.Outstanding += int(w.rec.outstanding.Load())
	}
	backlog := r.backlog()
	i.Waiting = backlog - min(backlog, uint64(i.Outstanding))
	r.backlogPeak = max(r.backlogPeak, backlog)
	i.describe(r.sum.response)
	if r.begun >= r.measure.Load() {
		r.intervals = append(r.intervals, i)
		r.stretches.add(i, r.sum.response)
		if end < r.stop.Load() {
			r.outstanding.add(float64(i.Outstanding))
		}
	}
	r.begun = end
	if !r.known {
		r.settle(i, end)
	}
	if r.config.Progress != nil {
		r.config.Progress(i)
	}
	if r.config.Pulse != nil {
		r.config.Pulse(&Pulse{Interval: i, Backlog: backlog, Response: Pack(r.sum.response)})
	}
}

// finish takes in what the workers left behind.
func (r *run) finish() {
	for _, w := range r.workers {
		w.collect()
		w.abandon()
		w.scribe.flush()
	}
	now := r.now()
	for r.boundary() <= now {
		r.interval(r.lastBoundary(r.boundary(), now))
	}
	r.interval(max(now, r.begun+1)) // also when no time has passed: there may be something in it
}
