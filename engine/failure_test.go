package engine

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// A disk whose fsync fails once and then claims success: the node must stop voting at the first error and for good, tell
// its waiters that the outcome is unknown, report the reason, and the others must go on without it (FAULTS.md F14).
func TestFsyncFailurePoisonsTheNode(t *testing.T) {
	disks := map[wire.NodeID]*vfs.Mem{1: vfs.NewMem(), 2: vfs.NewMem(), 3: vfs.NewMem()}
	c := newCluster(t, 3, false, func(c *Config) { c.FS = disks[c.Node] })
	c.propose("before")
	leader := c.leader()
	id := leader.c.Node
	// Two others may have chosen it without this disk; the failure is for what comes now.
	eventually(t, "the leader's own vote is durable", func() bool { return leader.Group(1).syncBacklog.Load() == 0 })
	var failures atomic.Int32
	disks[id].SetHook(func(op vfs.Op) error {
		if op.Kind == "datasync" && failures.Add(1) == 1 {
			return syscall.EIO
		}
		return nil
	})
	// With the network cut nothing can be chosen: what was proposed before the failure stays unknown.
	c.loop.Isolate(id, true)
	o := proposeBlock(t, leader.Group(1), 0, 0, 0, "into the failure")
	if o.Status != wire.StatusUnknown {
		t.Errorf("under way at the failure: %v", o)
	}
	if err := leader.Wait(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "sync the log") {
		t.Errorf("Wait: %v", err)
	}
	if err := leader.Close(); !errors.Is(err, syscall.EIO) || leader.Err() == nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := leader.Group(1).Propose(context.Background(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("after the failure: %v", err)
	}
	if n := failures.Load(); n != 1 {
		t.Errorf("%d syncs after the failed one", n-1)
	}
	delete(c.nodes, id)
	c.loop.Heal()
	c.propose("after")
	// The machine is repaired and the process started again: what was acknowledged is there.
	disks[id].SetHook(nil)
	disks[id].Reboot()
	c.start(id)
	if s := c.equal(1); s.Commands < 2 {
		t.Errorf("%+v", s)
	}
}

// A leader cut off from everybody must stop answering: reads cannot be confirmed and writes not be chosen, while the others
// elect a new one. When it comes back it follows, and whoever waited knows that the outcome is open.
func TestPartitionedLeader(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	c.propose("before")
	old := c.leader()
	c.loop.Isolate(old.c.Node, true)
	written := make(chan outcome, 1)
	go func() { written <- proposeBlock(t, old.Group(1), 0, 0, 0, "on the wrong side") }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if p, err := old.Group(1).Query(ctx, []byte("before")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("query of a cut-off leader: %q %v", p, err)
	}
	if o := <-written; o.Status != wire.StatusUnknown && o.Status != wire.StatusNotLeader {
		t.Errorf("write to a cut-off leader: %v", o)
	}
	eventually(t, "a new leader, and a write on the other side", func() bool {
		for _, n := range c.followers(old) { // on a busy machine who leads may change again
			if _, err := n.Group(1).Propose(ctx, []byte("meanwhile")); err == nil {
				return true
			}
		}
		return false
	})
	c.loop.Heal()
	c.propose("after")
	c.equal(1)
	if p, err := c.leader().Group(1).Query(ctx, []byte("on the wrong side")); err != nil || string(p) == "2" {
		t.Errorf("%q %v", p, err)
	}
}

// A machine that loses power loses what was not synced and nothing else: what was answered by a cluster whose nodes all lose
// power at once must be there afterwards, on every loss a disk may have (FAULTS.md F12, F23).
func TestPowerLossOfTheCluster(t *testing.T) {
	for _, loss := range vfs.Losses() {
		t.Run(loss.String(), func(t *testing.T) {
			disks := map[wire.NodeID]*vfs.Mem{1: vfs.NewMem(), 2: vfs.NewMem(), 3: vfs.NewMem()}
			c := newCluster(t, 3, false, func(c *Config) { c.FS = disks[c.Node] })
			id := c.openSession()
			var last outcome
			for i := range 20 {
				last = c.retry(id, wire.Seq(1+i), wire.Seq(1+i), "x")
			}
			for _, d := range disks {
				d.CrashAt(1)
			}
			for id, n := range c.nodes {
				n.Close() // with the error of the crashed disk, if it noticed
				delete(c.nodes, id)
			}
			for id, d := range disks {
				d.PowerLoss(loss, uint64(id))
				d.CrashAt(0)
				c.start(id)
			}
			again := c.retry(id, 20, 20, "x")
			if again.String() != last.String() {
				t.Errorf("before %v, retry afterwards %v", last, again)
			}
			if s := c.equal(1); s.Commands != 20 {
				t.Errorf("%d commands executed, 20 answered", s.Commands)
			}
		})
	}
}

// A full disk loses nothing, so it must not cost the node: its leader must hand over, because nothing it accepts becomes
// durable; it must neither vote nor take anything meanwhile, say so, and go on where it was when there is room
// (FAULTS.md F15).
func TestFullDisk(t *testing.T) {
	full := func(op vfs.Op) error {
		if op.Kind == "writev" || op.Kind == "preallocate" || op.Kind == "create" {
			return syscall.ENOSPC
		}
		return nil
	}
	t.Run("three nodes", func(t *testing.T) {
		disks := map[wire.NodeID]*vfs.Mem{1: vfs.NewMem(), 2: vfs.NewMem(), 3: vfs.NewMem()}
		c := newCluster(t, 3, false, func(c *Config) { c.FS = disks[c.Node] })
		c.propose("before")
		old := c.leader()
		disks[old.c.Node].SetHook(full)
		// What it proposes now two others accept: it leads until its own disk has done nothing for too long.
		eventually(t, "another leader", func() bool {
			c.propose("during")
			return c.leader() != old
		})
		if err := old.Err(); err != nil {
			t.Fatalf("the node is gone: %v", err)
		}
		c.propose("meanwhile")
		if !old.diskFull.Load() {
			t.Error("it does not know that its disk is full")
		}
		disks[old.c.Node].SetHook(nil)
		c.equal(1)
		eventually(t, "it notices that there is room", func() bool { return !old.diskFull.Load() })
		if err := old.Err(); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
	t.Run("one node", func(t *testing.T) {
		disk := vfs.NewMem()
		c := newCluster(t, 1, false, func(c *Config) { c.FS = disk })
		c.propose("before")
		n := c.nodes[1]
		disk.SetHook(full)
		eventually(t, "the typed refusal", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			_, err := n.Group(1).Propose(ctx, []byte("refused"))
			return errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrUnknown)
		})
		disk.SetHook(nil)
		eventually(t, "writes again", func() bool {
			_, err := n.Group(1).Propose(context.Background(), []byte("after"))
			return err == nil
		})
		if p, err := n.Group(1).Query(context.Background(), []byte("before")); err != nil || string(p) != "1" {
			t.Errorf("%q %v", p, err)
		}
	})
	t.Run("closed while full", func(t *testing.T) {
		disk := vfs.NewMem()
		c := newCluster(t, 1, false, func(c *Config) { c.FS = disk })
		disk.SetHook(full)
		n := c.nodes[1]
		acked := make(chan error, 1)
		go func() {
			_, err := n.Group(1).Propose(context.Background(), []byte("into it"))
			acked <- err
		}()
		eventually(t, "the disk is full", n.diskFull.Load)
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		delete(c.nodes, 1)
		if <-acked == nil {
			t.Error("acknowledged what is nowhere")
		}
	})
}
