package sim

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// nemesis breaks things at random times. Every fault is one that the protocol promises to survive: disks lose what was not
// synced, never what was, and nobody votes without his log.
type nemesis struct {
	w      *world
	faults []fault
	total  int
	over   bool
}

// fault is a kind of fault with its weight in this schedule.
type fault struct {
	name   string
	weight int
	do     func(n *nemesis, p *proc)
}

// faults is every kind. To add one, add a line.
var faults = []fault{
	{"crash", 3, func(n *nemesis, p *proc) { p.crash(false); p.restartLater() }},
	{"power loss", 3, func(n *nemesis, p *proc) { p.crash(true); p.restartLater() }},
	{"crash in a file operation", 4, (*nemesis).arm},
	{"power loss of all", 1, (*nemesis).blackout},
	{"orderly stop", 1, func(n *nemesis, p *proc) { p.orderly() }},
	{"partition", 4, (*nemesis).partition},
	{"heal", 4, func(n *nemesis, _ *proc) { n.w.net.heal() }},
	{"clogged link", 1, func(n *nemesis, p *proc) { n.w.net.slow[p.id-1] = n.w.between(0, 300*time.Millisecond) }},
	{"pause", 3, (*nemesis).pause},
	{"leader asleep", 3, (*nemesis).asleep},
	{"failed sync", 2, func(n *nemesis, p *proc) { p.disk.failSyncs++ }},
	{"snapshots fail", 2, func(n *nemesis, p *proc) { p.disk.failSnaps += 1 + n.w.rng.IntN(5) }},
	{"clock jumps", 1, func(n *nemesis, p *proc) { p.skew += int64(n.w.between(0, 30*time.Second)) }},
	{"leader's clients cut off", 1, (*nemesis).unheard},
	{"full disk", 1, func(n *nemesis, p *proc) { p.disk.fullFor += 1 + n.w.rng.IntN(30) }},
	{"disk stall", 2, (*nemesis).stall},
	{"slow machine", 1, func(n *nemesis, p *proc) { p.slow = n.w.between(0, 10*time.Millisecond) }},
	{"false report of a death", 1, func(n *nemesis, p *proc) { p.hears(n.w.procs[n.w.rng.IntN(len(n.w.procs))].id) }},
	{"late replay", 6, func(n *nemesis, _ *proc) { n.w.net.replay() }},
	{"senseless frame", 3, (*nemesis).senseless},
	{"emptied directory", 1, (*nemesis).emptied},
	{"damaged log", 1, (*nemesis).damaged},
	{"damaged snapshot", 1, (*nemesis).rotten},
	{"damaged end of the log", 3, (*nemesis).rot},
	{"directory gone", 1, (*nemesis).gone},
	{"decayed sector", 3, (*nemesis).decay},
}

func (n *nemesis) init(w *world) {
	n.w = w
	for _, f := range faults {
		f.weight *= pick(w.rng, 0, 1, 1, 4)
		n.total += f.weight
		n.faults = append(n.faults, f)
	}
	if w.k.Changes {
		f := fault{"change of members", 8, (*nemesis).change}
		n.total += f.weight
		n.faults = append(n.faults, f)
	}
	if w.k.Lease > 0 {
		f := fault{"forgetful followers", pick(w.rng, 0, 2, 6), (*nemesis).forgetful}
		n.total += f.weight
		n.faults = append(n.faults, f)
	}
	n.later()
}

// forgetful has the leader stand still and restarts all others at once: what they granted it they have forgotten, and it counts on it. (One that
// is only cut off resigns before they elect another.) Only where there are leases.
func (n *nemesis) forgetful(*proc) {
	for _, p := range n.w.procs {
		if !p.leads() {
			continue
		}
		n.w.net.heal()
		p.pausedUntil = n.w.now + int64(n.w.between(0, 4*time.Duration(n.w.k.ElectionTicks)*n.w.k.Tick))
		for _, q := range n.w.procs {
			if q == p || q.d == nil {
				continue
			}
			q.crash(false)
			q.restartWithin(10 * time.Millisecond)
		}
		return
	}
}

func (n *nemesis) later() { n.w.after(n.w.between(0, 2*n.w.k.Every), n.act) }

