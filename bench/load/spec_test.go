package load

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

// A spec that is read wrongly runs another benchmark than was asked for; one that is refused must say which flag is
// meant and what to write instead.
func TestParseSizes(t *testing.T) {
	for spec, want := range map[string]struct {
		mean float64
		most int
		text string
	}{
		"16":                {16, 16, "16"},
		"1KiB":              {1024, 1024, "1024"},
		"4kB":               {4000, 4000, "4000"},
		"uniform:1..1024":   {512.5, 1024, "uniform:1..1024"},
		"uniform:8..8":      {8, 8, "8"},
		"list:16,16,1KiB":   {352, 1024, "list:16,16,1024"},
		"list:64":           {64, 64, "list:64"},
		"uniform:1B..1.5kB": {750.5, 1500, "uniform:1..1500"},
	} {
		z, err := ParseSizes(spec)
		if err != nil {
			t.Errorf("%q: %v", spec, err)
			continue
		}
		if z.Mean() != want.mean || z.Max() != want.most || z.String() != want.text {
			t.Errorf("%q: mean %g max %d text %q", spec, z.Mean(), z.Max(), z)
		}
		var sum float64
		for i := range 100_000 {
			n := z.At(mix(uint64(i) * golden))
			if n < 1 || n > want.most {
				t.Fatalf("%q gave %d", spec, n)
			}
			sum += float64(n)
		}
		if got := sum / 100_000; math.Abs(got/want.mean-1) > 0.03 {
			t.Errorf("%q: mean of the draws %g, want %g", spec, got, want.mean)
		}
	}
	if z := (Sizes{}); z.Max() != 16 || z.Fixed() != 16 || z.String() != "16" {
		t.Errorf("the zero value is %v", z)
	}
	for _, spec := range []string{"", "x", "0", "-1", "1.5", "uniform:", "uniform:5", "uniform:9..3", "uniform:a..b", "list:", "list:1,,2", "2MiB", "NaN", "1e99"} {
		_, err := ParseSizes(spec)
		var bad *SpecError
		if !errors.As(err, &bad) || bad.Flag != "value-size" || bad.Given != spec || !strings.Contains(err.Error(), "--value-size") {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "16": 16, "512B": 512, "64KiB": 64 << 10, "64kib": 64 << 10, "64K": 64 << 10, "1.5MiB": 3 << 19, "4 kB": 4000, "1MB": 1e6, "2GiB": 2 << 30,
	} {
		n, err := ParseBytes("x", text)
		if err != nil || n != want {
			t.Errorf("%q: %d, %v", text, n, err)
		}
		if back, err := ParseBytes("x", FormatBytes(n)); err != nil || back != n {
			t.Errorf("%d is written as %q and read as %d, %v", n, FormatBytes(n), back, err)
		}
	}
	for _, bad := range []string{"", "B", "1.5", "-1", "1e30", "NaN", "inf", "1 2", "1XB"} {
		if _, err := ParseBytes("batch-bytes", bad); err == nil || !strings.Contains(err.Error(), "--batch-bytes") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseDist(t *testing.T) {
	for spec, text := range map[string]string{
		"uniform": "uniform", "zipf": "zipf:0.99", "zipf:0.5": "zipf:0.5",
		"hotspot": "hotspot:0.2:0.8", "hotspot:0.01:0.9": "hotspot:0.01:0.9",
	} {
		d, err := ParseDist(spec)
		if err != nil || d.String() != text {
			t.Errorf("%q: %v, %v", spec, d, err)
		}
	}
	for _, spec := range []string{"", "zip", "uniform:1", "zipf:0", "zipf:-1", "zipf:x", "zipf:99", "zipf:1", "zipf:1.2", "zipf:NaN", "hotspot:1", "hotspot:0:1", "hotspot:1:1", "hotspot:.5:2"} {
		if _, err := ParseDist(spec); err == nil || !strings.Contains(err.Error(), "--dist") {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestParseNames(t *testing.T) {
	if a, err := ParseArrival("poisson"); a != Poisson || err != nil {
		t.Error(a, err)
	}
	if a, err := ParseAPI("call"); a != APICall || err != nil {
		t.Error(a, err)
	}
	if s, err := ParseSM("null"); s != Null || err != nil {
		t.Error(s, err)
	}
	if m, err := ParseReadMode("stale"); m != ReadStale || err != nil {
		t.Error(m, err)
	}
	_, err := ParseArrival("burst")
	if err == nil || err.Error() != `--arrival "burst": want one of uniform, poisson` {
		t.Error(err)
	}
}

// Validate names every fault at once, each with its flag.
func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := Config{Clients: -1, Rate: -1, Reads: 0.5, SM: Null, Keys: 1 << 30}.Validate()
	for _, flag := range []string{"--clients", "--rate", "--reads", "--keys"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not named in %q", flag, err)
		}
	}
	if err := (Config{Reads: 0.5, ReadMode: ReadLease}).Validate(); err != nil {
		t.Errorf("lease reads: %v", err)
	}
}

// chi2 is the statistic of observed counts against expected ones.
func chi2(observed []uint64, expected []float64) (sum float64) {
	for i, e := range expected {
		d := float64(observed[i]) - e
		sum += d * d / e
	}
	return sum
}

// Rejection-inversion is exact; a slip in one of its constants bends the distribution by a few per cent and nothing
// else would show it. The bound is about the 1 - 1e-6 quantile of chi-square for so many keys, with a fixed seed.
func TestZipfMatchesAnalytic(t *testing.T) {
	const draws = 300_000
	for _, theta := range []float64{0.1, 0.5, 0.99, 1, 1 + 1e-10, 1.2, 3} {
		for _, n := range []int{1, 2, 3, 100, 1000} {
			s := newSampler(Zipf(theta), n, rand.NewPCG(42, uint64(n)))
			observed := make([]uint64, n)
			for range draws {
				observed[s.next()]++
			}
			weights, total := make([]float64, n), 0.0
			for k := range weights {
				weights[k] = math.Pow(float64(k+1), -theta)
				total += weights[k]
			}
			// Ranks of which less than 10 draws are expected are one class.
			var obs []uint64
			var exp []float64
			var restObs uint64
			var restExp float64
			for k := range weights {
				if e := weights[k] / total * draws; e >= 10 {
					obs, exp = append(obs, observed[k]), append(exp, e)
				} else {
					restObs, restExp = restObs+observed[k], restExp+e
				}
			}
			if restExp >= 10 {
				obs, exp = append(obs, restObs), append(exp, restExp)
			}
			df := float64(len(exp) - 1)
			if got, most := chi2(obs, exp), df+5*math.Sqrt(2*df)+15; got > most {
				t.Errorf("theta %g, %d keys: chi-square %.1f, at most %.1f", theta, n, got, most)
			}
		}
	}
}

func TestUniformAndHotspot(t *testing.T) {
	const draws, n = 1_000_000, 200
	u, h := newSampler(Dist{}, n, rand.NewPCG(1, 1)), newSampler(Dist{kind: distHotspot, hotKeys: 0.1, hotOps: 0.7}, n, rand.NewPCG(1, 2))
	uo, ho := make([]uint64, n), make([]uint64, n)
	ue, he := make([]float64, n), make([]float64, n)
	for k := range n {
		ue[k], he[k] = draws/n, draws*0.3/(n*0.9)
		if k < n/10 {
			he[k] = draws * 0.7 / (n * 0.1)
		}
	}
	for range draws {
		uo[u.next()]++
		ho[h.next()]++
	}
	if got := chi2(uo, ue); got > 320 {
		t.Errorf("uniform: chi-square %.0f of 199", got)
	}
	if got := chi2(ho, he); got > 320 {
		t.Errorf("hotspot: chi-square %.0f of 199", got)
	}
}

// A value read back must tell which write it comes from, and no other value may pass for it.
func TestValues(t *testing.T) {
	for _, spec := range []string{"1", "7", "8", "12", "16", "17", "100", "uniform:1..300"} {
		sizes, err := ParseSizes(spec)
		if err != nil {
			t.Fatal(err)
		}
		v := Values{Seed: 3, Sizes: sizes, Ratio: 0.5}
		for i := range uint64(200) {
			s := NewStamp(5, i)
			value := v.Append(nil, s)
			if len(value) != v.Size(s) || !v.Is(s, value) || len(value) >= 8 && v.Is(s+1, value) {
				t.Fatalf("%s: value %d of %d bytes", spec, i, len(value))
			}
			if s.Client() != 5 || s.Number() != i {
				t.Fatalf("stamp %d", s)
			}
			got, ok := v.StampOf(value)
			if ok != (len(value) >= 16) || ok && got != s {
				t.Fatalf("%s: a value of %d bytes tells stamp %d, %t", spec, len(value), got, ok)
			}
			if other := (Values{Seed: 4, Sizes: sizes}); len(value) >= 16 {
				if _, ok := other.StampOf(value); ok {
					t.Fatal("a value of another seed is taken for one of this run")
				}
			}
		}
	}
}

// The ratio is what it says for the codec that the engine uses.
func TestValueRatio(t *testing.T) {
	for _, ratio := range []float64{0.1, 0.5, 1} {
		v := Values{Sizes: FixedSize(4096), Ratio: ratio}
		var raw []byte
		for i := range uint64(16) {
			raw = v.Append(raw, NewStamp(0, i))
		}
		got := float64(len(s2.Encode(nil, raw))) / float64(len(raw))
		if math.Abs(got-ratio) > 0.05 {
			t.Errorf("ratio %g: compresses to %.3f", ratio, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, i := range []uint32{0, 9, 10, 255, 0xdeadbeef, math.MaxUint32} {
		if got, ok := ParseKey(AppendKey(nil, i)); !ok || got != i {
			t.Errorf("key %d comes back as %d, %t", i, got, ok)
		}
	}
	for _, bad := range []string{"", "k", "k0000000g", "k0000000A", "x00000000", "k000000000"} {
		if _, ok := ParseKey([]byte(bad)); ok {
			t.Errorf("%q passes for a key", bad)
		}
	}
}

// Independent arrivals have exponential gaps; wrong ones make an open loop kinder than the world. The statistic is
// Kolmogorov-Smirnov's with its 1e-6 quantile.
func TestPoissonGaps(t *testing.T) {
	c := Config{Clients: 4, Rate: 4000, Arrival: Poisson, Seed: 11}.withDefaults()
	s := newSchedule(&c, 2)
	const n = 20_000
	counts, last := make([]int, 100), int64(0)
	for range n {
		gap := float64(s.at-last) / 1e6 // mean 1 ms
		last = s.at
		counts[min(int((1-math.Exp(-gap))*100), 99)]++
		s.advance()
	}
	sum, worst := 0, 0.0
	for i, k := range counts {
		sum += k
		worst = max(worst, math.Abs(float64(sum)/n-float64(i+1)/100))
	}
	if worst > 2.7/math.Sqrt(n) {
		t.Errorf("gaps deviate from the exponential distribution by %.4f", worst)
	}
}

// The clients' uniform schedules interleave to one of even gaps, and pending counts without walking.
func TestUniformSchedule(t *testing.T) {
	c := Config{Clients: 3, Rate: 1e6 / 7, Ops: 1000}.withDefaults()
	due := make(map[int64]bool)
	for i := range 3 {
		s := newSchedule(&c, i)
		for s.at != never {
			if want := s.pending(s.at+1_000_000, never); want < 47 && s.left > 47 || want > 48 {
				t.Fatalf("%d pending within 1 ms", want)
			}
			due[s.at] = true
			s.advance()
		}
	}
	if len(due) != 1000 || !due[0] || !due[7000] || !due[999*7000] {
		t.Errorf("%d times due", len(due))
	}
}
