package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Config describes a node. The zero value of a field means its default; Node, Cluster, Members, Dir and NewStateMachine
// have none.
type Config struct {
	Node    wire.NodeID
	Cluster wire.ClusterID

	// Members holds every node of the cluster, this one included, with its address for peers and clients.
	// The same on every node.
	Members map[wire.NodeID]string

	// PeerAddrs holds where this node dials its peers, for those it reaches at another address than clients do: over a
	// network of their own, say. Default Members.
	PeerAddrs map[wire.NodeID]string

	// Dir is the node's data directory: the log in Dir/wal, snapshots in Dir/snap. It is the node's identity: a node
	// never runs with another node's directory, in two processes at once, or with an emptied one.
	Dir string

	// Join is for a node that was not among the founding members: it is fed what is chosen, and takes part when the members have made it
	// one of them (Group.ChangeMembers). Members then holds this node and those that it may hear from. It stays set for the
	// life of the data directory, which is refused otherwise.
	Join bool

	// Bootstrap creates the data directory. Without it an empty or absent one is refused, because a node that has
	// forgotten its votes must not vote; with it one that holds anything is refused.
	Bootstrap bool

	// AcceptTornTail is an operator's word that the end of the log, if it is not whole, was never acknowledged: a write that a
	// power loss interrupted. It is cut, and the node votes. Without it a cluster of one refuses to start
	// (*wal.TornError), for there is nobody to ask; in a larger cluster the node is suspect: it serves what is chosen
	// and does not vote until a majority of the others has told it what it may have forgotten. It is needed there only
	// when so many nodes are suspect at once that they cannot heal each other. Under fsync policies other than always,
	// which promise less, such an end is cut in any case.
	AcceptTornTail bool

	// Rejoin brings a node back under its old id whose log is lost or refused, or of which an operator knows that it is an older copy:
	// without a vote, until a majority of the cluster, this node not counted, has told it what it may have forgotten (FAULTS.md,
	// amnesia rule). A log that cannot be started from is put aside, another one is kept. It takes three nodes at least, and
	// is for one start.
	Rejoin bool

	Groups          int // replicated logs on this node, with ids 1..Groups; default 1; the same on every node
	NewStateMachine func(wire.GroupID) StateMachine

	Listen    string              // address to listen on; default Members[Node]
	Listener  net.Listener        // instead of Listen; belongs to the node from Open on
	Transport transport.Transport // instead of TCP, then without clients; belongs to the node from Open on

	Fsync        wal.Policy  // default always
	SegmentBytes int64       // of a log segment; default wal.SegmentBytesDefault
	FS           wal.FS      // of the log; default the machine's
	SnapshotFS   snapshot.FS // of the snapshots; default the machine's

	// Tick is the unit of the protocol's time. Default 10 ms. HeartbeatTicks and ElectionTicks count in it; defaults
	// as in paxos.Config (a heartbeat every 20 ms, an election after 300 to 600 ms of silence).
	Tick           time.Duration
	HeartbeatTicks int
	ElectionTicks  int
	Seed           uint64 // of the election jitter; default drawn at random

	// Mode is the algorithm: how a slot gets its ballot. The same on every node, and for ever: the data directory keeps it, and
	// with another one it is refused; so are other Quorums. Backoff and Learn refine it; they are the same on every node, and may
	// change.
	Mode    paxos.Mode
	Quorums paxos.Quorums
	Backoff paxos.Backoff
	Learn   paxos.Learn

	// Auxiliary names those of Members that are acceptors only (Cheap Paxos): they keep no state, never lead, serve no client, and are
	// asked for votes only while another node does not answer. So many that the others are as many as must vote: of three nodes one, of
	// five two. Mode multi, learners one, without leases; the membership is then fixed. The same on every node, and for ever: as Mode.
	Auxiliary []wire.NodeID

	// Lease is how long the leader may answer reads by itself after a majority of the nodes has heard of it (Group.QueryLease,
	// wire.QueryLease): that long they elect nobody else, also if it is dead, and a node that restarts elects nobody at all for so
	// long. LeaseDrift is by how much two nodes' clocks may differ in the time of a lease: default an eighth of it, far more than clocks
	// of working machines do. Default 0: no leases, and such reads ask a quorum. Mode multi. The same on every node; to
	// change it let no node run for the length of the longer one.
	Lease, LeaseDrift time.Duration

	Window          int           // slots in flight, at most; default 32
	FixedWindow     bool          // always as many as Window; otherwise as many as round trip and disk are good for (batching.Window)
	BatchBytes      int           // closes a batch; default 1 MiB
	BatchDelay      time.Duration // how long a block waits for company while others are in flight; default 0
	Compress        bool          // s2 for batches that become smaller
	QueueBytes      int           // of blocks that wait for a batch; default 64 MiB
	SnapshotBytes   int64         // log bytes after which a snapshot is taken, up to 4 times as many if it is large (Group.snapshotDue); default 64 MiB
	RetainBytes     int64         // log bytes kept behind a snapshot for peers that lag; default 64 MiB
	SnapshotMaxSize uint64        // of a snapshot file accepted from a peer, in bytes; default 1 TiB

	Logger *slog.Logger // default slog.Default
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	def(&c.Groups, 1)
	def(&c.Listen, c.Members[c.Node])
	def(&c.Tick, 10*time.Millisecond)
	def(&c.HeartbeatTicks, 2)
	def(&c.ElectionTicks, 30)
	def(&c.Window, 32)
	def(&c.BatchBytes, 1<<20)
	def(&c.QueueBytes, 64<<20)
	def(&c.SnapshotBytes, 64<<20)
	def(&c.RetainBytes, 64<<20)
	def(&c.SnapshotMaxSize, 1<<40)
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano())
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// groupsMax bounds the groups of a node: each has a loop, an applier and buffers of its own.
const groupsMax = 4096

