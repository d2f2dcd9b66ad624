// Package cluster runs clusters of replicas on one machine, breaks them and mends them.
//
// A cluster is N nodes on loopback TCP with real files. In the usual kind each node is an operating-system process of
// its own, `paxbench serve` started from our own binary; in the in-process kind all nodes live in this process
// (no crash faults there: a process cannot be killed in part).
//
// Children never outlive the parent, by two independent means: the kernel kills them when the parent's forking thread
// ends (Pdeathsig), and a child ends when its standard input, a pipe whose other end only the parent holds, is closed.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Limits of time.
const (
	// readyLimit is how long a node may take from its start to listening; replay of a long log is within it.
	readyLimit = 60 * time.Second
	// stopLimit is how long a node may take to end after it was asked to.
	stopLimit = 15 * time.Second
)

// selfBinary is the program that runs now. Not os.Executable: a path names another file after a rebuild, this link
// always names what runs.
const selfBinary = "/proc/self/exe"

// ErrNeedsProcess is given for crash faults on a cluster in this process.
var ErrNeedsProcess = errors.New("cluster: only --cluster process can kill or pause a node")

// Config says what cluster to start.
type Config struct {
	// Nodes is the number of replicas, 1 to wire.NodesMax.
	Nodes int
	// Dir holds one directory per node and its log. It is created; it may exist if empty.
	Dir string
	// InProcess runs the nodes in this process.
	InProcess bool
	// Binary is the paxbench binary children are started from. Zero: the one that runs now.
	Binary string
	// Settings are the engine's, the same on all nodes.
	Settings Settings
	// Pprof lets every child serve its profiles on a loopback port of its own (see Member.Pprof).
	Pprof bool
}

// Cluster is a running cluster. Its methods may be called by many goroutines.
type Cluster struct {
	config  Config
	id      wire.ClusterID
	members []*Member // members[i] is node i+1
	spawner *spawner
	failed  chan error // capacity 1: the first unasked death
}

// Member is one node of a cluster over all its incarnations.
type Member struct {
	cluster *Cluster
	node    wire.NodeID
	addr    string
	dir     string
	port    *reservation

	mu      sync.Mutex
	run     runner // nil: down
	booted  bool   // it ran once: the next start is a restart
	paused  bool
	starts  int           // Invariant: grows by one with every successful start
	deadCPU time.Duration // of its ended processes
	pprof   string
}

// runner is one incarnation of a node.
type runner interface {
	kill() error
	stop(limit time.Duration) error
	pause() error
	resume() error
	// cpu is what the incarnation used; asked after its end.
	cpu() time.Duration
}

// Start starts the cluster and returns when every node listens. After an error nothing is left running; files are.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if config.Nodes < 1 || config.Nodes > wire.NodesMax {
		return nil, fmt.Errorf("cluster: %d nodes; there can be 1 to %d", config.Nodes, wire.NodesMax)
	}
	if config.Binary == "" {
		config.Binary = selfBinary
	}
	c := &Cluster{config: config, id: wire.ClusterID(rand.Uint64() | 1), failed: make(chan error, 1)}
	if !config.InProcess {
		c.spawner = newSpawner()
	}
	if err := c.prepare(); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.StartAll(ctx); err != nil {
		c.Kill()
		c.Close()
		return nil, err
	}
	return c, nil
}

// prepare reserves the ports and makes the directories.
func (c *Cluster) prepare() error {
	for i := range c.config.Nodes {
		port, err := reservePort()
		if err != nil {
			return err
		}
		node := wire.NodeID(i + 1)
		m := &Member{cluster: c, node: node, addr: port.addr, port: port,
			dir: filepath.Join(c.config.Dir, fmt.Sprintf("node%d", node))}
		c.members = append(c.members, m)
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("cluster: data directory of node %d: %w", node, err)
		}
	}
	return nil
}

