package engine

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/wal"
)

// What can go wrong: the window does not hear of the disk or of chosen slots, or is not asked; what somebody has fixed is changed.
func TestWindowFollowsTheDisk(t *testing.T) {
	window := func(g *Group) int { return g.Status().Window }
	drive := func(g *Group) {
		var o outcomes
		for range 20 {
			o.left.Add(1)
			if err := g.Go([]byte("x"), &o); err != nil {
				t.Fatal(err)
			}
			o.left.Wait()
		}
	}
	c := newCluster(t, 1, false, nil)
	g := c.leader().Group(1)
	drive(g)
	// With one node a slot's life is little more than the disk's round, so far fewer than the bound are enough.
	eventually(t, "the window is small", func() bool { drive(g); return window(g) >= 2 && window(g) < 16 })
	g.SetWindow(7)
	eventually(t, "the window is what was set", func() bool { drive(g); return window(g) == 7 })
	g.SetWindow(1 << 20)
	eventually(t, "it is bounded", func() bool { return window(g) == 32 })
	g.SetWindow(0)
	eventually(t, "it adapts again", func() bool { return window(g) < 16 })

	fixed := newCluster(t, 1, false, func(c *Config) { c.FixedWindow = true }).leader().Group(1)
	drive(fixed)
	time.Sleep(3 * fixed.node.c.Tick)
	if window(fixed) != 32 {
		t.Errorf("a fixed window is %d", window(fixed))
	}

	// Without a sync there is nothing to wait for: the bound.
	never := newCluster(t, 1, false, func(c *Config) { c.Fsync = wal.Policy{Mode: wal.Never} }).leader().Group(1)
	drive(never)
	eventually(t, "the window is the bound", func() bool { drive(never); return window(never) == 32 })
}
