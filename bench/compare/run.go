package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// Order is a run to be made.
type Order struct {
	Side     int // 0: A, 1: B
	Lockstep bool
	Seed     uint64 // the same for both of a pair
	First    bool   // the first of all: it may probe the machine
}

// Runner carries out one run. When stop is closed it ends early, with a partial result or bench.ErrInterrupted.
type Runner func(ctx context.Context, stop <-chan struct{}, o Order) (*result.Result, error)

// Config describes an interleaved comparison.
type Config struct {
	Options
	Rounds int // pairs, at least
	// RoundsMax is up to how many pairs are made until one of the gates that are times detects a change of Detect;
	// no more than Rounds: it is not asked. When to stop depends on the width of an interval, not on where it lies.
	RoundsMax int
	// Limit is how long pairs are added to Rounds for that; 0: no limit. On a machine that is so busy that Detect cannot be
	// reached, more pairs cost minutes and hardly tell more; what they do tell is said with them.
	Limit    time.Duration
	Detect   float64
	Lockstep int // lockstep runs a side; 0: none
	Seed     uint64
	Labels   [2]string
	Run      Runner
	// Live, if set, makes the pairs: Slices a side, of two clusters in turns.
	Live   Opener
	Slices int
	Stop   <-chan struct{}
	// Log, if set, is told what happens.
	Log func(format string, args ...any)
}

// roundsMax is the bound of usable pairs, triesMax that of all: invalid ones are run anew, a half more and two.
// late says that the time for further pairs is over.
func (c *Config) late(begun time.Time) bool { return c.Limit > 0 && time.Since(begun) >= c.Limit }

func (c *Config) roundsMax() int { return max(c.Rounds, c.RoundsMax) }
func (c *Config) triesMax() int  { return c.roundsMax()*3/2 + 2 }

// warmups is the pairs that are run and thrown away: the first runs of a machine that was idle find its caches cold
// and its clock slow.
const warmups = 1

// Run makes the runs, A B, B A, A B ..., so that a drift of the machine hits both sides alike, and judges them. A
// pair of which one is invalid is left out and repeated. An error means that there is no report.
func Run(ctx context.Context, c Config) (*Report, error) {
	d := &driver{Config: c}
	err := d.all(ctx)
	if err != nil && !errors.Is(err, bench.ErrInterrupted) || len(d.sets.A) == 0 && errors.Is(err, bench.ErrInterrupted) {
		return nil, err
	}
	r := Judge(d.sets, c.Options)
	r.Paired, r.LabelA, r.LabelB, r.Seed, r.Notes = true, c.Labels[0], c.Labels[1], c.Seed, d.notes
	r.Partial = err != nil
	return r, nil
}

type driver struct {
	Config
	sets    Sets
	notes   []string
	begun   bool
	invalid [2]int
	why     string // the last reason for an invalid run
}

// errViolated ends the runs: there is nothing more to find out.
var errViolated = errors.New("compare: safety violated")

func (d *driver) all(ctx context.Context) error {
	d.sets.Paired = true
	err := d.pairs(ctx)
	if d.invalid != [2]int{} {
		d.notes = append(d.notes, fmt.Sprintf("left out with their pairs as invalid: %d runs of A, %d of B; the last because: %s", d.invalid[0], d.invalid[1], d.why))
	}
	if errors.Is(err, errViolated) {
		return nil
	}
	return err
}