func (n *nemesis) act() {
	if n.over || n.total == 0 {
		return
	}
	p := n.w.procs[n.w.rng.IntN(len(n.w.procs))]
	roll := n.w.rng.IntN(n.total)
	for i := range n.faults {
		if f := &n.faults[i]; roll < f.weight {
			if p.d != nil {
				n.w.note(p.id, 0, f.name, 0, 0, 0)
				n.w.counts["fault: "+f.name]++
				f.do(n, p)
				p.poke()
			}
			break
		}
		roll -= n.faults[i].weight
	}
	n.later()
}

// arm has the process crash in one of its next file operations; after an orderly restart it may be one of the recovery's.
func (n *nemesis) arm(p *proc) {
	if n.w.chance(3) {
		p.crash(n.w.chance(2))
		life := p.life
		n.w.after(n.w.between(time.Millisecond, 200*time.Millisecond), func() {
			if p.life == life && p.d == nil {
				p.disk.armed = 1 + n.w.rng.IntN(20)
				p.start(false)
			}
		})
		return
	}
	p.disk.armed = 1 + n.w.rng.IntN(30)
	p.disk.mem.CrashAt(p.disk.armed)
}

func (n *nemesis) blackout(*proc) {
	n.w.counts["power losses of all"]++
	for _, p := range n.w.procs {
		if p.d != nil {
			p.crash(true)
		} else {
			p.lose()
		}
		p.restartLater()
	}
}

// orderly stops the process as an operator does and starts it again.
func (p *proc) orderly() {
	if p.d.Err() != nil {
		return
	}
	if p.disk.armed > 0 || p.disk.failSyncs > 0 {
		return // it would not be orderly
	}
	p.stop()
	p.restartLater()
}

// partition cuts directions of links: one node off in both directions or in one, a split, single directions, a chain, or a
// bridge node that alone sees everybody.
func (n *nemesis) partition(p *proc) {
	cut, size := n.w.net.cut, len(n.w.procs)
	n.w.counts["partitions"]++
	n.w.net.heal()
	me := int(p.id) - 1
	kind := n.w.rng.IntN(7)
	side := n.w.rng.IntN(1 << size)
	for i := range size {
		for j := range size {
			switch kind {
			case 0:
				cut[i][j] = i == me || j == me
			case 1:
				cut[i][j] = i == me // it hears and is not heard
			case 2:
				cut[i][j] = j == me // it is heard and hears nothing
			case 3:
				cut[i][j] = side>>i&1 != side>>j&1
			case 4:
				cut[i][j] = n.w.chance(3)
			case 5:
				cut[i][j] = i-j > 1 || j-i > 1
			case 6:
				cut[i][j] = i != me && j != me
			}
		}
	}
}

func (n *nemesis) pause(p *proc) {
	n.w.counts["pauses"]++
	p.pausedUntil = n.w.now + int64(n.w.between(10*time.Millisecond, pick(n.w.rng, 100*time.Millisecond, 2*time.Second)))
}

// asleep pauses the leader for longer than an election takes and keeps it cut off when it wakes up: it thinks that it still
// leads, and clients ask it.
func (n *nemesis) asleep(*proc) {
	for i, p := range n.w.procs {
		if !p.leads() {
			continue
		}
		timeout := time.Duration(2*n.w.k.ElectionTicks) * n.w.k.Tick
		p.pausedUntil = n.w.now + int64(n.w.between(timeout, 3*timeout))
		n.w.net.heal()
		for j := range n.w.net.cut {
			n.w.net.cut[j][i] = true
			n.w.net.cut[i][j] = n.w.chance(2)
		}
	}
}

// unheard cuts the leader off from its clients, not from its peers: it goes on leading, and requests have to find another way.
func (n *nemesis) unheard(*proc) {
	for _, p := range n.w.procs {
		if p.leads() {
			p.deaf = n.w.now + int64(n.w.between(10*time.Millisecond, time.Second))
		}
	}
}

func (n *nemesis) stall(p *proc) {
	n.w.counts["disk stalls"]++
	p.stalledUntil = n.w.now + int64(n.w.between(50*time.Millisecond, pick(n.w.rng, 500*time.Millisecond, 3*time.Second)))
}

