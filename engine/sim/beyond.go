package sim

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// Beyond what the protocol promises to survive (Options.Beyond): more disks lose acknowledged records than the others can heal.
// Then nobody may go on as if nothing had happened. What is chosen stays chosen, whatever else is lost: every property of the
// oracle that speaks of safety still holds, no-ops over chosen slots included. The nodes that have lost something are refused,
// with a message that names the file and the offset or the way out, or suspect; and while they are too many, nothing is
// chosen (FAULTS.md F24, F25, amnesia rule).

// ruin is a way to lose too much.
type ruin struct {
	name string
	all  bool // of all nodes; else of so many that the others are no quorum
	do   func(w *world, hit []*proc)
}

var ruinsBeyond = []ruin{
	{"the ends of all logs damaged", true, (*world).damageEnds},
	{"a quorum's logs damaged", false, func(w *world, hit []*proc) {
		for _, p := range hit {
			w.damageRecord(p, func(all []record) int { return w.rng.IntN(len(all)) })
		}
	}},
	{"a quorum's directories emptied", false, func(w *world, hit []*proc) {
		for _, p := range hit {
			p.empty(w.chance(2))
		}
	}},
	{"logs exchanged", false, (*world).exchange},
	{"the same slot damaged on all", true, (*world).damageSlot},
	{"other slots damaged on each", true, func(w *world, hit []*proc) {
		for i, p := range hit {
			w.damageRecord(p, func(all []record) int { return len(all) * (i + 1) / (len(hit) + 1) })
		}
	}},
}

// record is where a record stands, and of which slot it is.
type record struct {
	file   string
	offset int64
	length int
	kind   wire.Kind
	group  wire.GroupID
	slot   wire.Slot
}

// records lists a node's log.
func (w *world) records(p *proc) (all []record) {
	_, err := wal.InspectFS(p.disk.mem, p.disk.walDir(), func(e *wal.Entry) error {
		r := &e.Record
		all = append(all, record{filepath.Join(p.disk.walDir(), filepath.Base(e.File)), e.Offset, r.Frame.Len(), r.Kind, r.Group, r.Slot})
		return nil
	})
	if err != nil {
		w.fail("S15", p.id, 0, "before anything was damaged its log would be refused: %v", err)
	}
	return all
}

// damageRecord flips a bit in one record of a node that is down.
func (w *world) damageRecord(p *proc, which func(all []record) int) {
	if all := w.records(p); len(all) > 0 {
		w.flip(p, all[which(all)])
	}
}

func (w *world) flip(p *proc, r record) {
	at, bit := r.offset+w.rng.Int64N(int64(r.length)), w.rng.IntN(8)
	p.disk.mem.Corrupt(r.file, func(b []byte) []byte { b[at] ^= 1 << bit; return b })
}

func (w *world) damageEnds(hit []*proc) {
	for _, p := range hit {
		w.damageRecord(p, func(all []record) int { return len(all) - 1 })
	}
}

// damageSlot damages every record of one slot that is in every log, on every node (F25).
func (w *world) damageSlot(hit []*proc) {
	type place struct {
		group wire.GroupID
		slot  wire.Slot
	}
	logs, in := make([][]record, len(hit)), map[place]int{}
	var common []place
	for i, p := range hit {
		logs[i] = w.records(p)
		seen := map[place]bool{}
		for _, r := range logs[i] {
			at := place{r.group, r.slot}
			if r.slot == 0 || r.kind == wire.KindRecTrim || seen[at] {
				continue
			}
			seen[at] = true
			if in[at]++; in[at] == len(hit) {
				common = append(common, at)
			}
		}
	}
	if len(common) == 0 { // logs that share nothing: the last records are as good
		w.damageEnds(hit)
		return
	}
	at := common[w.rng.IntN(len(common))]
	for i, p := range hit {
		for _, r := range logs[i] {
			if (place{r.group, r.slot}) == at && r.kind != wire.KindRecTrim {
				w.flip(p, r)
			}
		}
	}
}

// exchange gives each node the log of the next.
func (w *world) exchange(hit []*proc) {
	logs := make([]map[string][]byte, len(hit))
	for i, p := range hit {
		logs[i] = map[string][]byte{}
		for _, name := range w.list(p, p.disk.walDir()) {
			content, err := vfs.ReadFile(p.disk.mem, filepath.Join(p.disk.walDir(), name))
			if err == nil { // a spare, or what was put aside, may have decayed: the node does without
				logs[i][name] = content
			}
		}
	}
	for i, p := range hit {
		p.empty(false)
		for name, content := range logs[(i+1)%len(hit)] {
			p.disk.mem.WriteFile(filepath.Join(p.disk.walDir(), name), content)
		}
	}
}

