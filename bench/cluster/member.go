package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/wire"
)

// Member is one node of a cluster over all its incarnations.
type Member struct {
	cluster *Cluster
	node    wire.NodeID
	addr    string
	dir     string
	port    *Port

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
	// setDisk gives the node's disk other conditions, from now on, and says what they have done so far. mayEnd: they
	// may end the node, which is then no failure of the cluster.
	setDisk(ctx context.Context, c disk.Conditions, mayEnd bool) (disk.Counts, error)
	// exited waits until it has ended by itself, no longer than limit, and gives its last words; "": it lives on.
	exited(ctx context.Context, limit time.Duration) (lastWords string)
	// cpu is what the incarnation used; asked after its end.
	cpu() time.Duration
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
		Peers: map[wire.NodeID]string{}, PeerAddrs: m.cluster.peerAddrs(m.node), Settings: m.cluster.config.Settings,
	}
	for i, addr := range m.cluster.ClientAddrs() {
		nc.Peers[wire.NodeID(i+1)] = addr
	}
	run, err := m.launch(ctx, nc)
	if err != nil {
		return err
	}
	m.run, m.booted, m.paused = run, true, false
	m.starts++
	return nil
}

// peerAddrs is where a node reaches its peers, if not where clients do.
func (c *Cluster) peerAddrs(from wire.NodeID) map[wire.NodeID]string {
	if c.mesh == nil {
		return nil
	}
	addrs := map[wire.NodeID]string{}
	for _, m := range c.members {
		if m.node != from {
			addrs[m.node] = c.mesh.Addr(int(from), int(m.node))
		}
	}
	return addrs
}

func (m *Member) launch(ctx context.Context, nc NodeConfig) (runner, error) {
	if m.cluster.config.InProcess {
		return startInProcess(m, nc)
	}
	return startChild(ctx, m, nc)
}

// Kill ends the node without warning (SIGKILL). It does nothing if the node is down.
func (m *Member) Kill() error { return m.end(runner.kill) }

// Stop ends the node in good order (SIGTERM). It does nothing if the node is down.
func (m *Member) Stop() error { return m.end(func(r runner) error { return r.stop(stopLimit) }) }

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

// PID is the process of the node's present incarnation; 0 if it is down or in this process.
func (m *Member) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.run.(child); ok {
		return c.p.cmd.Process.Pid
	}
	return 0
}

// BreakDisk gives the node's disk these conditions, which are in force when it returns, and says what those before have
// done. Syncs that fail and writes that find no room may end the node, which then is no failure of the cluster; Exited
// tells.
func (m *Member) BreakDisk(ctx context.Context, c disk.Conditions) (disk.Counts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return disk.Counts{}, fmt.Errorf("cluster: node %d is down", m.node)
	}
	mayEnd := c.FailSync || c.Full != ""
	counts, err := m.run.setDisk(ctx, c, mayEnd)
	if err != nil && mayEnd && m.run.exited(ctx, goneLimit) != "" {
		return disk.Counts{}, nil // its next sync failed before its answer was read: the conditions were in force
	}
	return counts, err
}

// goneLimit is how long a node that does not answer may still take to be reaped.
const goneLimit = time.Second

// MendDisk takes all conditions from the node's disk, as a restart does, and says what they have done. If that has ended
// the node, or a sync failed and it is about to end, no longer than limit, its last words are given; else "".
func (m *Member) MendDisk(ctx context.Context, limit time.Duration) (counts disk.Counts, lastWords string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return counts, "", fmt.Errorf("cluster: node %d is down", m.node)
	}
	counts, err = m.run.setDisk(ctx, disk.Conditions{}, true)
	if err == nil && counts.Failed == 0 {
		_, err = m.run.setDisk(ctx, disk.Conditions{}, false)
		return counts, "", err
	}
	if lastWords = m.run.exited(ctx, limit); lastWords == "" {
		return counts, "", errors.Join(err, context.Cause(ctx))
	}
	m.deadCPU += m.run.cpu()
	m.run = nil
	return counts, lastWords, nil
}
