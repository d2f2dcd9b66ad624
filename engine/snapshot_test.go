package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// smallSnapshots makes a few hundred commands enough for everything: snapshots, trimming, recycled segments.
func smallSnapshots(c *Config) {
	c.SnapshotBytes, c.RetainBytes, c.SegmentBytes = 32<<10, 32<<10, 64<<10
}

// fill proposes commands until n more snapshots than now exist on node id.
func (c *cluster) fill(n *Node, more uint64) {
	c.t.Helper()
	g := n.Group(1)
	until := g.Metrics().Snapshots + more
	for i := 0; g.Metrics().Snapshots < until; i++ {
		c.propose(fmt.Sprintf("%d-%s", i%50, strings.Repeat("f", 1<<10)))
	}
}

// The log must not grow for ever: with snapshots going on, disk and memory stay within what is configured, and a restart
// from snapshot and tail gives the state that was there.
func TestSnapshotsBoundTheLog(t *testing.T) {
	c := newCluster(t, 3, false, smallSnapshots)
	id := c.openSession()
	first := c.retry(id, 1, 0, "kept")
	leader := c.leader()
	c.fill(leader, 6)
	before := c.equal(1)
	for nid, n := range c.nodes {
		// A slow disk has a snapshot and its trim follow later.
		eventually(t, fmt.Sprintf("node %d has trimmed its log and keeps 160 KB of it in memory, 5 segments, 4 snapshots at most", nid), func() bool {
			files, err := os.ReadDir(filepath.Join(c.dir, fmt.Sprint(nid), "snap"))
			if err != nil {
				t.Fatal(err)
			}
			s := n.Group(1).Status()
			return s.Trimmed > 0 && s.LogBytes <= 5*32<<10 && n.wal.Stats().Live <= 5 && len(files) <= 4
		})
	}
	c.close()
	for id := range c.members {
		if s := c.start(id).Group(1).Status(); s.Snapshot == 0 || s.Trimmed < s.Snapshot {
			t.Errorf("node %d did not start from a snapshot: %+v", id, s)
		}
	}
	if o := c.retry(id, 1, 0, "kept"); o.String() != first.String() {
		t.Errorf("first %v, retry after the restart %v", first, o)
	}
	if after := c.equal(1); after.Commands != before.Commands {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

// What can go wrong: a state that is many times SnapshotBytes is written after every SnapshotBytes of log, one snapshot after the
// other, and the nodes do little else; or a start forgets how large it is. Nor may a huge one let the log grow without bounds.
func TestLargeStateIsWrittenRarely(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		smallSnapshots(c)
		c.SnapshotBytes = 64 << 10
	})
	g := c.nodes[1].Group(1)
	at := g.node.c.SnapshotBytes
	if due := g.snapshotDue(); due != at {
		t.Errorf("without a snapshot one is due after %d bytes", due)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var cmds []string
	for range 100 {
		p := make([]byte, 3<<10)
		for i := range p {
			p[i] = byte(rng.Uint64())
		}
		cmds = append(cmds, base64.StdEncoding.EncodeToString(p)) // 4 KiB that hardly compress
	}
	write := func() (snapshots uint64) {
		before := g.Metrics().Snapshots
		for _, cmd := range cmds {
			c.propose(cmd)
			eventually(t, "no snapshot is being written", func() bool { return len(g.snapBusy) == 0 })
		}
		return g.Metrics().Snapshots - before
	}
	write()
	size := g.snapSize.Load()
	due := g.snapshotDue()
	if size < 200<<10 || due != size/snapshotShare {
		t.Fatalf("with a snapshot of %d bytes the next one is due after %d", size, due)
	}
	// 400 KiB of log, which make the state no larger: a snapshot for each half of the state's size, not for each 64 KiB.
	if n := write(); n < 1 || n > 3 {
		t.Errorf("%d snapshots", n)
	}
	due = g.snapshotDue()
	c.stop(1)
	g = c.start(1).Group(1)
	if again := g.snapshotDue(); again != due {
		t.Errorf("before a restart a snapshot was due after %d bytes, now after %d", due, again)
	}
	g.snapSize.Store(1 << 50)
	if due, most := g.snapshotDue(), g.node.c.snapshotBytesMax(); due != most || 2*most > g.node.c.logBytesMax(&g.node.limits) {
		t.Errorf("due after %d bytes of a log that may have %d", due, g.node.c.logBytesMax(&g.node.limits))
	}
}

// A follower that was away comes back: from the log while the log reaches back, from a snapshot when it does not. Either
// way it must end with the same state, and go on.
func TestFollowerCatchesUp(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		for _, far := range []bool{false, true} {
			t.Run(fmt.Sprintf("tcp=%v/far=%v", tcp, far), func(t *testing.T) {
				c := newCluster(t, 3, tcp, func(c *Config) {
					if far {
						smallSnapshots(c)
					}
				})
				c.propose("before")
				leader := c.leader()
				away := c.followers(leader)[0].c.Node
				at := c.equal(1).Applied
				c.stop(away)
				if far {
					c.fill(leader, 4)
					c.trimmed(at)
				} else {
					for i := range 200 {
						c.propose(fmt.Sprint("while away ", i))
					}
				}
				c.start(away)
				c.equal(1)
				installs := func() uint64 { return c.nodes[away].Group(1).Metrics().SnapInstalls }
				if far { // counted a moment after the state is there
					eventually(t, "a snapshot is installed", func() bool { return installs() > 0 })
				} else if n := installs(); n > 0 {
					t.Errorf("%d snapshots installed", n)
				}
				c.propose("after")
				c.equal(1)
				p, err := c.nodes[away].Group(1).QueryStale(context.Background(), []byte("after"))
				if err != nil || string(p) != "1" {
					t.Errorf("%q %v", p, err)
				}
				// What was installed must also survive.
				c.stop(away)
				c.start(away)
				c.equal(1)
			})
		}
	}
}

