package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/wire"
)

// mustRun runs c and checks what holds for every run that ends well.
func mustRun(t *testing.T, c Config) *result.Result {
	t.Helper()
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	s := &r.Safety
	if s.Verdict != result.OK || s.Lost != 0 || s.Duplicated != 0 || s.Acked == 0 || s.Replicas != r.Config.Nodes {
		t.Fatalf("safety: %+v", s)
	}
	if r.Throughput.Ops == 0 || r.Latency.Response.Count == 0 {
		t.Errorf("measured nothing: %+v", r.Throughput)
	}
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := result.Decode(&b); err != nil {
		t.Errorf("the JSON does not read back: %v", err)
	}
	if left, _ := os.ReadDir(c.DataDir); len(left) != 0 && !c.KeepData {
		t.Errorf("data left behind: %v", left)
	}
	return r
}

// The whole path could leave a part of the report empty, or count it over the wrong time.
func TestRunProcesses(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.NoProbe = false
	r := mustRun(t, c)
	k := r.Cost
	if k.CPU <= 0 || k.WALBytes < 16 || k.NetBytes < 32 || k.Fsyncs <= 0 || k.Messages <= 0 {
		t.Errorf("costs: %+v", k)
	}
	if k.WALBytes > 3000 || k.Fsyncs > 10 {
		t.Errorf("costs of far more than the measured operations: %+v", k)
	}
	if s := r.Stages; s.Quorum.Count == 0 || s.WAL.Count == 0 || s.Apply.Count == 0 || s.Queue.Count == 0 {
		t.Errorf("stages: %+v", s)
	}
	if l := r.Limits; l.FsyncP50 <= 0 || l.LoopbackRTTP50 <= 0 || l.PipeOpsPerSec <= 0 {
		t.Errorf("limits: %+v", l)
	}
	if r.Env.CPU == "" || r.Env.Disk.Type == "" || r.Seed != 1 || r.Config.Fsync != "always" || r.Config.Nodes != 3 {
		t.Errorf("env %+v, seed %d, config %+v", r.Env, r.Seed, r.Config)
	}
}

// Each kind of fault could be left out, never healed, hit the wrong node, or cost acknowledged writes.
func TestRunFaults(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Load.Rate, c.Load.Duration = 300, 10*time.Second
	for _, spec := range []string{"kill:leader@500ms+1s", "pause:leader@2500ms+1s", "kill:follower@4500ms+500ms", "pause:node2@5700ms+300ms"} {
		f, err := cluster.ParseFault(spec)
		if err != nil {
			t.Fatal(err)
		}
		c.Faults = append(c.Faults, f)
	}
	r := mustRun(t, c)
	if len(r.Faults) != len(c.Faults) {
		t.Fatalf("%d faults of %d: %+v", len(r.Faults), len(c.Faults), r.Faults)
	}
	for i, f := range r.Faults {
		want := c.Faults[i]
		t.Logf("%s: %+v", want, f)
		if f.Kind != string(want.Kind) || f.Target != want.Target || len(f.Nodes) != 1 {
			t.Errorf("%s was reported as %+v", want, f)
		}
		if f.At < int64(want.At) || f.Healed < f.At+int64(want.For/2) {
			t.Errorf("%s struck at %s and healed at %s", want, time.Duration(f.At), time.Duration(f.Healed))
		}
		if !cameBack(r, &f) {
			t.Errorf("%s: the service never came back", want)
		}
	}
	if r.Faults[3].Nodes[0] != 2 {
		t.Errorf("node2 is %v", r.Faults[3].Nodes)
	}
	for _, reason := range r.Validity.Reasons {
		if strings.Contains(reason, "catch up") {
			t.Error(reason)
		}
	}
}

