package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// An interval cut at the wrong order statistic is too narrow, and would be believed. The expected ranks are those of
// the tables of Hollander and Wolfe, and the distributions must be counted right for them to come out.
func TestPaired(t *testing.T) {
	for n, finite := range map[int]bool{1: false, 5: false, 6: true, 7: true} {
		d := make([]float64, n)
		for i := range d {
			d[i] = float64(i)
		}
		e := Paired(d, 0.95)
		if e.Finite() != finite || e.N != n {
			t.Errorf("n=%d: %+v", n, e)
		}
		if e.Center != float64(n-1)/2 {
			t.Errorf("n=%d: center %v", n, e.Center)
		}
	}
	// n=6 at 95%: all Walsh averages, 1 - 2/64.
	e := Paired([]float64{1, 2, 3, 4, 5, 6}, 0.95)
	if e.Lo != 1 || e.Hi != 6 || e.Confidence != 1-2.0/64 {
		t.Errorf("%+v", e)
	}
	// n=10: P(T <= 8) = 25/1024 <= 0.025, so 9 averages are left out at either end, of 55.
	d := []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
	e = Paired(d, 0.95)
	if want := 1 - 2*25.0/1024; math.Abs(e.Confidence-want) > 1e-12 {
		t.Errorf("confidence %v, want %v", e.Confidence, want)
	}
	if p := PairedConfidence(6); p != 1-2.0/64 {
		t.Errorf("six pairs: %v", p)
	}
}

// The same for two sets.
func TestUnpaired(t *testing.T) {
	e := Unpaired([]float64{1, 2, 3, 4}, []float64{11, 12, 13, 14}, 0.95)
	if e.Center != 10 || e.Lo != 7 || e.Hi != 13 || math.Abs(e.Confidence-(1-2.0/70)) > 1e-12 {
		t.Errorf("%+v", e)
	}
	if e := Unpaired([]float64{1, 2, 3}, []float64{11, 12, 13}, 0.95); e.Finite() {
		t.Errorf("three a side: %+v", e)
	}
	if c := UnpairedConfidence(4, 4); math.Abs(c-(1-2.0/70)) > 1e-12 {
		t.Errorf("four a side: %v", c)
	}
	// U of 3 and 2: of 10 arrangements 1 1 2 2 2 1 1.
	for u, want := range []float64{1, 1, 2, 2, 2, 1, 1} {
		if got := rankSum(3, 2)[u]; math.Abs(got-want/10) > 1e-12 {
			t.Errorf("P(U=%d) = %v, want %v", u, got, want/10)
		}
	}
}

// An interval that covers less often than it says makes regressions out of nothing. Skewed values are what times are.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const draws = 500
	paired, unpaired, median := 0, 0, 0
	skewed := func() float64 { return rng.NormFloat64() + rng.ExpFloat64() }
	covers := func(e Estimate, truth float64) int {
		if e.Lo <= truth && truth <= e.Hi {
			return 1
		}
		return 0
	}
	for range draws {
		var d, a, b []float64
		for range 10 {
			x, y := skewed(), skewed()
			d, a, b = append(d, y-x), append(a, x), append(b, y)
		}
		paired += covers(Paired(d, 0.95), 0)
		unpaired += covers(Unpaired(a, b, 0.95), 0)
	}
	for range 40 {
		var v []float64
		for range 20 {
			v = append(v, rng.NormFloat64())
		}
		median += covers(BootstrapMedian(v, 0.95, 7), 0)
	}
	if low := 93 * draws / 100; paired < low || unpaired < low || median < 35 {
		t.Errorf("95%% intervals cover in %d, %d of %d draws, the bootstrap's in %d of 40", paired, unpaired, draws, median)
	}
}

// A quantile that is off by one is wrong most where samples are few.
func TestQuantiles(t *testing.T) {
	v := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.5: 5, 0.9: 9, 0.91: 10, 1: 10} {
		if got := Quantile(v, q); got != want {
			t.Errorf("q %v: %v, want %v", q, got, want)
		}
	}
	if Median(v) != 5.5 || Median(v[:3]) != 2 || !math.IsNaN(Median(nil)) || !math.IsNaN(Quantile(nil, 0.5)) {
		t.Error("medians")
	}
	inf := math.Inf(1)
	if e := BootstrapMedian([]float64{1, 2, inf, inf, inf}, 0.95, 1); e.Center != inf || e.Hi != inf || math.IsNaN(e.Lo) {
		t.Errorf("infinite values: %+v", e)
	}
}

// The minimum detectable effect must be one that is in fact detected about four times in five.
func TestDetectable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func(shift float64) Estimate {
		d := make([]float64, 12)
		for i := range d {
			d[i] = shift + 0.05*rng.NormFloat64()
		}
		return Paired(d, 0.95)
	}
	effect, found := 0.0, 0
	const draws = 300
	for range draws {
		effect += draw(0).Detectable(0.03) / draws
	}
	for range draws {
		if draw(effect).Lo > 0.03 {
			found++
		}
	}
	if found < 70*draws/100 || found > 92*draws/100 {
		t.Errorf("an effect of %.3f is found in %d of %d draws", effect, found, draws)
	}
	if !math.IsInf(infinite(0, 1).Detectable(0.03), 1) {
		t.Error("an infinite interval detects something")
	}
}
