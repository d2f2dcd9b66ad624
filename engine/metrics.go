package engine

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"
	"golang.org/x/sys/unix"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Metrics is what a group measured. Counters run from the node's start. Histograms run from the last reset. What
// belongs to the node (from Fsyncs down) is the same for all its groups. Its JSON is the answer to the clients'
// "metrics" operation; fields are only ever added.
type Metrics struct {
	Node  wire.NodeID  `json:"node"`
	Group wire.GroupID `json:"group"`

	// Where the time of a slot or block goes, in nanoseconds. Queue, Batch, Quorum and Apply are recorded by the
	// leader only, WAL by every replica.
	Queue  Latency `json:"queue"`  // per batch: its first block's arrival until the batch was cut
	Batch  Latency `json:"batch"`  // per batch: building the frame
	WAL    Latency `json:"wal"`    // per hand-over of records: until durable
	Quorum Latency `json:"quorum"` // per slot: proposed until learned, and all slots before it
	Apply  Latency `json:"apply"`  // per slot: learned until all its blocks are answered

	// Learn is recorded by every replica, for the slots in which it voted: from handing its vote to the disk until the slot is learned
	// here, and all before it.
	Learn Latency `json:"learn"`

	Slots         uint64 `json:"slots"`          // applied, no-ops included
	Noops         uint64 `json:"noops"`          // applied slots that carry nothing
	Blocks        uint64 `json:"blocks"`         // in applied slots, duplicates included
	Commands      uint64 `json:"commands"`       // executed
	Repeats       uint64 `json:"repeats"`        // blocks answered from a session instead of executed
	Refused       uint64 `json:"refused"`        // blocks that are chosen but not executed: session gone, invalid
	Malformed     uint64 `json:"malformed"`      // slots whose value does not decode
	Queries       uint64 `json:"queries"`        // answered
	LeaseReads    uint64 `json:"lease_reads"`    // of the queries: answered by the leader's lease
	LeaseLapses   uint64 `json:"lease_lapses"`   // times a lease was over when the state had been read, and a quorum was asked
	Busy          uint64 `json:"busy"`           // proposals and queries turned away
	Expired       uint64 `json:"expired"`        // proposals and queries refused because their patience had run out
	PeerFrames    uint64 `json:"peer_frames"`    // from peers, taken
	PeerDropped   uint64 `json:"peer_dropped"`   // from peers, dropped because a queue was full
	PeerInvalid   uint64 `json:"peer_invalid"`   // from peers, malformed or foreign
	ClientInvalid uint64 `json:"client_invalid"` // from clients, malformed; the connection was closed
	Elections     uint64 `json:"elections"`      // leaderships won by this node
	LossesOfLead  uint64 `json:"losses"`         // leaderships lost by this node
	Engaged       uint64 `json:"engaged"`        // times that this node, leading, turned to auxiliary nodes
	Suspicions    uint64 `json:"suspicions"`     // times this replica stopped voting because it may have forgotten something
	Heals         uint64 `json:"heals"`          // times it has been healed since
	Snapshots     uint64 `json:"snapshots"`      // written
	SnapInstalls  uint64 `json:"snap_installs"`  // received from a peer and installed
	SnapSent      uint64 `json:"snap_sent"`      // sent to a peer completely

	Instances *Instances `json:"instances,omitempty"` // nil in multi mode
	Takeovers *Takeovers `json:"takeovers,omitempty"` // nil without a leader
	Leads     bool       `json:"leads,omitempty"`     // this replica takes itself for the leader now
	Stale     uint64     `json:"stale"`               // messages refused because of a higher promise

	Fsyncs       uint64  `json:"fsyncs"`
	Fsync        Latency `json:"fsync"` // the system call alone
	WALBytes     uint64  `json:"wal_bytes"`
	WALRecords   uint64  `json:"wal_records"`
	NetBytesSent uint64  `json:"net_bytes_sent"` // to peers and clients
	MessagesSent uint64  `json:"messages_sent"`  // frames to peers and clients
	HeapBytes    uint64  `json:"heap_bytes"`     // live objects and garbage not yet collected
	GCCount      uint64  `json:"gc_count"`
	Mallocs      uint64  `json:"mallocs"`
	CPUNanos     uint64  `json:"cpu_ns"`     // user and system time of the process
	UptimeNanos  uint64  `json:"uptime_ns"`  // of the node
	BuffersHeld  int64   `json:"buffers"`    // wire buffers not released
	Goroutines   int     `json:"goroutines"` // of the process
	Procs        int     `json:"gomaxprocs"` // processor threads on which the process runs Go code
	StateHash    string  `json:"state_hash,omitempty"`
}

