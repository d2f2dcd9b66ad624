package load

import "github.com/HdrHistogram/hdrhistogram-go"

// Stretch is the full distribution of what was acknowledged in some successive intervals, whenever it was due. The
// stretches of a run follow each other without a gap and hold every acknowledgement that Result.Intervals count.
type Stretch struct {
	Start    int64 // nanoseconds from the start of measuring
	Length   int64 // nanoseconds
	Response *hdrhistogram.Histogram
}

const (
	// stretchIntervals is how many intervals a stretch begins with: a second, unless the run is long.
	stretchIntervals = 10
	// stretchesMax bounds the memory of a run of any length: a histogram is about 184 KB. When there are so many,
	// pairs become one.
	stretchesMax = 64
)

// stretches collects the stretches of a run. Only the collector of the intervals uses it.
type stretches struct {
	done []Stretch
	open int // intervals in the last one; 0: it is complete
	each int // intervals per stretch; 0: stretchIntervals
}

// add enters an interval of measuring or draining.
func (s *stretches) add(i Interval, response *hdrhistogram.Histogram) {
	if s.each == 0 {
		s.each = stretchIntervals
	}
	if s.open == 0 {
		if len(s.done) == stretchesMax {
			s.halve()
		}
		s.done = append(s.done, Stretch{Start: i.Start, Response: NewHistogram()})
	}
	last := &s.done[len(s.done)-1]
	last.Length = i.Start + i.Length - last.Start
	merge(last.Response, response)
	if s.open++; s.open >= s.each {
		s.open = 0
	}
}

// halve makes one stretch of every two complete ones.
func (s *stretches) halve() {
	for i := 0; i < stretchesMax; i += 2 {
		a, b := s.done[i], s.done[i+1]
		merge(a.Response, b.Response)
		a.Length += b.Length
		s.done[i/2] = a
	}
	clear(s.done[stretchesMax/2:])
	s.done = s.done[:stretchesMax/2]
	s.each *= 2
}
