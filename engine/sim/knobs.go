package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Knobs is a schedule's configuration, drawn from its seed. Small values are frequent: they are where the corners are.
type Knobs struct {
	Nodes   int
	Groups  int
	Clients int
	Chaos   time.Duration // virtual time with faults

	// The protocol.
	Mode      paxos.Mode
	Backoff   paxos.Backoff
	Learn     paxos.Learn
	HoleTicks int
	Quorums   paxos.Quorums
	Alpha     int
	Changes   bool // of the members
	Auxiliary []wire.NodeID
	Suspect   int // ticks, with auxiliary nodes
	Most      int // nodes, those that join later included

	// The nodes'.
	Tick            time.Duration
	HeartbeatTicks  int
	ElectionTicks   int
	RetransmitTicks int
	StallTicks      int
	Lease           time.Duration
	Window          int
	PromiseBytes    int
	ApplyLagMax     int
	BatchBytes      int
	BatchDelay      time.Duration
	Compress        bool
	QueueBytes      int
	SegmentBytes    int64
	SnapshotBytes   int64
	RetainBytes     int64
	Fsync           wal.Policy
	AheadBytes      int64
	PromiseTotal    int64
	Limits          engine.Limits

	// The network's: percent of frames, and how long one takes.
	Drop, Repeat, Corrupt int
	Delay                 time.Duration // at most, usually
	Late                  int           // percent of frames that take up to LateBy
	LateBy                time.Duration

	// The machines': how long a turn, a sync, an applied slot takes at most, usually.
	Turn, Sync, Apply time.Duration

	// The clients'.
	Pipeline int
	Keys     int
	Value    int // bytes, at most
	Think    time.Duration

	// The faults': mean time between two; how much each kind weighs is drawn as well (nemesis).
	Every time.Duration
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

var always = wal.Policy{Mode: wal.Always}

func drawKnobs(r *rand.Rand, nodes int) Knobs {
	k := Knobs{
		Nodes:   pick(r, 3, 3, 3, 3, 3, 3, 5, 5, 1),
		Groups:  pick(r, 1, 1, 1, 1, 1, 1, 2, 3),
		Clients: 1 + r.IntN(4),
		Chaos:   time.Duration(500*math.Pow(8, r.Float64())) * time.Millisecond, // mostly short: more schedules see more

		Mode:      pick(r, paxos.ModeMulti, paxos.ModeMulti, paxos.ModeBasic, paxos.ModeFast),
		Backoff:   pick(r, paxos.BackoffRandom, paxos.BackoffRandom, paxos.BackoffDistinguished), // without any nothing need ever be chosen
		Learn:     pick(r, paxos.LearnOne, paxos.LearnOne, paxos.LearnAll, 1, 2),
		HoleTicks: 3 + r.IntN(8),

		Tick:            pick[time.Duration](r, 5, 10, 20) * time.Millisecond,
		HeartbeatTicks:  1 + r.IntN(2),
		ElectionTicks:   6 + r.IntN(12),
		RetransmitTicks: 2 + r.IntN(10),
		StallTicks:      10 + r.IntN(30),
		Window:          pick(r, 1, 2, 3, 8, 32),
		PromiseBytes:    pick(r, 1, 200, 1<<20),
		ApplyLagMax:     pick(r, 4, 64, 1024),
		BatchBytes:      pick(r, 1, 200, 4096, 1<<20),
		BatchDelay:      pick(r, 0, 0, time.Millisecond, 20*time.Millisecond),
		Compress:        r.IntN(4) == 0,
		QueueBytes:      pick(r, 1, 2048, 64<<20),
		SegmentBytes:    pick[int64](r, 8<<10, 8<<10, 16<<10, 64<<10),
		SnapshotBytes:   pick[int64](r, 2<<10, 8<<10, 32<<10, 1<<20),
		RetainBytes:     pick[int64](r, 1, 1<<10, 8<<10, 1<<20),
		Fsync: pick(r, always, always, always, always, always, always, always, wal.Policy{Mode: wal.Never},
			wal.Policy{Mode: wal.Interval, Every: 20 * time.Millisecond}),
		AheadBytes:   pick[int64](r, 1, 4<<10, 1<<20),
		PromiseTotal: pick[int64](r, 256<<10, 1<<20, 1<<30),
		Limits: engine.Limits{
			PeerItems: pick(r, 256, 1<<16), PeerBytes: pick(r, 64<<10, 64<<20), ClientBytes: pick[int64](r, 16<<10, 64<<20),
			SyncBacklog: pick[int64](r, 1<<10, 16<<10, 128<<20), ApplyBacklog: pick[int64](r, 1<<10, 16<<10, 128<<20),
			ReceiverItems: pick(r, 4, 64), Sessions: pick(r, 2, 1<<14),
		},

		Drop:    pick(r, 0, 1, 5, 15),
		Repeat:  pick(r, 0, 2, 10),
		Corrupt: pick(r, 0, 0, 1, 3),
		Delay:   pick(r, 200*time.Microsecond, time.Millisecond, 5*time.Millisecond, 20*time.Millisecond),
		Late:    pick(r, 0, 1, 5),
		LateBy:  pick(r, 50*time.Millisecond, 500*time.Millisecond, 2*time.Second),

		Turn:  pick(r, 20*time.Microsecond, 500*time.Microsecond, 5*time.Millisecond),
		Sync:  pick(r, 50*time.Microsecond, time.Millisecond, 10*time.Millisecond),
		Apply: pick(r, time.Microsecond, 100*time.Microsecond, 3*time.Millisecond),

		Pipeline: 1 + r.IntN(4),
		Keys:     1 + r.IntN(8),
		Value:    pick(r, 8, 40, 300, 2000),
		Think:    pick(r, 2*time.Millisecond, 8*time.Millisecond, 30*time.Millisecond),

		Every: pick(r, 50*time.Millisecond, 150*time.Millisecond, 400*time.Millisecond),
	}
	if k.Mode == paxos.ModeFast && k.Nodes == 3 && r.IntN(2) == 0 {
		k.Nodes = 4 + r.IntN(2) // of three a fast quorum is everybody, and the choice easy
	}
	if nodes != 0 {
		k.Nodes = nodes
	}
	k.Learn = min(k.Learn, paxos.Learn(k.Nodes))
	if r.IntN(4) == 0 {
		k.Quorums.Prepare = 1 + r.IntN(k.Nodes)
		k.Quorums.Accept = k.Nodes - k.Quorums.Prepare + 1 + r.IntN(k.Quorums.Prepare)
	}
	if least := k.Quorums.Of(k.Nodes).Fast; k.Mode == paxos.ModeFast && k.Quorums.Prepare != 0 {
		k.Quorums.Fast = least + r.IntN(k.Nodes-least+1)
	}
	k.Clients = max(k.Clients, k.Groups)
	// An election cannot succeed, nor a leader keep its place, if a round trip with a sync takes longer than the silence that
	// both may last: such a configuration promises nothing.
	for time.Duration(k.ElectionTicks)*k.Tick < 4*(2*k.Delay+k.Sync+3*k.Turn) {
		k.ElectionTicks++
	}
	if lease := pick(r, 0, 0, 1, 2, 4); k.Mode == paxos.ModeMulti {
		k.Lease = max(time.Duration(lease*k.ElectionTicks)*k.Tick/2, min(time.Duration(lease), 1)*4*time.Duration(k.HeartbeatTicks)*k.Tick)
	}
	k.StallTicks = max(k.StallTicks, int(10*k.Sync/k.Tick))
	k.Alpha, k.Most = max(k.Window, pick(r, 1, k.Window+1, 16, 64)), k.Nodes
	if r.IntN(3) == 0 && k.Mode == paxos.ModeMulti && k.Groups == 1 {
		k.Changes, k.Most = true, k.Nodes+3
		k.Learn, k.Quorums = paxos.LearnOne, paxos.Quorums{}
	}
	return k
}

// drawAuxiliary makes some nodes of a quarter of the schedules with a leader auxiliary ones, as many as need not vote. It draws from numbers
// of its own, so that other schedules stay what they are.
func (k *Knobs) drawAuxiliary(seed uint64) {
	r := rand.New(rand.NewPCG(seed, auxiliaryStream))
	_, accept := k.quorums()
	if r.IntN(4) > 0 || k.Mode != paxos.ModeMulti || accept == 1 || accept == k.Nodes {
		return
	}
	k.Changes, k.Most, k.Learn, k.Lease = false, k.Nodes, paxos.LearnOne, 0
	for _, i := range r.Perm(k.Nodes)[:k.Nodes-accept] {
		k.Auxiliary = append(k.Auxiliary, wire.NodeID(i+1))
	}
	slices.Sort(k.Auxiliary)
	k.Suspect = 2*k.HeartbeatTicks + r.IntN(k.ElectionTicks)
}

// auxiliaryStream tells the numbers of drawAuxiliary from others of the same seed.
const auxiliaryStream = 0xa0c

// quorums are the sizes in effect.
func (k *Knobs) quorums() (prepare, accept int) {
	most := k.Nodes/2 + 1
	return cmp.Or(k.Quorums.Prepare, most), cmp.Or(k.Quorums.Accept, most)
}

// spare is how many nodes the others can do without, to get things done and to heal them.
func (k *Knobs) spare() int {
	prepare, accept := k.quorums()
	return min((k.Nodes-1)/2, k.Nodes-max(prepare, accept), min(prepare, accept)-1)
}

func (k Knobs) String() string {
	type plain Knobs // without this method
	return fmt.Sprintf("%+v", plain(k))
}

// Counts is how often each thing happened. Every value is a sum, so that those of many schedules add up.
type Counts map[string]int

// Add adds o to c.
func (c Counts) Add(o Counts) {
	for k, v := range o {
		c[k] += v
	}
}

func (c Counts) String() string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", k, c[k])
	}
	return b.String()
}