// In fast rounds, with clients on every node, the leader could be lost for good, values that collided could be lost or doubled, and the
// report could say nothing of them.
func TestRunFast(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{3, 5} {
		c := quick(t)
		c.Nodes, c.Engine.Mode, c.Load.Clients = nodes, "fast", nodes
		c.Load.Rate, c.Load.Duration = 300, 2*time.Second
		f, err := cluster.ParseFault("kill:leader@500ms+500ms")
		if err != nil {
			t.Fatal(err)
		}
		if nodes == 5 {
			c.Load.Duration, c.Faults = 4*time.Second, append(c.Faults, f)
		}
		r := mustRun(t, c)
		notes := strings.Join(r.Validity.Notes, "\n")
		var won, fast, collided, recovered uint64
		at := strings.Index(notes, "fast rounds: ")
		if at < 0 {
			t.Fatalf("%d nodes: nothing is said of fast rounds in\n%s", nodes, notes)
		}
		n, err := fmt.Sscanf(notes[at:], "fast rounds: %d batches, %d of them chosen by a fast quorum; collisions in %d slots; %d slots recovered", &won, &fast, &collided, &recovered)
		if n != 4 || fast == 0 || fast > won {
			t.Errorf("%d nodes: %d batches, %d fast (%v) in\n%s", nodes, won, fast, err, notes)
		}
		if len(r.Faults) != len(c.Faults) {
			t.Errorf("%d nodes: faults %+v", nodes, r.Faults)
		}
		t.Logf("%d nodes: %d batches, %d fast, %d collisions, %d recovered", nodes, won, fast, collided, recovered)
	}
}

// A follower that was down for longer than the log is kept must come back by a snapshot, and the audit must see that it
// has everything; the disk must stay within what the settings allow meanwhile.
func TestRunCatchUpFromSnapshot(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Engine.SnapshotBytes, c.Engine.RetainBytes = 1<<20, 1<<20
	c.Load.Rate, c.Load.Inflight, c.Load.Duration, c.Load.Values.Sizes = 4000, 4096, 6*time.Second, load.FixedSize(1000)
	f, err := cluster.ParseFault("kill:node2@500ms+4s")
	if err != nil {
		t.Fatal(err)
	}
	c.Faults = []cluster.Fault{f}
	r := mustRun(t, c)
	for _, n := range r.Nodes {
		t.Logf("%+v", n)
		if n.Node == 2 && n.SnapInstalls == 0 || n.Snapshots == 0 {
			t.Errorf("node %d: %d snapshots written, %d installed", n.Node, n.Snapshots, n.SnapInstalls)
		}
		if n.DiskBytesMax == 0 || n.DiskBytesMax > 40<<20 {
			t.Errorf("node %d: %d bytes on disk", n.Node, n.DiskBytesMax)
		}
	}
	if r.Faults[0].CaughtUp <= 0 {
		t.Errorf("not caught up: %+v", r.Faults[0])
	}
}

// The in-process cluster, the null state machine, the per-command interface and reads go other ways through the code.
func TestRunInProcess(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Cluster, c.Load.API, c.Load.Reads = InProc, load.APICall, 0.3
	if r := mustRun(t, c); r.Latency.Reads == nil || r.Latency.Reads.Count == 0 {
		t.Error("no reads")
	}
	c = quick(t)
	c.Cluster, c.Engine.StateMachine, c.Load.SM, c.Nodes = InProc, "null", load.Null, 1
	c.Load.Duration = 300 * time.Millisecond
	mustRun(t, c)
}

// Several generators must make one load: each write acknowledged once, audited as a whole, on one clock. One that does not
// come up must end the run, not leave it waiting.
func TestRunGenerators(t *testing.T) {
	t.Parallel()
	for _, machine := range []load.SM{load.KV, load.Null} {
		c := quick(t)
		c.Load.Clients, c.Generators, c.Cluster, c.Load.HistoryKeys = 5, 3, InProc, 64
		c.Engine.StateMachine, c.Load.SM = machine.String(), machine
		var seen uint64
		c.Progress = func(i load.Interval) { seen += i.Ops }
		r := mustRun(t, c)
		if r.Config.Generators != 3 || r.Latency.Response.Count != 1200 || r.Safety.Acked != seen || seen < 1600-1 {
			t.Errorf("%v: %d generators, %d latencies of 1200 operations due, %d acknowledged, %d seen in intervals", machine, r.Config.Generators, r.Latency.Response.Count, r.Safety.Acked, seen)
		}
		if h, err := r.Distribution("response"); err != nil || h.TotalCount() != 1200 {
			t.Errorf("%v: %v", machine, err)
		}
		s := r.Safety
		if s.Linearizable != result.OK || s.History == nil || s.History.Calls == 0 || machine == load.KV && s.History.Keys == 0 {
			t.Errorf("%v: the history of all three is not judged: %s, %+v, %q", machine, s.Linearizable, s.History, r.Validity.Notes)
		}
	}
	c := quick(t)
	c.Generators, c.Cluster, c.Binary = 2, InProc, "/bin/false"
	if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Error(err)
	}
}

