package sim

import (
	"math/bits"
	"path/filepath"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// Disks that lose what was acknowledged, and nodes that are suspect because they may have.

// suspicion is what a node's process is suspect of.
type suspicion struct {
	groups uint64 // a bit for each group whose replica is suspect
	rotted bool   // its disk has lost acknowledged records that were not learned again yet
	fresh  bool   // the same, and no process has started on it since
	lost   bool   // its log was put aside once, and nobody can vouch for it before it is healed
}

// rot damages the last records of a node's log, whether they were acknowledged or not. Never so many nodes at a time that they
// could not be healed.
func (n *nemesis) rot(p *proc) {
	if n.w.rotted() >= n.w.k.spare() || n.w.relaxed() || n.w.k.Changes {
		return
	}
	p.crash(false)
	defer p.restartLater()
	var last wal.Entry
	length := 0
	rep, err := wal.InspectFS(p.disk.mem, p.disk.walDir(), func(e *wal.Entry) error {
		last, length = *e, e.Record.Frame.Len()
		return nil
	})
	if err != nil || rep.Verdict.Torn || rep.Segments[len(rep.Segments)-1].Groups < 2 {
		return
	}
	name := filepath.Join(p.disk.walDir(), filepath.Base(last.File))
	at, bit := last.Offset+n.w.rng.Int64N(int64(length)), n.w.rng.IntN(8)
	flip := func(b []byte) []byte { b[at] ^= 1 << bit; return b }
	image := p.disk.mem.Clone()
	image.Corrupt(name, flip)
	if rep, err = wal.InspectFS(image, p.disk.walDir(), nil); err != nil {
		// The group said which segments are not needed any more; without it one of these seems to be missing. The node
		// would refuse to start, and no node may be lost for good here.
		n.w.counts["logs damaged at the end refused"]++
		return
	} else if !rep.Verdict.Torn {
		n.w.fail("S15", p.id, 0, "a bit flipped in the last record of the log is not seen: %v", rep.Verdict)
	}
	p.disk.mem.Corrupt(name, flip)
	p.suspicion.rotted, p.suspicion.fresh = true, true
	n.w.counts["logs damaged at the end"]++
}

// rotted is how many nodes ail.
func (w *world) rotted() (n int) {
	for _, p := range w.procs {
		if p.ails() {
			n++
		}
	}
	return n
}

// ails says that the node has lost acknowledged records, or would be refused or have to be healed once more if it started now: a sector
// that cannot be read may be where the log has not come yet.
func (p *proc) ails() bool { return p.suspicion.rotted || p.marked() || p.disk.mem.Bad() }

// marked says that the node's log has the mark of one that was put aside. A node that crashes when it is healed may keep it.
func (p *proc) marked() bool {
	mark, err := vfs.ReadFile(p.disk.mem, filepath.Join(p.disk.walDir(), "suspect"))
	line, _, _ := strings.Cut(string(mark), "\n")
	return err == nil && strings.HasSuffix(line, " lost")
}

// suspected is told of a replica's events.
func (p *proc) suspected(g wire.GroupID, e *paxos.Event) {
	c, bit := p.w.counts, uint64(1)<<g
	switch e.Kind {
	case paxos.EventRemoved:
		c["nodes told that they were removed"]++
	case paxos.EventSuspect:
		c["suspects"]++
		p.suspicion.groups |= bit
	case paxos.EventCannotHeal:
		c["suspects that cannot heal"]++
	case paxos.EventHealed:
		p.suspicion.groups &^= bit
		p.suspicion.lost = p.suspicion.lost && p.suspicion.groups != 0
		c["suspects healed"]++
		if p.suspicion.rotted {
			c["damaged logs healed"]++
			p.suspicion.rotted = p.suspicion.groups != 0
		}
	}
}

// judged is called when a process has started. The end of its log may be torn by a power loss: after a while somebody comes who
// knows that, and says so. Of a disk that has lost something nobody does.
func (p *proc) judged() {
	if p.w.k.Nodes > 1 {
		p.acceptTorn = false
	}
	if p.suspicion.groups == 0 {
		return
	}
	life := p.life
	p.w.after(p.w.between(100*time.Millisecond, time.Second), func() {
		if p.life == life && p.d != nil && p.suspicion.groups != 0 {
			p.accept()
		}
	})
}

// accept is an operator's restart of a suspect node that has lost nothing.
func (p *proc) accept() {
	if p.suspicion.rotted || p.suspicion.lost || p.lost {
		return
	}
	p.w.counts["torn tails accepted by an operator"]++
	p.acceptTorn = true
	if p.d != nil {
		p.crash(false)
	}
	p.restartLater()
}

// healed demands that nodes with damaged logs vote again when enough others are there.
func (w *world) healed() {
	suspect := func() *proc {
		for _, p := range w.procs {
			if w.sound(p) && p.suspicion.groups != 0 {
				return p
			}
		}
		return nil
	}
	if !w.runUntil(w.now+int64(time.Minute), func() bool { return suspect() == nil }) {
		p := suspect()
		w.fail("L5", p.id, 0, "is still suspect: %s %+v", w.roles(), p.reps[0].d.Status())
	}
}

// What is chosen, when votes can be forgotten. A vote that its voter has forgotten counts with the votes of those who did not
// know yet, when they voted, that the voter lives in another incarnation now; for these its healing has heard of, and
// adopted. It does not count with later ones: nobody will count it with them, and nobody has to hear of it.

// lives are incarnations, by node id; nil: nobody was healed. Not changed once made.
type lives []uint64

func (l lives) of(n wire.NodeID) uint64 {
	if int(n) < len(l) {
		return l[n]
	}
	return 0
}

// with returns l and what a record tells.
func (l lives) with(incarnations []byte) lives {
	next := l
	for it := wire.IterIncarnations(incarnations); ; {
		in, ok := it.Next()
		if !ok {
			return next
		}
		if next.of(in.Node) < in.Number {
			grown := make(lives, max(len(next), int(in.Node)+1))
			copy(grown, next)
			grown[in.Node] = in.Number
			next = grown
		}
	}
}

// cast is a vote in a round.
type cast struct {
	by    wire.NodeID
	life  uint64 // the incarnation of the voter in which the vote is known
	knows lives  // what the voter's disk held of the others' when it voted
}

// cast adds a vote, once.
func (r *round) cast(by wire.NodeID, knows lives) {
	for i := range r.casts {
		if r.casts[i].by == by {
			return
		}
	}
	r.casts = append(r.casts, cast{by, knows.of(by), knows})
}

// complete says whether a quorum of the votes count together.
func (r *round) complete(quorum int) bool {
	n := len(r.casts)
	for set := uint(0); n >= quorum && set < 1<<n; set++ {
		if bits.OnesCount(set) == quorum && r.together(set) {
			return true
		}
	}
	return false
}

func (r *round) together(set uint) bool {
	for i := range r.casts {
		for j := range r.casts {
			if a, b := &r.casts[i], &r.casts[j]; set>>i&set>>j&1 == 1 && a.knows.of(b.by) > b.life {
				return false
			}
		}
	}
	return true
}

// reborn is told that node by lives in a new incarnation: what its disk holds now of its votes, adopted ones included if it
// had cast them before, it says again in this one.
func (o *oracle) reborn(by wire.NodeID, k *durable) {
	for s := range o.slots {
		for i := range o.slots[s].rounds {
			r := &o.slots[s].rounds[i]
			for j := range r.casts {
				if c := &r.casts[j]; c.by == by && k.voted(wire.Slot(s), r.ballot, r.hash) {
					c.life = k.lives.of(by)
					o.vote(by, wire.Slot(s), r.ballot, r.hash)
				}
			}
		}
	}
}

// accepted counts what a node says it has voted: usually the vote was counted when it reached the disk, but one that was
// adopted is a vote only now.
func (o *oracle) accepted(by wire.NodeID, k *durable, s wire.Slot, b wire.Ballot) {
	for _, v := range k.votes[s] {
		if v.ballot == b && !v.learned {
			o.vote(by, s, b, v.hash)
		}
	}
}
