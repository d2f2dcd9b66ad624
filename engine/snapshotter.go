package engine

import (
	"errors"
	"io"
	"path/filepath"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// logMarks knows how many bytes of log lie behind each of the last slots, coarsely: the retained part of the log is
// counted in bytes, but trimmed by slot. It also counts the bytes since the last snapshot. The applier owns it.
type logMarks struct {
	retain int64
	step   int64 // bytes between marks
	bytes  int64 // applied so far, from an arbitrary origin
	since  int64 // bytes at the last snapshot
	before int64 // bytes at the one before
	marks  []logMark
}

// logMark says that bytes of log ended with slot.
type logMark struct {
	slot  wire.Slot
	bytes int64
}

func newLogMarks(retain int64) logMarks {
	return logMarks{retain: retain, step: max(retain/32, 1)}
}

// restart forgets everything: the state came from a snapshot at slot s, and there is no log before it.
func (m *logMarks) restart(s wire.Slot) {
	m.bytes, m.since, m.before = 0, 0, 0
	m.marks = append(m.marks[:0], logMark{s, 0})
}

// add counts a slot.
func (m *logMarks) add(s wire.Slot, size int64) {
	m.bytes += size
	if n := len(m.marks); n == 0 || m.bytes-m.marks[n-1].bytes >= m.step {
		m.marks = append(m.marks, logMark{s, m.bytes})
	}
}

// behind is the bytes since the last snapshot.
func (m *logMarks) behind() int64 { return m.bytes - m.since }

// failed says that the last snapshot came to nothing: what it was to take over is still there.
func (m *logMarks) failed() { m.since = m.before }

// taken says that a snapshot is being taken now. It returns the slot up to which the log may be trimmed once the
// snapshot is durable, so that retain bytes stay; 0: nothing may be.
func (m *logMarks) taken() (trim wire.Slot) {
	m.before, m.since = m.since, m.bytes
	keep := 0
	for i, k := range m.marks {
		if m.bytes-k.bytes < m.retain {
			break
		}
		keep, trim = i, k.slot
	}
	m.marks = append(m.marks[:0], m.marks[keep:]...)
	return trim
}

// snapshotIfDue takes a snapshot if the log has grown by enough since the last one.
func (a *applier) snapshotIfDue() {
	if a.g.snapFailed.Swap(false) {
		a.logged.failed()
	}
	if a.logged.behind() >= a.g.snapshotDue() || a.g.replaceDue(a.applied) {
		a.snapshot()
	}
}

// snapshotDue is how many bytes of log make a snapshot due. SnapshotBytes at least, and in proportion to the last snapshot's size.
// The plain design, SnapshotBytes however large the state is, wrote one snapshot after the other as soon as a state was several
// times as large: hundreds of megabytes for each SnapshotBytes of log, from a view under which every write of a value takes
// memory of its own. What the nodes could do fell as the state grew, below a load that they had borne before.
func (g *Group) snapshotDue() int64 {
	return min(max(g.node.c.SnapshotBytes, g.snapSize.Load()/snapshotShare), g.node.c.snapshotBytesMax())
}

// replaceDue says that a damaged snapshot can be replaced: by one at its slot or above, so that the damaged one is not the newest
// again at the next start.
func (g *Group) replaceDue(applied wire.Slot) bool {
	slot := wire.Slot(g.snapRotten.Load())
	return slot > 0 && applied >= slot
}

// judgeSnapshots is told what reading the group's snapshots came to: the newest good one, or an error. A damaged one has to be
// replaced soon, also if nothing is applied: the next one that rots may be the last, and a peer that is behind the log waits
// for one.
func (g *Group) judgeSnapshots(f *snapshot.File, err error) {
	var refused []error
	var all *snapshot.AllRefusedError
	if errors.As(err, &all) {
		refused = all.Refused
	} else if err == nil {
		refused = f.Refused
	}
	for _, r := range refused {
		var e *snapshot.Error
		if !errors.As(r, &e) || plant.Is(plant.RottenSnapshotKept) {
			continue
		}
		if _, slot, ok := snapshot.ParseName(filepath.Base(e.File)); ok && uint64(slot) > g.snapRotten.Load() {
			g.snapRotten.Store(uint64(slot))
		}
	}
}

// snapshot takes a view of the state and has it written by another goroutine. At most one is written at a time.
func (a *applier) snapshot() {
	select {
	case a.g.snapBusy <- struct{}{}:
	default:
		return // still writing the last one; the next slot asks again
	}
	rotten := a.g.snapRotten.Swap(0)
	trim := a.logged.taken()
	if plant.Is(plant.TrimBeforeSnapshot) && trim > 0 {
		a.g.mailbox.PutUrgent(event{kind: eventTrim, slot: trim})
	}
	view, err := a.sm.Snapshot()
	if err != nil {
		a.g.snapshotFailed(rotten)
		<-a.g.snapBusy
		a.g.log.Error("state machine gave no snapshot", "slot", uint64(a.applied), "err", err)
		return
	}
	j := &snapshotJob{
		g: a.g, view: view, sessions: a.sessions.view(), members: a.members, trim: trim, rotten: rotten,
		meta: snapshot.Meta{Cluster: a.g.node.c.Cluster, Group: a.g.id, Slot: a.applied, Ballot: a.ballot},
	}
	if plant.Is(plant.BatchAppliedAgain) {
		j.meta.Slot--
	}
	a.g.spawn(j.run)
}

// snapshotJob is a snapshot on its way to the disk.
type snapshotJob struct {
	g        *Group
	meta     snapshot.Meta
	view     Snapshot
	sessions *sessionView
	members  paxos.Memberships
	trim     wire.Slot
	rotten   uint64 // slot of a damaged one that it is to replace; 0: none
}

// snapshotFailed says that a snapshot came to nothing: the next one is due at once.
func (g *Group) snapshotFailed(rotten uint64) {
	g.snapFailed.Store(true)
	if rotten > 0 {
		g.snapRotten.Store(rotten)
	}
}

// errStopping ends the writing of a snapshot when the node closes.
var errStopping = errors.New("engine: node is closing")

// run writes the snapshot while Apply goes on, then lets the log be trimmed.
func (j *snapshotJob) run() {
	g := j.g
	fs, dir := g.node.c.SnapshotFS, g.node.c.snapDir()
	_, size, err := snapshot.Write(fs, dir, j.meta, func(w io.Writer) error {
		w = stopWriter{w, g.node.stopping}
		if _, err := w.Write(appendMembers(nil, j.members)); err != nil {
			return err
		}
		if err := j.sessions.writeTo(w); err != nil {
			return err
		}
		_, err := j.view.WriteTo(w)
		return err
	})
	j.view.Release()
	j.sessions.release()
	defer func() { <-g.snapBusy }()
	log := g.log.With("slot", uint64(j.meta.Slot))
	if errors.Is(err, errStopping) {
		return
	}
	if err != nil {
		// The old snapshot and the log behind it are untouched; the next one is tried with the next slot, or soon.
		g.snapshotFailed(j.rotten)
		log.Error("snapshot not written", "err", err)
		return
	}
	g.count.snapshots.Inc()
	log.Info("snapshot written", "bytes", size, "trim", uint64(j.trim))
	g.snapshotAt.Store(uint64(j.meta.Slot))
	g.snapSize.Store(size)
	trim := g.transfers.pin(j.trim, j.meta.Slot)
	// Snapshots at or above the trim mark can still be restarted from, should a newer one turn out to be damaged. Not all of
	// them are kept: a long log reaches back to many.
	if err := errors.Join(snapshot.RemoveOlder(fs, dir, g.id, trim), snapshot.KeepNewest(fs, dir, g.id, snapshotsKept)); err != nil {
		log.Error("old snapshots not removed", "err", err)
	}
	if trim == 0 {
		return
	}
	g.mailbox.PutUrgent(event{kind: eventTrim, slot: trim})
}

// stopWriter fails as soon as the node is stopping, so that Close does not wait for a large snapshot.
type stopWriter struct {
	w    io.Writer
	stop <-chan struct{}
}

func (s stopWriter) Write(p []byte) (int, error) {
	select {
	case <-s.stop:
		return 0, errStopping
	default:
		return s.w.Write(p)
	}
}
