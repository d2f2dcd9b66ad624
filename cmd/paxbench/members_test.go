package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// memberCluster is a cluster of real processes whose members change.
type memberCluster struct {
	t       *testing.T
	addrs   map[wire.NodeID]string
	dirs    map[wire.NodeID]string
	servers map[wire.NodeID]*server
	peers   map[wire.NodeID]string // of --peers, of each node: they stay
}

// found starts nodes 1 to 3; addresses are there for as many as it is given.
func found(t *testing.T, nodes int) *memberCluster {
	t.Helper()
	c := &memberCluster{t, map[wire.NodeID]string{}, map[wire.NodeID]string{}, map[wire.NodeID]*server{}, map[wire.NodeID]string{}}
	for i, addr := range freeAddrs(t, nodes) {
		c.addrs[wire.NodeID(i+1)], c.dirs[wire.NodeID(i+1)] = addr, filepath.Join(t.TempDir(), "data")
	}
	for id := range wire.NodeID(3) {
		c.peers[id+1] = c.format(1, 2, 3)
		c.start(id+1, "--bootstrap")
	}
	return c
}

func (c *memberCluster) format(ids ...wire.NodeID) string {
	some := map[wire.NodeID]string{}
	for _, id := range ids {
		some[id] = c.addrs[id]
	}
	return cluster.FormatPeers(some)
}

func (c *memberCluster) args(id wire.NodeID, more ...string) []string {
	more = append(more, "--snapshot-bytes", "64KiB", "--retain-bytes", "8KiB") // so that who joins is sent a snapshot
	return serveArgs(int(id), c.dirs[id], c.peers[id], more...)
}

func (c *memberCluster) start(id wire.NodeID, more ...string) {
	c.t.Helper()
	c.servers[id] = startServer(c.t, c.args(id, more...)...)
}

// kill ends a node as a crash does.
func (c *memberCluster) kill(id wire.NodeID) {
	c.servers[id].cmd.Process.Kill()
	c.servers[id].cmd.Wait()
	delete(c.servers, id)
}

// members runs the command with all addresses but those of nodes still to come, and decodes what it prints.
func (c *memberCluster) members(args ...string) (code int, m membersAnswer, errs string) {
	c.t.Helper()
	targets := slices.Collect(maps.Values(c.addrs))
	code, out, errs := spawn(c.t, append([]string{"members", "--targets", strings.Join(targets, ","), "--cluster-id", "7", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &m); err != nil || m.SchemaVersion != 1 {
		c.t.Fatalf("members %v: exit %d, %v in %s%s", args, code, err, out, errs)
	}
	return code, m, errs
}

// until asks again while the answer is not the one that has to come in the end: on a slow machine the leader's disk stalls, or there is
// none for a while, and the command says so.
func (c *memberCluster) until(ok func(code int, m *membersAnswer, errs string) bool, args ...string) (membersAnswer, string) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		code, m, errs := c.members(args...)
		if ok(code, &m, errs) {
			return m, errs
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("members %v: after a minute still exit %d, %+v\n%s", args, code, m, errs)
		}
	}
}

// led is what the leader says of the members.
func (c *memberCluster) led() membersAnswer {
	c.t.Helper()
	m, _ := c.until(func(code int, m *membersAnswer, _ string) bool {
		return code == exitOK && m.Leader != 0 && m.Leader == m.Node
	})
	return m
}

// change makes one that has to succeed, to exactly these members. One of unknown outcome is looked for, and made again.
func (c *memberCluster) change(ids string, args ...string) {
	c.t.Helper()
	unknown := false
	c.until(func(code int, m *membersAnswer, errs string) bool {
		switch {
		case code == exitOK && (m.Outcome != outcomeDone || memberIDs(*m) != ids):
			c.t.Fatalf("members %v: %s, members %s, want %s", args, m.Outcome, memberIDs(*m), ids)
		case code == exitOK:
			return true
		case code != exitRuntime || m.Outcome == outcomeDone:
			c.t.Fatalf("members %v: exit %d, %+v\n%s", args, code, m, errs)
		}
		unknown = unknown || m.Outcome == outcomeUnknown
		if unknown {
			now := c.led()
			return len(now.Configurations) == 1 && memberIDs(now) == ids
		}
		return false
	}, args...)
}

// memberIDs is the members of the newest configuration.
func memberIDs(m membersAnswer) string {
	if len(m.Configurations) == 0 {
		return ""
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(m.Configurations[len(m.Configurations)-1].Members)))
}

