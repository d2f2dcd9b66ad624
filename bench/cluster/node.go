package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// Settings are the engine settings that all nodes of a cluster share. A zero number means the engine's default.
type Settings struct {
	Mode          string        `json:"mode"`                // protocol: "multi", "basic", "fast"; empty: multi
	Backoff       string        `json:"backoff"`             // of duels, in modes without a leader: "random", "none", "distinguished"
	Learn         string        `json:"learn"`               // whom acceptors tell: "one", "all", "set:N"
	Quorums       string        `json:"quorums"`             // "majority" or "p1=N,p2=M"
	Auxiliary     string        `json:"auxiliary,omitempty"` // ids of the nodes that are acceptors only, as in "4,5"; empty or "none": none
	StateMachine  string        `json:"sm"`                  // "kv" or "null"
	Fsync         string        `json:"fsync"`               // "always", "never" or "interval=10ms"
	BatchBytes    int           `json:"batch_bytes"`
	BatchDelay    time.Duration `json:"batch_delay_ns"`
	Window        int           `json:"window"`         // slots in flight
	Compress      string        `json:"compress"`       // "none" or "s2"
	SnapshotBytes int64         `json:"snapshot_bytes"` // log bytes between snapshots
	RetainBytes   int64         `json:"retain_bytes"`   // log bytes kept below a snapshot for followers that lag
	SegmentBytes  int64         `json:"segment_bytes"`  // of a log segment, allocated as a whole
	Lease         time.Duration `json:"lease_ns"`       // of the leader; 0: none
}

// DefaultSettings are what the benchmark uses unless told otherwise. They are the engine's defaults, spelled out: a
// recorded configuration says what ran, also when the engine's defaults have changed since.
func DefaultSettings() Settings {
	return Settings{
		Mode: "multi", Backoff: "random", Learn: "one", Quorums: "majority", Auxiliary: "none", StateMachine: "kv", Fsync: "always", BatchBytes: 1 << 20, Window: 32, Compress: "none",
		SnapshotBytes: 64 << 20, RetainBytes: 64 << 20, SegmentBytes: 64 << 20,
	}
}

// LeaseDefault is how long leases last where reads by lease are asked for and nothing is said of their length: silence that others
// notice takes longer (300 ms at least), so that an election after it does not wait for the lease.
const LeaseDefault = 200 * time.Millisecond

// NodeConfig is all that one replica needs to know: the flags of `paxbench serve`.
type NodeConfig struct {
	Node      wire.NodeID
	Cluster   wire.ClusterID
	Listen    string
	Peers     map[wire.NodeID]string // all members, itself included; of a node that joins: it and nodes that it may hear from
	PeerAddrs map[wire.NodeID]string // where it reaches its peers, if elsewhere
	Dir       string
	Bootstrap bool // give an empty directory its identity

	AcceptTornTail bool       // see engine.Config
	Rejoin         bool       // see engine.Config
	Join           bool       // see engine.Config
	Disk           *disk.Disk // stands between the node and its files; nil: nothing does
	Settings       Settings
}

// Protocols are the values of Settings.Mode, Backoffs those of Settings.Backoff.
var (
	Protocols = []string{paxos.ModeMulti.String(), paxos.ModeBasic.String(), paxos.ModeFast.String()}
	Backoffs  = []string{paxos.BackoffRandom.String(), paxos.BackoffNone.String(), paxos.BackoffDistinguished.String()}
)

// ParseLearn checks a value of Settings.Learn.
func ParseLearn(text string) (string, error) {
	_, err := paxos.ParseLearn(text)
	return text, err
}

// protocol fills in what the settings say of the algorithm. Empty ones are the defaults.
func (s *Settings) protocol(c *engine.Config) (err error) {
	var errs [5]error
	if s.Mode != "" {
		c.Mode, errs[0] = paxos.ParseMode(s.Mode)
	}
	if s.Backoff != "" {
		c.Backoff, errs[1] = paxos.ParseBackoff(s.Backoff)
	}
	if s.Learn != "" {
		c.Learn, errs[2] = paxos.ParseLearn(s.Learn)
	}
	if s.Quorums != "" {
		c.Quorums, errs[3] = paxos.ParseQuorums(s.Quorums)
	}
	if s.Auxiliary != "" {
		c.Auxiliary, errs[4] = paxos.ParseAuxiliary(s.Auxiliary)
	}
	return errors.Join(errs[:]...)
}

// AuxiliaryNodes is Auxiliary as ids; nil where it cannot be read.
func (s *Settings) AuxiliaryNodes() []wire.NodeID {
	nodes, _ := paxos.ParseAuxiliary(s.Auxiliary)
	return nodes
}

// CheckAuxiliary says what is wrong with the auxiliary nodes of a cluster of so many, with ids from 1.
func (s *Settings) CheckAuxiliary(nodes int) error {
	var c engine.Config
	if err := s.protocol(&c); err != nil {
		return err
	}
	pc := paxos.Config{Mode: c.Mode, Learn: c.Learn, Quorums: c.Quorums, Auxiliary: c.Auxiliary, Lease: int64(s.Lease)}
	for i := range nodes {
		pc.Nodes = append(pc.Nodes, wire.NodeID(i+1))
	}
	return pc.CheckAuxiliary()
}

