package load

import (
	"slices"
	"time"
)

// Outage is what a fault at a known time did to the successes of a run. Durations are nanoseconds; Never stands for
// "not within the record".
type Outage struct {
	// FirstSuccess is from the fault to the first acknowledgement of an operation that was due (closed loop: sent)
	// after it. Acknowledgements of what was under way before do not count: they may have left the cluster already.
	FirstSuccess int64

	// LongestGap is the longest time without any acknowledgement that ends after the fault, and GapAt is when it
	// began. Where a fault takes effect late, or the service goes away twice, it says more than FirstSuccess; at a
	// low rate it is no shorter than the time between two operations.
	LongestGap int64
	GapAt      int64

	// Recovered is from the fault to the start of the first sliding window (RateWindow) whose rate is back to 95% of
	// RateBefore. 0: the rate never fell. If it fell below a half of RateBefore within FallWithin of the fault, windows
	// before that do not count; a fall that begins later is not this fault's.
	Recovered int64

	// RateBefore is the median rate of the windows before the fault, in operations per second.
	RateBefore float64
}

// Never stands in an Outage for what did not happen within the record.
const Never = -1

// RateWindow is the length of the sliding window in which Outage takes rates.
const RateWindow = 100 * time.Millisecond

// FallWithin is how long after a fault a fall of the rate may begin and still be its effect: longer than any failure
// detection here.
const FallWithin = 2 * time.Second

const (
	beforeMax      = 5 * time.Second // how far back RateBefore looks
	recoveredShare = 0.95
	fallenShare    = 0.5
)

// Outage reads from the timeline what a fault at at did, looking no further than until: the next fault, the heal, or
// the end. Both are nanoseconds from the start of measuring. The resolution is Width; roundings make an outage longer,
// by up to one Width, never shorter.
func (t *Timeline) Outage(at, until int64) Outage {
	o := Outage{FirstSuccess: Never, Recovered: Never}
	until = min(until, t.end())
	t.firstSuccess(&o, at, until)
	t.longestGap(&o, at, until)
	t.recovered(&o, at, until)
	return o
}

func (t *Timeline) end() int64 { return t.Start + int64(len(t.Done))*t.Width }

// bucket is the first bucket that begins at or after a time.
func (t *Timeline) bucket(at int64) int {
	n := (at - t.Start + t.Width - 1) / t.Width
	return int(min(max(n, 0), int64(len(t.Done))))
}

func (t *Timeline) start(bucket int) int64 { return t.Start + int64(bucket)*t.Width }

func (t *Timeline) firstSuccess(o *Outage, at, until int64) {
	first := int64(NoSuccess)
	for i := t.bucket(at); i < t.bucket(until) && t.start(i) < first; i++ {
		first = min(first, t.First[i])
	}
	if first < until {
		o.FirstSuccess = first - at
	}
}

// longestGap looks at gaps between buckets with a success; one that has not ended at until counts up to there.
func (t *Timeline) longestGap(o *Outage, at, until int64) {
	from, to := t.bucket(at), t.bucket(until)
	last := from - 1 // the bucket of the last success before
	for last >= 0 && t.Done[last] == 0 {
		last--
	}
	gap := func(next int, end int64) {
		begin := t.start(max(last, 0))
		if next > last+1 && end-begin > o.LongestGap {
			o.LongestGap, o.GapAt = end-begin, begin
		}
	}
	for i := from; i < to; i++ {
		if t.Done[i] > 0 {
			gap(i, t.start(i+1)) // from the start of one bucket to the end of the other: not shorter than it was
			last = i
		}
	}
	if to > from {
		gap(to, t.start(to))
	}
}

// recovered slides a window over the buckets. Windows before the fault give the rate to come back to: up to 5 s of
// them, from warm-up only if measuring has not lasted ten windows yet.
func (t *Timeline) recovered(o *Outage, at, until int64) {
	width := max(int(int64(RateWindow)/t.Width), 1)
	from, to := t.bucket(at), t.bucket(until)
	back := max(from-int(int64(beforeMax)/t.Width), 0)
	if measure := t.bucket(0); from-measure >= 10*width {
		back = max(back, measure)
	}
	before := t.windows(back, from-width, width)
	if len(before) == 0 {
		return
	}
	slices.Sort(before)
	median := before[len(before)/2]
	o.RateBefore = float64(median) / (float64(width) * float64(t.Width) / 1e9)
	if median == 0 {
		return
	}
	after := t.windows(from, to-width, width)
	early := after[:min(len(after), int(int64(FallWithin)/t.Width))]
	start := slices.IndexFunc(early, func(n uint64) bool { return float64(n) < fallenShare*float64(median) })
	start = max(start, 0)
	for i, n := range after[start:] {
		if float64(n) >= recoveredShare*float64(median) {
			if start+i == 0 {
				o.Recovered = 0
			} else {
				o.Recovered = t.start(from+start+i) - at
			}
			return
		}
	}
}

// windows counts the successes in each window of width buckets that begins in [from, to].
func (t *Timeline) windows(from, to, width int) []uint64 {
	if to < from {
		return nil
	}
	out := make([]uint64, 0, to-from+1)
	var n uint64
	for i := from; i < from+width; i++ {
		n += uint64(t.Done[i])
	}
	for i := from; ; i++ {
		out = append(out, n)
		if i == to {
			return out
		}
		n += uint64(t.Done[i+width]) - uint64(t.Done[i])
	}
}