// join starts a node that joins, knowing of some members, and has it made one.
func (c *memberCluster) join(ids string, id wire.NodeID, knows ...wire.NodeID) {
	c.t.Helper()
	c.peers[id] = c.format(append(knows, id)...)
	c.start(id, "--join", "--bootstrap")
	c.change(ids, "add", fmt.Sprintf("%d=%s", id, c.addrs[id]))
}

// ledger is a load of writes, each of a key of its own, and what became of them.
type ledger struct {
	mu    sync.Mutex
	acked []string
	never []string // certainly not done
	other int      // may be done

	stop context.CancelFunc
	done sync.WaitGroup
}

// load writes from a few sessions until audit.
func (c *memberCluster) load() *ledger {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &ledger{stop: cancel}
	for w := range 3 {
		cl, err := client.Dial(ctx, client.Config{Addrs: slices.Collect(maps.Values(c.addrs)), Cluster: 7})
		if err != nil {
			c.t.Fatal(err)
		}
		l.done.Go(func() {
			defer cl.Close()
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("writer-%d-%d", w, n)
				_, err := cl.Do(context.Background(), kv.AppendPut(nil, []byte(key), []byte("of "+key+strings.Repeat(".", 200))))
				l.mu.Lock()
				switch {
				case err == nil:
					l.acked = append(l.acked, key)
				case client.MayBeDone(err):
					l.other++
				default:
					l.never = append(l.never, key)
				}
				l.mu.Unlock()
			}
		})
	}
	c.t.Cleanup(cancel)
	return l
}

// goesOn waits until more writes are acknowledged, of those that were begun after it was called.
func (l *ledger) goesOn(t *testing.T) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked)
	}
	from := count()
	for deadline := time.Now().Add(60 * time.Second); count() < from+50; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d writes were acknowledged in a minute", count()-from)
		}
	}
}

// audit ends the load and reads every write back from each of these nodes: what was acknowledged is there, written once, and what was
// certainly not done is not.
func (c *memberCluster) audit(l *ledger, ids ...wire.NodeID) {
	c.t.Helper()
	l.stop()
	l.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	nodes := cluster.Nodes{Cluster: 7}
	for _, id := range ids {
		nodes.Addrs = append(nodes.Addrs, c.addrs[id])
	}
	if _, err := nodes.Converged(ctx); err != nil {
		c.t.Fatal(err)
	}
	for _, addr := range nodes.Addrs {
		n, err := client.DialNode(ctx, addr, 7, 1)
		if err != nil {
			c.t.Fatal(err)
		}
		get := func(key string) kv.GetAnswer {
			body, _, err := n.Query(ctx, kv.AppendQueryGet(nil, []byte(key)), wire.QueryStale)
			if err != nil {
				c.t.Fatal(err)
			}
			a, err := kv.DecodeGetAnswer(body)
			if err != nil {
				c.t.Fatal(err)
			}
			return a
		}
		lost := 0
		for _, key := range l.acked {
			if a := get(key); a.Status != kv.StatusOK || a.Version != 1 || !strings.HasPrefix(string(a.Value), "of "+key+".") {
				lost++
			}
		}
		done := 0
		for _, key := range l.never {
			if get(key).Status != kv.StatusNotFound {
				done++
			}
		}
		n.Close()
		if lost+done > 0 {
			c.t.Errorf("%s: of %d acknowledged writes %d are lost or doubled; of %d that were refused %d were done", addr, len(l.acked), lost, len(l.never), done)
		}
	}
	c.t.Logf("%d acknowledged, read back from nodes %v; %d certainly not done, %d not known", len(l.acked), ids, len(l.never), l.other)
	if len(l.acked) < 200 {
		c.t.Errorf("%d writes are no load", len(l.acked))
	}
}

