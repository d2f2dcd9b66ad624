package bench

import (
	"testing"

	"github.com/paxbench/paxbench/engine"
)

// A restarted node counts from zero again. Plain differences would then be negative, which as unsigned numbers are
// astronomic costs, or would forget what the first process did.
func TestTrackOverRestart(t *testing.T) {
	reading := func(uptime, fsyncs uint64) *engine.Metrics {
		return &engine.Metrics{UptimeNanos: uptime, Fsyncs: fsyncs}
	}
	k := track{base: *reading(100, 1000), last: *reading(100, 1000), seen: true}
	for _, step := range []struct {
		m    *engine.Metrics
		want uint64
	}{
		{reading(200, 1010), 10},
		{reading(300, 1030), 30},
		{reading(50, 5), 35}, // a new process
		{reading(150, 25), 55},
		{reading(20, 1), 56}, // and another
		{reading(30, 1), 56},
	} {
		k.add(step.m)
		if got := k.total().fsyncs; got != step.want {
			t.Errorf("after %d fsyncs at uptime %d: %d in all, want %d", step.m.Fsyncs, step.m.UptimeNanos, got, step.want)
		}
	}
	if n := k.node(1, k.total()); n.Restarts != 2 {
		t.Errorf("%d restarts, want 2", n.Restarts)
	}
	// A node that did not answer when measuring began.
	late := track{}
	if got := late.total(); got != (counts{}) {
		t.Errorf("nothing read, counted %+v", got)
	}
	late.add(reading(100, 7))
	if got := late.total().fsyncs; got != 7 {
		t.Errorf("%d fsyncs, want 7", got)
	}
}

// Costs of no operations must be nothing, not a division by zero in the JSON.
func TestPerOp(t *testing.T) {
	s := spent{counts: counts{cpu: 1000, fsyncs: 4}}
	if got := s.perOp(0); got.CPU != 0 {
		t.Errorf("%+v", got)
	}
	if got := s.perOp(8); got.CPU != 125 || got.Fsyncs != 0.5 {
		t.Errorf("%+v", got)
	}
}
