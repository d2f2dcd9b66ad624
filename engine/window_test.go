package engine

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
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
	eventually(t, "the window is small", func() bool { drive(g); return window(g) >= 1 && window(g) < 16 })
	g.SetWindow(7)
	eventually(t, "the window is what was set", func() bool { drive(g); return window(g) == 7 })
	g.SetWindow(1 << 20)
	eventually(t, "it is bounded", func() bool { return window(g) == 32 })
	g.SetWindow(0)
	eventually(t, "it adapts again", func() bool { drive(g); return window(g) >= 1 && window(g) < 16 })

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

// What can go wrong: over a network, batches that are full wait for each other although there is room, or small ones are cut as small as
// the bound allows.
func TestWindowOverANetwork(t *testing.T) {
	c := newCluster(t, 3, false, func(c *Config) {
		disk := vfs.NewMem()
		disk.SetHook(func(op vfs.Op) error {
			if op.Kind == "datasync" {
				time.Sleep(50 * time.Microsecond)
			}
			return nil
		})
		c.FS, c.BatchBytes = disk, 1024
	})
	c.propose("before")
	for from := wire.NodeID(1); from <= 3; from++ {
		for to := wire.NodeID(1); to <= 3; to++ {
			if from != to {
				c.loop.SetLink(from, to, transport.Fault{DelayMin: 20 * time.Millisecond, DelayMax: 20 * time.Millisecond})
			}
		}
	}
	g := c.leader().Group(1)
	drive := func(commands, size int) int {
		var o outcomes
		for range commands {
			o.left.Add(1)
			if err := g.Go(make([]byte, size), &o); err != nil {
				t.Fatal(err)
			}
		}
		o.left.Wait()
		time.Sleep(g.node.c.Tick)
		return g.Status().Window
	}
	eventually(t, "the window is what the network holds", func() bool { return drive(400, 500) > 20 })
	eventually(t, "it is enough for small batches", func() bool { n := drive(1, 10); return n > 2 && n <= 12 })
}
