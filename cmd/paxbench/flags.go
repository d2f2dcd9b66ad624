package main

import (
	"fmt"
	"strconv"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/spf13/pflag"
)

// engineFlags are the settings that all nodes of a cluster share.
func engineFlags(fs *pflag.FlagSet, s *cluster.Settings) {
	*s = cluster.DefaultSettings()
	fs.Var(&choice{value: &s.Mode, choices: cluster.Protocols}, "mode",
		"protocol: multi (prepare once, a stable leader), basic (every slot runs both phases, every node proposes) or fast (prepare once, every node sends values straight to the acceptors)")
	fs.Var(&choice{value: &s.Backoff, choices: cluster.Backoffs}, "backoff",
		"basic: what ends duels: random pauses, none (nothing does), or a distinguished proposer")
	fs.Var(&parsed[string]{text: s.Learn, kind: "learners", value: &s.Learn, parse: cluster.ParseLearn}, "learn",
		"whom acceptors tell of their votes: one (the proposer, who tells the others), all, or set:N")
	fs.Var(&parsed[string]{text: s.Quorums, kind: "sizes", value: &s.Quorums, parse: cluster.ParseQuorums}, "quorum",
		"how many nodes must promise (p1) and vote (p2): majority, or p1=4,p2=2; any two such sets must share a node; in mode fast also p1=3,p2=3,fast=4: any two fast sets and one that promises must share a node")
	fs.Var(&parsed[string]{text: s.Auxiliary, kind: "ids", value: &s.Auxiliary, parse: cluster.ParseAuxiliary}, "auxiliary",
		"multi: nodes that are acceptors only, keep no state and vote while another node is down, by id, as in 3 of three or 4,5 of five: as many as need not vote; none: all keep the state")
	fs.Var(&choice{value: &s.StateMachine, choices: []string{"kv", "null"}}, "sm",
		"state machine: kv, or null, which counts commands and looks at none")
	fs.Var(&parsed[string]{text: s.Fsync, kind: "policy", value: &s.Fsync, parse: parseFsync}, "fsync",
		"always: acknowledged = on a majority's disks; interval=10ms; never")
	fs.Var(sizeInt{&s.BatchBytes}, "batch-bytes", "a batch, the value of one slot, is closed at this size")
	fs.DurationVar(&s.BatchDelay, "batch-delay", s.BatchDelay, "how long a batch waits for company while others are in flight; an idle pipeline sends at once")
	fs.IntVar(&s.Window, "window", s.Window, "slots in flight, at most")
	fs.Var(&choice{value: &s.Compress, choices: []string{"none", "s2"}}, "compress", "compression of batches that become smaller: none or s2")
	fs.Var(size{&s.SnapshotBytes}, "snapshot-bytes", "log bytes after which a snapshot is taken, or half of the last one's size if that is more, up to 4 times as many")
	fs.Var(size{&s.RetainBytes}, "retain-bytes", "log bytes kept behind a snapshot for replicas that lag")
	fs.DurationVar(&s.Lease, "lease", s.Lease, "multi: how long the leader may answer reads by itself after the others have heard of it; as long they elect nobody else, also if it is dead; 0s: no leases (run with --read-mode lease: "+cluster.LeaseDefault.String()+")")
	fs.Var(size{&s.SegmentBytes}, "segment-bytes", "size of a log segment, which is allocated as a whole")
}

func parseFsync(text string) (string, error) {
	_, err := wal.ParsePolicy(text)
	return text, err
}

// loadFlags describe the load; defaults are in c.
func loadFlags(fs *pflag.FlagSet, c *load.Config) {
	fs.IntVar(&c.Clients, "clients", c.Clients, "client sessions, each with a connection of its own")
	fs.BoolVar(&c.OneNode, "one-node", c.OneNode, "all clients begin at the same node; otherwise they are spread, which matters where every node takes proposals")
	fs.Var(spec(&c.Conflict, "off|P%", load.ParseConflict), "conflict", load.ConflictHelp)
	fs.IntVar(&c.Inflight, "inflight", c.Inflight, "operations outstanding per client (closed loop: exactly so many, open loop: at most)")
	fs.Float64Var(&c.Rate, "rate", c.Rate, "operations per second over all clients, open loop; 0: closed loop")
	fs.Var(spec(&c.Arrival, "uniform|poisson", load.ParseArrival), "arrival", "spacing of an open loop")
	fs.DurationVar(&c.Duration, "duration", c.Duration, "how long to measure")
	fs.DurationVar(&c.Warmup, "warmup", c.Warmup, "load before measuring starts")
	fs.DurationVar(&c.Settle, "settle", c.Settle, "by how much the warm-up may be longer until the rate has settled; the result says when it had, or that it had not")
	fs.Uint64Var(&c.Ops, "ops", c.Ops, "end after so many measured operations; 0: --duration decides")
	fs.Var(spec(&c.Values.Sizes, "sizes", load.ParseSizes), "value-size", "bytes per value: 16, uniform:1..1024 or list:16,64,1KiB")
	fs.Float64Var(&c.Values.Ratio, "value-ratio", 1, "share of a value that does not compress, above 0 to 1")
	fs.IntVar(&c.Keys, "keys", c.Keys, "number of keys (kv)")
	fs.Var(spec(&c.Dist, "dist", load.ParseDist), "dist", "how keys are drawn: uniform, zipf:0.99 or hotspot:0.2:0.8")
	fs.Float64Var(&c.Reads, "reads", c.Reads, "share of operations that are reads, 0 to 1 (kv)")
	fs.Var(spec(&c.ReadMode, "mode", load.ParseReadMode), "read-mode", "quorum: linearizable, a majority confirms the leader; log: through the log; lease: linearizable, by the leader's lease; stale: what one replica has applied")
	fs.Var(spec(&c.API, "block|call", load.ParseAPI), "api", "client interface: block (a completion per block) or call (one per command)")
	fs.IntVar(&c.HistoryKeys, "history-keys", c.HistoryKeys, "keys of which every operation is recorded and checked for linearizability (kv); at least --keys: all")
	fs.Uint64Var(&c.Seed, "seed", c.Seed, "fixes keys, values, arrivals and which follower a fault hits, but not the timing; 0: drawn and reported")
}

// spec is a flag whose value has a text form that parse reads and String writes.
func spec[T fmt.Stringer](value *T, kind string, parse func(string) (T, error)) *parsed[T] {
	return &parsed[T]{text: (*value).String(), kind: kind, value: value, parse: parse}
}

// clusterID is a flag: a whole number other than 0.
func parseClusterID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 0, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("a cluster id is a whole number other than 0, as in 7 or 0x1f")
	}
	return id, nil
}
