package load

import (
	"math"
	"sync/atomic"
	"time"
)

// Timeline is the fine-grained record of successes of a run, from which unavailability is read. Times are
// nanoseconds from the start of measuring; warm-up lies below 0. Bucket i covers Start + i x Width.
type Timeline struct {
	Start int64
	Width int64
	Done  []uint32 // operations acknowledged in the bucket
	First []int64  // earliest acknowledgement of an operation due in the bucket; NoSuccess: none
}

// NoSuccess stands in Timeline.First for a bucket none of whose operations succeeded, or that had none.
const NoSuccess = math.MaxInt64

const (
	timelineChunk  = 1 << 12
	timelineChunks = 1 << 12 // with the finest buckets: 4.6 h
)

// timeline collects a Timeline. add and due may be called by all workers at once. Times count from the start of the
// load. Memory: 16 bytes per bucket that something happened in.
type timeline struct {
	width  int64
	chunks [timelineChunks]atomic.Pointer[timelineBuckets]
	last   atomic.Int64 // highest bucket used
}

type timelineBuckets struct {
	done  [timelineChunk]atomic.Uint32
	first [timelineChunk]atomic.Int64 // earliest acknowledgement + 1; 0: none
}

// newTimeline makes buckets of 1 ms, or coarser ones in powers of ten for loads that last longer than they reach.
func newTimeline(length time.Duration) *timeline {
	t := &timeline{width: int64(time.Millisecond)}
	for int64(length) > t.width*timelineChunk*timelineChunks {
		t.width *= 10
	}
	return t
}

// bucket finds the bucket of a time. What lies beyond the last bucket goes into the last.
func (t *timeline) bucket(at int64) (b *timelineBuckets, i int) {
	n := min(max(at/t.width, 0), timelineChunk*timelineChunks-1)
	for {
		last := t.last.Load()
		if n <= last || t.last.CompareAndSwap(last, n) {
			break
		}
	}
	p := &t.chunks[n/timelineChunk]
	if b = p.Load(); b == nil {
		p.CompareAndSwap(nil, new(timelineBuckets))
		b = p.Load()
	}
	return b, int(n % timelineChunk)
}

// add counts n operations acknowledged at done.
func (t *timeline) add(done int64, n int) {
	b, i := t.bucket(done)
	b.done[i].Add(uint32(n))
}

// due notes that an operation due at intended was acknowledged at done.
func (t *timeline) due(intended, done int64) {
	b, i := t.bucket(intended)
	p := &b.first[i]
	for {
		old := p.Load()
		if old != 0 && old <= done+1 || p.CompareAndSwap(old, done+1) {
			return
		}
	}
}

// sameBucket says that two times fall into one bucket.
func (t *timeline) sameBucket(a, b int64) bool { return a/t.width == b/t.width }

// export returns what was collected, with times counted from measure.
func (t *timeline) export(measure int64) *Timeline {
	n := int(t.last.Load()) + 1
	out := &Timeline{Start: -measure, Width: t.width, Done: make([]uint32, n), First: make([]int64, n)}
	for i := range n {
		out.First[i] = NoSuccess
		b := t.chunks[i/timelineChunk].Load()
		if b == nil {
			continue
		}
		out.Done[i] = b.done[i%timelineChunk].Load()
		if at := b.first[i%timelineChunk].Load(); at != 0 {
			out.First[i] = at - 1 - measure
		}
	}
	return out
}