// Takeovers is what this node found and did when it became, or tried to become, the leader.
type Takeovers struct {
	Prepared   uint64 `json:"prepared"`   // ballots begun
	Won        uint64 `json:"won"`        // of them, those that led
	Reproposed uint64 `json:"reproposed"` // slots finished with a vote that was found
	Holes      uint64 `json:"holes"`      // slots filled with no-ops: nobody had voted there
	FillNanos  uint64 `json:"fill_ns"`    // in sum, from winning until the last of these slots was chosen
}

// Plus is the sum of two nodes' or two intervals'.
func (t Takeovers) Plus(o Takeovers) Takeovers {
	return Takeovers{t.Prepared + o.Prepared, t.Won + o.Won, t.Reproposed + o.Reproposed, t.Holes + o.Holes, t.FillNanos + o.FillNanos}
}

// Minus is what t has more than an earlier reading.
func (t Takeovers) Minus(o Takeovers) Takeovers {
	return Takeovers{t.Prepared - o.Prepared, t.Won - o.Won, t.Reproposed - o.Reproposed, t.Holes - o.Holes, t.FillNanos - o.FillNanos}
}

// Instances is what became of the slots that this node proposed in or settled, in modes where any node proposes.
type Instances struct {
	Ballots   uint64 `json:"ballots"`   // begun for one slot alone
	Duels     uint64 `json:"duels"`     // ballots given up for a higher one
	Won       uint64 `json:"won"`       // slots chosen with a batch proposed here
	Displaced uint64 `json:"displaced"` // batches that lost their slot and went to another
	Holes     uint64 `json:"holes"`     // slots that others had left open, finished here
	HoleNanos uint64 `json:"hole_ns"`   // in sum, from the last sign of life in such a slot until it was chosen

	// Fast rounds. A slot is recovered by the coordinator, with a ballot of its own, after a collision, or when too few have voted.
	Fast       uint64 `json:"fast,omitempty"`       // of Won, those chosen by a fast quorum
	Collisions uint64 `json:"collisions,omitempty"` // slots with votes for several values
	Recovered  uint64 `json:"recovered,omitempty"`
}

// Plus is the sum of two nodes' or two intervals'.
func (i Instances) Plus(o Instances) Instances {
	return Instances{i.Ballots + o.Ballots, i.Duels + o.Duels, i.Won + o.Won, i.Displaced + o.Displaced, i.Holes + o.Holes, i.HoleNanos + o.HoleNanos,
		i.Fast + o.Fast, i.Collisions + o.Collisions, i.Recovered + o.Recovered}
}

// Minus is what i has more than an earlier reading.
func (i Instances) Minus(o Instances) Instances {
	return Instances{i.Ballots - o.Ballots, i.Duels - o.Duels, i.Won - o.Won, i.Displaced - o.Displaced, i.Holes - o.Holes, i.HoleNanos - o.HoleNanos,
		i.Fast - o.Fast, i.Collisions - o.Collisions, i.Recovered - o.Recovered}
}

func instances(s *paxos.BasicStats, tick time.Duration) *Instances {
	return &Instances{Ballots: s.Rounds, Duels: s.Duels, Won: s.Won, Displaced: s.Displaced, Holes: s.Holes, HoleNanos: s.HoleTicks * uint64(tick)}
}

