package sim

import (
	"errors"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/paxos/lease"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

const clusterID = wire.ClusterID(4711)

// proc is a node: its disk, which stays, and the process on it, which comes and goes.
type proc struct {
	w    *world
	id   wire.NodeID
	disk *disk
	rate float64 // of its clock: virtual seconds per second
	skew int64   // of its clock, nanoseconds; it may jump

	origin int64 // of its monotonic clock, nanoseconds

	life    int // counts processes: what belongs to an earlier one is dropped
	d       *engine.Driver
	reps    []*replica // by group id - 1
	fs      *diskFS
	port    *port
	handler func(from wire.NodeID, f *wire.Buffer)
	due     [stages]bool // a step of the node is scheduled

	pausedUntil  int64
	stalledUntil int64 // the disk finishes nothing before
	deaf         int64 // no client reaches it before
	slow         time.Duration
	lost         bool // stays down, or its disk stalled, for ever
	acceptTorn   bool // start although the log's end is not whole
	rejoin       bool // start without a vote: the log is lost or refused
	stays        bool // down, whoever would start it: it was refused, and nobody has it rejoin
	suspicion    suspicion
}

// recheck is how often what waits for the end of a pause or a stall looks again: both may end early.
const recheck = 20 * time.Millisecond

// stage is one of the goroutines of a node.
type stage int

const (
	stageTurn stage = iota
	stageWrite
	stageSync
	stageApply
	stageReceive
	stageJob
	stageTransfer
	stageDeadline
	stages
	stageTick // of the clock: not a goroutine
)

var stageNames = [stages]string{"turn", "write", "sync", "apply", "receive", "snapshot job", "transfer", "batch delay"}

func newProc(w *world, id wire.NodeID) *proc {
	return &proc{
		w: w, id: id, disk: newDisk(w, id), rate: 1 + clockRate/1e6*(2*w.rng.Float64()-1), skew: w.rng.Int64N(int64(time.Hour)), origin: w.rng.Int64N(int64(time.Hour)),
	}
}

// clockRate is by how many millionths a node's clock may run fast or slow.
const clockRate = 50_000

// drift is what leases have to allow for.
func drift(span time.Duration) time.Duration {
	return time.Duration(lease.Drift(int64(span), clockRate))
}

// clock is the monotonic one.
func (p *proc) clock() int64 { return p.origin + int64(float64(p.w.now)*p.rate) }

func (p *proc) config(bootstrap bool) engine.Config {
	k := &p.w.k
	members := map[wire.NodeID]string{}
	for i := range k.Nodes {
		members[wire.NodeID(i+1)] = simAddr
	}
	join := members[p.id] == ""
	members[p.id] = simAddr
	return engine.Config{
		Node: p.id, Cluster: clusterID, Members: members, Join: join, Dir: p.disk.dir(), Bootstrap: bootstrap,
		NewStateMachine: func(wire.GroupID) engine.StateMachine { return kv.New() },
		Transport:       p.port, FS: p.fs, SnapshotFS: snapFS{p.fs}, SegmentBytes: k.SegmentBytes,
		Tick: k.Tick, HeartbeatTicks: k.HeartbeatTicks, ElectionTicks: k.ElectionTicks, Seed: p.w.o.Seed + uint64(p.life)<<32 + 1,
		Mode: k.Mode, Backoff: k.Backoff, Learn: k.Learn, Quorums: k.Quorums, Auxiliary: k.Auxiliary, Lease: k.Lease, LeaseDrift: drift(k.Lease), Groups: k.Groups, Fsync: k.Fsync, Window: k.Window, BatchBytes: k.BatchBytes, BatchDelay: k.BatchDelay, Compress: k.Compress, QueueBytes: k.QueueBytes,
		SnapshotBytes: k.SnapshotBytes, RetainBytes: k.RetainBytes, AcceptTornTail: (p.acceptTorn || k.Changes) && !p.rejoin, Rejoin: p.rejoin, // a suspect node of a changed membership is not healed
	}
}

// start starts a process. It may crash on the way, or refuse.
func (p *proc) start(bootstrap bool) {
	w := p.w
	p.life++
	p.due = [stages]bool{}
	p.suspicion.groups = 0
	p.pausedUntil, p.stalledUntil, p.slow = 0, 0, 0
	p.reps = p.newReplicas()
	p.disk.injected = false
	p.fs = &diskFS{Mem: p.disk.mem, d: p.disk}
	p.port = &port{p: p}
	if bootstrap {
		if err := p.disk.mem.MkdirAll(p.disk.snapDir()); err != nil {
			panic("BUG: sim: " + err.Error())
		}
	}
	p.disk.mem.SetHook(p.disk.hook)
	p.disk.mem.CrashAt(p.disk.armed)
	w.note(p.id, 0, "start", uint64(p.life), uint64(p.disk.armed), 0)
	d, err := engine.NewDriver(p.config(bootstrap), p.driverConfig())
	if err != nil {
		p.notStarted(err)
		return
	}
	p.d = d
	for i, r := range p.reps {
		r.d = d.Groups()[i]
	}
	if d.Verdict().Torn {
		w.counts["torn tails"]++
	}
	p.rejoin = false
	p.recovered()
	p.judged()
	for _, r := range p.reps {
		r.look()
	}
	life := p.life
	w.step(w.between(0, w.k.Tick), action{p: p, s: stageTick, life: life})
	if w.k.Fsync.Mode == wal.Interval {
		w.after(w.between(0, w.k.Fsync.Every), func() { p.flush(life) })
	}
	p.poke()
}

func (p *proc) driverConfig() engine.DriverConfig {
	w := p.w
	return engine.DriverConfig{
		Now:   func() int64 { return p.skew + int64(float64(w.now)*p.rate) },
		Clock: p.clock,
		Salt:  w.rng.Uint64,
		Core: func(c *paxos.Config) {
			c.HoleTicks, c.Alpha = w.k.HoleTicks, w.k.Alpha
			c.RetransmitTicks, c.StallTicks, c.PromiseBytes, c.ApplyLagMax = w.k.RetransmitTicks, w.k.StallTicks, w.k.PromiseBytes, w.k.ApplyLagMax
			c.SuspectTicks = w.k.Suspect
			if p.auxiliary() { // a main node that is lost for ever has it keep every vote: that it stops when it is full is for a test of the core
				c.LogBytesMax = 1 << 30
			}
			c.AheadBytesMax, c.PromiseTotalMax = w.k.AheadBytes, w.k.PromiseTotal
		},
		Limits: w.k.Limits,
		Event:  p.event,
		Chosen: func(g wire.GroupID, s wire.Slot, b wire.Ballot, v wire.Batch) { w.oracles[g-1].delivered(p, s, b, v) },
	}
}

// notStarted handles an error of NewDriver: a crash on the way, or an injected fault; anything else is a refusal to
// start on an intact disk.
func (p *proc) notStarted(err error) {
	p.fs.dead, p.port.dead = true, true
	var torn *wal.TornError
	switch {
	case errors.As(err, &torn) && p.w.k.Nodes == 1:
		// There is no peer to ask: an operator has to say that what was cut was never acknowledged. Here it never was.
		p.w.counts["torn tails accepted by an operator"]++
		p.acceptTorn = true
		p.disk.mem.Reboot()
	case errors.Is(err, vfs.ErrCrashed):
		p.w.counts["crashes while starting"]++
		p.lose()
	case p.disk.injected:
		p.disk.mem.Reboot()
	case p.rejoins(err):
	case p.acceptTorn && errors.Is(err, engine.ErrLogLost):
		// It was healed, and the mark is still there: its operator cannot know that, and is told to let the others do it.
		p.w.counts["operator's word for a lost log refused"]++
		p.acceptTorn, p.suspicion.lost = false, true
		p.disk.mem.Reboot()
	default:
		p.w.fail("S15", p.id, 0, "does not start: %v", err)
	}
	p.restartLater()
}

// restartLater has the node come back after a while.
func (p *proc) restartLater() { p.restartWithin(600 * time.Millisecond) }

func (p *proc) restartWithin(most time.Duration) {
	life := p.life
	p.w.after(p.w.between(time.Millisecond, most), func() {
		if p.life == life && p.d == nil && !p.stays && !p.lost {
			p.disk.armed = 0
			p.start(false)
		}
	})
}

// tick is the node's ticker: each group has one in a real node. A paused process finds one tick when it wakes up, however many
// have passed.
func (p *proc) tick(life int) {
	w := p.w
	if p.life != life || p.d == nil {
		return
	}
	if p.pausedUntil > w.now {
		w.step(min(time.Duration(p.pausedUntil-w.now), recheck), action{p: p, s: stageTick, life: life})
		return
	}
	w.note(p.id, 0, "tick", 0, 0, 0)
	for _, r := range p.reps {
		r.turn(true)
	}
	w.step(time.Duration(float64(w.k.Tick)/p.rate), action{p: p, s: stageTick, life: life})
	p.poke()
}

// flush is the background sync of the policy interval.
func (p *proc) flush(life int) {
	w := p.w
	if p.life != life || p.d == nil {
		return
	}
	if p.pausedUntil <= w.now && p.stalledUntil <= w.now {
		w.note(p.id, 0, "flush", 0, 0, 0)
		p.d.Flush()
	}
	w.after(w.k.Fsync.Every, func() { p.flush(life) })
	p.poke()
}

// poke looks at the node after anything happened to it: it may have failed or crashed; what its goroutines have to do is
// scheduled.
func (p *proc) poke() {
	d := p.d
	if d == nil {
		return
	}
	if p.disk.armed > 0 && p.disk.mem.Ops() >= p.disk.armed || errors.Is(d.Err(), vfs.ErrCrashed) {
		p.w.counts["crashes inside a file operation"]++
		p.w.note(p.id, 0, "crash in file op", uint64(p.disk.armed), 0, 0)
		p.kill()
		p.lose()
		p.restartLater()
		return
	}
	if err := d.Err(); err != nil {
		p.failed(err)
		return
	}
	k := &p.w.k
	if !p.due[stageWrite] && d.WriteDue() {
		p.arm(nil, stageWrite, k.Turn)
	}
	if !p.due[stageSync] && d.SyncDue() {
		p.arm(nil, stageSync, k.Sync)
	}
	for _, r := range p.reps {
		r.bounded()
		r.poke()
	}
}

// arm schedules a step of the node, or of one of its replicas.
func (p *proc) arm(r *replica, s stage, most time.Duration) {
	if r != nil {
		r.due[s] = true
	} else {
		p.due[s] = true
	}
	d := p.w.between(most/8, most) + p.slow
	if !p.w.net.calm && p.w.chance(50) {
		d *= 8
	}
	p.w.step(d, action{p: p, r: r, s: s, life: p.life})
}

// step does one step of one goroutine.
func (p *proc) step(a action) {
	w, s := p.w, a.s
	if s == stageTick {
		p.tick(a.life)
		return
	}
	if p.life != a.life || p.d == nil {
		return
	}
	if wait := max(p.pausedUntil, p.waitDisk(s)) - w.now; wait > 0 {
		w.step(min(time.Duration(wait), recheck), a)
		return
	}
	if a.r != nil {
		w.note(p.id, a.r.o.g, stageNames[s], uint64(a.r.applied), 0, 0)
		a.r.due[s] = false
		a.r.step(s)
	} else {
		w.note(p.id, 0, stageNames[s], 0, 0, 0)
		p.due[s] = false
		if s == stageWrite {
			p.d.Write()
		} else {
			p.d.Sync()
		}
	}
	p.poke()
}

// waitDisk is until when a stalled disk keeps a stage.
func (p *proc) waitDisk(s stage) int64 {
	if s == stageSync || s == stageJob || s == stageReceive {
		return p.stalledUntil
	}
	return 0
}

// event is told of the core's transitions.
func (p *proc) event(g wire.GroupID, e paxos.Event) {
	c := p.w.counts
	p.w.note(p.id, g, e.Kind.String(), uint64(e.Slot), uint64(e.Ballot), uint64(e.Holes)<<32|uint64(e.Reproposed))
	switch e.Kind {
	case paxos.EventLeading:
		c["leaders"]++
		if e.Holes > 0 {
			c["leaders with gaps"]++
		}
		c["votes proposed again"] += e.Reproposed
		p.w.alone(p, p.w.oracles[g-1], e.Ballot)
		p.w.besideAuxiliaries(g)
	case paxos.EventEngaged:
		c["auxiliaries engaged"]++
	case paxos.EventReleased:
		c["auxiliaries released"]++
	case paxos.EventForgot:
		c["votes forgotten by auxiliaries"]++
	case paxos.EventDiskStall:
		c["disk stalls noticed"]++
	case paxos.EventDuel:
		c["duels"]++
	case paxos.EventDisplaced:
		c["batches displaced"]++
	case paxos.EventCollision:
		c["collisions"]++
	case paxos.EventFinishing:
		if p.w.k.Mode == paxos.ModeFast {
			c["slots settled"]++ // with promises asked for
		} else {
			c["slots of others finished"]++
		}
	default:
		p.suspected(g, &e)
	}
}

// failed ends a process whose node has failed, as it ends a real one.
func (p *proc) failed(err error) {
	if !p.disk.injected {
		p.w.fail("BUG", p.id, 0, "the node failed without a fault: %v", err)
	}
	p.w.note(p.id, 0, "failed", 0, 0, 0)
	p.kill()
	if p.w.chance(2) {
		p.lose()
	} else {
		p.disk.mem.Reboot()
	}
	p.restartLater()
}

// kill ends the process at once: nothing it still does is seen by anybody, disk included.
func (p *proc) kill() {
	p.fs.dead, p.port.dead = true, true
	p.life++
	d := p.d
	p.d, p.handler = nil, nil
	_ = d.Close() // its disk is dead: errors are a matter of course
	p.missed()
}

// missed has the others hear that a process ended, each perhaps, and perhaps late.
func (p *proc) missed() {
	for _, q := range p.w.procs {
		if q != p && p.w.chance(2) {
			p.w.after(p.w.between(0, 20*time.Millisecond), func() { q.hears(p.id) })
		}
	}
}

// hears tells a process that a peer is gone, which need not be true.
func (p *proc) hears(gone wire.NodeID) {
	if p.d != nil {
		p.w.counts["peers seen gone"]++
		p.d.Gone(gone)
		p.poke()
	}
}

// crash ends the process; power: the machine as well.
func (p *proc) crash(power bool) {
	p.w.counts["crashes"]++
	p.w.note(p.id, 0, "crash", 0, 0, 0)
	if p.d != nil {
		p.kill()
	}
	if power {
		p.lose()
	} else {
		p.disk.mem.Reboot()
	}
}

// lose is a power loss: of what was not synced stays what the disk likes. Under the policies that promise nothing for this case the
// machine keeps its power, and only the process ends.
func (p *proc) lose() {
	p.disk.armed = 0
	if p.w.relaxed() {
		p.disk.mem.Reboot()
		return
	}
	losses := vfs.Losses()
	loss := losses[p.w.rng.IntN(len(losses))]
	p.w.note(p.id, 0, "power loss", uint64(loss), 0, 0)
	p.disk.mem.PowerLoss(loss, p.w.rng.Uint64())
	clear(p.disk.dirty)
	clear(p.disk.named)
}

// relaxed says that records may be acted upon before they are durable.
func (w *world) relaxed() bool { return w.k.Fsync.Mode != wal.Always }

// stop ends the process in order; replies are still delivered.
func (p *proc) stop() {
	p.w.note(p.id, 0, "stop", 0, 0, 0)
	p.w.counts["orderly stops"]++
	d := p.d
	err := d.Close()
	p.fs.dead, p.port.dead = true, true
	p.life++
	p.d, p.handler = nil, nil
	injected := p.disk.injected // a background sync may have failed that nobody has looked at yet
	p.disk.mem.Reboot()
	if err != nil && !injected {
		p.w.fail("S15", p.id, 0, "does not close: %v", err)
	}
}

// discard releases what a process holds, at the end of a schedule.
func (p *proc) discard() {
	if p.d == nil {
		return
	}
	p.fs.dead, p.port.dead = true, true
	d := p.d
	p.d = nil
	_ = d.Close() // its disk is dead: errors are a matter of course
}

// recovered holds the disk's synced image, read by the log's own reader from a copy that has lost everything else, against
// what the witness had seen being synced before.
func (p *proc) recovered() {
	d := p.disk
	image := d.mem.Clone()
	image.PowerLoss(vfs.LoseAll, 0)
	was := d.known
	d.known = p.w.newDurable()
	for i, o := range p.w.oracles {
		d.known[i].snap = o.snapshotIn(image, d)
	}
	_, err := wal.InspectFS(image, d.walDir(), func(e *wal.Entry) error {
		if r, ok := witness(e.Record.Frame.Bytes()); ok {
			p.w.oracles[r.group-1].remember(d, &r)
		}
		return nil
	})
	if err != nil {
		p.w.fail("S15", p.id, 0, "what is durable after the start would be refused: %v", err)
	}
	for i, o := range p.w.oracles {
		o.compare(p, &was[i])
	}
	p.suspicion.fresh = false
	if p.suspicion.groups == 0 {
		p.suspicion.rotted = false // what was damaged is not needed, or was written anew: nothing is missing
	}
}
