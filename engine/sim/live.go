package sim

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// The end of a schedule: faults stop, a random quorum stays, and from then on things must get done within bounds.

// settle ends the faults, but for nodes that stay down or whose disk stays stalled for ever: a minority.
func (w *world) settle() {
	w.nemesis.over = true
	w.net.calm = true
	w.net.heal()
	lost := max(0, min(w.rng.IntN(w.k.spare()+1), w.k.spare()-w.rotted()))
	if w.k.Changes {
		lost = 0 // a change under way may need everybody
	}
	order := w.rng.Perm(len(w.procs))
	for i, at := range order { // often it is the leader that is lost
		if p := w.procs[at]; p.leads() && w.chance(2) {
			order[0], order[i] = order[i], order[0]
		}
	}
	for i, at := range order {
		p := w.procs[at]
		p.disk.armed, p.disk.failSyncs, p.disk.fullFor, p.disk.failSnaps, p.deaf = 0, 0, 0, 0, 0
		p.disk.mem.CrashAt(0)
		p.lost = i < lost
		switch {
		case i < lost && w.chance(2) && p.d != nil:
			p.stalledUntil = int64(1 << 62) // alive, but its disk finishes nothing any more
			p.pausedUntil, p.slow = 0, 0
			w.counts["disks stalled for ever"]++
		case i < lost:
			p.life++ // nobody restarts it
			if p.d != nil {
				p.crash(false)
			}
			w.counts["nodes lost for ever"]++
		default:
			p.pausedUntil, p.stalledUntil, p.slow = 0, 0, 0
			if p.suspicion.groups != 0 {
				p.accept()
			}
			p.acceptTorn = p.acceptTorn || !p.suspicion.rotted && !p.suspicion.lost // an operator does not go away before all is well
			if p.d == nil {
				p.start(false)
			}
		}
		p.poke()
	}
	partial := lost == 0 && !w.k.Changes && len(w.k.Auxiliary) == 0 && // an auxiliary in the middle leaves the main nodes apart
		w.k.Quorums == (paxos.Quorums{}) && w.rotted() == 0 && w.k.Nodes > 2 && w.chance(3) // damaged logs are healed by a majority of the others
	if partial {
		w.net.partial()
	}
	w.fresh = w.chance(2) // nodes have to be healed also while clients are busy; but that is where most events are
	// What is still under way belongs to the time of the faults.
	w.runUntil(max(w.net.last, w.now+int64(100*time.Millisecond)), nil)
	w.runUntil(w.now+int64(time.Second), w.allUp)
	w.healed()
	w.quiet, w.fresh = true, true
	if partial {
		w.progress("L2", 12)
		w.net.heal()
	}
	w.progress("L1", 4)
	w.changesEnd()
	w.changesWork()
	w.abdicates()
	w.replies()
	w.equal()
	w.ends()
}

// allUp says that every node runs that has not gone for good: one may have failed just now, of a fault from before the end.
func (w *world) allUp() bool {
	for _, p := range w.procs {
		if p.d == nil && !p.lost {
			return false
		}
	}
	return true
}

// partial leaves only some links up, so that at least one node is connected to a quorum: a star with one node in the middle (the
// others have lost the quorum; if one of them led, it is constrained), perhaps with more links, or a chain (FAULTS.md F4).
func (n *network) partial() {
	size := n.w.k.Nodes
	order, kind := n.w.rng.Perm(size), n.w.rng.IntN(3)
	n.w.counts["partial connectivity at the end"]++
	for i := range size {
		for j := range i {
			up := j == 0
			switch kind {
			case 1:
				up = i-j == 1
			case 2:
				up = j == 0 || n.w.chance(3)
			}
			a, b := order[i], order[j]
			n.cut[a][b], n.cut[b][a] = !up, !up
		}
	}
}

// timeout is the longest silence before an election, by the slowest clock.
func (w *world) timeout() time.Duration {
	return time.Duration(float64(2*w.k.ElectionTicks) * float64(w.k.Tick) / 0.95)
}

// progress demands that within so many election timeouts there is a leader and something was done that was begun after the faults:
// L1; L2 if not everybody is connected: then a leader that has no quorum, and nodes that are behind, have to get out of the way first.
func (w *world) progress(property string, timeouts int) {
	begun := w.now
	for _, o := range w.oracles {
		o.begun = o.prefix
	}
	done := func() bool {
		for _, o := range w.oracles {
			if o.prefix == o.begun {
				return false
			}
		}
		return true
	}
	limit := time.Duration(timeouts)*w.timeout() + 40*(w.k.Delay+w.k.Sync+w.k.Turn+w.k.Apply)
	if w.k.Mode == paxos.ModeBasic { // back-offs, of a few proposers one after the other, and slots left open
		limit += time.Duration(400+8*w.k.HoleTicks) * w.k.Tick
	}
	if w.k.Mode == paxos.ModeFast { // slots left open, one after the other
		limit += time.Duration(8*(w.k.HoleTicks+w.k.RetransmitTicks)) * w.k.Tick
	}
	if !w.runUntil(w.now+int64(limit), done) {
		for _, o := range w.oracles {
			if o.prefix == o.begun {
				w.fail(property, 0, o.prefix, "group %d: nothing was chosen for %v after the faults had stopped: %s", o.g, time.Duration(w.now-begun), w.roles())
			}
		}
	}
}

