package main

import (
	"strings"
	"testing"
)

// What can go wrong: a leader that stood still, or that is cut off, wakes up in the belief that it still holds the lease, and
// answers a read from a state that others have left behind. Half of the operations are reads by lease, of few keys, while the
// leader is paused for longer than an election takes, or cut off from its peers but not from its clients; every answer is judged.
// Reads went by lease, or the run proves nothing.
func TestReadsByLease(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "pause:leader@500ms+1s", "partition:leader@500ms+1s", "kill:leader@500ms+700ms"} {
		t.Run("fault="+fault, func(t *testing.T) {
			t.Parallel()
			more := []string{"--reads", "0.5", "--read-mode", "lease", "--keys", "20", "--history-keys", "20", "--duration", "3s"}
			if fault != "" {
				more = append(more, "--fault", fault)
			}
			code, out, errs := spawn(t, small(t, more...)...)
			r := decode(t, code, out, errs)
			judged(t, r)
			if h := r.Safety.History; h == nil || h.Ops < 100 || h.Stale != 0 {
				t.Errorf("%+v %+v", r.Safety, h)
			}
			if r.Config.ReadMode != "lease" || r.Config.Extra["lease"] != "200ms" {
				t.Errorf("recorded as %s, %v", r.Config.ReadMode, r.Config.Extra)
			}
			served := ""
			for _, n := range r.Validity.Notes {
				if strings.Contains(n, "answered by lease") {
					served = n
				}
			}
			if served == "" || strings.HasPrefix(served, "0 reads") {
				t.Errorf("%q: %v", served, r.Validity.Notes)
			}
			t.Log(served, r.Faults)
		})
	}
}