// A snapshot travels while the network loses, repeats and reorders: the pieces must come together, and the follower must
// go on from it under load.
func TestSnapshotOverBadNetwork(t *testing.T) {
	c := newCluster(t, 3, false, smallSnapshots)
	c.propose("before")
	leader := c.leader()
	away := c.followers(leader)[0].c.Node
	at := c.equal(1).Applied
	c.stop(away)
	for i := range 2000 { // a state of several pieces
		c.proposeAsync(fmt.Sprintf("%d-%s", i, strings.Repeat("s", 1<<10)))
	}
	c.fill(leader, 2)
	c.trimmed(at)
	var chunks atomic.Int64
	c.loop.Filter(func(from, to wire.NodeID, f *wire.Buffer) bool {
		h, err := wire.ParseHeader(f.Bytes())
		if err != nil || h.Kind != wire.KindSnapChunk {
			return true
		}
		return chunks.Add(1)%3 != 1 // the first and every third piece is lost
	})
	c.start(away)
	c.propose("meanwhile")
	c.equal(1)
	eventually(t, "a snapshot is installed", func() bool { return c.nodes[away].Group(1).Metrics().SnapInstalls > 0 })
}

// proposeAsync proposes without waiting for the outcome.
func (c *cluster) proposeAsync(cmd string) {
	for {
		err := c.leader().Group(1).ProposeBlock(encodeBlock(0, 0, 0, cmd), CompletionFunc(func(*Result) {}))
		if !errors.Is(err, ErrBusy) {
			return
		}
	}
}

