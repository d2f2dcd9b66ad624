package report

import (
	"math"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
)

// unit is what the numbers of an axis are.
type unit string

const (
	nanos      unit = "ns"  // durations
	clock      unit = "s"   // nanoseconds since the end of warm-up, shown as seconds
	perSecond  unit = "ops" // operations per second
	percentile unit = "pct" // 1/(1-q), shown as the percentile q
	octets     unit = "B"
	count      unit = "n"
)

// axis maps values to 0..1. Invariant: min < max, and 0 < min if log.
type axis struct {
	unit     unit
	log      bool
	min, max float64
}

// fit makes an axis that holds the values from low to high. A linear one starts at 0.
func fit(u unit, log bool, low, high float64) axis {
	a := axis{unit: u, log: log, min: low, max: high}
	switch {
	case !log:
		a.min = 0
		if !(a.max > 0) {
			a.max = 1
		}
	case !(low > 0) || !(high > 0) || math.IsInf(high, 0):
		a.min, a.max = 1, 10
	case u == percentile:
		a.min = 1
		a.max = max(a.max, 10)
	default:
		a.min, a.max = step125(low, false), step125(high, true)
		if a.max <= a.min {
			a.max = a.min * 10
		}
	}
	if !log && u != clock {
		s := a.step(5)
		a.max = math.Ceil(a.max/s) * s
	}
	return a
}

// step125 is the next of 1, 2, 5, 10, ... below or above v.
func step125(v float64, up bool) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)+1e-12))
	steps := []float64{1, 2, 5, 10}
	if up {
		for _, s := range steps {
			if s*decade >= v*(1-1e-9) {
				return s * decade
			}
		}
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i]*decade <= v*(1+1e-9) {
			return steps[i] * decade
		}
	}
	return decade
}

// at is where v lies: 0 at min, 1 at max; what lies outside is put to the edge.
func (a axis) at(v float64) float64 {
	f := (v - a.min) / (a.max - a.min)
	if a.log {
		f = math.Log(max(v, a.min)/a.min) / math.Log(a.max/a.min)
	}
	return min(max(f, 0), 1)
}

// step is the distance of about n round ticks of a linear axis.
func (a axis) step(n int) float64 {
	raw := (a.max - a.min) / float64(n)
	if a.unit == octets {
		return math.Exp2(math.Ceil(math.Log2(raw)))
	}
	decade := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, s := range []float64{1, 2, 2.5, 5} {
		if s*decade >= raw*(1-1e-9) {
			return s * decade
		}
	}
	return 10 * decade
}

type tick struct {
	value float64
	label string // "": a line only
}

// ticks are about n round values with their labels.
func (a axis) ticks(n int) []tick {
	var all []tick
	if a.unit == percentile {
		all = append(all, tick{1, "0%"})
		if a.max <= 1e5 {
			all = append(all, tick{2, "50%"})
		}
		for x, nines := 10.0, 1; x <= a.max*(1+1e-9); x, nines = x*10, nines+1 {
			t := tick{x, percent(1 - 1/x)}
			if a.max > 1e6 && nines%2 == 1 {
				t.label = "" // they would run into each other
			}
			all = append(all, t)
		}
		return all
	}
	if !a.log {
		s := a.step(n)
		for i := math.Ceil(a.min/s-1e-9) + 0; i*s <= a.max*(1+1e-9); i++ {
			v := i*s + 0 // not -0
			all = append(all, tick{v, a.unit.short(v)})
		}
		return all
	}
	decades := math.Log10(a.max / a.min)
	for d := math.Pow(10, math.Floor(math.Log10(a.min)+1e-9)); d <= a.max*(1+1e-9); d *= 10 {
		for _, s := range []float64{1, 2, 5} {
			v := s * d
			if v < a.min*(1-1e-9) || v > a.max*(1+1e-9) {
				continue
			}
			switch {
			case s == 1 || decades <= 2.2:
				all = append(all, tick{v, a.unit.short(v)})
			case decades <= 4:
				all = append(all, tick{v, ""})
			}
		}
	}
	return all
}

// percent writes a share as a percentile: 99.9%.
func percent(q float64) string {
	return strconv.FormatFloat(math.Round(q*1e10)/1e8, 'f', -1, 64) + "%"
}

// short writes a value for an axis: without digits that say nothing.
func (u unit) short(v float64) string {
	switch u {
	case nanos:
		return trim(result.Duration(int64(math.Round(v))))
	case clock:
		return strconv.FormatFloat(math.Round(v/1e6)/1e3, 'f', -1, 64) + " s"
	case octets:
		return trim(result.Bytes(v))
	case percentile:
		return percent(1 - 1/max(v, 1))
	}
	switch {
	case v >= 999.5e3:
		return three(v/1e6) + "M"
	case v >= 999.5:
		return three(v/1e3) + "k"
	}
	return three(v)
}

// three writes three significant digits without zeros at the end.
func three(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0)
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// trim takes the zeros from behind the point of a number with a unit: 1.00 ms.
func trim(s string) string {
	number, unit, ok := strings.Cut(s, " ")
	if !ok {
		return s
	}
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + " " + unit
}