// senseless gives the node a frame with a good CRC and a content that nobody can mean: a ballot that would use up the
// counter, a slot beyond reach, a ballot of somebody else. It must change nothing (S18, FAULTS.md F40).
func (n *nemesis) senseless(p *proc) {
	if p.pausedUntil > n.w.now || n.w.k.Nodes == 1 {
		return
	}
	n.w.counts["senseless frames"]++
	r := p.reps[n.w.rng.IntN(len(p.reps))]
	r.d.Turn(false)
	if p.d.Err() != nil {
		return
	}
	before := r.d.Status()
	from := wire.NodeID(int(p.id)%n.w.k.Nodes + 1)
	far := wire.NewBallot(1<<31, from)
	m := []wire.Message{
		{Kind: wire.KindPrepare, Ballot: far, Slot: 1},
		{Kind: wire.KindHeartbeat, Ballot: far},
		{Kind: wire.KindPrepare, Ballot: wire.NewBallot(before.Promised.Counter()+1, p.id), Slot: 1},
		{Kind: wire.KindPrepare, Ballot: wire.NewBallot(before.Promised.Counter()+1, 60), Slot: 1},
		{Kind: wire.KindLearn, Ballot: wire.NewBallot(1, from), Slot: before.Chosen + wire.SlotsAheadMax + 1, Value: noop},
		{Kind: wire.KindAccept, Ballot: far, Slot: 1, Value: noop},
		{Kind: wire.KindReject, Ballot: before.Ballot | 1<<32 | wire.Ballot(p.id), Promised: far},
	}[n.w.rng.IntN(7)]
	m.Group, m.From = r.o.g, from
	p.handler(from, m.Encode(clusterID))
	r.d.Turn(false)
	after := r.d.Status()
	before.Basic, after.Basic = paxos.BasicStats{}, paxos.BasicStats{}
	before.Fast, after.Fast = paxos.FastStats{}, paxos.FastStats{}
	before.Ignored, after.Ignored, before.Stale, after.Stale = 0, 0, 0, 0
	before.AheadBytes, after.AheadBytes, before.Reads, after.Reads = 0, 0, 0, 0
	before.InFlight, after.InFlight, before.Last, after.Last, before.LogBytes, after.LogBytes = 0, 0, 0, 0, 0, 0 // clients may have come in
	before.Chosen, before.Applied, before.Trimmed = after.Chosen, after.Applied, after.Trimmed
	if p.d.Err() == nil && before != after {
		n.w.fail("S18", p.id, m.Slot, "a senseless %v changed the state: %+v, then %+v", m.Kind, before, after)
	}
}

var noop = func() wire.Batch {
	f := wire.NewNoopAccept()
	defer f.Release()
	b, err := wire.ParseBatch(append([]byte(nil), f.Bytes()[wire.AcceptHeadroom:]...))
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	return b
}()

// emptied lets somebody start the node on an empty directory, which must be refused (FAULTS.md F32); then its own comes
// back.
func (n *nemesis) emptied(p *proc) {
	p.crash(false)
	empty := vfs.NewMem()
	if err := empty.MkdirAll(p.disk.snapDir()); err != nil {
		panic("BUG: sim: " + err.Error())
	}
	n.refused(p, empty, "an emptied directory", func(err error) bool { return errors.Is(err, wal.ErrNotBootstrapped) })
	n.w.counts["emptied directories refused"]++
	p.restartLater()
}

// damaged damages the log in front of an intact group, in one of the ways of a disk: a flipped bit, a sector that is all zeros, one
// that holds what belongs elsewhere, one that was never written again. What was there was durable, so this is no torn tail, and the node must
// refuse to start (FAULTS.md F17, F18, F19). Then the disk is as it was: the atlas allows no node to be lost for good.
func (n *nemesis) damaged(p *proc) {
	p.crash(false)
	image := p.disk.mem.Clone()
	type place struct {
		file     string
		from, to int64
	}
	var places []place // records with a group behind them in the same file
	var last place
	_, err := wal.InspectFS(image, p.disk.walDir(), func(e *wal.Entry) error {
		if last.file == e.File && e.Offset > last.to {
			places = append(places, last)
		}
		last = place{e.File, e.Offset, e.Offset + int64(e.Record.Frame.Len())}
		return nil
	})
	if err == nil && len(places) > 0 {
		at := places[n.w.rng.IntN(len(places))]
		image.Corrupt(filepath.Join(p.disk.walDir(), filepath.Base(at.file)), func(b []byte) []byte {
			n.damage(b, at.from, at.to)
			return b
		})
		n.elsewhere(p, image, func(d *engine.Driver, err error) {
			var damage *wal.CorruptError
			switch {
			case errors.As(err, &damage):
				n.w.counts["damaged logs refused"]++
			case err == nil && n.w.relaxed() && d.Verdict().Torn: // what was not synced may end anywhere: the log says that it was cut
				n.w.counts["damaged logs cut"]++
			default:
				n.w.fail("S15", p.id, 0, "starts on a damaged log: %v", err)
			}
		})
	}
	p.restartLater()
}