// validate joins every fault. c has its defaults.
func (c *Config) validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("engine: "+format, args...))
		}
	}
	fault(c.Cluster == 0, "cluster id 0")
	fault(c.Dir == "", "no data directory")
	fault(c.NewStateMachine == nil, "no state machine")
	fault(c.Groups < 1 || c.Groups > groupsMax, "%d groups: need 1 to %d", c.Groups, groupsMax)
	fault(c.Rejoin && c.Bootstrap, "Rejoin is for a node that has run before, Bootstrap for one that has not")
	fault(c.Rejoin && c.AcceptTornTail, "Rejoin says that the log may have lost something, AcceptTornTail that it has not")
	fault(c.Rejoin && len(c.Members) < 3, "Rejoin in a cluster of %d: a majority of the others has to give the vote back, and there is none", len(c.Members))
	fault(c.Tick < time.Millisecond || c.Tick > time.Minute, "tick of %v: need 1ms to 1m", c.Tick)
	beat := time.Duration(c.HeartbeatTicks) * c.Tick
	fault(c.Lease != 0 && c.Mode != paxos.ModeMulti, "leases in mode %v: there is nobody to hold one", c.Mode)
	fault(c.Lease != 0 && c.Lease < 3*beat, "lease of %v: need at least three heartbeats (%v)", c.Lease, 3*beat)
	fault(c.SnapshotBytes < 0, "SnapshotBytes %d is negative", c.SnapshotBytes)
	fault(c.RetainBytes < 0, "RetainBytes %d is negative", c.RetainBytes)
	if c.Transport == nil {
		for id, addr := range c.Members {
			_, _, err := net.SplitHostPort(addr)
			fault(err != nil, "address %q of node %d: %v", addr, id, err)
		}
		for id, addr := range c.PeerAddrs {
			_, _, err := net.SplitHostPort(addr)
			fault(err != nil, "peer address %q of node %d: %v", addr, id, err)
			fault(c.Members[id] == "", "peer address %q of node %d, which is no member", addr, id)
		}
	}
	errs = append(errs, c.paxos(1).Validate(), c.batching().Validate())
	return errors.Join(errs...)
}

// nodes is the ids of the members in ascending order.
func (c *Config) nodes() []wire.NodeID {
	nodes := make([]wire.NodeID, 0, len(c.Members))
	for id := range c.Members {
		nodes = append(nodes, id)
	}
	slices.Sort(nodes)
	return nodes
}

func (c *Config) paxos(g wire.GroupID) paxos.Config {
	nodes := c.nodes()
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = c.Members[n]
	}
	return paxos.Config{
		Cluster: c.Cluster, Group: g, Self: c.Node, Nodes: nodes, Addrs: addrs, Join: c.Join,
		Mode: c.Mode, Backoff: c.Backoff, Learn: c.Learn, Quorums: c.Quorums, Auxiliary: slices.Sorted(slices.Values(c.Auxiliary)),
		Window: c.Window, HeartbeatTicks: c.HeartbeatTicks, ElectionTicks: c.ElectionTicks,
		Lease: int64(c.Lease), LeaseDrift: int64(c.LeaseDrift), Fresh: c.Bootstrap,
		Seed: c.Seed ^ uint64(g)*0x9e3779b97f4a7c15,
	}
}

func (c *Config) batching() batching.Config {
	return batching.Config{BytesMax: c.BatchBytes, Delay: c.BatchDelay, Compress: c.Compress, QueueBytesMax: c.QueueBytes}
}

func (c *Config) walDir() string { return filepath.Join(c.Dir, "wal") }

func (c *Config) snapDir() string { return filepath.Join(c.Dir, "snap") }

func (c *Config) wal() wal.Config {
	return wal.Config{
		Dir: c.walDir(), Cluster: c.Cluster, Node: c.Node, Members: c.nodes(), Bootstrap: c.Bootstrap,
		Protocol: c.protocol(), SegmentBytes: c.SegmentBytes, Policy: c.Fsync, FS: c.FS,
		RefuseTorn:  len(c.Members) == 1 && c.Fsync.Mode == wal.Always && !c.AcceptTornTail,
		SuspectTorn: len(c.Members) > 1 && c.Fsync.Mode == wal.Always && !c.AcceptTornTail,
	}
}

// auxiliary says whether this node is an acceptor only.
func (c *Config) auxiliary() bool { return slices.Contains(c.Auxiliary, c.Node) }

// protocol is what must not change in a data directory's life beside whose it is; empty: multi mode with majorities.
func (c *Config) protocol() string {
	words := []string{c.Mode.String()}
	if c.Quorums != (paxos.Quorums{}) {
		words = append(words, c.Quorums.String())
	}
	if c.Join {
		words = append(words, "joined")
	}
	if len(c.Auxiliary) > 0 {
		words = append(words, "aux="+paxos.FormatAuxiliary(slices.Sorted(slices.Values(c.Auxiliary))))
	}
	if len(words) == 1 && c.Mode == paxos.ModeMulti {
		return ""
	}
	return strings.Join(words, " ")
}

func (c *Config) tcp() transport.Config {
	peers := maps.Clone(c.Members)
	maps.Copy(peers, c.PeerAddrs)
	return transport.Config{
		Self: c.Node, Cluster: c.Cluster, Addr: c.Listen, Listener: c.Listener, Peers: peers, Strangers: c.Mode == paxos.ModeMulti && c.Learn == paxos.LearnOne, Logger: c.Logger,
	}
}