// Data that is to be kept could be removed.
func TestRunKeepsData(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.KeepData, c.Load.Duration, c.Nodes = true, 200*time.Millisecond, 1
	mustRun(t, c)
	logs, err := filepath.Glob(filepath.Join(c.DataDir, "run-*", "cluster", "node1", "wal", "*"))
	if err != nil || len(logs) == 0 {
		t.Errorf("no log kept: %v, %v", logs, err)
	}
}

// liar acknowledges every twentieth block without sending it.
type liar struct {
	load.Target
	blocks int
}

func (l *liar) Submit(b load.Block, done load.Completion) error {
	if l.blocks++; l.blocks%20 != 10 {
		return l.Target.Submit(b, done)
	}
	done.Complete(&load.Reply{Slot: 1, Session: 1 << 16, First: wire.Seq(l.blocks)})
	return nil
}

// An audit that cannot fail is worth nothing: it must find acknowledged writes that were never made.
func TestAuditFindsLostWrites(t *testing.T) {
	t.Parallel()
	for _, machine := range []load.SM{load.KV, load.Null} {
		c := quick(t)
		c.Engine.StateMachine, c.Load.SM = machine.String(), machine
		c.Cluster, c.Nodes = InProc, 1
		c.hooks.target = func(t load.Target) load.Target { return &liar{Target: t} }
		r, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Safety.Verdict != result.Violated || r.Safety.Lost == 0 || len(r.Safety.Details) == 0 {
			t.Errorf("%v: %+v", machine, r.Safety)
		}
		var b bytes.Buffer
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		if shown, err := result.Decode(&b); err != nil || !shown.Voided || shown.Throughput.Ops != 0 {
			t.Errorf("%v: a run that lost writes shows numbers: %+v, %v", machine, shown, err)
		}
		if left, _ := os.ReadDir(c.DataDir); len(left) == 0 {
			t.Errorf("%v: the data of a violation was thrown away", machine)
		}
	}
}

// stutterer sends every hundredth block twice, as two blocks.
type stutterer struct {
	load.Target
	blocks int
}

type recordedBlock struct {
	load.Block
	commands [][]byte
}

func (b *recordedBlock) Add(cmd []byte) bool {
	ok := b.Block.Add(cmd)
	if ok {
		b.commands = append(b.commands, bytes.Clone(cmd))
	}
	return ok
}

type nobody struct{ done chan struct{} }

func (n nobody) Complete(*load.Reply) { close(n.done) }

func (s *stutterer) NewBlock() load.Block { return &recordedBlock{Block: s.Target.NewBlock()} }

func (s *stutterer) Submit(b load.Block, done load.Completion) error {
	r := b.(*recordedBlock)
	if s.blocks++; s.blocks%100 == 50 {
		again := s.Target.NewBlock()
		for _, cmd := range r.commands {
			again.Add(cmd)
		}
		n := nobody{make(chan struct{})}
		if err := s.Target.Submit(again, n); err == nil {
			<-n.done
		}
	}
	return s.Target.Submit(r.Block, done)
}

// Writes that were executed twice must be found: that is what sessions are there to prevent.
func TestAuditFindsDoubledWrites(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Cluster, c.Nodes = InProc, 1
	c.hooks.target = func(t load.Target) load.Target { return &stutterer{Target: t} }
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Safety.Verdict != result.Violated || r.Safety.Duplicated == 0 {
		t.Errorf("%+v", r.Safety)
	}
}

