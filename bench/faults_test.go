package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// closings tells when each interval of a report was closed, by its start. What was acknowledged since the one before is in it: on
// a machine so slow that the collector lags, that is later than the interval says.
type closings map[int64]time.Time

// after is the same in nanoseconds from the end of warm-up, reckoned from the interval that was closed with the least delay.
func (c closings) after(all []result.Interval) []int64 {
	first := time.Now()
	for _, i := range all {
		if begin := c[i.Start].Add(-time.Duration(i.Start + i.Length)); begin.Before(first) {
			first = begin
		}
	}
	out := make([]int64, len(all))
	for k, i := range all {
		out[k] = int64(c[i.Start].Sub(first))
	}
	return out
}

// faulty is a run of real processes with these faults, and what the report says of each.
func faulty(t *testing.T, duration time.Duration, specs ...string) (*result.Result, *cluster.Cluster, closings) {
	t.Helper()
	c := quick(t)
	c.Load.Rate, c.Load.Inflight, c.Load.Duration = 300, 4096, duration
	for _, spec := range specs {
		f, err := cluster.ParseFault(spec)
		if err != nil {
			t.Fatal(err)
		}
		c.Faults = append(c.Faults, f)
	}
	var started *cluster.Cluster
	c.hooks.cluster = func(c *cluster.Cluster) { started = c }
	closed := closings{}
	c.Progress = func(i load.Interval) { closed[i.Start] = time.Now() }
	r := mustRun(t, c)
	if len(r.Faults) != len(specs) {
		t.Fatalf("%d faults of %d: %+v", len(r.Faults), len(specs), r.Faults)
	}
	for i, f := range r.Faults {
		t.Logf("%s: %+v", c.Faults[i], f)
		if f.Kind != string(c.Faults[i].Kind) || f.Params != c.Faults[i].Params.String() {
			t.Errorf("%s was reported as %+v", c.Faults[i], f)
		}
		if f.Healed < f.At+int64(c.Faults[i].For/2) || f.CaughtUp <= 0 || f.LeaderAfter == 0 {
			t.Errorf("%s was not healed: %+v", c.Faults[i], f)
		}
		if !cameBack(r, &f) {
			t.Errorf("%s: the service never came back: %+v", c.Faults[i], f)
		}
	}
	return r, started, closed
}

// cameBack says whether anything was acknowledged after the heal. On a machine that stands still for seconds, as one does whose
// disk is flooded, that may be after the next fault has struck, or when the load is over, where the report of this fault
// does not look. It is no bound on the time: the simulator has those, where a slow machine is not slow.
func cameBack(r *result.Result, f *result.Fault) bool {
	if f.UnavailableAfterHeal >= 0 || r.Throughput.Failed+r.Throughput.Unknown+r.Throughput.Unsent == 0 {
		return true
	}
	return slices.ContainsFunc(r.Intervals, func(i result.Interval) bool { return i.Ops > 0 && i.Start >= f.Healed })
}

// away is how long nothing was acknowledged because of the fault. What was due as it struck may still have been.
func away(f *result.Fault) time.Duration { return time.Duration(max(f.Unavailable, f.LongestGap)) }

// moved demands that a fault of the leader had its effect: another node leads, or, if none came forward before the heal, the
// service was away for as long. The half of it: the fault takes effect a moment after it struck.
func moved(t *testing.T, f *result.Fault) {
	t.Helper()
	if f.LeaderBefore == 0 || f.LeaderBefore == f.LeaderAfter && away(f) < time.Duration(f.Healed-f.At)/2 {
		t.Errorf("%s %s had no effect: %+v", f.Kind, f.Target, f)
	}
}

func noted(t *testing.T, f *result.Fault, want string) {
	t.Helper()
	if notes := strings.Join(f.Notes, "; "); !strings.Contains(notes, want) {
		t.Errorf("%s: no %q in %q", f.Kind, want, notes)
	}
}