func (d *driver) pairs(ctx context.Context) error {
	for i := range warmups {
		if d.Live != nil {
			break // each of its pairs has its own
		}
		if _, err := d.pair(ctx, "warm-up", i, false, d.Seed); err != nil {
			return err
		}
	}
	for i := range d.Lockstep {
		pair, err := d.pair(ctx, fmt.Sprintf("lockstep %d/%d", i+1, d.Lockstep), i, true, d.Seed+uint64(i))
		if err != nil {
			return err
		}
		d.sets.LockA, d.sets.LockB = append(d.sets.LockA, pair[0]), append(d.sets.LockB, pair[1])
	}
	begun := time.Now()
	for i := 0; !d.enough() && i < d.triesMax(); i++ {
		if len(d.sets.A) >= d.Rounds && d.late(begun) {
			d.notes = append(d.notes, fmt.Sprintf("%d pairs were made in %s; none was added to detect a change of %.3g%%", len(d.sets.A), time.Since(begun).Round(time.Second), 100*d.Detect))
			break
		}
		name := fmt.Sprintf("pair %d", len(d.sets.A)+1)
		make := func() ([2]*result.Result, error) { return d.pair(ctx, name, i, false, d.Seed+uint64(i)) }
		if d.Live != nil {
			make = func() ([2]*result.Result, error) { return d.live(ctx, name, i, d.Seed+uint64(i)) }
		}
		pair, err := make()
		if err != nil {
			return err
		}
		if d.usable(pair) {
			d.sets.A, d.sets.B = append(d.sets.A, pair[0]), append(d.sets.B, pair[1])
		}
	}
	return nil
}

// enough says whether the pairs suffice.
func (d *driver) enough() bool {
	n := len(d.sets.A)
	if n < d.Rounds || n >= d.roundsMax() {
		return n >= d.Rounds
	}
	for _, m := range Judge(d.sets, d.Options).Metrics {
		if m.Gate && m.Detectable != nil && *m.Detectable <= d.Detect {
			return true
		}
	}
	return false
}

// violated takes a pair of which one side violated safety out of the comparison, and ends it.
func (d *driver) violated(name string, pair [2]*result.Result) error {
	for side, r := range pair {
		if r == nil || !r.Violates() {
			continue
		}
		d.log("%s: %c violated safety", name, 'A'+side)
		if side == 0 {
			d.sets.LockA = append(d.sets.LockA, r)
		} else {
			d.sets.LockB = append(d.sets.LockB, r)
		}
		return errViolated
	}
	return nil
}

// usable notes invalid runs.
func (d *driver) usable(pair [2]*result.Result) bool {
	ok := true
	for side, r := range pair {
		if r.Validity.Verdict == result.Invalid {
			ok = false
			d.invalid[side]++
			d.why = fmt.Sprint(r.Validity.Reasons)
			d.log("  %c is invalid, the pair is left out: %s", 'A'+side, r.Validity.Reasons)
		}
	}
	return ok
}

// pair runs both sides; in odd rounds B goes first.
func (d *driver) pair(ctx context.Context, name string, round int, lockstep bool, seed uint64) (pair [2]*result.Result, err error) {
	for k := range pair {
		side := (k + round) % 2
		r, err := d.Run(ctx, d.Stop, Order{Side: side, Lockstep: lockstep, Seed: seed, First: !d.begun})
		if err != nil {
			if errors.Is(err, bench.ErrInterrupted) {
				return pair, err
			}
			return pair, fmt.Errorf("side %c: %w", 'A'+side, err)
		}
		d.begun = true
		pair[side] = r
		if err := d.violated(name, pair); err != nil {
			return pair, err
		}
		if r.Partial {
			return pair, bench.ErrInterrupted
		}
	}
	a, b := pair[0], pair[1]
	if lockstep {
		d.log("%s: A %.3g fsyncs and %.4g log bytes per command, B %.3g and %.4g", name, a.Cost.Fsyncs, a.Cost.WALBytes, b.Cost.Fsyncs, b.Cost.WALBytes)
	} else {
		d.log("%s: A %s ops/s, p99 %s; B %s ops/s, p99 %s", name, result.Count(a.Throughput.OpsPerSec), result.Duration(a.Latency.Response.P99),
			result.Count(b.Throughput.OpsPerSec), result.Duration(b.Latency.Response.P99))
	}
	return pair, nil
}

func (d *driver) log(format string, args ...any) {
	if d.Log != nil {
		d.Log(format, args...)
	}
}
