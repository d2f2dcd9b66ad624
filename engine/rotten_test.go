package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
)

// rotSnapshots flips a bit in the newest count snapshots of a node. It returns the slot of the last of them.
func (c *cluster) rotSnapshots(id wire.NodeID, count int) (slot wire.Slot) {
	c.t.Helper()
	dir := filepath.Join(c.dir, fmt.Sprint(id), "snap")
	for range count {
		f, err := snapshot.Latest(nil, dir, 77, 1)
		if errors.Is(err, snapshot.ErrNone) || errors.As(err, new(*snapshot.AllRefusedError)) {
			return slot
		}
		if err != nil {
			c.t.Fatal(err)
		}
		p, err := os.ReadFile(f.Path)
		if err != nil {
			c.t.Fatal(err)
		}
		slot = f.Meta.Slot
		p[len(p)/2] ^= 1
		if err := os.WriteFile(f.Path, p, 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return slot
}

// What can go wrong: the snapshots of a group rot while it is idle. No slot is applied, so none is ever due, and a follower that
// needs one waits for ever, although everybody's state is whole.
func TestRottenSnapshotsAreReplaced(t *testing.T) {
	c, installed := idleRot(t)
	c.equal(1)
	eventually(t, "a snapshot is installed", installed)
}

// idleRot starts a follower that needs a snapshot, when all that the others have has rotted. installed says whether it got one.
func idleRot(t *testing.T) (c *cluster, installed func() bool) {
	c = newCluster(t, 3, false, smallSnapshots)
	c.propose("before")
	leader := c.leader()
	away := c.followers(leader)[0].c.Node
	at := c.equal(1).Applied
	c.stop(away)
	c.fill(leader, 4)
	c.trimmed(at)
	c.equal(1)
	for id, n := range c.nodes {
		eventually(t, "snapshots rest", func() bool { return len(n.Group(1).snapBusy) == 0 })
		c.rotSnapshots(id, snapshotsKept)
	}
	n := c.start(away)
	return c, func() bool { return n.Group(1).Metrics().SnapInstalls > 0 }
}

// What can go wrong: a node starts from an older snapshot because the newest has rotted, nothing is applied afterwards, and the
// older one is all there is until it rots as well.
func TestRottenSnapshotIsReplacedAfterStart(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		smallSnapshots(c)
		c.RetainBytes = 3 * c.SnapshotBytes
	})
	c.fill(c.nodes[1], 6)
	c.stop(1)
	rotten := c.rotSnapshots(1, 1)
	c.start(1)
	dir := filepath.Join(c.dir, "1", "snap")
	eventually(t, "a good snapshot instead", func() bool {
		f, err := snapshot.Latest(nil, dir, 77, 1)
		return err == nil && f.Meta.Slot >= rotten && len(f.Refused) == 0
	})
}