// abdicates demands that a leader whose disk finishes nothing any more is replaced, however lively it is (L4).
func (w *world) abdicates() {
	for _, p := range w.procs {
		if p.d == nil || w.sound(p) {
			continue
		}
		limit := 2*w.timeout() + time.Duration(float64(w.k.StallTicks)*float64(w.k.Tick)/0.95) + 2*w.k.Think
		if !w.runUntil(w.now+int64(limit), func() bool { return !p.leads() }) {
			w.fail("L4", p.id, 0, "still leads %v after its disk stalled", limit)
		}
	}
}

func (w *world) roles() (s string) {
	for _, p := range w.procs {
		if p.d == nil {
			s += "down "
			continue
		}
		for _, r := range p.reps {
			st := r.d.Status()
			s += st.Role.String() + "@" + st.Ballot.String() + " "
		}
	}
	return s
}

// replies demands that every request ends (L6).
func (w *world) replies() {
	w.fresh = false
	ended := func() bool {
		for _, c := range w.clients {
			if len(c.ops) > 0 {
				return false
			}
		}
		return true
	}
	if !w.runUntil(w.now+int64(time.Minute), ended) {
		for _, c := range w.clients {
			for _, op := range c.ops {
				w.fail("L6", c.guess, c.o.prefix, "client %d has no reply to block %d of session %d after %v and %d attempts: %s", c.id, op.first, op.session,
					time.Duration(w.now-op.since), op.attempt, w.roles())
			}
		}
	}
}

// equal demands that every node with a working disk gets to the same slot (L5, L7): also one that is down for a moment, because
// a fault from before the end became known only after it.
func (w *world) equal() {
	same := func() bool {
		for _, p := range w.procs {
			if sound := w.sound(p); !sound && !p.lost || sound && w.member(p) && p.behind() != nil {
				return false
			}
		}
		return w.released() == nil
	}
	if !w.runUntil(w.now+int64(time.Minute), same) {
		for _, p := range w.procs {
			if !w.sound(p) {
				if !p.lost {
					w.fail("L5", p.id, 0, "does not come back: %s", w.roles())
				}
				continue
			}
			if r := p.behind(); r != nil && w.member(p) {
				w.fail("L5", p.id, r.applied, "group %d is still at slot %d, chosen is %d: %s %+v", r.o.g, r.applied, r.o.prefix, w.roles(), r.d.Status())
			}
		}
		if r := w.released(); r != nil {
			w.fail("L9", r.p.id, r.o.prefix, "group %d: all nodes are there, and auxiliaries still hold votes, or are asked for some: %s %+v", r.o.g, w.roles(), r.d.Status())
		}
	}
}

// released is an auxiliary's replica that still holds votes, or the leader's that asks for them, although every node runs; nil: there is
// none (L9).
func (w *world) released() *replica {
	if len(w.k.Auxiliary) == 0 || !w.listens() {
		return nil
	}
	for _, p := range w.procs {
		for _, r := range p.reps {
			if st := r.d.Status(); st.Engaged || st.Auxiliary && st.LogBytes > 0 {
				return r
			}
		}
	}
	return nil
}

// ends demands that nothing goes on for ever (L7): snapshots being sent come to an end, and nodes that have everything ask for
// nothing. Logs are trimmed meanwhile behind what was installed last.
func (w *world) ends() {
	sent := func() bool {
		for _, p := range w.procs {
			if w.sound(p) {
				for _, r := range p.reps {
					if r.d.Transfers() > 0 && w.listens() {
						return false
					}
				}
			}
		}
		return true
	}
	if !w.runUntil(w.now+int64(10*time.Second), sent) {
		w.fail("L7", 0, 0, "a snapshot is still being sent to a node that has caught up")
	}
	// A fetch that does not end is repeated after RetransmitTicks. One that does may still be under way: to a node that was removed, or
	// for a slot that was opened by a request repeated before its client had the reply.
	while := 3*time.Duration(float64(w.k.RetransmitTicks)*float64(w.k.Tick)/0.95) + 6*(w.k.Delay+w.k.Turn+w.k.Sync)
	for until := w.now + max(int64(10*time.Second), 10*int64(while)); ; {
		taught := w.taught
		w.runUntil(w.now+int64(while), nil)
		if w.taught == taught {
			return
		}
		if w.now > until {
			w.fail("L7", 0, 0, "everybody has caught up, and %d slots were taught in the last %v", w.taught-taught, while)
		}
	}
}

// listens says that nobody is down or stalled: to such a node a snapshot may be sent in vain for a while.
func (w *world) listens() bool {
	for _, p := range w.procs {
		if !w.sound(p) {
			return false
		}
	}
	return true
}

