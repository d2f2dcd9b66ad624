package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// core is a recovered replica.
type core = paxos.Replica

// MissingError: the log of a group was trimmed up to a slot, and no good snapshot reaches so far. Slots between are
// lost on this node, so it must not start: it would serve a state that never was.
type MissingError struct {
	Group    wire.GroupID
	Trimmed  wire.Slot // the log begins after this slot
	Snapshot wire.Slot // newest good snapshot; 0: none
	Err      error     // why newer snapshots were refused; nil: there are none
}

func (e *MissingError) Error() string {
	s := fmt.Sprintf("engine: group %d: the log was trimmed up to slot %d, the newest good snapshot holds slot %d: slots between are missing;"+
		" bring the snapshot back, or start the node once with --rejoin: it comes back without a vote, and gets it from a majority of the others",
		e.Group, e.Trimmed, e.Snapshot)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns why newer snapshots were refused.
func (e *MissingError) Unwrap() error { return e.Err }

// recovery is what becomes a group's replica.
type recovery struct {
	state   *paxos.State
	slot    wire.Slot // of the snapshot
	trimmed wire.Slot // of the log
	refused error     // newer snapshots
}

// recover opens the data directory and rebuilds every group. It returns when everything read is durable, and nothing has
// been sent: a vote that was read from the page cache and not from the disk must not be acted upon (FAULTS.md F13).
func (n *Node) recover() ([]*core, error) {
	recs := make([]recovery, n.c.Groups)
	err := n.load(recs)
	cores := make([]*core, len(recs))
	for i := range recs {
		if recs[i].state == nil {
			continue // nothing was read for it before the error
		}
		cores[i] = paxos.New(n.paxos(wire.GroupID(i+1)), recs[i].state)
		if h := cores[i].Memberships(); h[len(h)-1].Slot > 0 && n.c.Learn != paxos.LearnOne && err == nil {
			err = fmt.Errorf("engine: group %d: its membership was changed, which needs learners %v: %v is configured", i+1, paxos.LearnOne, n.c.Learn)
		}
	}
	if err != nil {
		for _, c := range cores {
			if c != nil {
				discard(c.Output())
				c.Close()
			}
		}
	}
	return cores, err
}

// load reads the data directory: for every group the newest good snapshot, then the log behind it.
func (n *Node) load(recs []recovery) error {
	if err := n.checkFresh(); err != nil {
		return err
	}
	if n.c.Rejoin {
		if err := n.rejoin(); err != nil {
			return err
		}
	}
	wc := n.walConfig()
	log, err := wal.Open(wc)
	if err != nil {
		return err
	}
	n.wal = log
	if n.c.SnapshotFS == nil {
		// Durable itself: the log is trimmed because of what will stand in it.
		if err := vfs.OS().MkdirAll(n.c.snapDir()); err != nil {
			return fmt.Errorf("engine: make directory: %w", err)
		}
	}
	for i := range recs {
		if err := n.loadSnapshot(wire.GroupID(i+1), &recs[i]); err != nil {
			return err
		}
	}
	if err := n.replay(recs); err != nil {
		return err
	}
	for i := range recs {
		if r := &recs[i]; r.trimmed > r.slot && !n.c.auxiliary() { // whose votes below nobody needs
			return &MissingError{Group: wire.GroupID(i + 1), Trimmed: r.trimmed, Snapshot: r.slot, Err: r.refused}
		}
	}
	if v := log.Verdict(); v.Torn {
		n.log.Warn("log recovered", "verdict", v.String())
	}
	if n.c.Rejoin {
		if err := log.MarkSuspect(rejoinWhy); err != nil {
			return err
		}
	}
	return n.trust(recs)
}

// trust tells the groups' states whether the log may have lost something (FAULTS.md, amnesia rule).
func (n *Node) trust(recs []recovery) error {
	why := n.wal.Suspect()
	switch {
	case why == "":
		return nil
	case n.wal.Lost() && n.c.AcceptTornTail:
		return errLostAccepted(why)
	}
	for i := range recs {
		if n.c.AcceptTornTail {
			recs[i].state.Vouch()
		} else {
			recs[i].state.Suspect(why)
		}
		n.groups[i].suspect.Store(true)
		n.suspects.Inc()
	}
	return nil
}

// walConfig is the log's configuration.
func (n *Node) walConfig() wal.Config {
	wc := n.c.wal()
	if n.driver != nil {
		wc.Foreground, wc.Salt = true, n.driver.c.Salt
		return wc
	}
	wc.OnSync = n.fsync.record
	return wc
}

// paxos is the configuration of a group's replica.
func (n *Node) paxos(g wire.GroupID) paxos.Config {
	pc := n.c.paxos(g)
	pc.LogBytesMax = n.c.logBytesMax(&n.limits)
	if n.driver != nil {
		n.driver.c.Core(&pc)
	}
	return pc
}

// checkFresh refuses to bootstrap over snapshots whose log is gone.
func (n *Node) checkFresh() error {
	if !n.c.Bootstrap {
		return nil
	}
	for id := range n.c.Groups {
		_, err := snapshot.Latest(n.c.SnapshotFS, n.c.snapDir(), n.c.Cluster, wire.GroupID(id+1))
		if err == nil || !errors.Is(err, snapshot.ErrNone) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("engine: there are snapshots in %s: %w", n.c.snapDir(), wal.ErrHistory)
		}
	}
	return nil
}

