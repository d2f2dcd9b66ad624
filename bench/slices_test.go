package bench

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// Slices on one cluster share its sessions and keys: their stamps could collide, so that the audit takes one slice's
// writes for another's; and an audit that only looks at the last slice would not miss what an earlier one lost.
func TestSlices(t *testing.T) {
	t.Parallel()
	for _, lossy := range []bool{false, true} {
		c := quick(t)
		c.Load.Duration, c.Cluster, c.Load.Rate, c.Load.Inflight = 300*time.Millisecond, InProc, 0, 16
		if lossy {
			c.hooks.target = func(t load.Target) load.Target { return &liar{Target: t} }
		}
		next := make(chan struct{}, 3)
		for range cap(next) {
			next <- struct{}{}
		}
		close(next)
		var told []Slice
		safety, err := Slices(context.Background(), c, next, func(s Slice) error {
			told = append(told, s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(told) != 3 {
			t.Fatalf("%d slices", len(told))
		}
		var ops uint64
		for _, s := range told {
			ops += s.Ops
			if s.Invalid != "" { // this machine may be busy
				continue
			}
			if s.Ops == 0 || s.OpsPerSec <= 0 || s.P99 < s.P50 || s.P50 <= 0 || s.Cost.CPU <= 0 || s.Cost.WALBytes < 16 || s.Cost.WALBytes > 3000 {
				t.Errorf("%+v", s)
			}
		}
		switch {
		case lossy && (safety.Verdict != result.Violated || safety.Lost == 0):
			t.Errorf("lost writes were not found: %+v", safety)
		case !lossy && (safety.Verdict != result.OK || safety.Acked < ops):
			t.Errorf("%d operations, %+v", ops, safety)
		}
		if left, _ := os.ReadDir(c.DataDir); (len(left) > 0) != lossy {
			t.Errorf("lossy %v, data left: %v", lossy, left)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Slices(ctx, quick(t), nil, nil); !errors.Is(err, ErrInterrupted) {
		t.Error(err)
	}
}
