package load

import (
	"math"
	"math/rand/v2"
)

const never = math.MaxInt64

// schedule gives the times at which one client's operations are due in an open loop, in nanoseconds from the start of
// the load, ascending. It does not know what the target does: that is the point of an open loop.
type schedule struct {
	at int64 // when the next operation is due; never: there is none

	arrival Arrival
	gap     float64 // mean nanoseconds between two operations of this client
	offset  float64 // uniform: of the client's first operation
	i       uint64  // uniform: number of the operation due at at
	t       float64 // poisson: at, not rounded
	rng     *rand.PCG

	bursts  []segment
	measure int64  // operations due from here on count against left
	left    uint64 // measured operations still to come, the one at at included; only if limited
	limited bool
}

// newSchedule is the schedule of one of c.Clients clients. Uniform arrivals interleave: operation i of client w is
// operation i x clients + w of the whole. Poisson arrivals of the clients are independent, and so their sum is
// Poisson again. The stream is not the one that the commands are drawn from, so the arrival mode does not change
// what is sent.
func newSchedule(c *Config, client int) schedule {
	s := schedule{
		arrival: c.Arrival,
		gap:     float64(c.Clients) / c.Rate * 1e9,
		offset:  float64(client) / c.Rate * 1e9,
		rng:     rand.NewPCG(c.Seed, uint64(c.Series)<<33|1<<32|uint64(client)),
		bursts:  segments(c),
		measure: int64(c.Warmup), left: share(c.Ops, c.Clients, client), limited: c.Ops > 0,
	}
	if s.arrival == Poisson {
		s.t = s.exponential()
	}
	s.place()
	return s
}

// share is the part of n that falls to client i of clients.
func share(n uint64, clients, i int) uint64 {
	part := n / uint64(clients)
	if uint64(i) < n%uint64(clients) {
		part++
	}
	return part
}

func (s *schedule) exponential() float64 { return -math.Log(1-float(s.rng.Uint64())) * s.gap }

// advance moves on to the next operation.
func (s *schedule) advance() {
	if s.limited && s.at >= s.measure {
		s.left--
	}
	s.i++
	if s.arrival == Poisson {
		s.t += s.exponential()
	}
	s.place()
}

func (s *schedule) place() {
	t := s.t
	if s.arrival == Uniform {
		t = s.offset + float64(s.i)*s.gap
	}
	s.at = int64(s.real(t) + 0.5)
	if s.limited && s.left == 0 && s.at >= s.measure {
		s.at = never
	}
}

// pending is how many operations are due at now and before stop: exact for uniform arrivals, the expectation
// otherwise.
func (s *schedule) pending(now, stop int64) uint64 {
	end := min(now, stop-1)
	if s.at > end {
		return 0
	}
	n := uint64((s.paced(float64(end))-s.paced(float64(s.at)))/s.gap) + 1
	if s.limited && s.at >= s.measure {
		n = min(n, s.left)
	}
	return n
}

// skip passes over all operations due before stop and says how many there were, and how many of them from measure on.
func (s *schedule) skip(stop, measure int64) (all, measured uint64) {
	for s.at < stop {
		if s.at >= measure {
			measured++
		}
		s.advance()
		all++
	}
	return all, measured
}

// segment is a burst on the two axes of time: where the rate is multiplied by k, a clock that the operations are equally
// spaced on runs k times as fast. Arrivals, exponential gaps too, are drawn on that clock and carried over: so a burst is
// a Poisson process of the higher rate, not one stretched.
type segment struct {
	real, paced float64 // its start
	length      float64 // real
	factor      float64
}

func segments(c *Config) []segment {
	var out []segment
	ahead := 0.0 // of the paced clock
	for _, b := range c.Bursts {
		start, length := float64(c.Warmup+b.At), float64(b.For)
		out = append(out, segment{start, start + ahead, length, b.Factor})
		ahead += length * (b.Factor - 1)
	}
	return out
}

// real is the time at which the paced clock shows t.
func (s *schedule) real(t float64) float64 {
	ahead := 0.0
	for _, b := range s.bursts {
		if t < b.paced {
			break
		}
		if in := (t - b.paced) / b.factor; in < b.length {
			return b.real + in
		}
		ahead += b.length * (b.factor - 1)
	}
	return t - ahead
}

// paced is what the paced clock shows at a time.
func (s *schedule) paced(at float64) float64 {
	ahead := 0.0
	for _, b := range s.bursts {
		if at < b.real {
			break
		}
		ahead += min(at-b.real, b.length) * (b.factor - 1)
	}
	return at + ahead
}
