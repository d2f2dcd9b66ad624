// Package stats has the intervals that scenarios report: of paired and unpaired differences, without assuming a
// distribution, and of medians by the bootstrap. All functions are pure; randomness comes from a seed.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Estimate is a location and its confidence interval. With too few values for the confidence that was asked, Lo and
// Hi are infinite.
type Estimate struct {
	Center, Lo, Hi float64
	Confidence     float64 // that the interval has, at least what was asked; 0 if it is infinite
	N              int     // values, or pairs of values
}

// Finite says whether there were enough values.
func (e Estimate) Finite() bool { return !math.IsInf(e.Lo, 0) && !math.IsInf(e.Hi, 0) }

func infinite(center float64, n int) Estimate {
	return Estimate{Center: center, Lo: math.Inf(-1), Hi: math.Inf(1), N: n}
}

// Paired estimates the location of differences: the Hodges-Lehmann estimator, which is the median of all averages of
// two, and the interval that inverts Wilcoxon's signed-rank test, with its exact distribution. It assumes that the
// differences are symmetric about their location, which holds exactly where both of a pair come from one
// distribution, whatever that is. Six pairs give a finite interval at 95%, eight at 99%.
func Paired(differences []float64, confidence float64) Estimate {
	n := len(differences)
	if n == 0 {
		return infinite(math.NaN(), 0)
	}
	walsh := make([]float64, 0, n*(n+1)/2)
	for i, x := range differences {
		for _, y := range differences[i:] {
			walsh = append(walsh, (x+y)/2)
		}
	}
	slices.Sort(walsh)
	return cut(walsh, signedRank(n), confidence, n)
}

// Unpaired estimates by how much b is above a: the median of all differences, and the interval that inverts the
// Mann-Whitney test. Four values a side give a finite interval at 95%.
func Unpaired(a, b []float64, confidence float64) Estimate {
	n := min(len(a), len(b))
	if n == 0 {
		return infinite(math.NaN(), 0)
	}
	shifts := make([]float64, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			shifts = append(shifts, y-x)
		}
	}
	slices.Sort(shifts)
	return cut(shifts, rankSum(len(a), len(b)), confidence, n)
}

// cut leaves out as many of the sorted values at either end as the statistic's distribution allows: the interval from
// value k+1 to the last but k misses the location with probability 2 P(statistic <= k).
func cut(sorted, distribution []float64, confidence float64, n int) Estimate {
	k, below := -1, 0.0
	for k+1 < len(sorted)/2 && 2*(below+distribution[k+1]) <= 1-confidence+1e-12 {
		k++
		below += distribution[k]
	}
	center := Median(sorted)
	if k < 0 {
		return infinite(center, n)
	}
	return Estimate{Center: center, Lo: sorted[k], Hi: sorted[len(sorted)-1-k], Confidence: 1 - 2*below, N: n}
}

// PairedConfidence is the highest confidence at which n pairs have a finite interval.
func PairedConfidence(n int) float64 { return 1 - 2*math.Pow(0.5, float64(n)) }

// UnpairedConfidence is the highest confidence at which na and nb values have a finite interval.
func UnpairedConfidence(na, nb int) float64 {
	ways := 1.0 // of choosing na of na+nb
	for i := 1; i <= na; i++ {
		ways *= float64(nb+i) / float64(i)
	}
	return 1 - 2/ways
}

// signedRank is the distribution of Wilcoxon's statistic over n values: the probability of each sum of a random
// subset of 1..n.
func signedRank(n int) []float64 {
	p := make([]float64, n*(n+1)/2+1)
	p[0] = 1
	for rank, top := 1, 0; rank <= n; rank++ {
		top += rank
		for s := top; s >= 0; s-- {
			with := 0.0
			if s >= rank {
				with = p[s-rank]
			}
			p[s] = (p[s] + with) / 2
		}
	}
	return p
}

// rankSum is the distribution of Mann and Whitney's statistic: P(u; m, n) = m/(m+n) P(u-n; m-1, n) + n/(m+n)
// P(u; m, n-1), by whether the largest of all values is one of the m or one of the n.
func rankSum(m, n int) []float64 {
	row := make([][]float64, n+1) // for the current m
	for j := range row {
		row[j] = make([]float64, m*n+1)
		row[j][0] = 1
	}
	for i := 1; i <= m; i++ {
		next := make([][]float64, n+1)
		for j := range next {
			next[j] = make([]float64, m*n+1)
			if j == 0 {
				next[j][0] = 1
				continue
			}
			share := float64(i) / float64(i+j)
			for u := 0; u <= i*j; u++ {
				next[j][u] = (1 - share) * next[j-1][u]
				if u >= j {
					next[j][u] += share * row[j][u-j]
				}
			}
		}
		row = next
	}
	return row[n]
}

// Median of sorted values; NaN of none.
func Median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	if low, high := sorted[(n-1)/2], sorted[n/2]; low != high {
		return low + (high-low)/2
	}
	return sorted[n/2]
}

// Quantile of sorted values, 0 <= q <= 1: the smallest value that at least the share q does not exceed. NaN of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

const resamples = 10_000

// BootstrapMedian is the percentile interval of the median over resamples drawn with the seed. The values may be
// infinite: an interval that reaches infinity then says so.
func BootstrapMedian(values []float64, confidence float64, seed uint64) Estimate {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n < 2 {
		return infinite(Median(sorted), n)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	medians, draw := make([]float64, resamples), make([]float64, n)
	for i := range medians {
		for j := range draw {
			draw[j] = sorted[rng.IntN(n)]
		}
		slices.Sort(draw)
		medians[i] = Median(draw)
	}
	slices.Sort(medians)
	tail := (1 - confidence) / 2
	return Estimate{
		Center: Median(sorted), Lo: Quantile(medians, tail), Hi: Quantile(medians, 1-tail), Confidence: confidence, N: n,
	}
}

// Normal is the quantile of the standard normal distribution.
func Normal(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// power of the minimum detectable effect.
const power = 0.8

// Detectable is the smallest true location that an estimate like e would, four times in five, find to lie wholly
// above the threshold: the threshold, half the interval, and what 80% of the estimates stay above, both taken from
// the interval's width as if the estimator were normal. It is an approximation.
func (e Estimate) Detectable(threshold float64) float64 {
	if !e.Finite() {
		return math.Inf(1)
	}
	half := (e.Hi - e.Lo) / 2
	z := Normal((1 + e.Confidence) / 2)
	return threshold + half*(1+Normal(power)/z)
}