// slower demands that nothing was acknowledged faster than least while the fault was in force: physics, whatever else
// the machine does. The first moments are left out, when what was under way before may be answered, and so is what was
// counted so late that it may be from after the heal.
func slower(t *testing.T, r *result.Result, closed closings, f *result.Fault, least time.Duration) {
	t.Helper()
	looked, from, late := 0, int64(0), int64(0)
	for k, to := range closed.after(r.Intervals) {
		i, begin := r.Intervals[k], from
		from, late = to, max(late, to-i.Start-i.Length)
		if i.Ops == 0 || begin < f.At+int64(500*time.Millisecond) || to > f.Healed-int64(200*time.Millisecond) {
			continue
		}
		looked++
		if i.P50 < int64(least)*99/100 { // histograms round
			t.Errorf("%s: at %s half of the operations took less than %s, at least %s was due", f.Kind, time.Duration(i.Start), time.Duration(i.P50), least)
		}
	}
	t.Logf("%s: %d intervals of %d looked at, closed up to %s late", f.Kind, looked, len(r.Intervals), time.Duration(late))
	if looked == 0 {
		t.Errorf("%s: nothing was acknowledged meanwhile", f.Kind)
	}
}

// A cut that cuts nothing, the wrong link, or never heals, would be reported as a system that survives cuts.
func TestRunNetworkFaults(t *testing.T) {
	t.Parallel()
	r, c, closed := faulty(t, 20*time.Second,
		"partition:leader@300ms+1s", "asym:leader:dir=out,how=swallow@2800ms+1s", "asym:leader:dir=in,how=refuse,clients=yes@5300ms+1s",
		"clients:leader@7800ms+700ms", "slow-link:all:latency=20ms,jitter=1ms,bandwidth=1MiB@10s+3s", "slow-link:all:reset=50ms@15s+1s")
	for i := range 3 {
		moved(t, &r.Faults[i])
	}
	if f := &r.Faults[3]; away(f) < 600*time.Millisecond {
		t.Errorf("the leader was cut off from its clients for 700 ms: %+v", f)
	}
	slower(t, r, closed, &r.Faults[4], 40*time.Millisecond) // a vote takes a round trip
	noted(t, &r.Faults[5], "connections reset")
	for i, addr := range c.ClientAddrs() {
		if addr == c.Addrs()[i] {
			t.Errorf("clients reach node %d directly", i+1)
		}
	}
}

// A slow disk that is not slow, a stuck one that lets go, a broken one that is trusted again.
func TestRunDiskFaults(t *testing.T) {
	t.Parallel()
	r, _, closed := faulty(t, 20*time.Second,
		"slow-fsync:all:latency=30ms@300ms+3s", "stall-fsync:leader@4500ms+2500ms", "fail-fsync:leader@8500ms+1s", "disk-full:leader@11s+4s")
	slower(t, r, closed, &r.Faults[0], 30*time.Millisecond)
	noted(t, &r.Faults[0], "slowed fsyncs")
	for i := 1; i < 4; i++ {
		moved(t, &r.Faults[i])
	}
	noted(t, &r.Faults[1], "hung")
	noted(t, &r.Faults[2], "ended: exit status 1")
	noted(t, &r.Faults[2], "input/output error")
	noted(t, &r.Faults[3], "found no room")
}

// Restarts that restart nothing, or nodes that come back without what they had; a burst that is none.
func TestRunRestarts(t *testing.T) {
	t.Parallel()
	r, c, _ := faulty(t, 16*time.Second, "power@300ms+500ms", "restart:leader@3300ms", "rolling@5500ms+3s", "overload:x=3@9500ms+1s")
	// 300 a second for 16 s and 200 ms of warm-up, and 600 more in the burst.
	if n := r.Safety.Acked + r.Throughput.Failed + r.Throughput.Unknown + r.Throughput.Unsent; n < 5400 || n > 5500 {
		t.Errorf("%d operations, want about 5460", n)
	}
	if f := &r.Faults[0]; away(f) < 400*time.Millisecond || len(f.Nodes) != 3 {
		t.Errorf("the power was off: %+v", f)
	}
	moved(t, &r.Faults[1])
	sum := 0
	for _, m := range c.Members() {
		_, starts := m.Running()
		if starts < 4 { // at first, after the power loss, in turn, and for the audit of the disks
			t.Errorf("node %d was started %d times", m.Node(), starts)
		}
		sum += starts
	}
	if sum != 13 {
		t.Errorf("%d starts, want 4 of each node and one more of a leader", sum)
	}
	for i, addr := range c.ClientAddrs() {
		if addr != c.Addrs()[i] {
			t.Errorf("without faults of the network clients reach node %d through a proxy", i+1)
		}
	}
}
