package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	ports "github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/proxy"
)

const (
	startLimit   = 30 * time.Second
	leaderLimit  = 30 * time.Second
	agreeLimit   = 20 * time.Second
	stopLimit    = 10 * time.Second
	pollInterval = 10 * time.Millisecond
	stateLimit   = 5 * time.Second
	logTail      = 2 << 10
	loadMargin   = 30 * time.Second // beyond its length
)

// clusterConfig says what to start.
type clusterConfig struct {
	Engine   peer.Engine
	Replicas int
	Single   bool   // all replicas in one process
	Dir      string // an existing directory; the cluster makes its own in it, and removes it
	Device   string // of its file system, for the disk's counters; empty: none
	Fsync    bool
	GOGC     int
	Fast     bool   // elections, see peer.Config
	Profile  string // directory for CPU profiles; empty: none

	Delay time.Duration // of what a replica sends to another, through proxies in this process; 0: they are connected directly
}

// procs is how many processor threads each process is given; 0: as the environment says, or the runtime's choice.
func procs(e peer.Engine, replicas int, single bool) int {
	if single || !e.ShareCores {
		return 0
	}
	return ports.ProcsShare(replicas).N
}

// cluster is the replicas of one engine, as processes. Used from one goroutine.
type cluster struct {
	config    clusterConfig
	dir       string
	ports     []*ports.Port
	links     *proxy.Mesh // nil: no delay
	processes []*process
	acked     uint64 // commands
	base      uint64 // number of the next operation
}

// process is a child.
type process struct {
	ids     []int
	cmd     *exec.Cmd
	stdin   *os.File
	enc     *json.Encoder
	replies chan node.Reply
	logPath string
	exited  chan struct{}
	killed  bool
}

func startCluster(ctx context.Context, c clusterConfig) (_ *cluster, err error) {
	if !c.Fsync && !c.Engine.NoFsync {
		return nil, fmt.Errorf("%s cannot run without fsync", c.Engine.Name)
	}
	k := &cluster{config: c, base: 1}
	if k.dir, err = os.MkdirTemp(c.Dir, "peers-data-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			k.stop()
		}
	}()
	if k.dir, err = filepath.Abs(k.dir); err != nil {
		return nil, err
	}
	var addrs []string
	var ids []int
	for i := range c.Replicas {
		p, err := ports.ReservePort()
		if err != nil {
			return nil, err
		}
		k.ports = append(k.ports, p)
		addrs = append(addrs, p.Addr)
		ids = append(ids, i+1)
	}
	if err := k.delay(addrs, c.Delay); err != nil {
		return nil, err
	}
	groups := [][]int{ids}
	if !c.Single {
		groups = nil
		for _, id := range ids {
			groups = append(groups, []int{id})
		}
	}
	for _, g := range groups {
		nc := node.Config{Engine: c.Engine.Name, IDs: g, Addrs: k.seenFrom(g[0], addrs), Dir: k.dir, Fsync: c.Fsync, Fast: c.Fast}
		if c.Profile != "" {
			nc.Profile = filepath.Join(c.Profile, c.Engine.Name+"-"+node.IDList(g)+".pprof")
		}
		p, err := k.spawn(nc)
		if err != nil {
			return nil, err
		}
		k.processes = append(k.processes, p)
	}
	for _, p := range k.processes {
		if _, err := p.reply(ctx, startLimit); err != nil {
			return nil, err
		}
	}
	_, err = k.leader(ctx)
	return k, err
}

// delay puts a proxy into every link, in which what is sent waits for d.
func (k *cluster) delay(addrs []string, d time.Duration) (err error) {
	if d == 0 {
		return nil
	}
	if k.config.Single {
		return errors.New("replicas in one process have no links that could be delayed")
	}
	if k.links, err = proxy.NewMesh(addrs, 1); err != nil {
		return err
	}
	for from := 1; from <= len(addrs); from++ {
		for to := 1; to <= len(addrs); to++ {
			k.links.Path(from, to).Set(proxy.Conditions{Latency: d})
		}
	}
	return nil
}