func fastRounds(s *paxos.FastStats, tick time.Duration) *Instances {
	return &Instances{
		Ballots: s.Prepared, Won: s.Won, Displaced: s.Displaced, Holes: s.Holes, HoleNanos: s.HoleTicks * uint64(tick),
		Fast: s.Fast, Collisions: s.Collisions, Recovered: s.Recovered,
	}
}

// Latency summarises a histogram. All in nanoseconds but Count. Values above a minute count as a minute.
type Latency struct {
	P50   int64 `json:"p50"`
	P90   int64 `json:"p90"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
	Mean  int64 `json:"mean"`
	Count int64 `json:"count"`
}

// histogram is one HDR histogram. The writer is one goroutine, so its lock is contended only while somebody reads. A nil
// one records nothing: a simulator starts thousands of nodes and has no use for what they cost.
type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// histogramMax is where values are clamped, in nanoseconds.
const histogramMax = int64(time.Minute)

func newHistogram() *histogram {
	return &histogram{h: hdrhistogram.New(1, histogramMax, 3)}
}

// record adds one duration in nanoseconds.
func (h *histogram) record(nanos int64) {
	if h == nil {
		return
	}
	nanos = min(max(nanos, 0), histogramMax)
	h.mu.Lock()
	err := h.h.RecordValue(nanos)
	h.mu.Unlock()
	if err != nil {
		panic("BUG: engine: histogram: " + err.Error())
	}
}

// read summarises the histogram and, if told so, begins anew.
func (h *histogram) read(reset bool) Latency {
	if h == nil {
		return Latency{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := Latency{
		P50: h.h.ValueAtQuantile(50), P90: h.h.ValueAtQuantile(90), P99: h.h.ValueAtQuantile(99),
		P999: h.h.ValueAtQuantile(99.9), Max: h.h.Max(), Mean: int64(h.h.Mean()), Count: h.h.TotalCount(),
	}
	if reset {
		h.h.Reset()
	}
	return l
}

// counters are a group's. Each line is written by one goroutine; the padding keeps the lines of different writers in
// different cache lines.
type counters struct {
	// The loop's.
	peerFrames, peerInvalid, elections, losses, engaged, busyLoop, suspicions, heals, expired atomic.Uint64
	_                                                                                         [64]byte
	prepared, reproposed, holes, fillNanos                                                    atomic.Uint64

	// The applier's.
	slots, noops, blocks, commands, repeats, refused, malformed, queries, leaseReads, leaseLapses atomic.Uint64
	_                                                                                             [64]byte

	// Of connections and rare goroutines.
	peerDropped, busy, snapshots, snapInstalls, snapSent atomic.Uint64
	_                                                    [64]byte
}

// stages are a group's histograms.
type stages struct {
	queue, batch, wal, quorum, apply, learn *histogram
}

func (n *Node) newStages() stages {
	if n.driver != nil {
		return stages{}
	}
	return stages{newHistogram(), newHistogram(), newHistogram(), newHistogram(), newHistogram(), newHistogram()}
}

// clockBase is the origin of nanotime.
var clockBase = time.Now()

// nanotime is the monotonic clock in nanoseconds. It runs for measurements, batch delays and snapshot transfers only; the
// protocol counts ticks.
func nanotime() int64 { return int64(time.Since(clockBase)) }

// nanotime is the node's clock: the monotonic one, or its driver's.
func (n *Node) nanotime() int64 {
	if n.driver != nil {
		return n.driver.c.Now()
	}
	return nanotime()
}

// readProcess fills in what is known of the process.
func (m *Metrics) readProcess() {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/allocs:objects"},
	}
	metrics.Read(samples)
	m.HeapBytes, m.GCCount, m.Mallocs = samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err == nil {
		m.CPUNanos = uint64(u.Utime.Nano() + u.Stime.Nano())
	}
	m.Goroutines, m.Procs = runtime.NumGoroutine(), runtime.GOMAXPROCS(0)
	m.BuffersHeld = wire.Outstanding()
}
