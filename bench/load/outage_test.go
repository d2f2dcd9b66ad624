package load

import (
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// series makes a timeline of a rate per millisecond: each operation is acknowledged delay after it was due, and
// nothing is acknowledged in the holes, at whose end everything due in them is.
func series(length int64, perMs func(i int64) uint32, holes ...[2]int64) *Timeline {
	t := &Timeline{Width: ms, Done: make([]uint32, length), First: make([]int64, length)}
	for i := range length {
		t.First[i] = NoSuccess
	}
	for i := range length {
		at := i
		for _, h := range holes {
			if at >= h[0] && at < h[1] {
				at = h[1]
			}
		}
		n := perMs(i)
		if n == 0 || at >= length {
			continue
		}
		t.Done[at] += n
		t.First[i] = at * ms
	}
	return t
}

func constant(n uint32) func(int64) uint32 { return func(int64) uint32 { return n } }

// within allows for the rounding that Timeline.Outage documents: never shorter, at most two buckets longer.
func within(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got < want || got > want+2*ms {
		t.Errorf("%s = %v, want %v", what, time.Duration(got), time.Duration(want))
	}
}

// The unavailability is the number the failover benchmark is about. It would show as one that is too short: an
// acknowledgement of something sent before the fault taken for a sign of life, or a gap overlooked.
func TestOutageOfLeaderLoss(t *testing.T) {
	o := series(20_000, constant(3), [2]int64{5000, 5700}).Outage(5000*ms, 20_000*ms)
	within(t, "first success", o.FirstSuccess, 700*ms)
	within(t, "longest gap", o.LongestGap, 700*ms)
	if o.GapAt != 4999*ms {
		t.Errorf("gap at %v", time.Duration(o.GapAt))
	}
	// The backlog comes at once at 5700: the first window that holds it begins 99 ms before.
	within(t, "recovered", o.Recovered, 601*ms)
	if o.RateBefore != 3000 {
		t.Errorf("rate before %g", o.RateBefore)
	}
}

// What was under way at the fault is acknowledged a little later; that is no success after the fault.
func TestOutageIgnoresRepliesUnderWay(t *testing.T) {
	tl := series(10_000, constant(1), [2]int64{5000, 5500})
	tl.Done[5003] += 5 // due at 4999
	o := tl.Outage(5000*ms, 10_000*ms)
	within(t, "first success", o.FirstSuccess, 500*ms)
	within(t, "longest gap", o.LongestGap, 497*ms)
}

// A fault that bites late: the first success comes at once, the gap tells.
func TestOutageThatComesLate(t *testing.T) {
	o := series(10_000, constant(2), [2]int64{5300, 5800}).Outage(5000*ms, 10_000*ms)
	within(t, "first success", o.FirstSuccess, 0)
	within(t, "longest gap", o.LongestGap, 500*ms)
	within(t, "recovered", o.Recovered, 701*ms)
}

func TestOutageWithoutEffect(t *testing.T) {
	o := series(10_000, constant(2)).Outage(5000*ms, 10_000*ms)
	if o.Recovered != 0 || o.FirstSuccess > ms || o.LongestGap != 0 {
		t.Errorf("%+v", o)
	}
}

// A dip long after a fault that did no harm (a killed follower's restart, a slow disk) is not that fault's: taken for its
// effect it would say that the cluster needed half a minute to recover from nothing.
func TestOutageIgnoresLateDips(t *testing.T) {
	o := series(40_000, func(i int64) uint32 {
		if i >= 35_000 && i < 35_150 {
			return 0
		}
		return 10
	}).Outage(5000*ms, 36_000*ms)
	if o.Recovered != 0 {
		t.Errorf("recovered = %v, want 0: the rate did not fall", time.Duration(o.Recovered))
	}
}

// Back, but slower: availability is not recovery.
func TestOutageRecoversLater(t *testing.T) {
	o := series(20_000, func(i int64) uint32 {
		switch {
		case i >= 5000 && i < 6000:
			return 0
		case i >= 6000 && i < 9000:
			return 7
		}
		return 10
	}).Outage(5000*ms, 20_000*ms)
	within(t, "first success", o.FirstSuccess, 1000*ms)
	if o.Recovered < 3900*ms || o.Recovered > 4000*ms {
		t.Errorf("recovered = %v, want nearly 4 s", time.Duration(o.Recovered))
	}
}

func TestOutageWithoutEnd(t *testing.T) {
	o := series(10_000, constant(2), [2]int64{5000, 1 << 40}).Outage(5000*ms, 10_000*ms)
	if o.FirstSuccess != Never || o.Recovered != Never {
		t.Errorf("%+v", o)
	}
	within(t, "longest gap", o.LongestGap, 5000*ms)
	// The heal comes first: what happens after it is the next question.
	o = series(10_000, constant(2), [2]int64{5000, 7500}).Outage(5000*ms, 7000*ms)
	if o.FirstSuccess != Never {
		t.Errorf("%+v", o)
	}
	within(t, "longest gap", o.LongestGap, 2000*ms)
}

// A fault before, at the very start of, or after the record must not panic or invent anything.
func TestOutageAtTheEdges(t *testing.T) {
	for _, at := range []int64{-5, 0, 1, 50, 99, 100, 1000} {
		for _, until := range []int64{-5, 0, 60, 1000} {
			o := series(100, constant(1)).Outage(at*ms, until*ms)
			if o.LongestGap > 2*ms || o.FirstSuccess > 10*ms {
				t.Errorf("at %d until %d: %+v", at, until, o)
			}
		}
	}
	empty := &Timeline{Width: ms}
	if o := empty.Outage(0, 100); o.FirstSuccess != Never || o.Recovered != Never {
		t.Errorf("%+v", o)
	}
}

// The concurrent collector gives the series it was fed, beyond chunk borders, and keeps the earliest success.
func TestTimelineCollects(t *testing.T) {
	tl := newTimeline(time.Minute)
	at := int64(timelineChunk-1)*ms + 5
	tl.add(at, 3)
	tl.add(at+ms, 4)
	tl.due(at, at+9*ms)
	tl.due(at, at+2*ms)
	tl.due(at, at+5*ms)
	out := tl.export(10 * ms)
	n := timelineChunk - 1
	if out.Done[n] != 3 || out.Done[n+1] != 4 || out.First[n] != at+2*ms-10*ms || out.First[n+1] != NoSuccess || out.Start != -10*ms {
		t.Errorf("%d %d %d", out.Done[n], out.Done[n+1], out.First[n])
	}
	if w := newTimeline(24 * time.Hour).width; w != 10*ms {
		t.Errorf("a day in buckets of %d ns", w)
	}
	tl.add(1<<62, 1) // beyond the end: kept in the last bucket, not lost, no panic
	if tl.last.Load() != timelineChunk*timelineChunks-1 {
		t.Errorf("last bucket %d", tl.last.Load())
	}
}