// loadSnapshot makes the group and restores its newest good snapshot, if there is one.
func (n *Node) loadSnapshot(id wire.GroupID, r *recovery) error {
	g := newGroup(n, id, n.c.NewStateMachine(id))
	n.groups = append(n.groups, g)
	pc := n.paxos(id).WithDefaults()
	g.applier.members, g.applier.alpha = pc.Founding(), pc.Alpha
	if n.c.auxiliary() {
		r.state = paxos.NewAuxiliaryState()
		return nil
	}
	dir := n.c.snapDir()
	f, err := snapshot.Latest(n.c.SnapshotFS, dir, n.c.Cluster, id)
	g.judgeSnapshots(f, err)
	var all *snapshot.AllRefusedError
	switch {
	case err == nil:
		r.slot = f.Meta.Slot
		r.refused = errors.Join(f.Refused...)
		if err := g.applier.restore(f); err != nil {
			return err
		}
	case errors.As(err, &all):
		r.refused = err // good enough only if the log was never trimmed
	case !errors.Is(err, snapshot.ErrNone):
		return err
	}
	if r.refused != nil {
		g.log.Warn("snapshots refused", "slot", uint64(r.slot), "err", r.refused)
	}
	if err := snapshot.Clean(n.c.SnapshotFS, dir, id, r.slot); err != nil {
		return err
	}
	// A crash may have come between the newest one and the removal of what it made needless, and an idle group writes no next one. Where
	// some are damaged nothing is removed before they are replaced: which of them to start from is not known before they are read.
	if r.slot > 0 && r.refused == nil {
		if err := snapshot.KeepNewest(n.c.SnapshotFS, dir, id, snapshotsKept); err != nil {
			return err
		}
	}
	// The loop need not be told: the core starts from the snapshot.
	g.installed.Store(0)
	g.nudged.Store(false)
	g.snapshotAt.Store(uint64(r.slot))
	r.state = paxos.NewState(r.slot)
	if r.slot > 0 {
		r.state.Members(g.applier.members)
	}
	return nil
}

// replay feeds the log to the groups' states. When it returns nil all of it is durable (wal.Log.Replay).
func (n *Node) replay(recs []recovery) error {
	return n.wal.Replay(func(rec *wire.Record) error {
		if rec.Kind == wire.KindRecMembers {
			return nil
		}
		if rec.Group == 0 || int64(rec.Group) > int64(len(recs)) {
			return fmt.Errorf("engine: the log has records of group %d, this node is configured with %d groups", rec.Group, len(recs))
		}
		r := &recs[rec.Group-1]
		if rec.Kind == wire.KindRecTrim {
			r.trimmed = max(r.trimmed, rec.Slot)
		}
		return r.state.Load(rec)
	})
}
