package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"golang.org/x/sys/unix"
)

// The test binary plays the parts of other processes, by this variable: a child of a cluster that only listens, and
// a parent that is killed.
const roleEnv = "CLUSTER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "parent":
		playParent()
	default:
		playChild(os.Getenv(roleEnv))
	}
}

// playChild behaves as `paxbench serve` does towards its parent. Role "node" is healthy; "dies" ends by itself right
// after it was ready, "dies of an order" at the first order, without an answer; "broken" never becomes ready.
func playChild(role string) {
	flags := map[string]string{}
	for i := 2; i+1 < len(os.Args); i++ {
		flags[os.Args[i]] = os.Args[i+1]
	}
	if role == "broken" {
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		os.Exit(1)
	}
	l, err := net.Listen("tcp", flags["--listen"])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	node, _ := strconv.Atoi(flags["--node"])
	json.NewEncoder(os.Stdout).Encode(Ready{Ready: true, Node: uint32(node), Addr: l.Addr().String(), PID: os.Getpid()})
	if role == "dies of an order" {
		bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		os.Exit(1)
	}
	if role == "dies" {
		fmt.Fprintln(os.Stderr, "BUG: a broken invariant")
		os.Exit(3)
	}
	select {} // deaf to its standard input: only signals end it
}

// playParent starts a cluster, says so, and waits for its death.
func playParent() {
	os.Setenv(roleEnv, "node")
	c, err := Start(context.Background(), Config{Nodes: 2, Dir: os.Args[1], Binary: os.Args[0]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, m := range c.members {
		fmt.Println(m.PID())
	}
	select {}
}

// fakeCluster starts children that play the role.
func fakeCluster(t *testing.T, role string, nodes int) (*Cluster, error) {
	t.Helper()
	t.Setenv(roleEnv, role)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(context.Background(), Config{Nodes: nodes, Dir: t.TempDir(), Binary: self})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// A killed node could keep its port open, come back at another address, or count as failed although the kill was ours.
func TestKillAndRestart(t *testing.T) {
	c, err := fakeCluster(t, "node", 3)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Member(2)
	for round := range 3 {
		if !listens(m.Addr()) {
			t.Fatalf("round %d: node 2 does not listen at %s", round, m.Addr())
		}
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		if running, _ := m.Running(); running || listens(m.Addr()) {
			t.Fatalf("round %d: node 2 is killed and still there", round)
		}
		if err := m.Kill(); err != nil {
			t.Fatalf("a second kill: %v", err)
		}
		if err := m.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if running, starts := m.Running(); !running || starts != round+2 {
			t.Fatalf("round %d: running %v, %d starts", round, running, starts)
		}
	}
	select {
	case err := <-c.Failed():
		t.Fatalf("our own kill was taken for a failure: %v", err)
	default:
	}
	addrs := c.Addrs()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if listens(addr) {
			t.Errorf("%s is still served after Close", addr)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatalf("a second close: %v", err)
	}
}

// A pause that does not stop the process, or one that Close cannot end, would make pause faults a farce.
func TestPauseAndResume(t *testing.T) {
	c, err := fakeCluster(t, "node", 1)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Member(1)
	pid := m.PID()
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	waitState(t, pid, "T")
	if running, _ := m.Running(); running {
		t.Error("a paused node counts as running")
	}
	if err := m.Resume(); err != nil {
		t.Fatal(err)
	}
	waitState(t, pid, "SR")
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("close of a cluster with a paused node: %v", err)
	}
	if processState(pid) != "" {
		t.Error("the paused process outlived the cluster")
	}
}

// processState is the state letter of a process, "" if it is gone.
func processState(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

func waitState(t *testing.T, pid int, states string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s := processState(pid); s != "" && strings.Contains(states, s) {
			return
		}
	}
	t.Fatalf("process %d is in state %q, not in %q", pid, processState(pid), states)
}

// A node that dies by itself must be noticed at once, with what it said last: else a run goes on and measures a
// smaller cluster than it reports.
func TestUnaskedDeath(t *testing.T) {
	c, err := fakeCluster(t, "dies", 1)
	if err == nil {
		select {
		case err = <-c.Failed():
		case <-time.After(30 * time.Second):
			t.Fatal("the death went unnoticed")
		}
	}
	for _, want := range []string{"node 1", "exit status 3", "BUG: a broken invariant"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// A sync that fails may end a node before its answer to the order that broke its disk is read. Taken for a death unasked, it would
// end the run for what it was to inject; and a death that the order does not explain could pass for such a one.
func TestBrokenDiskEndsNodeAtOnce(t *testing.T) {
	for _, conditions := range []disk.Conditions{{FailSync: true}, {Stall: true}} {
		c, err := fakeCluster(t, "dies of an order", 1)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Member(1).BreakDisk(context.Background(), conditions)
		if !conditions.FailSync {
			if err == nil || !strings.Contains(err.Error(), "ended unasked") {
				t.Errorf("%+v: error %v", conditions, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%+v: %v", conditions, err)
		}
		if _, words, err := c.Member(1).MendDisk(context.Background(), 30*time.Second); err != nil || !strings.Contains(words, "the disk is on fire") {
			t.Errorf("last words %q, error %v", words, err)
		}
		select {
		case err := <-c.Failed():
			t.Errorf("taken for a failure: %v", err)
		default:
		}
	}
}

// A child that never gets ready must not leave its siblings running.
func TestBrokenStart(t *testing.T) {
	_, err := fakeCluster(t, "broken", 3)
	if err == nil || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Fatalf("error %v", err)
	}
}

// Children must die with their parent also when it is killed and can do nothing about it: else every aborted run leaves
// processes that eat the machine of the next.
func TestChildrenDieWithParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, t.TempDir())
	parent.Env = append(os.Environ(), roleEnv+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the parent says: %s", lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := parent.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, out)
	parent.Wait()
	for _, pid := range pids {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if s := processState(pid); s == "" || s == "Z" {
				break // a zombie waits for init to reap it; it runs no more
			}
			if time.Now().After(deadline) {
				unix.Kill(pid, unix.SIGKILL)
				t.Errorf("child %d outlived its parent", pid)
				break
			}
		}
	}
}

// The tail of a log could begin in the middle of a line or miss the last one.
func TestTailOf(t *testing.T) {
	path := t.TempDir() + "/log"
	if got := tailOf(path, 10); got != "" {
		t.Errorf("of no file: %q", got)
	}
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tailOf(path, 10); got != "three\n" {
		t.Errorf("got %q", got)
	}
	if got := tailOf(path, 100); got != "one\ntwo\nthree\n" {
		t.Errorf("got %q", got)
	}
}

// Crash faults on a cluster in this process must be refused, not silently left out.
func TestInProcessHasNoCrashes(t *testing.T) {
	if err := (inProcess{}).pause(); !errors.Is(err, ErrNeedsProcess) {
		t.Errorf("error %v", err)
	}
}
