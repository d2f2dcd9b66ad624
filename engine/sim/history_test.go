package sim

import (
	"testing"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// What can go wrong: the histories are not judged, or not those of the clients. Of schedules that hold, one result among all
// is told wrong; each time S10 must be found broken, by the judge by slot on every seed.
func TestHistoryIsJudged(t *testing.T) {
	found, judged := 0, 0
	for seed := uint64(1); seed <= 8; seed++ {
		w := newWorld(Options{Seed: seed, Nodes: 3})
		done := false
		w.oracles[0].recall.doctor = func(c *history.Call) {
			for i := range c.Ops {
				if o := &c.Ops[i]; !done && w.events > 1000 && o.Kind == kv.OpPut && o.Version > 2 {
					o.Version--
					done = true
				}
			}
		}
		v := func() (v *Violation) {
			defer func() {
				if x := recover(); x != nil {
					v = w.violation(x)
				}
			}()
			w.start()
			w.chaos()
			w.settle()
			w.judge()
			return nil
		}()
		if done {
			judged++
			if v == nil || v.Property != "S10" {
				t.Errorf("seed %d: a wrong version was told: %v", seed, v)
			} else {
				found++
			}
		} else if v != nil {
			t.Errorf("seed %d: %v", seed, v)
		}
		w.close()
	}
	t.Logf("%d of %d found", found, judged)
	if judged < 3 {
		t.Errorf("only %d schedules had something to change", judged)
	}
}