// seenFrom is where a replica listens, and where it reaches the others.
func (k *cluster) seenFrom(id int, addrs []string) []string {
	if k.links == nil {
		return addrs
	}
	seen := slices.Clone(addrs)
	for i := range seen {
		if i+1 != id {
			seen[i] = k.links.Addr(id, i+1)
		}
	}
	return seen
}

func (k *cluster) spawn(nc node.Config) (*process, error) {
	name := "process-" + strings.ReplaceAll(node.IDList(nc.IDs), ",", "-")
	work := filepath.Join(k.dir, name)
	if err := os.Mkdir(work, 0o755); err != nil {
		return nil, err
	}
	for file, text := range k.config.Engine.Files {
		if err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	program := os.Executable
	if k.config.Engine.Program != nil {
		program = k.config.Engine.Program
	}
	self, err := program()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(nc)
	if err != nil {
		return nil, err
	}
	p := &process{ids: nc.IDs, logPath: filepath.Join(work, "log"), replies: make(chan node.Reply, 8), exited: make(chan struct{})}
	logFile, err := os.Create(p.logPath)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	in, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, outWrite, err := os.Pipe()
	if err != nil {
		inWrite.Close()
		return nil, err
	}
	defer outWrite.Close()
	p.cmd = exec.Command(self)
	p.cmd.Dir = work
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, logFile, logFile
	p.cmd.ExtraFiles = []*os.File{outWrite} // node.ReplyFD
	env := ports.WithProcs(os.Environ(), procs(k.config.Engine, k.config.Replicas, k.config.Single))
	p.cmd.Env = append(env, node.Variable+"="+string(text), fmt.Sprintf("GOGC=%d", k.config.GOGC))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's ^C is for us
	if err := p.cmd.Start(); err != nil {
		inWrite.Close()
		out.Close()
		return nil, err
	}
	p.stdin, p.enc = inWrite, json.NewEncoder(inWrite)
	var read sync.WaitGroup
	read.Go(func() {
		defer out.Close()
		for dec := json.NewDecoder(out); ; {
			var a node.Reply
			if dec.Decode(&a) != nil {
				return
			}
			select {
			case p.replies <- a:
			default: // nobody awaits answers any more: the run was cancelled
			}
		}
	})
	go func() {
		// Not an error of ours: an end that nobody asked for shows where a node.Reply is awaited.
		_ = p.cmd.Wait()
		read.Wait()
		close(p.exited)
	}()
	return p, nil
}

// reply awaits the answer to a request, or the first sign of life.
func (p *process) reply(ctx context.Context, limit time.Duration) (node.Reply, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	name := "replica " + node.IDList(p.ids)
	select {
	case a := <-p.replies:
		if a.Error != "" {
			return a, fmt.Errorf("%s: %s", name, a.Error)
		}
		return a, nil
	case <-p.exited:
		return node.Reply{}, fmt.Errorf("%s ended: %s; the end of its log:\n%s", name, p.cmd.ProcessState, p.tail())
	case <-timer.C:
		return node.Reply{}, fmt.Errorf("%s does not answer within %s; the end of its log:\n%s", name, limit, p.tail())
	case <-ctx.Done():
		return node.Reply{}, context.Cause(ctx)
	}
}

func (p *process) tail() string {
	b, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-logTail):])
}

func (p *process) ask(ctx context.Context, r node.Request, limit time.Duration) (node.Reply, error) {
	if err := p.enc.Encode(r); err != nil {
		return node.Reply{}, fmt.Errorf("replica %s: %w; the end of its log:\n%s", node.IDList(p.ids), err, p.tail())
	}
	return p.reply(ctx, limit)
}

