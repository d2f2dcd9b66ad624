package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// add starts node id as one that joins, and has the leader make it a member.
func (c *cluster) add(id wire.NodeID) error {
	c.t.Helper()
	founders := c.members
	defer func() { c.members = founders }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.members = map[wire.NodeID]string{id: ln.Addr().String()}
	for n, a := range founders {
		if n < 4 { // what an operator might know: the founding members
			c.members[n] = a
		}
	}
	was := c.config
	defer func() { c.config = was }()
	c.config = func(cfg *Config) {
		if was != nil {
			was(cfg)
		}
		cfg.Join = true
	}
	if _, err := c.open(id, true, ln); err != nil {
		c.t.Fatal(err)
	}
	return c.change(paxos.Change{Add: wire.Member{Node: id, Addr: ln.Addr().String()}})
}

// change asks whoever leads until it is done or refused. A leader that resigns meanwhile, because its disk stalls or for
// whatever reason, does not know what became of it: the next one is asked again, and refuses what was done.
func (c *cluster) change(ch paxos.Change) (err error) {
	c.t.Helper()
	maybe := false
	eventually(c.t, fmt.Sprintf("change %+v", ch), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		leader := c.leader()
		err = leader.Group(1).ChangeMembers(ctx, ch)
		switch {
		case errors.Is(err, ErrUnknown):
			maybe = true
			return false
		case maybe && errors.Is(err, ErrMembers):
			if members := memberIDs(leader); slices.Contains(members, max(ch.Add.Node, ch.Remove)) == (ch.Add.Node != 0) {
				err = nil
			}
		}
		return !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrBusy)
	})
	return err
}