// What can go wrong, with real processes and files: a node is gone for good, and the one in its place does not get what the others have, or is
// counted and does not vote, or votes without it; acknowledged writes are lost with the next failure; the command says the
// wrong thing of what it did; restarts go by the founding members.
func TestMembersReplaceDead(t *testing.T) {
	t.Parallel()
	c := found(t, 4)
	l := c.load()
	l.goesOn(t)
	c.kill(3)
	l.goesOn(t)
	c.join("[1 2 3 4]", 4, 1, 2)
	l.goesOn(t)
	c.change("[1 2 4]", "remove", "3")
	l.goesOn(t)

	// Two of three are needed, the new one among them.
	c.kill(1)
	l.goesOn(t)
	c.start(1)
	c.kill(2)
	l.goesOn(t)
	c.start(2)
	c.kill(4)
	l.goesOn(t)
	for says, args := range map[string][]string{
		`"multi joined", not by "multi"`: nil, // its directory is not a founder's
		"leave out --bootstrap":          {"--join", "--bootstrap"},
	} {
		if code, _, errs := spawn(t, c.args(4, args...)...); code != exitRuntime || !strings.Contains(errs, says) {
			t.Errorf("%v: exit %d, no %q:\n%s", args, code, says, errs)
		}
	}
	c.dirs[5], c.addrs[5], c.peers[5] = filepath.Join(t.TempDir(), "data"), freeAddrs(t, 1)[0], c.peers[4]+",5=127.0.0.1:1"
	if code, _, errs := spawn(t, c.args(5, "--join")...); code != exitRuntime || !strings.Contains(errs, "'paxbench members remove 5'") || !strings.Contains(errs, "--bootstrap as well") {
		t.Errorf("an empty directory: exit %d\n%s", code, errs)
	}
	c.start(4, "--join")
	l.goesOn(t)
	c.audit(l, 1, 2, 4)

	// What cannot be done is certainly not done, and said so; what was asked and not answered may be.
	for says, args := range map[string][]string{
		"ids are never used again": {"add", "3=" + c.addrs[3]},
		"not a member":             {"remove", "3"},
		"member already":           {"add", "4=" + c.addrs[4]},
	} {
		m, errs := c.until(func(code int, m *membersAnswer, _ string) bool {
			return code == exitRuntime && m.Outcome == outcomeNotDone && strings.Contains(m.Error, says)
		}, args...)
		if !strings.Contains(errs, "certainly not done: ") || !strings.Contains(errs, says) {
			t.Errorf("%v: %+v\n%s", args, m, errs)
		}
	}
	m, errs := c.until(func(code int, m *membersAnswer, _ string) bool { // no answer in time
		return code == exitRuntime && m.Outcome == outcomeUnknown
	}, "add", "5=127.0.0.1:1", "--timeout", "700ms") // nobody is there
	if !strings.Contains(errs, "MAY BE DONE") {
		t.Errorf("%+v\n%s", m, errs)
	}
	if m := c.led(); m.Outcome != "" || len(m.Configurations) != 1 || memberIDs(m) != "[1 2 4]" {
		t.Errorf("list: %+v", m)
	}
	code, out, errs := spawn(t, "members", "list", "--targets", c.addrs[4], "--cluster-id", "7")
	if code != exitOK || !strings.Contains(out, "3 members, in force") || !strings.Contains(out, "  node 4  "+c.addrs[4]) || strings.Count(out, "leader") != 1 {
		t.Errorf("as text: exit %d\n%s%s", code, out, errs)
	}
	for _, s := range c.servers {
		s.end(t)
	}
	if code, m, errs := c.members("remove", "4", "--timeout", "300ms"); code != exitRuntime || m.Outcome != outcomeNotDone ||
		!strings.Contains(errs, "certainly not done: given up: no target answers") || !strings.Contains(errs, "check --targets and --cluster-id") {
		t.Errorf("nobody runs: %+v\n%s", m, errs)
	}
}

// What can go wrong, with real processes and files: a cluster that grows and shrinks under load loses writes, stands still, or is led by a
// node that it has removed.
func TestMembersGrowAndShrink(t *testing.T) {
	t.Parallel()
	c := found(t, 5)
	l := c.load()
	l.goesOn(t)
	c.join("[1 2 3 4]", 4, 1, 2, 3)
	l.goesOn(t)
	c.join("[1 2 3 4 5]", 5, 2, 3)
	l.goesOn(t)
	left := []wire.NodeID{1, 2, 3, 4, 5}
	for range 2 { // each time whoever leads
		gone := c.led().Leader
		at := slices.Index(left, gone)
		if at < 0 {
			t.Fatalf("node %d leads, the members are %v", gone, left)
		}
		left = slices.Delete(left, at, at+1)
		c.change(fmt.Sprint(left), "remove", strconv.Itoa(int(gone)))
		l.goesOn(t)                                               // without it, though it runs
		c.until(func(code int, m *membersAnswer, _ string) bool { // else it was removed and leads
			return code == exitOK && m.Leader != gone && m.Leader == m.Node
		})
		c.servers[gone].end(t)
		if log := c.servers[gone].log.String(); !strings.Contains(log, "no member any more") {
			t.Errorf("node %d was not told:\n%s", gone, log)
		}
		delete(c.servers, gone)
		l.goesOn(t)
	}
	c.kill(left[0]) // two of three
	l.goesOn(t)
	if left[0] > 3 {
		c.start(left[0], "--join")
	} else {
		c.start(left[0])
	}
	l.goesOn(t)
	c.audit(l, left...)
	for _, s := range c.servers {
		s.end(t)
	}
}