// damage changes bytes from..to of a file: one bit, or the part of one sector that lies within.
func (n *nemesis) damage(b []byte, from, to int64) {
	bit := from + n.w.rng.Int64N(to-from)
	first := max(from, bit/vfs.SectorSize*vfs.SectorSize)
	sector := b[first:min(to, first/vfs.SectorSize*vfs.SectorSize+vfs.SectorSize)]
	was := string(sector)
	switch n.w.rng.IntN(4) {
	case 0:
		clear(sector)
	case 1:
		copy(sector, b[n.w.rng.Int64N(from+1):])
	case 2:
		for i := range sector {
			sector[i] = byte(n.w.rng.Uint32())
		}
	}
	if string(sector) == was {
		b[bit] ^= 1 << n.w.rng.IntN(8)
	}
}

// rotten flips a bit in the newest snapshot. The node must pass it over: start from an older one and the log, or say that slots
// are missing (FAULTS.md F17, F27).
func (n *nemesis) rotten(p *proc) {
	p.crash(false)
	image := p.disk.mem.Clone()
	names, err := image.List(p.disk.snapDir())
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	newest := ""
	for _, name := range names { // sorted, and so by slot
		if _, _, ok := snapshot.ParseName(name); ok {
			newest = name
		}
	}
	if newest != "" {
		image.Corrupt(filepath.Join(p.disk.snapDir(), newest), func(b []byte) []byte {
			if len(b) > 0 { // a power loss may have left the name only
				b[n.w.rng.IntN(len(b))] ^= 1 << n.w.rng.IntN(8)
			}
			return b
		})
		n.elsewhere(p, image, func(d *engine.Driver, err error) {
			var missing *engine.MissingError
			switch {
			case err == nil:
				n.w.counts["damaged snapshots passed over"]++
				n.recovers(p, d)
			case errors.As(err, &missing):
				n.w.counts["damaged snapshots refused"]++
			case p.ails() && refusal(err): // for what its disk has lost as well
				n.w.counts["damaged snapshots beside decayed logs refused"]++
			default:
				n.w.fail("S15", p.id, 0, "with its newest snapshot damaged: %v", err)
			}
		})
	}
	p.restartLater()
}

// recovers has a node on a copy of its disk apply what it recovered.
func (n *nemesis) recovers(p *proc, d *engine.Driver) {
	for i, g := range d.Groups() {
		for at := wire.Slot(0); ; g.Apply() {
			if digest := g.Digest(); digest.Applied != at {
				n.w.oracles[i].applied(p, at, digest)
				at = digest.Applied
			}
			if !g.ApplyDue() {
				break
			}
		}
	}
}

// refused starts the node on another disk, which must fail with an error that is as expected.
func (n *nemesis) refused(p *proc, image *vfs.Mem, what string, expected func(error) bool) {
	n.elsewhere(p, image, func(_ *engine.Driver, err error) {
		if err == nil || !expected(err) {
			n.w.fail("S15", p.id, 0, "starts on %s: %v", what, err)
		}
	})
}

// elsewhere starts the node on another disk for a moment; nothing it says is heard.
func (n *nemesis) elsewhere(p *proc, image *vfs.Mem, fn func(d *engine.Driver, err error)) {
	own, known := p.disk.mem, p.disk.known
	p.disk.mem, p.disk.known = image, n.w.newDurable()
	p.fs = &diskFS{Mem: image, d: p.disk}
	p.port = &port{p: p, dead: true}
	p.reps = p.newReplicas()
	d, err := engine.NewDriver(p.config(false), p.driverConfig())
	fn(d, err)
	p.fs.dead = true
	if d != nil {
		_ = d.Close() // its disk is dead: errors are a matter of course
	}
	p.disk.mem, p.disk.known = own, known
}
