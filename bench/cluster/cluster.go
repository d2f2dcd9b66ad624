// Package cluster runs clusters of replicas on one machine, breaks them and mends them.
//
// A cluster is N nodes on loopback TCP with real files. In the usual kind each node is an operating-system process of
// its own, `paxbench serve` started from our own binary; in the in-process kind all nodes live in this process
// (no faults there: a process cannot be killed in part).
//
// Faults are a timeline of entries such as partition:leader@10s+5s (Fault, ParseFault; WriteFaultHelp explains all kinds).
// Those of processes are signals. Those of the network need Config.Network: then every link goes through a proxy of its own
// (bench/proxy). Those of disks need Config.Disks: then a child has a layer between itself and its files (bench/disk), and
// takes orders for it over its standard input. Without them neither is there.
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

	"github.com/paxbench/paxbench/bench/proxy"
	"github.com/paxbench/paxbench/wire"
)

// Limits of time.
const (
	// readyLimit is how long a node may take from its start to listening; replay of a long log is within it.
	readyLimit = 60 * time.Second
	// stopLimit is how long a node may take to end after it was asked to.
	stopLimit = 15 * time.Second
)

// SelfBinary is the program that runs now. Not os.Executable: a path names another file after a rebuild, this link
// always names what runs.
const SelfBinary = "/proc/self/exe"

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
	// Procs is how many processor threads each node that is a process has. Zero: see ProcsOf.
	Procs int
	// Network puts a proxy into every link, between nodes and from the clients, so that faults of the network can be
	// injected. Without it all connect directly.
	Network bool
	// Disks lets the nodes take orders for what is wrong with their disks.
	Disks bool
	// Pprof lets every child serve its profiles on a loopback port of its own (see Member.Pprof).
	Pprof bool
}

// Cluster is a running cluster. Its methods may be called by many goroutines.
type Cluster struct {
	config  Config
	id      wire.ClusterID
	members []*Member // members[i] is node i+1
	spawner *spawner
	mesh    *proxy.Mesh // nil: no network of ours
	failed  chan error  // capacity 1: the first unasked death
}

// Start starts the cluster and returns when every node listens. After an error nothing is left running; files are.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if config.Nodes < 1 || config.Nodes > wire.NodesMax {
		return nil, fmt.Errorf("cluster: %d nodes; there can be 1 to %d", config.Nodes, wire.NodesMax)
	}
	if config.Binary == "" {
		config.Binary = SelfBinary
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
		port, err := ReservePort()
		if err != nil {
			return err
		}
		node := wire.NodeID(i + 1)
		m := &Member{cluster: c, node: node, addr: port.Addr, port: port,
			dir: filepath.Join(c.config.Dir, fmt.Sprintf("node%d", node))}
		c.members = append(c.members, m)
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("cluster: data directory of node %d: %w", node, err)
		}
	}
	if !c.config.Network {
		return nil
	}
	var err error
	c.mesh, err = proxy.NewMesh(c.Addrs(), uint64(c.id))
	return err
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

// Addrs are the nodes' own addresses in order of node id: for whoever is to reach them whatever the network is like.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.members))
	for i, m := range c.members {
		addrs[i] = m.addr
	}
	return addrs
}

// ClientAddrs are where clients reach the nodes: through the network, if there is one.
func (c *Cluster) ClientAddrs() []string {
	addrs := c.Addrs()
	if c.mesh != nil {
		for i := range addrs {
			addrs[i] = c.mesh.Addr(proxy.Clients, i+1)
		}
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
	if c.mesh != nil {
		err = errors.Join(err, c.mesh.Close())
	}
	for _, m := range c.members {
		m.port.Release()
	}
	return err
}

// InProcess says whether the nodes live in this process.
func (c *Cluster) InProcess() bool { return c.config.InProcess }
