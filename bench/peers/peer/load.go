package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/peerstable"
)

// Load is a closed loop: Outstanding operations of Count commands each are under way at any moment, for Length. With a Rate
// it is an open loop: so many operations a second, evenly spread, as long as no more than Outstanding are under way; an
// operation that has to wait for that is late, and its latency counts from when it was due.
type Load struct {
	Outstanding int           `json:"outstanding"` // operations
	Count       int           `json:"count"`       // commands per operation
	Size        int           `json:"size"`        // bytes per command, at least 8
	Length      time.Duration `json:"length_ns"`
	Rate        float64       `json:"rate,omitempty"` // operations a second; 0: closed loop
}

// Times sums up the latencies of a load.
type Times = peerstable.Times

// Result is what a load measured.
type Result struct {
	Commands  uint64  `json:"commands"` // completed, those that the end of the load waited for included
	Failed    uint64  `json:"failed"`   // commands; their latencies are nowhere
	Error     string  `json:"error,omitempty"`
	PerSecond float64 `json:"commands_per_s"` // completed within Length
	Latency   Times   `json:"latency_ns"`     // of those
}

const (
	// drainLimit is how long the end of a load waits for what is under way.
	drainLimit = 20 * time.Second
	// clockEvery operations the load reads the clock for the next ones: a reading costs as much as the rest of its
	// work for an operation.
	clockEvery = 16
)

// ErrStuck: operations did not complete.
var ErrStuck = errors.New("peer: operations without an outcome")

type load struct {
	Load
	replica Replica
	inbox   inbox
	ops     []Op
	latency *hdrhistogram.Histogram
	number  uint64
	within  uint64 // commands completed before the end
	end     int64
	free    *Op // open loop: not under way
	result  Result
}

// Run drives r, which leads, and waits until everything has an outcome. base is the number of the first operation: no two
// operations in the life of a cluster should have the same, because the digest is over the numbers.
func Run(r Replica, l Load, base uint64) (Result, error) {
	if loader, ok := r.(Loader); ok {
		return loader.Load(l)
	}
	if l.Outstanding < 1 || l.Count < 1 || l.Size < 8 || l.Rate < 0 {
		return Result{}, fmt.Errorf("peer: a load of %d operations of %d commands of %d bytes", l.Outstanding, l.Count, l.Size)
	}
	g := &load{
		Load: l, replica: r, ops: make([]Op, l.Outstanding), number: base,
		latency: hdrhistogram.New(1, int64(time.Hour), 3),
	}
	g.inbox.wake = make(chan struct{}, 1)
	payload := make([]byte, l.Outstanding*l.Count*l.Size)
	for i := range payload {
		payload[i] = byte(i*131) ^ byte(i>>8) // not zero, in case somebody compresses
	}
	for i := range g.ops {
		o := &g.ops[i]
		o.Count, o.inbox = l.Count, &g.inbox
		o.Payload, payload = payload[:l.Count*l.Size:l.Count*l.Size], payload[l.Count*l.Size:]
		o.next, g.free = g.free, o
	}
	// The clock starts when all that is the load's own is done: making the operations of an open loop takes milliseconds, in which more
	// and more of them would have been due.
	start := Now()
	g.end = start + int64(l.Length)
	var err error
	if l.Rate > 0 {
		err = g.open(start)
	} else {
		err = g.loop()
	}
	g.finish()
	return g.result, err
}

func (g *load) propose(o *Op, now int64) {
	number(o, g.number)
	g.number++
	o.sent = now
	g.replica.Propose(o)
}

// loop proposes everything, takes completions and proposes again until the end, then waits for what is under way.
func (g *load) loop() error {
	var now int64
	for i := range g.ops {
		if i%clockEvery == 0 {
			now = Now()
		}
		g.propose(&g.ops[i], now)
	}
	timer := time.NewTimer(g.Length + drainLimit)
	defer timer.Stop()
	for left := g.Outstanding; left > 0; {
		list := g.inbox.take()
		if list == nil {
			select {
			case <-g.inbox.wake:
			case <-timer.C:
				return fmt.Errorf("%w: %d of %d after %s", ErrStuck, left, g.Outstanding, drainLimit)
			}
			continue
		}
		for i := 0; list != nil; i++ {
			o := list
			list = o.next
			g.record(o)
			if i%clockEvery == 0 {
				now = Now()
			}
			if now < g.end && g.result.Failed == 0 {
				g.propose(o, now)
			} else {
				left--
			}
		}
	}
	return nil
}

// openPause is how long an open loop sleeps when nothing is due: what the runtime's timers are good for.
const openPause = 50 * time.Microsecond

// open issues operations when they are due and takes completions until all are back.
func (g *load) open(start int64) error {
	gap := 1e9 / g.Rate
	total := int(g.Length.Seconds() * g.Rate)
	deadline := g.end + int64(drainLimit)
	for issued, back := 0, 0; back < issued || issued < total && g.result.Failed == 0; {
		for list := g.inbox.take(); list != nil; {
			o := list
			list = o.next
			g.record(o)
			o.next, g.free = g.free, o
			back++
		}
		now := Now()
		if now > deadline {
			return fmt.Errorf("%w: %d of %d after %s", ErrStuck, issued-back, issued, drainLimit)
		}
		due := min(total, int(float64(now-start)/gap)+1)
		for ; issued < due && g.free != nil && g.result.Failed == 0; issued++ {
			o := g.free
			g.free = o.next
			g.propose(o, start+int64(float64(issued)*gap))
		}
		time.Sleep(openPause)
	}
	return nil
}

func (g *load) record(o *Op) {
	if o.err != nil {
		if g.result.Failed == 0 {
			g.result.Error = o.err.Error()
		}
		g.result.Failed += uint64(g.Count)
		return
	}
	g.result.Commands += uint64(g.Count)
	if o.done < g.end {
		g.within += uint64(g.Count)
		// In range by construction: below an hour, and 0 counts as 1.
		_ = g.latency.RecordValue(max(1, o.done-o.sent))
	}
}

func (g *load) finish() {
	g.result.PerSecond = float64(g.within) / g.Length.Seconds()
	g.result.Latency = Times{
		P50: g.latency.ValueAtQuantile(50), P99: g.latency.ValueAtQuantile(99),
		P999: g.latency.ValueAtQuantile(99.9), Max: g.latency.Max(),
	}
}

// number makes an operation's payload its own.
func number(o *Op, n uint64) { binary.LittleEndian.PutUint64(o.Payload, n) }