// One replica that lost its state must be found, although the others have everything: an audit of the leader alone, or
// of the first answer, would miss it.
func TestAuditReadsEveryReplica(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.hooks.query = func(node int, answer []byte) []byte {
		if node != 2 {
			return answer
		}
		return binary.AppendUvarint(binary.AppendUvarint(nil, 0), 0) // the last page of no rows
	}
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Safety.Verdict != result.Violated || r.Safety.Lost != r.Safety.Acked {
		t.Errorf("%+v", r.Safety)
	}
}

// A node that dies by itself must end the run with what it said last, not be measured around.
func TestRunNoticesDeath(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Load.Duration = time.Minute
	c.hooks.cluster = func(cl *cluster.Cluster) {
		time.AfterFunc(300*time.Millisecond, func() { syscall.Kill(cl.Member(2).PID(), syscall.SIGKILL) })
	}
	start := time.Now()
	_, err := Run(context.Background(), c)
	if err == nil || !strings.Contains(err.Error(), "node 2 ended unasked") || !strings.Contains(err.Error(), "node2.log") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The first ^C must give an honest partial result; before there is anything to report, it must end the run and leave
// nothing behind.
func TestRunStopped(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Load.Duration = time.Minute
	stop := make(chan struct{})
	c.Stop = stop
	c.Progress = func(i load.Interval) {
		if i.Start >= int64(500*time.Millisecond) && !closed(stop) {
			close(stop)
		}
	}
	if r := mustRun(t, c); !r.Partial || r.Throughput.Window > int64(30*time.Second) {
		t.Errorf("partial %v after %s", r.Partial, time.Duration(r.Throughput.Window))
	}
	c = quick(t)
	c.Stop = stop
	if _, err := Run(context.Background(), c); !errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(c.DataDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A second load on the same cluster must not take the first one's writes for its own, nor for doubled ones.
func TestRemote(t *testing.T) {
	t.Parallel()
	cl, err := cluster.Start(context.Background(), cluster.Config{Nodes: 3, Dir: t.TempDir(), InProcess: true, Settings: cluster.DefaultSettings()})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for seed := range uint64(2) {
		c := quick(t)
		c.Cluster, c.Targets, c.ClusterID = Remote, cl.Addrs(), uint64(cl.ID())
		c.Load.Seed, c.Load.Duration = seed+1, 300*time.Millisecond
		mustRun(t, c)
	}
}

// Settings that cannot work must be refused with the flag's name before anything is started.
func TestValidate(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"--nodes 0":  func(c *Config) { c.Nodes = 0 },
		"--nodes 65": func(c *Config) { c.Nodes = 65 },
		"--cluster inproc": func(c *Config) {
			c.Cluster, c.Faults = InProc, []cluster.Fault{{Kind: cluster.Kill, Target: "leader", For: 1}}
		},
		"the run ends at 600ms": func(c *Config) { c.Faults = []cluster.Fault{{Kind: cluster.Kill, Target: "leader", For: time.Hour}} },
		"--targets":             func(c *Config) { c.Cluster = Remote },
		"--procs -1":            func(c *Config) { c.Procs = -1 },
		"--procs 2000":          func(c *Config) { c.Procs = 2000 },
		"--procs with":          func(c *Config) { c.Cluster, c.Procs = InProc, 2 },
		"--reads":               func(c *Config) { c.Load.Reads = 2 },
		"the nodes disagree":    func(c *Config) { c.Load.SM = load.Null },
		"--duration -1s: give":  func(c *Config) { c.Load.Duration = -time.Second },
	} {
		c := quick(t)
		change(&c)
		if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
}

// A durable run in memory would report a disk's numbers that no disk has.
func TestMemoryDiskRefused(t *testing.T) {
	t.Parallel()
	memory, disk := env.Disk{Path: "/x", Type: "tmpfs"}, env.Disk{Path: "/x", Type: "ext4"}
	c := quick(t)
	c.AllowMemory = false
	var refused *MemoryDiskError
	if err := checkDisk(&c, memory); !errors.As(err, &refused) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("error %v", err)
	}
	if err := checkDisk(&c, disk); err != nil {
		t.Error(err)
	}
	c.Engine.Fsync = "never"
	if err := checkDisk(&c, memory); err != nil {
		t.Error(err)
	}
}