// memberIDs is the ids of the members as a node has learned them.
func memberIDs(n *Node) (ids []wire.NodeID) {
	list := n.Group(1).Members()
	for id := range wire.NodeID(20) {
		if _, ok := list[len(list)-1].Members[id]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// What can go wrong: a cluster that was changed node by node until none of its founders is left has lost something on the way, a
// node does not find the others, or after a restart somebody counts with the founders. Real logs and TCP, under load, with
// snapshots, so that nodes join by them.
func TestEveryNodeReplaced(t *testing.T) {
	c := newCluster(t, 3, true, func(cfg *Config) { cfg.SnapshotBytes, cfg.RetainBytes, cfg.SegmentBytes = 16<<10, 1, 64<<10 })
	stop := make(chan struct{})
	var load sync.WaitGroup
	var mu sync.Mutex // of c.nodes
	done := 0
	load.Add(1)
	end := sync.OnceFunc(func() {
		close(stop)
		load.Wait()
	})
	t.Cleanup(end) // a test that has failed closes the nodes next
	go func() {
		defer load.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			var leader *Node
			for _, n := range c.nodes {
				if n.Group(1).Status().Role == "leader" {
					leader = n
				}
			}
			mu.Unlock()
			if leader == nil {
				time.Sleep(time.Millisecond)
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			if _, err := leader.Group(1).Propose(ctx, fmt.Appendf(nil, "load %d %s", i, strings.Repeat("x", 200))); err == nil {
				done++
			}
			cancel()
		}
	}()
	lock := func(fn func()) {
		mu.Lock()
		defer mu.Unlock()
		fn()
	}
	for i := range wire.NodeID(3) {
		lock(func() {
			if err := c.add(4 + i); err != nil {
				t.Fatal(err)
			}
		})
		if i == 1 { // one of them by the death of the founder
			lock(func() { c.stop(1 + i) })
		}
		lock(func() {
			if err := c.change(paxos.Change{Remove: 1 + i}); err != nil {
				t.Fatal(err)
			}
		})
		if i != 1 {
			lock(func() { c.stop(1 + i) })
		}
	}
	end()
	c.propose("the last")
	for id := range wire.NodeID(3) {
		if got := fmt.Sprint(memberIDs(c.nodes[4+id])); got != "[4 5 6]" {
			t.Errorf("node %d knows the members %s", 4+id, got)
		}
	}
	st := c.equal(1)
	if int(st.Commands) < done {
		t.Errorf("%d commands executed, %d were acknowledged", st.Commands, done)
	}
	t.Logf("%d acknowledged", done)
}

// What can go wrong: after a restart, from a snapshot or from the log, a node goes by the founding members, or takes itself for
// one; or addresses that came with a change are forgotten.
func TestMembersRecovered(t *testing.T) {
	c := newCluster(t, 3, true, nil)
	c.propose("a")
	if err := c.add(4); err != nil {
		t.Fatal(err)
	}
	joined := c.nodes[4].c
	for _, fill := range []bool{false, true} {
		if fill { // have snapshots taken, and the change trimmed
			c.config = func(cfg *Config) { cfg.SnapshotBytes, cfg.RetainBytes = 4<<10, 1 }
			joined.SnapshotBytes, joined.RetainBytes = 4<<10, 1
		}
		for id := range wire.NodeID(4) {
			c.stop(id + 1)
		}
		for id := range wire.NodeID(3) {
			c.start(id + 1)
		}
		joined.Bootstrap, joined.Listener = false, nil
		n, err := Open(joined)
		if err != nil {
			t.Fatal(err)
		}
		c.nodes[4] = n
		for i := range 40 {
			c.propose(fmt.Sprint(fill, i, strings.Repeat("y", 400)))
		}
		if fill {
			c.trimmed(30)
		}
		for id := range wire.NodeID(4) {
			if got := fmt.Sprint(memberIDs(c.nodes[1+id])); got != "[1 2 3 4]" {
				t.Errorf("node %d knows the members %s", 1+id, got)
			}
		}
		c.equal(1)
	}
	// Three of four are a quorum, two are not.
	c.stop(1)
	c.propose("three are left")
	c.stop(2)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for _, n := range c.nodes {
		if _, err := n.Group(1).Propose(ctx, []byte("two")); err == nil {
			t.Errorf("two of four nodes have chosen something")
		}
	}
	// The directory of a node that joined is not that of a founder.
	c.stop(4)
	joined.Join = false
	var other *wal.IdentityError
	if n, err := Open(joined); !errors.As(err, &other) {
		if err == nil {
			n.Close()
		}
		t.Errorf("started without Join: %v", err)
	}
}

// What can go wrong: a change that is not possible is half begun, or its caller is not told which kind of failure it was.
func TestChangeRefused(t *testing.T) {
	c := newCluster(t, 3, true, nil)
	c.propose("a")
	leader := c.leader()
	ctx := context.Background()
	for _, x := range []struct {
		ch   paxos.Change
		says string
	}{
		{paxos.Change{}, "one node"},
		{paxos.Change{Remove: 9}, "not a member"},
		{paxos.Change{Add: wire.Member{Node: 2, Addr: "127.0.0.1:1"}}, "already"},
		{paxos.Change{Add: wire.Member{Node: 4, Addr: "nowhere"}}, "address"},
		{paxos.Change{Add: wire.Member{Node: 4, Addr: strings.Repeat("a", 300) + ":1"}}, "302"},
	} {
		if err := leader.Group(1).ChangeMembers(ctx, x.ch); !errors.Is(err, ErrMembers) || !strings.Contains(err.Error(), x.says[:3]) {
			t.Errorf("%+v: %v", x.ch, err)
		}
	}
	var no *NotLeaderError
	if err := c.followers(leader)[0].Group(1).ChangeMembers(ctx, paxos.Change{Remove: 2}); !errors.As(err, &no) {
		t.Errorf("asked of a follower: %v", err)
	}
	// Nobody is there: it is given up, and certainly not done.
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.change(paxos.Change{Add: wire.Member{Node: 4, Addr: "127.0.0.1:1"}}); !errors.Is(err, ErrMembers) || short.Err() != nil {
		t.Errorf("a node that does not answer: %v", err)
	}
	// Two of three are needed to decide it, and there is one.
	for _, f := range c.followers(c.leader()) {
		c.stop(f.c.Node)
	}
	for _, n := range c.nodes {
		done, cancel := context.WithTimeout(ctx, 5*time.Second)
		if err := n.Group(1).ChangeMembers(done, paxos.Change{Remove: n.c.Node}); err == nil {
			t.Error("changed without a quorum")
		}
		cancel()
	}
}

// What can go wrong: a snapshot's configurations are damaged, and a node starts with others.
func TestMembersSection(t *testing.T) {
	h := paxos.Memberships{
		{From: 1, Last: 3, Members: []wire.Member{{Node: 1, Addr: "a:1"}, {Node: 3}}},
		{Slot: 9, From: 20, Last: 4, Members: []wire.Member{{Node: 4, Addr: "b:2"}}},
	}
	enc := appendMembers(nil, h)
	got, err := readMembers(bytes.NewReader(enc))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(h) {
		t.Fatalf("%v, %v", got, err)
	}
	for n := range enc {
		if _, err := readMembers(bytes.NewReader(enc[:n])); err == nil {
			t.Fatalf("read from %d of %d bytes", n, len(enc))
		}
	}
	for i, v := range map[int]byte{0: enc[0] + 1, 4: enc[4] + 1, 7: 255, 8: 1, 9: 1} {
		bad := append(bytes.Clone(enc), 0, 0, 0)
		bad[i] = v
		if _, err := readMembers(bytes.NewReader(bad)); err == nil {
			t.Errorf("read with byte %d set to %d", i, v)
		}
	}
}

// What can go wrong: a snapshot of a build that had no configurations in it is read as one that has, or is called damaged, so that an
// operator looks for a bad disk.
func TestSnapshotVersions(t *testing.T) {
	old := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // an empty session table, where the configurations are now
	if _, err := readMembers(bytes.NewReader(old)); !errors.Is(err, errSnapshotVersion) || !strings.Contains(err.Error(), "its layout is 1, this build reads 2") {
		t.Errorf("version 1: %v", err)
	}
	h := paxos.Memberships{{From: 1, Last: 1, Members: []wire.Member{{Node: 1, Addr: "a:1"}}}}
	now := appendMembers(nil, h)
	for v, between := range map[byte][]byte{now[4]: now[4:], 3: append([]byte{3, 0, 0, 0}, now[4:]...)} { // without a version, and of the next
		if _, err := readMembers(bytes.NewReader(between)); !errors.Is(err, errSnapshotVersion) {
			t.Errorf("first word %d: %v", v, err)
		}
	}
	if _, err := readSessions(bytes.NewReader(old)); !errors.Is(err, errSessions) {
		t.Errorf("session table of version 1: %v", err)
	}
}
