package sim

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "play only this schedule, and print every event")
	seedsFlag = flag.Uint64("sim.seeds", 300, "number of schedules")
)

// What can go wrong: any interleaving of crashes, losses and delays in which the whole stack, from the log's bytes to the
// clients' replies, breaks one of the properties. The oracle says which, where and when; -sim.seed plays it again.
func TestSchedules(t *testing.T) {
	if *seedFlag != 0 {
		r := Run(Options{Seed: *seedFlag, Trace: func(l string) { t.Log(l) }})
		t.Logf("%+v", r.Knobs)
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
		return
	}
	b := Batch{First: 1, Seeds: *seedsFlag}
	switch {
	case raceEnabled:
		b.Seeds = min(b.Seeds, 12)
	case testing.Short():
		b.Seeds = min(b.Seeds, 60)
	}
	s := b.Run()
	t.Logf("%d schedules, %d events, %v simulated, %.0f schedules/s: %v", s.Schedules, s.Events, s.SimTime, s.Rate(), s.Counts)
	if v := s.Violation; v != nil {
		for _, line := range v.Trace {
			t.Log(line)
		}
		t.Fatal(v)
	}
	if s.Schedules >= 2000 && len(s.Missing) > 0 { // some of it happens once in a hundred schedules
		t.Errorf("in %d schedules there was not one of %q", s.Schedules, s.Missing)
	}
}

// What can go wrong beyond what can be survived: a cluster that has lost too much goes on, with votes that were forgotten or no-ops
// over what was chosen; or it halts and nobody is told why. -sim.seed plays one again.
func TestBeyond(t *testing.T) {
	if *seedFlag != 0 {
		r := Run(Options{Seed: *seedFlag, Beyond: true, Trace: func(l string) { t.Log(l) }})
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
		return
	}
	b := Batch{First: 1, Seeds: min(*seedsFlag, 300), Beyond: true}
	switch {
	case raceEnabled:
		b.Seeds = min(b.Seeds, 6)
	case testing.Short():
		b.Seeds = min(b.Seeds, 30)
	}
	s := b.Run()
	t.Logf("%d schedules, %d events, %.0f schedules/s: %v", s.Schedules, s.Events, s.Rate(), s.Counts)
	if v := s.Violation; v != nil {
		for _, line := range v.Trace {
			t.Log(line)
		}
		t.Fatal(v)
	}
	if s.Schedules >= 300 && len(s.Missing) > 0 {
		t.Errorf("in %d schedules there was not one of %q", s.Schedules, s.Missing)
	}
}

// A seed must give one trace: otherwise no failure could be played again, and no fix be shown to be one.
func TestSameSeedSameTrace(t *testing.T) {
	seeds := uint64(8)
	if raceEnabled {
		seeds = 1
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		a, b := Run(Options{Seed: seed}), Run(Options{Seed: seed})
		if a.Hash != b.Hash || a.Events != b.Events {
			t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, a.Events, a.Hash, b.Events, b.Hash)
		}
		if c := Run(Options{Seed: seed + 1000}); c.Hash == a.Hash {
			t.Errorf("seeds %d and %d have the same trace", seed, seed+1000)
		}
	}
}

// The knobs a caller sets must reach the nodes, and the trace must name every event: a replay that shows something else
// than the run helps nobody.
func TestOptions(t *testing.T) {
	lines := 0
	r := Run(Options{Seed: 5, Nodes: 1, Trace: func(string) { lines++ }, Knobs: func(k *Knobs) { k.Chaos = 200 * time.Millisecond }})
	if r.Violation != nil || lines != r.Events || r.Knobs.Nodes != 1 || r.SimTime > time.Minute {
		t.Errorf("%d lines, %d events, %v simulated, %v: %v", lines, r.Events, r.SimTime, r.Knobs, r.Violation)
	}
}

// A batch that saw nothing of something vital is a broken harness, and must say so, also when it is so long that other parts of it saw
// it; what is told of its progress must add up to what it says in the end.
func TestBatch(t *testing.T) {
	var seen uint64
	s := Batch{First: 200, Seeds: 6, Nodes: 3, Workers: 2, Every: time.Millisecond, Progress: func(s *Summary) {
		if s.Schedules < seen || s.Next < 200 || s.Since > 0 && s.Slowest < 200 {
			t.Errorf("%d schedules after %d, %d and all before were played, %d for %v", s.Schedules, seen, s.Next, s.Slowest, s.Since)
		}
		seen = s.Schedules
	}}.Run()
	if s.Violation != nil || s.Schedules != 6 || s.Next != 206 || s.Counts["schedules played twice"] != 1 || len(s.Missing) == 0 {
		t.Errorf("%+v", s)
	}
	r := &batchRun{b: Batch{First: 1, Seeds: 3 * VitalSpan}, next: 1, span: Counts{}, playing: map[uint64]time.Time{}}
	r.s.Counts = Counts{}
	all := Counts{}
	for _, name := range Vital {
		all[name] = 1
	}
	r.add(&Result{Counts: all})
	for range VitalSpan - 1 {
		r.add(&Result{})
	}
	if _, ok := r.take(); !ok || len(r.s.Missing) > 0 {
		t.Errorf("after schedules that saw everything: %q", r.s.Missing)
	}
	delete(all, "duels")
	r.add(&Result{Counts: all})
	for range VitalSpan - 1 {
		r.add(&Result{})
	}
	if _, ok := r.take(); ok || !slices.Equal(r.s.Missing, []string{"duels"}) {
		t.Errorf("after %d schedules without a duel: %q", VitalSpan, r.s.Missing)
	}
}

// A violation must end a batch, carry its seed, event and trace, and be told as it was found.
func TestViolationIsTold(t *testing.T) {
	var w *world
	r := func() (r *Result) {
		w = newWorld(Options{Seed: 3, Nodes: 3})
		defer func() { r = &Result{Violation: w.violation(recover())} }()
		w.start()
		w.after(100*time.Millisecond, func() { w.fail("S1", 2, 7, "made up") })
		w.chaos()
		return nil
	}()
	v := r.Violation
	if v.Property != "S1" || v.Node != 2 || v.Slot != 7 || v.Seed != 3 || v.Event == 0 || len(v.Trace) == 0 {
		t.Errorf("%+v", v)
	}
	w.close()
}

// What can go wrong: members come and go under every kind of fault, and votes are counted that do not count, somebody is left with
// the configuration of long ago, or a change never ends. One schedule in nine has changes anyhow; here all have.
func TestChanges(t *testing.T) {
	seeds := uint64(200)
	switch {
	case raceEnabled:
		seeds = 8
	case testing.Short():
		seeds = 40
	}
	total := Counts{}
	for seed := uint64(1); seed <= seeds; seed++ {
		r := Run(Options{Seed: seed, Knobs: withChanges})
		total.Add(r.Counts)
		if r.Violation != nil {
			t.Fatal(r.Violation)
		}
	}
	t.Log(total)
	for _, name := range []string{"changes of members", "changes refused or given up", "leaders that removed themselves", "nodes told that they were removed"} {
		if total[name] == 0 && seeds >= 40 {
			t.Errorf("in %d schedules there was not one of %q", seeds, name)
		}
	}
}

func withChanges(k *Knobs) {
	k.Mode, k.Learn, k.Groups, k.Quorums = paxos.ModeMulti, paxos.LearnOne, 1, paxos.Quorums{}
	k.Changes, k.Most = true, k.Nodes+3
}
