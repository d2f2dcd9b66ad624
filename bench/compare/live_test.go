package compare

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// machine is what both sides of a live comparison run on: its speed wanders from slice to slice by more than what is
// looked for.
type machine struct {
	rng     *rand.Rand
	drift   float64
	order   strings.Builder
	opened  []uint64
	killed  int
	slices  int
	invalid map[int]bool // slices, by number
	ends    int          // the slice that fails; 0: none
	limit   time.Duration
	noise   float64 // of a slice's speed, besides the usual
	safety  result.Safety
}

// liveCluster is a Session.
type liveCluster struct {
	on   *machine
	side int
	slow float64
}

func (m *machine) open(_ context.Context, side int, seed uint64) (Session, error) {
	m.opened = append(m.opened, seed)
	return &liveCluster{m, side, 0.1 * float64(side)}, nil
}

func (c *liveCluster) Slice() (bench.Slice, error) {
	m := c.on
	m.order.WriteByte("AB"[c.side])
	m.slices++
	if m.slices == m.ends {
		return bench.Slice{}, errors.New("no disk")
	}
	m.drift = 0.95*m.drift + 0.05*m.rng.NormFloat64()
	speed := (1 - c.slow) * math.Exp(m.drift+(0.05+m.noise)*m.rng.NormFloat64())
	s := bench.Slice{Ops: 1000, OpsPerSec: 1e5 * speed, P50: int64(1e6 / speed), P99: int64(5e6 / speed), Cost: result.Cost{CPU: 2000 / speed, WALBytes: 84}}
	if m.invalid[m.slices] {
		s.Invalid, s.OpsPerSec = "for a test", 1
	}
	return s, nil
}

func (c *liveCluster) End() (*result.Safety, error) { return &c.on.safety, nil }
func (c *liveCluster) Kill()                        { c.on.killed++ }

func (m *machine) compare(rounds, most int) (*Report, error) {
	m.rng = rand.New(rand.NewPCG(3, 3))
	if m.safety.Verdict == "" {
		m.safety.Verdict = result.OK
	}
	return Run(context.Background(), Config{
		Options: DefaultOptions(), Rounds: rounds, RoundsMax: most, Detect: 0.07, Limit: m.limit, Seed: 40, Live: m.open, Slices: 4,
	})
}

// Slices that are not taken in turns would make of the machine's drift a difference of the sides; a first slice that is
// kept would be one of a cold cache; a slice that says nothing must not count.
func TestLive(t *testing.T) {
	m := &machine{invalid: map[int]bool{7: true}}
	r, err := m.compare(8, 40)
	if err != nil {
		t.Fatal(err)
	}
	if want := "ABBAABBAAB" + "BAABBAABBA"; !strings.HasPrefix(m.order.String(), want) {
		t.Errorf("order %s, want %s", m.order.String()[:20], want)
	}
	if len(m.opened) != m.killed || m.opened[0] != 40 || m.opened[1] != 40 || m.opened[2] != 41 {
		t.Errorf("seeds %v, %d killed", m.opened, m.killed)
	}
	if r.Verdict != Regression || r.RunsA < 8 || r.RunsA >= 40 {
		t.Errorf("%s after %d pairs", r.Verdict, r.RunsA)
	}
	detects := false
	for _, metric := range r.Metrics {
		if metric.Gate && metric.Detectable != nil && *metric.Detectable <= 0.07 {
			detects = true
		}
		if metric.Name == "cpu" && math.Abs(*metric.Ratio-1/0.9) > 0.04 {
			t.Errorf("cpu B/A %.3f, want %.3f", *metric.Ratio, 1/0.9)
		}
	}
	if !detects {
		t.Errorf("it ended after %d pairs before it could detect 7%%", r.RunsA)
	}
	if r, err := (&machine{}).compare(7, 0); err != nil || r.RunsA != 7 {
		t.Errorf("%v, %d pairs where no more were allowed", err, r.RunsA)
	}
}

// A machine that is too busy for what is to be detected must not keep anybody waiting for hours, and a verdict must still have its
// pairs.
func TestLiveLimit(t *testing.T) {
	r, err := (&machine{limit: time.Nanosecond, noise: 1}).compare(8, 40)
	if err != nil || r.RunsA != 8 || !strings.Contains(strings.Join(r.Notes, " "), "8 pairs were made in") {
		t.Errorf("%v, %d pairs, %q", err, r.RunsA, r.Notes)
	}
}

// What goes wrong in a side must end the comparison and leave no cluster behind; too many empty slices void a round.
func TestLiveEnds(t *testing.T) {
	m := &machine{ends: 4}
	if _, err := m.compare(6, 6); err == nil || !strings.Contains(err.Error(), "side A: no disk") || m.killed != 2 {
		t.Errorf("%v, %d killed", err, m.killed)
	}
	m = &machine{safety: result.Safety{Verdict: result.Violated, Lost: 1}}
	if r, err := m.compare(6, 6); err != nil || r.Verdict != Violated || len(r.Metrics) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	m = &machine{invalid: map[int]bool{3: true, 5: true}}
	if r, err := m.compare(6, 6); err != nil || r.RunsA != 6 || len(m.opened) != 14 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2 of 4 slices") {
		t.Errorf("%+v, %v, opened %v", r, err, m.opened)
	}
	stopped := make(chan struct{})
	close(stopped)
	_, err := Run(context.Background(), Config{Options: DefaultOptions(), Rounds: 6, Slices: 1, Stop: stopped, Live: func(ctx context.Context, _ int, _ uint64) (Session, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if !errors.Is(err, bench.ErrInterrupted) {
		t.Error(err)
	}
}