// leads says whether the node leads any group.
func (p *proc) leads() bool {
	if p.d != nil {
		for _, r := range p.reps {
			if role := r.d.Status().Role; role == paxos.Leader || role == paxos.Proposer {
				return true
			}
		}
	}
	return false
}

// behind is a replica that has not applied everything chosen; nil: there is none.
func (p *proc) behind() *replica {
	for _, r := range p.reps {
		if p.auxiliary() { // it does not learn
			if r.d.Status().Suspect != "" {
				return r
			}
			continue
		}
		if r.applied < r.o.prefix {
			return r
		}
		if st := r.d.Status(); p.w.k.Mode != paxos.ModeMulti && (st.Last > st.Chosen || st.InFlight > 0) {
			return r // a slot is open, and somebody has to finish it
		}
	}
	return nil
}

func (w *world) sound(p *proc) bool { return p.d != nil && p.stalledUntil <= w.now }

// judge compares what is left with the reference (S11), and looks at what has been used up (S17).
func (w *world) judge() {
	w.linearizable()
	for _, o := range w.oracles {
		o.holders()
		w.counts["slots"] += int(o.prefix)
	}
	for _, p := range w.procs {
		if !w.sound(p) || !w.member(p) {
			continue
		}
		for _, r := range p.reps {
			if p.auxiliary() {
				w.stateless(r)
			} else {
				w.compareState(r)
			}
		}
		w.files(p)
	}
}

// compareState reads all of a replica's state and holds it against the reference.
func (w *world) compareState(r *replica) {
	rows, id, m := 0, r.p.id, &r.o.model
	r.d.Ask(kv.AppendQueryScan(nil, 0, 0, true), wire.QueryStale, func(a *wire.Answer) {
		page, err := kv.DecodeScanPage(a.Body)
		for err == nil {
			row, ok := page.Next()
			if !ok {
				err = page.Err()
				break
			}
			rows++
			v := m.at(string(row.Key), a.Slot)
			if row.Present != v.present || row.Version != v.version || row.Slot != v.slot || string(row.Value) != v.value {
				w.fail("S11", id, a.Slot, "key %s is %+v, expected %+v", row.Key, row, v)
			}
		}
		if err != nil || a.Status != wire.StatusOK || page.NextRow != 0 {
			w.fail("S11", id, a.Slot, "scan: %v %v", a.Status, err)
		}
		if a.Slot < r.o.acked {
			w.fail("S11", id, a.Slot, "slot %d was acknowledged", r.o.acked)
		}
	})
	for r.d.ApplyDue() {
		r.d.Apply()
	}
	if rows != len(m.keys) {
		w.fail("S11", id, 0, "%d keys, expected %d", rows, len(m.keys))
	}
}

// files demands that no file is left that nobody needs (S17): the oldest segment holds a slot above its group's trim mark, unless it was
// still being filled when the last mark was made; of spare segments there are wal.SparesDefault; of each group's snapshots
// three, and one copy under way.
func (w *world) files(p *proc) {
	d, oldest, needed := p.disk, "", false
	segments, marked := 0, 0 // so far; when the last mark was made
	marks := make([]wire.Slot, w.k.Groups)
	last := ""
	_, err := wal.InspectFS(d.mem, d.walDir(), func(e *wal.Entry) error {
		if e.File != last {
			segments, last = segments+1, e.File
		}
		if oldest == "" {
			oldest = e.File
		}
		r, ok := witness(e.Record.Frame.Bytes())
		switch {
		case ok && r.kind == wire.KindRecTrim && r.slot > marks[r.group-1]:
			marks[r.group-1], marked = r.slot, segments
		case ok && e.File == oldest && (r.kind != wire.KindRecPromise || r.single) && r.kind != wire.KindRecTrim && r.slot > d.known[r.group-1].trim:
			needed = true
		}
		return nil
	})
	if err != nil && (p.suspicion.fresh || p.disk.mem.Bad()) {
		return // it will be, and its operator knows what to do then
	}
	if err != nil {
		w.fail("S15", p.id, 0, "its log would be refused: %v", err)
	}
	if marked > 2 && !needed {
		w.fail("S17", p.id, 0, "%s is still there, and nothing in it is needed", oldest)
	}
	spares, snaps, copies := 0, 0, 0
	for _, name := range append(w.list(p, d.walDir()), w.list(p, d.snapDir())...) {
		_, _, snap := snapshot.ParseName(name)
		switch {
		case strings.HasPrefix(name, "spare-"):
			spares++
		case snap:
			snaps++
		case filepath.Ext(name) == ".part" || filepath.Ext(name) == ".tmp":
			copies++
		}
	}
	if g := w.k.Groups; spares > wal.SparesDefault || snaps > 3*g || copies > 2*g {
		w.fail("S17", p.id, 0, "%d spare segments, %d snapshots, %d copies under way", spares, snaps, copies)
	}
}

func (w *world) list(p *proc, dir string) []string {
	names, err := p.disk.mem.List(dir)
	if err != nil {
		w.fail("S17", p.id, 0, "%v", err)
	}
	return names
}