// beyond plays the end of such a schedule.
func (w *world) beyond() {
	w.calmDown()
	kind := ruinsBeyond[w.rng.IntN(len(ruinsBeyond))]
	hit := w.procs
	if !kind.all {
		order := w.rng.Perm(len(w.procs))
		hit = nil
		for _, i := range order[:w.k.Nodes-w.majority()+1+w.rng.IntN(w.majority())] {
			hit = append(hit, w.procs[i])
		}
	}
	w.counts["beyond: "+kind.name]++
	w.note(0, 0, kind.name, uint64(len(hit)), 0, 0)
	for _, p := range hit {
		p.crash(w.chance(2))
	}
	kind.do(w, hit)
	w.ruined = true
	for _, p := range hit {
		p.loses()
		p.rejoin, p.stays = false, false
		p.restartLater()
	}
	// What is under way arrives; who leads without a quorum resigns.
	w.runUntil(max(w.net.last, w.now+int64(2*time.Second+3*w.timeout())), nil)
	if w.healthy() >= w.majority() {
		w.counts["beyond: survived"]++ // what was damaged was not needed by enough of them
		return
	}
	before := w.prefixes()
	w.runUntil(w.now+int64(2*time.Second), nil)
	if after := w.prefixes(); after != before {
		w.fail("S15", 0, 0, "%d of %d nodes have all they promised and voted, and slots are chosen all the same: %s", w.healthy(), w.k.Nodes, w.roles())
	}
	w.counts["beyond: halted"]++
	for _, p := range hit {
		w.says(p)
	}
}

// prefixes is how many slots are chosen without a gap, in all groups.
func (w *world) prefixes() (n wire.Slot) {
	for _, o := range w.oracles {
		n += o.prefix
	}
	return n
}

// calmDown ends the faults, and brings everybody up and back to a vote.
func (w *world) calmDown() {
	w.nemesis.over = true
	w.net.calm = true
	w.net.heal()
	for _, p := range w.procs {
		p.disk.armed, p.disk.failSyncs, p.disk.fullFor, p.disk.failSnaps, p.deaf = 0, 0, 0, 0, 0
		p.disk.mem.CrashAt(0)
		p.pausedUntil, p.stalledUntil, p.slow = 0, 0, 0
		if p.suspicion.groups != 0 {
			p.accept()
		}
		p.acceptTorn = p.acceptTorn || !p.suspicion.rotted && !p.suspicion.lost
		if p.suspicion.rotted && p.suspicion.groups == 0 && p.d != nil {
			p.crash(false) // its disk has decayed: it finds out now
			p.restartLater()
		} else if p.d == nil {
			p.start(false)
		}
		p.poke()
	}
	w.runUntil(max(w.net.last, w.now+int64(100*time.Millisecond)), nil)
	w.runUntil(w.now+int64(time.Minute), func() bool {
		return !slices.ContainsFunc(w.procs, func(p *proc) bool { return p.suspicion.rotted }) && w.allUp()
	})
	w.healed()
	w.runUntil(w.now+int64(w.between(0, time.Second)), nil)
}

func (w *world) majority() int { return w.k.Nodes/2 + 1 }

// healthy is how many nodes are up and may vote.
func (w *world) healthy() (n int) {
	for _, p := range w.procs {
		if p.d != nil && p.suspicion.groups == 0 && !p.suspicion.rotted {
			n++
		}
	}
	return n
}

// says demands that a node which has lost something says so: by not starting (refusedBeyond has read why), or by its status.
func (w *world) says(p *proc) {
	switch {
	case !p.suspicion.rotted:
	case p.d == nil && p.stays:
		w.counts["beyond: nodes refused"]++
	case p.d == nil:
		w.fail("S15", p.id, 0, "neither up nor refused")
	default:
		for _, r := range p.reps {
			if why := r.d.Status().Suspect; why == "" {
				w.fail("S15", p.id, 0, "has lost what it had promised, and group %d does not say that it is suspect", r.o.g)
			}
		}
		w.counts["beyond: nodes suspect"]++
	}
}

// refusedBeyond reads the message of a refusal. Some operators have the node rejoin, which must not help: there is no majority to give
// the vote back.
func (p *proc) refusedBeyond(err error) {
	if p.d == nil && !refusal(err) {
		p.w.fail("S15", p.id, 0, "does not start, for a reason of no known type: %v", err)
	}
	var corrupt *wal.CorruptError
	var identity *wal.IdentityError
	text := err.Error()
	foreign := errors.As(err, &identity) && strings.Contains(text, "not of node")
	switch {
	case errors.As(err, &corrupt) && !(strings.Contains(text, corrupt.File) && strings.Contains(text, "offset")):
		p.w.fail("S15", p.id, 0, "refused, and file and offset are not named: %v", err)
	case !foreign && !strings.Contains(text, "--rejoin"):
		p.w.fail("S15", p.id, 0, "refused, and the way out is not named: %v", err)
	}
	p.w.counts["beyond: refusals"]++
	p.disk.mem.Reboot()
	p.rejoin = !foreign && p.w.chance(2)
	p.stays = !p.rejoin
}