// Check says what is wrong with the settings of the algorithm for so many nodes.
func (s *Settings) Check(nodes int) error {
	var c engine.Config
	if err := s.protocol(&c); err != nil {
		return err
	}
	return c.Quorums.CheckIn(c.Mode, nodes)
}

// ParseQuorums checks a value of Settings.Quorums.
func ParseQuorums(text string) (string, error) {
	_, err := paxos.ParseQuorums(text)
	return text, err
}

// ParseAuxiliary checks a value of Settings.Auxiliary.
func ParseAuxiliary(text string) (string, error) {
	_, err := paxos.ParseAuxiliary(text)
	return text, err
}

// Args are the flags of `paxbench serve` that mean c.
func (c NodeConfig) Args() []string {
	args := []string{
		"--node", strconv.FormatUint(uint64(c.Node), 10),
		"--cluster-id", strconv.FormatUint(uint64(c.Cluster), 10),
		"--listen", c.Listen,
		"--peers", FormatPeers(c.Peers),
		"--data-dir", c.Dir,
	}
	if c.Bootstrap {
		args = append(args, "--bootstrap")
	}
	if c.Join {
		args = append(args, "--join")
	}
	if len(c.PeerAddrs) > 0 {
		args = append(args, "--peer-addrs", FormatPeers(c.PeerAddrs))
	}
	add := func(name, value string, zero bool) {
		if !zero {
			args = append(args, "--"+name, value)
		}
	}
	s := c.Settings
	add("mode", s.Mode, s.Mode == "")
	add("backoff", s.Backoff, s.Backoff == "")
	add("learn", s.Learn, s.Learn == "")
	add("quorum", s.Quorums, s.Quorums == "")
	add("auxiliary", s.Auxiliary, s.Auxiliary == "")
	add("sm", s.StateMachine, s.StateMachine == "")
	add("fsync", s.Fsync, s.Fsync == "")
	add("batch-bytes", strconv.Itoa(s.BatchBytes), s.BatchBytes == 0)
	add("batch-delay", s.BatchDelay.String(), s.BatchDelay == 0)
	add("window", strconv.Itoa(s.Window), s.Window == 0)
	add("compress", s.Compress, s.Compress == "")
	add("snapshot-bytes", strconv.FormatInt(s.SnapshotBytes, 10), s.SnapshotBytes == 0)
	add("retain-bytes", strconv.FormatInt(s.RetainBytes, 10), s.RetainBytes == 0)
	add("lease", s.Lease.String(), s.Lease == 0)
	add("segment-bytes", strconv.FormatInt(s.SegmentBytes, 10), s.SegmentBytes == 0)
	return args
}

// FormatPeers writes members as ParsePeers reads them, in order of node id.
func FormatPeers(peers map[wire.NodeID]string) string {
	var ids []wire.NodeID
	for id := range peers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var parts []string
	for _, id := range ids {
		parts = append(parts, strconv.FormatUint(uint64(id), 10)+"="+peers[id])
	}
	return strings.Join(parts, ",")
}

// Open starts the replica in this process.
func (c NodeConfig) Open(logger *slog.Logger) (*engine.Node, error) {
	policy, err := wal.ParsePolicy(c.Settings.Fsync)
	if err != nil {
		return nil, err
	}
	machine, err := stateMachine(c.Settings.StateMachine)
	if err != nil {
		return nil, err
	}
	config := engine.Config{
		Node: c.Node, Cluster: c.Cluster, Members: c.Peers, PeerAddrs: c.PeerAddrs, Listen: c.Listen, Dir: c.Dir, Bootstrap: c.Bootstrap, AcceptTornTail: c.AcceptTornTail, Rejoin: c.Rejoin, Join: c.Join,
		NewStateMachine: machine, Fsync: policy, Window: c.Settings.Window, BatchBytes: c.Settings.BatchBytes,
		BatchDelay: c.Settings.BatchDelay, Compress: c.Settings.Compress == "s2",
		SnapshotBytes: c.Settings.SnapshotBytes, RetainBytes: c.Settings.RetainBytes,
		SegmentBytes: c.Settings.SegmentBytes, Lease: c.Settings.Lease, Logger: logger,
	}
	if err := c.Settings.protocol(&config); err != nil {
		return nil, err
	}
	if c.Disk != nil {
		// The engine makes the directory on the machine's file system only.
		if err := vfs.OS().MkdirAll(filepath.Join(c.Dir, "snap")); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		log := vfs.OS() // what the engine takes if it is given none
		if policy.Mode == wal.Always {
			log = vfs.Direct()
		}
		config.FS, config.SnapshotFS = c.Disk.Log(log), c.Disk.Snapshots(snapshot.OS())
	}
	return engine.Open(config)
}

func stateMachine(name string) (func(wire.GroupID) engine.StateMachine, error) {
	switch name {
	case "kv", "":
		return func(wire.GroupID) engine.StateMachine { return kv.New() }, nil
	case "null":
		return func(wire.GroupID) engine.StateMachine { return kv.NewNull() }, nil
	}
	return nil, fmt.Errorf("cluster: unknown state machine %q; there are kv and null", name)
}