// each asks all processes that were not killed.
func (k *cluster) each(ctx context.Context, op string, fn func(*process, node.Reply)) error {
	for _, p := range k.processes {
		if p.killed {
			continue
		}
		a, err := p.ask(ctx, node.Request{Op: op}, stateLimit)
		if err != nil {
			return err
		}
		fn(p, a)
	}
	return nil
}

// leader waits until exactly one replica leads and gives its process.
func (k *cluster) leader(ctx context.Context) (*process, error) {
	for deadline := time.Now().Add(leaderLimit); ; {
		var leader *process
		leaders := 0
		err := k.each(ctx, "state", func(p *process, a node.Reply) {
			for _, r := range a.Replicas {
				if r.Leads {
					leaders++
					leader = p
				}
			}
		})
		if err != nil {
			return nil, err
		}
		if leaders == 1 {
			return leader, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d leaders after %s", leaders, leaderLimit)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return nil, err
		}
	}
}

// usage is what a load has used.
type usage struct {
	node.Counters
	Disk diskCounters
}

// usage is what all processes, and the disk, have done so far.
func (k *cluster) usage(ctx context.Context) (u usage, err error) {
	if err = k.each(ctx, "counters", func(_ *process, a node.Reply) { u.Counters = u.Plus(*a.Counters) }); err != nil {
		return u, err
	}
	u.Disk, err = diskstat(k.config.Device)
	return u, err
}

// load runs a load at the leader.
func (k *cluster) load(ctx context.Context, l peer.Load) (peer.Result, usage, error) {
	leader, err := k.leader(ctx)
	if err != nil {
		return peer.Result{}, usage{}, err
	}
	before, err := k.usage(ctx)
	if err != nil {
		return peer.Result{}, usage{}, err
	}
	a, err := leader.ask(ctx, node.Request{Op: "load", Load: &l, Base: k.base}, l.Length+loadMargin)
	if err != nil {
		return peer.Result{}, usage{}, err
	}
	after, err := k.usage(ctx)
	if err != nil {
		return peer.Result{}, usage{}, err
	}
	k.base += (a.Result.Commands+a.Result.Failed)/uint64(l.Count) + 1
	k.acked += a.Result.Commands
	if a.Result.Failed > 0 {
		return *a.Result, usage{}, fmt.Errorf("%d commands failed: %s", a.Result.Failed, a.Result.Error)
	}
	return *a.Result, usage{after.Counters.Minus(before.Counters), after.Disk.minus(before.Disk)}, nil
}

// errDisagree: replicas did not apply what was acknowledged.
var errDisagree = errors.New("replicas disagree")

// verify waits until every replica has applied exactly the commands that were acknowledged, and compares what they
// applied.
func (k *cluster) verify(ctx context.Context) error {
	for deadline := time.Now().Add(agreeLimit); ; {
		var states []node.ReplicaState
		if err := k.each(ctx, "state", func(_ *process, a node.Reply) { states = append(states, a.Replicas...) }); err != nil {
			return err
		}
		agree := true
		for _, s := range states {
			agree = agree && s.Commands == k.acked && s.Digest == states[0].Digest
		}
		if agree {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d commands acknowledged, applied %+v", errDisagree, k.acked, states)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// kill ends a process as a power cut would end it.
func (k *cluster) kill(p *process) {
	p.killed = true
	p.cmd.Process.Kill()
	<-p.exited
}

// stop ends all processes, politely first, and removes the data.
func (k *cluster) stop() {
	for _, p := range k.processes {
		if !p.killed {
			_ = p.enc.Encode(node.Request{Op: "stop"}) // it may have ended
		}
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	for _, p := range k.processes {
		select {
		case <-p.exited:
		case <-timer.C:
			timer.Reset(0)
			p.cmd.Process.Kill()
			<-p.exited
		}
	}
	for _, p := range k.processes {
		p.stdin.Close() // not before: its end ends the process at once
	}
	if k.links != nil {
		k.links.Close()
	}
	for _, p := range k.ports {
		p.Release()
	}
	if err := os.RemoveAll(k.dir); err != nil {
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
