package load

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Dist is how keys are drawn. Keys are numbered from 0; the lower the number, the more popular the key. The zero
// value is uniform.
type Dist struct {
	kind    distKind
	theta   float64 // zipf: the key of rank k, from 1, has weight k^-theta
	hotKeys float64 // hotspot: this share of the keys ...
	hotOps  float64 // ... gets this share of the operations
}

type distKind uint8

const (
	distUniform distKind = iota
	distZipf
	distHotspot
)

const (
	distForm = "want uniform, zipf:THETA (zipf:0.99) or hotspot:KEYS:OPS (hotspot:0.2:0.8 sends 80% of the operations to 20% of the keys)"

	// thetaDefault is YCSB's skew (Cooper et al., SoCC 2010).
	thetaDefault = 0.99
)

// Zipf draws the key of rank k with probability proportional to k^-theta, 0 < theta <= 8. Below 1 it is YCSB's; from 1 on the first
// key alone gets a share that hardly depends on their number, and ParseDist does not take it.
func Zipf(theta float64) Dist { return Dist{kind: distZipf, theta: theta} }

// ParseDist reads the value of --dist.
func ParseDist(s string) (Dist, error) {
	kind, arg, has := strings.Cut(s, ":")
	switch kind {
	case "uniform":
		if !has {
			return Dist{}, nil
		}
	case "zipf":
		if !has {
			return Zipf(thetaDefault), nil
		}
		theta, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(theta > 0 && theta < 1) {
			return Dist{}, wrong("dist", s, "the skew is above 0 and below 1; zipf:0.99 is customary, no skew is uniform, and hotspot:0.01:0.9 is more skewed")
		}
		return Zipf(theta), nil
	case "hotspot":
		if !has {
			return Dist{kind: distHotspot, hotKeys: 0.2, hotOps: 0.8}, nil
		}
		a, b, ok := strings.Cut(arg, ":")
		keys, err1 := strconv.ParseFloat(a, 64)
		ops, err2 := strconv.ParseFloat(b, 64)
		if ok && err1 == nil && err2 == nil && keys > 0 && keys < 1 && ops >= 0 && ops <= 1 {
			return Dist{kind: distHotspot, hotKeys: keys, hotOps: ops}, nil
		}
	}
	return Dist{}, wrong("dist", s, "%s", distForm)
}

// MarshalText is String: for settings that go to another process.
func (d Dist) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDist.
func (d *Dist) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDist(string(text))
	return err
}

// String is the form that ParseDist reads.
func (d Dist) String() string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	switch d.kind {
	case distZipf:
		return "zipf:" + f(d.theta)
	case distHotspot:
		return "hotspot:" + f(d.hotKeys) + ":" + f(d.hotOps)
	}
	return "uniform"
}

// sampler draws keys from 0 to n-1. Its owner is one goroutine.
type sampler struct {
	dist Dist
	rng  *rand.PCG
	n    uint64
	hot  uint64 // hotspot: keys below are hot
	zipf zipf
}

func newSampler(d Dist, n int, rng *rand.PCG) sampler {
	s := sampler{dist: d, rng: rng, n: uint64(n)}
	switch d.kind {
	case distZipf:
		s.zipf = newZipf(uint64(n), d.theta)
	case distHotspot:
		s.hot = min(max(uint64(math.Round(d.hotKeys*float64(n))), 1), uint64(n))
	}
	return s
}

func (s *sampler) next() uint32 {
	switch s.dist.kind {
	case distZipf:
		return uint32(s.zipf.next(s.rng))
	case distHotspot:
		if s.hot == s.n || float(s.rng.Uint64()) < s.dist.hotOps {
			return uint32(below(s.rng, s.hot))
		}
		return uint32(s.hot + below(s.rng, s.n-s.hot))
	}
	return uint32(below(s.rng, s.n))
}

// zipf draws ranks by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from
// monotone discrete distributions", ACM TOMACS 6(3), 1996, section 3): O(1) per draw, nothing to precompute over the
// n keys, exact for every theta > 0. math/rand/v2 has the same method but refuses theta <= 1, the range that
// benchmarks use; the closed form of Gray et al. (SIGMOD 1994) is an approximation and needs a sum over all keys.
//
// The idea: under h(x) = x^-theta the mass of rank k is close to the area from k-1/2 to k+1/2. Draw a point u of the
// area H under h, go back to x = H^-1(u), round to k, and accept if u falls into the last h(k) of the strip that
// ends at k+1/2.
type zipf struct {
	n      float64
	theta  float64
	top    float64 // H(n + 1/2)
	bottom float64 // H(3/2) - h(1)
	accept float64 // k - x up to here is accepted without computing h
}

func newZipf(n uint64, theta float64) zipf {
	z := zipf{n: float64(n), theta: theta}
	z.top = z.area(z.n + 0.5)
	z.bottom = z.area(1.5) - 1
	z.accept = 2 - z.invert(z.area(2.5)-z.density(2))
	return z
}

// next is a rank counted from 0.
func (z *zipf) next(rng *rand.PCG) uint64 {
	for {
		u := z.top + float(rng.Uint64())*(z.bottom-z.top)
		x := z.invert(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.accept || u >= z.area(k+0.5)-z.density(k) {
			return uint64(k) - 1
		}
	}
}

func (z *zipf) density(x float64) float64 { return math.Exp(-z.theta * math.Log(x)) }

// area is H(x), the integral of h from 1 to x: (x^(1-theta) - 1) / (1 - theta), and log x where theta is 1. Written
// with expm1(t)/t, which is smooth in the neighbourhood of theta = 1 where the plain form cancels.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	return l * expm1Ratio((1-z.theta)*l)
}

// invert is the inverse of area.
func (z *zipf) invert(y float64) float64 {
	t := max(y*(1-z.theta), -1) // rounding must not leave the domain of log1p
	return math.Exp(y * log1pRatio(t))
}

// expm1Ratio is (e^t - 1) / t.
func expm1Ratio(t float64) float64 {
	if math.Abs(t) > 1e-8 {
		return math.Expm1(t) / t
	}
	return 1 + t/2*(1+t/3)
}

// log1pRatio is log(1 + t) / t.
func log1pRatio(t float64) float64 {
	if math.Abs(t) > 1e-8 {
		return math.Log1p(t) / t
	}
	return 1 - t*(0.5-t/3)
}

// float maps 64 random bits to [0, 1).
func float(u uint64) float64 { return float64(u>>11) * 0x1p-53 }

// reduce maps 64 random bits to [0, n) by multiplication. The bias is below n / 2^64.
func reduce(u, n uint64) uint64 {
	hi, _ := bits.Mul64(u, n)
	return hi
}

// below draws from [0, n).
func below(rng *rand.PCG, n uint64) uint64 { return reduce(rng.Uint64(), n) }

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64 bits that scatters.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