// What can go wrong: in a mode whose members are fixed the command asks again until its time is over, or hides why.
func TestMembersOtherModes(t *testing.T) {
	t.Parallel()
	c := &memberCluster{t: t, addrs: map[wire.NodeID]string{1: freeAddrs(t, 1)[0]}}
	s := startServer(t, serveArgs(1, filepath.Join(t.TempDir(), "data"), c.format(1), "--bootstrap", "--mode", "basic")...)
	code, m, errs := c.members("add", "2=127.0.0.1:1")
	if code != exitRuntime || m.Outcome != outcomeNotDone || !strings.Contains(errs, "mode basic has a fixed membership") {
		t.Errorf("exit %d, %+v\n%s", code, m, errs)
	}
	if code, m, _ := c.members("list"); code != exitOK || memberIDs(m) != "[1]" || m.Node != 1 {
		t.Errorf("exit %d, %+v", code, m)
	}
	s.end(t)
}

// What can go wrong: what was chosen and is not in force yet is shown as in force, or a node that knows nothing as a cluster of none.
func TestMembersText(t *testing.T) {
	t.Parallel()
	founders := engine.Membership{From: 1, Members: map[wire.NodeID]string{1: "a:1", 2: "b:22"}}
	after := engine.Membership{Slot: 9, From: 1033, Members: map[wire.NodeID]string{2: "b:22", 10: "c:3"}}
	for want, m := range map[string]membersAnswer{
		"remove 1: done\n2 members, in force, since the founding\n  node 1  a:1\n  node 2  b:22  leader\n2 members, chosen, not in force yet, for slots from 1033 on, chosen in slot 9\n" +
			"  node 2   b:22  leader\n  node 10  c:3\n": {Change: "remove 1", Node: 2, Leader: 2, Configurations: []engine.Membership{founders, after}},
		"no leader was found; this is what node 7 knows\nit joins, and does not know the members yet\n": {Node: 7, Configurations: []engine.Membership{{From: 1}}},
		"no leader was found; this is what node 2 knows\n2 members, in force, for slots from 1033 on, chosen in slot 9\n  node 2   b:22\n  node 10  c:3\n": {
			Node: 2, Configurations: []engine.Membership{after}},
	} {
		var b strings.Builder
		if err := m.text(&b); err != nil || b.String() != want {
			t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
		}
	}
}

// What can go wrong: a change that is under way when the leader dies, or when its caller gives up, is called not done, and a script asks
// for it again; or is asked for again by the command itself.
func TestMembersMayBeDone(t *testing.T) {
	t.Parallel()
	addr := freeAddrs(t, 1)[0]
	dir := filepath.Join(t.TempDir(), "data")
	bootstrap := []string{"--bootstrap"}
	for want, end := range map[int]func(s *server, command *os.Process){
		exitRuntime:     func(s *server, _ *os.Process) { s.cmd.Process.Kill() },
		exitInterrupted: func(_ *server, command *os.Process) { command.Signal(os.Interrupt) },
	} {
		s := startServer(t, serveArgs(1, dir, "1="+addr, bootstrap...)...)
		bootstrap = nil
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		until := func(want error) { // what a leader says of a change that makes no sense: that, or that another one is under way
			for {
				if _, err := client.Admin(ctx, addr, 7, "members add 1="+addr); errors.Is(err, want) {
					return
				} else if ctx.Err() != nil {
					t.Fatalf("%v, want %v\n%s", err, want, s.log)
				}
			}
		}
		until(client.ErrInvalid)                                                                                                    // it leads, and nothing is under way
		cmd := exec.Command(program, "members", "add", "2=127.0.0.1:1", "--targets", addr, "--cluster-id", "7", "--format", "json") // nobody is there
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(client.ErrBusy)
		end(s, cmd.Process)
		cmd.Wait()
		var m membersAnswer
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		if code := cmd.ProcessState.ExitCode(); code != want || m.Outcome != outcomeUnknown || m.Error == "" || !strings.Contains(errs.String(), "MAY BE DONE") {
			t.Errorf("exit %d, want %d, %+v\n%s", code, want, m, errs.String())
		}
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}