// each runs fn for all members at once and joins the errors.
func (c *Cluster) each(fn func(*Member) error) error {
	errs := make([]error, len(c.members))
	var wait sync.WaitGroup
	for i, m := range c.members {
		wait.Go(func() { errs[i] = fn(m) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// ID is the cluster id, drawn at random so that no frame of one run is ever taken for another's.
func (c *Cluster) ID() wire.ClusterID { return c.id }

// Addrs are the nodes' addresses in order of node id.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.members))
	for i, m := range c.members {
		addrs[i] = m.addr
	}
	return addrs
}

// Members are the nodes in order of node id.
func (c *Cluster) Members() []*Member { return c.members }

// Member is one node; it panics if there is none of that id.
func (c *Cluster) Member(node wire.NodeID) *Member { return c.members[node-1] }

// Failed yields the first death of a node that nobody asked for, with the end of its log.
func (c *Cluster) Failed() <-chan error { return c.failed }

func (c *Cluster) fail(err error) {
	select {
	case c.failed <- err:
	default: // the first one is the cause
	}
}

// StartAll starts the nodes that are down, and returns when every node listens.
func (c *Cluster) StartAll(ctx context.Context) error {
	return c.each(func(m *Member) error { return m.Start(ctx) })
}

// Stop ends all nodes in good order, so that their logs can be read. StartAll starts them again.
func (c *Cluster) Stop() error {
	return c.each(func(m *Member) error { return m.end(func(r runner) error { return r.stop(stopLimit) }) })
}

// Kill ends all nodes without warning.
func (c *Cluster) Kill() error {
	return c.each(func(m *Member) error { return m.Kill() })
}

// Close ends what still runs, without warning, and gives back the ports. Safe to call twice.
func (c *Cluster) Close() error {
	err := c.Kill()
	if c.spawner != nil {
		c.spawner.stop()
	}
	for _, m := range c.members {
		m.port.release()
	}
	return err
}

// Node is the member's node id.
func (m *Member) Node() wire.NodeID { return m.node }

// Addr is the member's address, the same over restarts.
func (m *Member) Addr() string { return m.addr }

// Dir is the member's data directory.
func (m *Member) Dir() string { return m.dir }

// Start starts the node, the first time with a fresh identity, later on what is in its directory, and returns when it
// listens. It does nothing if the node runs.
func (m *Member) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil {
		return nil
	}
	nc := NodeConfig{
		Node: m.node, Cluster: m.cluster.id, Listen: m.addr, Dir: m.dir, Bootstrap: !m.booted,
		Peers: m.cluster.peers(), Settings: m.cluster.config.Settings,
	}
	run, err := m.launch(ctx, nc)
	if err != nil {
		return err
	}
	m.run, m.booted, m.paused = run, true, false
	m.starts++
	return nil
}

func (c *Cluster) peers() map[wire.NodeID]string {
	peers := make(map[wire.NodeID]string, len(c.members))
	for _, m := range c.members {
		peers[m.node] = m.addr
	}
	return peers
}

func (m *Member) launch(ctx context.Context, nc NodeConfig) (runner, error) {
	if m.cluster.config.InProcess {
		return startInProcess(m, nc)
	}
	return startChild(ctx, m, nc)
}

// Kill ends the node without warning (SIGKILL). It does nothing if the node is down.
func (m *Member) Kill() error { return m.end(runner.kill) }

func (m *Member) end(how func(runner) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return nil
	}
	run := m.run
	m.run = nil
	err := how(run)
	m.deadCPU += run.cpu()
	return err
}

// Pause stops the process where it is (SIGSTOP).
func (m *Member) Pause() error { return m.freeze(true) }

// Resume lets a paused process go on (SIGCONT).
func (m *Member) Resume() error { return m.freeze(false) }

func (m *Member) freeze(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return fmt.Errorf("cluster: node %d is down", m.node)
	}
	m.paused = on
	if on {
		return m.run.pause()
	}
	return m.run.resume()
}

// Running says whether the node is up and not paused, and how often it was started: the number of its incarnation, whose
// counters start from zero.
func (m *Member) Running() (bool, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.run != nil && !m.paused, m.starts
}

// DeadCPU is the processor time of the node's ended processes.
func (m *Member) DeadCPU() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.deadCPU
}

// Pprof is the address of the node's profiles, "" if there are none.
func (m *Member) Pprof() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pprof
}

// InProcess says whether the nodes live in this process.
func (c *Cluster) InProcess() bool { return c.config.InProcess }

// PID is the process of the node's present incarnation; 0 if it is down or in this process.
func (m *Member) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.run.(child); ok {
		return c.p.cmd.Process.Pid
	}
	return 0
}