// A damaged snapshot must never be served: an older one and the log behind it take its place if they reach that far, and
// otherwise the node refuses to start rather than lose slots.
func TestDamagedSnapshot(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		smallSnapshots(c)
		c.RetainBytes = 3 * c.SnapshotBytes
	})
	c.fill(c.nodes[1], 6)
	eventually(t, "trimming", func() bool { return c.nodes[1].Group(1).Status().Trimmed > 0 })
	before := c.nodes[1].Group(1).Status()
	c.stop(1)
	dir := filepath.Join(c.dir, "1", "snap")
	damage := func() (left bool) {
		f, err := snapshot.Latest(nil, dir, 77, 1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		p[len(p)/2] ^= 1
		if err := os.WriteFile(f.Path, p, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err = snapshot.Latest(nil, dir, 77, 1); err != nil {
			return false
		}
		return true
	}
	if !damage() {
		t.Fatal("no second snapshot was kept")
	}
	n := c.start(1)
	eventually(t, "recovery from the older one", func() bool {
		s := n.Group(1).Status()
		return s.Applied >= before.Applied && s.Commands == before.Commands && s.Role == "leader"
	})
	c.stop(1)
	for damage() {
	}
	held := wire.Outstanding()
	var missing *MissingError
	if _, err := c.open(1, false, nil); !errors.As(err, &missing) || missing.Trimmed == 0 || missing.Err == nil {
		t.Errorf("all snapshots damaged: %v", err)
	}
	if n := wire.Outstanding() - held; n != 0 {
		t.Errorf("%d buffers not released", n)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "1", "wal")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.open(1, true, nil); !errors.Is(err, wal.ErrHistory) {
		t.Errorf("bootstrap beside snapshots: %v", err)
	}
}

// A crash between a snapshot and the removal of the oldest leaves one too many, and an idle group writes no next one that would take it
// away: the start has to, but not if that leaves damaged ones only.
func TestStartRemovesNeedlessSnapshots(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		smallSnapshots(c)
		c.RetainBytes = 1 << 20 // the log reaches back to all of them
	})
	dir := filepath.Join(c.dir, "1", "snap")
	snaps := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if _, _, ok := snapshot.ParseName(e.Name()); ok {
				names = append(names, e.Name())
			}
		}
		return names
	}
	c.fill(c.nodes[1], 6)
	eventually(t, "as many snapshots as are kept", func() bool { return len(snaps()) == snapshotsKept })
	c.stop(1)
	// What the crash left: an older one, under the name of a slot below all others.
	oldest, err := os.ReadFile(filepath.Join(dir, snaps()[0]))
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, snapshot.Name(1, 1))
	if err := os.WriteFile(left, oldest, 0o644); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	c.stop(1)
	if names := snaps(); len(names) != snapshotsKept || names[0] == filepath.Base(left) {
		t.Errorf("after a start there are %v, want the newest %d", names, snapshotsKept)
	}
}

// noSpace is a file system for snapshots that has no room for one.
type noSpace struct{}

func (noSpace) Create(string) (snapshot.FileHandle, error)   { return nil, syscall.ENOSPC }
func (noSpace) Open(string) (snapshot.FileHandle, error)     { return nil, fs.ErrNotExist }
func (noSpace) OpenPart(string) (snapshot.FileHandle, error) { return nil, syscall.ENOSPC }
func (noSpace) Rename(string, string) error                  { return fs.ErrNotExist }
func (noSpace) Remove(string) error                          { return fs.ErrNotExist }
func (noSpace) List(string) ([]string, error)                { return nil, nil }
func (noSpace) SyncDir(string) error                         { return nil }

// A snapshot that cannot be written must cost nothing but the trimming: the log stays whole, and the node goes on.
func TestNoSpaceForSnapshots(t *testing.T) {
	c := newCluster(t, 1, false, func(c *Config) {
		smallSnapshots(c)
		c.SnapshotFS = noSpace{}
	})
	for i := range 200 {
		c.propose(fmt.Sprintf("%d-%s", i, strings.Repeat("f", 1<<10)))
	}
	if m := c.nodes[1].Group(1).Metrics(); m.Snapshots != 0 || m.Commands != 200 {
		t.Errorf("%+v", m)
	}
	c.stop(1)
	c.start(1)
	eventually(t, "everything is there again", func() bool { return c.nodes[1].Group(1).Status().Commands == 200 })
}

// The marks decide what may be trimmed: too much, and a lagging peer needs a snapshot at once; a slot above the
// snapshot's, and data is lost.
func TestLogMarks(t *testing.T) {
	m := newLogMarks(1000)
	if m.taken() != 0 {
		t.Error("trim of an empty log")
	}
	for s := wire.Slot(1); s <= 500; s++ {
		if m.add(s, 10); s%100 == 0 {
			if m.behind() != 1000 {
				t.Fatalf("slot %d: %d bytes since the last snapshot", s, m.behind())
			}
			trim := m.taken()
			kept := int64(s-trim) * 10
			if s == 100 && trim != 0 && kept < 1000 || s > 100 && (kept < 1000 || kept > 1000+m.step+10) {
				t.Errorf("snapshot at %d: trim %d keeps %d bytes", s, trim, kept)
			}
		}
	}
	if len(m.marks) > 40 {
		t.Errorf("%d marks", len(m.marks))
	}
	m.restart(900)
	if m.add(901, 10); m.behind() != 10 || m.taken() != 0 {
		t.Error("after a restart")
	}
	if m.failed(); m.behind() != 10 {
		t.Error("a snapshot that failed counts as taken")
	}
}
