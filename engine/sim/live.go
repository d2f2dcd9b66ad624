package sim

import (
	"path/filepath"
	"time"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// The end of a schedule: faults stop, a random quorum stays, and from then on things must get done within bounds.

// settle ends the faults, but for nodes that stay down or whose disk stays stalled for ever: a minority.
func (w *world) settle() {
	w.nemesis.over = true
	w.net.calm = true
	w.net.heal()
	lost := w.rng.IntN((w.k.Nodes-1)/2 + 1)
	order := w.rng.Perm(w.k.Nodes)
	for i, at := range order { // often it is the leader that is lost
		if p := w.procs[at]; p.leads() && w.chance(2) {
			order[0], order[i] = order[i], order[0]
		}
	}
	for i, at := range order {
		p := w.procs[at]
		p.disk.armed, p.disk.failSyncs, p.disk.fullFor = 0, 0, 0
		p.disk.mem.CrashAt(0)
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
			if p.d == nil {
				p.start(false)
			}
		}
		p.poke()
	}
	// What is still under way belongs to the time of the faults.
	w.runUntil(w.now+int64(w.k.LateBy+300*time.Millisecond), nil)
	w.progress()
	w.abdicates()
	w.replies()
	w.equal()
	w.runUntil(w.now+int64(300*time.Millisecond), nil) // logs are trimmed behind what was installed last
}

// timeout is the longest silence before an election, by the slowest clock.
func (w *world) timeout() time.Duration {
	return time.Duration(float64(2*w.k.ElectionTicks) * float64(w.k.Tick) / 0.95)
}

// progress demands a leader and something done that was begun after the faults (L1, and L4 if a disk is stalled).
func (w *world) progress() {
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
	limit := 4*w.timeout() + 40*(w.k.Delay+w.k.Sync+w.k.Turn+w.k.Apply)
	if !w.runUntil(w.now+int64(limit), done) {
		for _, o := range w.oracles {
			if o.prefix == o.begun {
				w.fail("L1", 0, o.prefix, "group %d: nothing was chosen for %v after the faults had stopped: %s", o.g, time.Duration(w.now-begun), w.roles())
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

// equal demands that every node with a working disk gets to the same slot (L5, L7).
func (w *world) equal() {
	same := func() bool {
		for _, p := range w.procs {
			if w.sound(p) && p.behind() != nil {
				return false
			}
		}
		return true
	}
	if !w.runUntil(w.now+int64(time.Minute), same) {
		for _, p := range w.procs {
			if !w.sound(p) {
				continue
			}
			if r := p.behind(); r != nil {
				w.fail("L5", p.id, r.applied, "group %d is still at slot %d, chosen is %d: %s %+v", r.o.g, r.applied, r.o.prefix, w.roles(), r.d.Status())
			}
		}
	}
}

// leads says whether the node leads any group.
func (p *proc) leads() bool {
	if p.d != nil {
		for _, r := range p.reps {
			if r.d.Status().Role == paxos.Leader {
				return true
			}
		}
	}
	return false
}

// behind is a replica that has not applied everything chosen; nil: there is none.
func (p *proc) behind() *replica {
	for _, r := range p.reps {
		if r.applied < r.o.prefix {
			return r
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
		if !w.sound(p) {
			continue
		}
		behind := 0
		for _, r := range p.reps {
			w.compareState(r)
			behind += int(r.o.prefix - min(r.o.prefix, r.o.known(p.disk).snap))
		}
		names, err := p.disk.mem.List(p.disk.walDir())
		if err != nil {
			w.fail("S17", p.id, 0, "%v", err)
		}
		segments := 0
		for _, n := range names {
			if filepath.Ext(n) == ".wal" {
				segments++
			}
		}
		// Every record takes a sector at least and 100 bytes at least: a log takes at most 10 times the bytes of its
		// records. Retained are SnapshotBytes and, for peers, pinFactor+1 times RetainBytes; what comes in while a
		// snapshot is written, and while one is received, comes on top; and what was learned behind the last snapshot at
		// one go, because the next one is taken when the next slot is applied.
		most := 40 + 10*w.k.Groups*int(w.k.SnapshotBytes+5*w.k.RetainBytes)/int(w.k.SegmentBytes) + behind
		if segments > most {
			w.fail("S17", p.id, 0, "%d segment files, at most %d expected", segments, most)
		}
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