// Vital are the counters of which a batch of schedules must have at least one each, or the harness tests nothing.
var Vital = []string{
	"partial connectivity at the end", "sessions evicted", "blocks of evicted sessions refused", "failed writes of snapshots", "leaders", "leaders with gaps", "votes proposed again", "ballot races", "torn tails", "crashes", "crashes inside a file operation",
	"power losses of all", "snapshots written", "snapshots installed", "snapshots installed during accepts", "repeats answered from a session", "blocks expired",
	"partitions", "pauses", "failed syncs", "disk stalls", "frames damaged", "frames replayed late", "senseless frames", "emptied directories refused",
	"damaged logs refused", "damaged logs healed", "damaged snapshots passed over", "damaged snapshots refused",
	"reads", "reads by lease", "leases", "segments rotated", "duels", "batches displaced", "slots of others finished", "collisions", "slots settled",
	"schedules played twice",
	"auxiliaries engaged", "auxiliaries released", "votes forgotten by auxiliaries", "leaders beside votes of auxiliaries",
	"changes of members", "changes refused or given up", "changes with an unknown end", "leaders that removed themselves", "nodes told that they were removed",
}

// VitalBeyond are those of a batch of schedules that end beyond what can be survived.
var VitalBeyond = []string{
	"beyond: the ends of all logs damaged", "beyond: a quorum's logs damaged", "beyond: a quorum's directories emptied", "beyond: logs exchanged",
	"beyond: the same slot damaged on all", "beyond: other slots damaged on each",
	"beyond: halted", "beyond: nodes refused", "beyond: nodes suspect", "beyond: refusals", "suspects that cannot heal",
}
