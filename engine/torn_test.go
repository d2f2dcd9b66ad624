package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the last acknowledged group of a cluster of one is damaged, taken for a torn write that nobody was
// told of, and cut without a word. It must refuse, change nothing, and start when told to accept the loss.
func TestSingleNodeRefusesDamagedTail(t *testing.T) {
	c := newCluster(t, 1, false, nil)
	c.propose("first")
	if got := c.propose("acked"); got != "acked:1" {
		t.Fatal(got)
	}
	c.close()
	c.damageTail(1)
	var torn *wal.TornError
	for range 2 { // a refusal that cut the tail would let the second start through
		if _, err := c.open(1, false, nil); !errors.As(err, &torn) {
			t.Fatalf("started on a damaged tail: %v", err)
		}
	}
	c.config = func(c *Config) { c.AcceptTornTail = true }
	if _, err := c.open(1, false, nil); err != nil {
		t.Fatalf("told to accept the loss: %v", err)
	}
	if got := c.propose("acked"); got != "acked:1" {
		t.Errorf("after the cut the command counts %q: the damaged one was read", got)
	}
}

// damageTail flips a bit in the last record of a node that is down.
func (c *cluster) damageTail(id wire.NodeID) {
	c.t.Helper()
	name, offset := "", int64(0)
	_, err := wal.Inspect(c.walDir(id), func(e *wal.Entry) error {
		name, offset = e.File, e.Offset
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	p[offset+wire.HeaderSize] ^= 1
	if err := os.WriteFile(name, p, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) walDir(id wire.NodeID) string { return filepath.Join(c.dir, fmt.Sprint(id), "wal") }

// suspect says why the log of a node, up or down, is suspect.
func (c *cluster) suspect(id wire.NodeID) string {
	c.t.Helper()
	report, err := wal.Inspect(c.walDir(id), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return report.Suspect
}

// What can go wrong: one of three nodes lost the end of its log, an acknowledged command's vote in it, and goes on voting: with
// another one down, the third would choose something else in its slot. It must not vote, not even after a restart that finds a log that
// is whole again, until both others have told it what it may have forgotten; then it must, and nothing is lost.
func TestDamagedTailIsHealed(t *testing.T) {
	c := newCluster(t, 3, false, func(c *Config) { c.Groups = 2 })
	if got := c.propose("acked"); got != "acked:1" {
		t.Fatal(got)
	}
	leader := c.leader()
	followers := c.followers(leader)
	victim, other := followers[0].c.Node, followers[1].c.Node
	eventually(t, "all have it", func() bool {
		for _, n := range c.nodes {
			if n.Group(1).Status().Commands != 1 {
				return false
			}
		}
		return true
	})
	for id := range c.members {
		c.stop(id)
	}
	c.damageTail(victim)
	c.start(leader.c.Node)
	for range 2 {
		n := c.start(victim)
		for range 20 {
			for g := wire.GroupID(1); g <= 2; g++ {
				if s := n.Group(g).Status(); s.Role != "suspect" || s.Suspect == "" || s.HealQuorum != 2 || s.Healing > 1 {
					t.Fatalf("with one of two others up: %+v", s)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		if c.nodes[leader.c.Node].Group(1).Status().Role == "leader" {
			t.Fatal("one node and one suspect have elected a leader")
		}
		if why := c.suspect(victim); why == "" {
			t.Fatal("the log does not say that it is suspect")
		}
		c.stop(victim)
	}
	n := c.start(victim)
	c.start(other)
	eventually(t, "healed", func() bool {
		a, b := n.Group(1).Status(), n.Group(2).Status()
		return a.Suspect == "" && b.Suspect == "" && a.Incarnation > 0 && b.Incarnation > 0
	})
	eventually(t, "the log's mark is gone", func() bool { return c.suspect(victim) == "" })
	if m := n.Group(1).Metrics(); m.Suspicions != 1 || m.Heals != 1 {
		t.Errorf("%d suspicions, %d heals", m.Suspicions, m.Heals)
	}
	// Its vote counts again, also after it was restarted: the other one goes down.
	c.stop(victim)
	n = c.start(victim)
	c.stop(other)
	if got := c.propose("acked"); got != "acked:2" {
		t.Errorf("the second one is %q", got)
	}
	c.start(other)
	c.equal(1)
	if s := n.Group(1).Status(); s.Suspect != "" || s.Incarnation == 0 {
		t.Errorf("after a restart: %+v", s)
	}
}

// What can go wrong: after a power loss that tore the logs of two of three nodes nobody can heal anybody, and there is no way out; or
// the way out, an operator's word, leaves them with votes that the third does not count, because they had asked to be healed.
func TestTwoSuspectsNeedAnOperator(t *testing.T) {
	c := newCluster(t, 3, false, nil)
	c.propose("acked")
	c.equal(1)
	for id := range c.members {
		c.stop(id)
	}
	c.damageTail(2)
	c.damageTail(3)
	for id := range c.members {
		c.start(id)
	}
	eventually(t, "node 1 has told both what it knows", func() bool {
		return c.nodes[2].Group(1).Status().Healing == 1 && c.nodes[3].Group(1).Status().Healing == 1
	})
	c.stop(3)
	c.config = func(c *Config) { c.AcceptTornTail = true }
	c.start(3)
	c.config = nil
	eventually(t, "healed", func() bool { return c.nodes[2].Group(1).Status().Suspect == "" })
	c.stop(1)
	if got := c.propose("acked"); got != "acked:2" {
		t.Errorf("the second one is %q", got)
	}
	c.start(1)
	c.equal(1)
}

// What can go wrong: a node comes back on an older copy of its directory, or on a new one that somebody bootstrapped under its
// old id, and votes again where it has voted before.
func TestOlderCopyIsNoticed(t *testing.T) {
	for _, wiped := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped=%v", wiped), func(t *testing.T) {
			c := newCluster(t, 3, false, nil)
			c.propose("first")
			victim := c.followers(c.leader())[0].c.Node
			dir := filepath.Join(c.dir, fmt.Sprint(victim))
			copied := filepath.Join(t.TempDir(), "copy")
			c.stop(victim)
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			n := c.start(victim)
			for i := range 20 {
				c.propose(fmt.Sprint("later ", i))
			}
			last := c.leader().Group(1).Status().Chosen
			eventually(t, "the victim has voted", func() bool { return n.Group(1).Status().Applied >= last })
			c.stop(victim)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if !wiped {
				if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
					t.Fatal(err)
				}
			}
			n, err := c.open(victim, wiped, nil)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "noticed and healed", func() bool {
				m := n.Group(1).Metrics()
				return m.Suspicions > 0 && m.Heals == m.Suspicions
			})
			c.equal(1)
			eventually(t, "the log's mark is gone", func() bool { return c.suspect(victim) == "" })
		})
	}
}
