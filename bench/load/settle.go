package load

import (
	"math"
	"time"
)

// A rate has settled when its mean over settleTime differs by no more than settleShare from that over the settleTime
// before. The two are compared, and not single intervals with a mean: those vary by what they catch of a batch or a
// collection of garbage, and go on doing so.
const (
	settleTime  = time.Second
	settleShare = 0.05
)

// settling watches the rate of a warm-up.
type settling struct {
	intervals []Interval
	after     time.Duration // how long it took; 0: it has not settled
}

// add takes an interval and says whether the rate has settled by its end.
func (s *settling) add(i Interval) bool {
	s.intervals = append(s.intervals, i)
	recent, rest, ok := rateBefore(s.intervals)
	if !ok {
		return false
	}
	before, _, ok := rateBefore(rest)
	return ok && recent > 0 && math.Abs(before/recent-1) <= settleShare
}

// rateBefore is the operations per second of the last settleTime, and the intervals before it. ok: there were so many.
func rateBefore(intervals []Interval) (rate float64, rest []Interval, ok bool) {
	ops, length := uint64(0), int64(0)
	for n := len(intervals); n > 0 && length < int64(settleTime); n-- {
		ops, length = ops+intervals[n-1].Ops, length+intervals[n-1].Length
		rest = intervals[:n-1]
	}
	return float64(ops) / float64(length) * 1e9, rest, length >= int64(settleTime)
}

// settle decides, at the end of an interval of the warm-up, when measuring begins: two intervals on, so that everybody
// knows before it does.
func (r *run) settle(i Interval, end int64) {
	settled := r.settling.add(i) && end >= int64(r.config.Warmup)
	ahead := 2 * int64(r.config.Interval)
	latest := r.origin
	begin := end + ahead
	for begin <= r.now() { // we come late, and must not begin in the past
		begin += ahead
	}
	switch {
	case settled && begin < latest:
		r.settling.after = time.Duration(end)
		r.measureFrom(begin)
	case settled:
		r.settling.after = time.Duration(end)
	case begin < latest:
		return
	}
	r.tellStart()
}
