package etcdraft

import (
	"errors"
	"fmt"
	"io"
	"log"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"go.uber.org/zap"

	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

// replica is raftkit.Raft of version 3.6, whose messages are values.
type replica struct {
	id      uint64
	raw     *raft.RawNode // the loop's
	storage *raft.MemoryStorage
	log     *wal.WAL       // the appender's
	entries []raftpb.Entry // the appender's, of one save
}

// open makes a replica of a new cluster.
func open(s raftkit.Setup) (raftkit.Raft[raftpb.Message], error) {
	r := &replica{id: s.ID, storage: raft.NewMemoryStorage()}
	if err := r.create(s); err != nil {
		return nil, err
	}
	var err error
	r.raw, err = raft.NewRawNode(&raft.Config{
		ID: s.ID, ElectionTick: s.ElectionTicks, HeartbeatTick: s.HeartbeatTicks, Storage: r.storage, Applied: 1,
		AsyncStorageWrites: true, MaxSizePerMsg: raftkit.MessageBytes, MaxInflightMsgs: raftkit.Inflight,
		CheckQuorum: true, PreVote: true,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	return r, err
}

// create makes the log of a new cluster: a snapshot of nothing at index 1 that knows the members.
func (r *replica) create(s raftkit.Setup) error {
	members := raftpb.ConfState{Voters: s.Voters}
	hard := raftpb.HardState{Term: 1, Commit: 1}
	snap := raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{ConfState: members, Index: 1, Term: 1}}
	if err := r.storage.ApplySnapshot(snap); err != nil {
		return err
	}
	if err := r.storage.SetHardState(hard); err != nil {
		return err
	}
	var err error
	if r.log, err = wal.Create(zap.NewNop(), s.Dir, []byte("peers")); err != nil {
		return err
	}
	if !s.Fsync {
		r.log.SetUnsafeNoFsync()
	}
	return errors.Join(
		r.log.SaveSnapshot(walpb.Snapshot{Index: 1, Term: 1, ConfState: &members}),
		r.log.Save(hard, nil))
}

// Tick implements raftkit.Raft.
func (r *replica) Tick() { r.raw.Tick() }

// Step implements raftkit.Raft. What raft refuses here (a stale message) it has dealt with.
func (r *replica) Step(m raftpb.Message) { _ = r.raw.Step(m) }

// Propose implements raftkit.Raft.
func (r *replica) Propose(data [][]byte) error {
	entries := make([]raftpb.Entry, len(data))
	for i := range data {
		entries[i].Data = data[i]
	}
	return r.raw.Step(raftpb.Message{Type: raftpb.MsgProp, From: r.id, Entries: entries})
}

// Status implements raftkit.Raft.
func (r *replica) Status() raftkit.Status {
	st := r.raw.BasicStatus()
	s := raftkit.Status{Term: st.Term, Leads: st.RaftState == raft.StateLeader, Compacting: st.Applied}
	if s.Leads {
		r.raw.WithProgress(func(_ uint64, _ raft.ProgressType, p tracker.Progress) { s.Compacting = min(s.Compacting, p.Match) })
	}
	return s
}

// Ready implements raftkit.Raft.
func (r *replica) Ready(role func(leads bool), route func(raftpb.Message, raftkit.Destination)) bool {
	if !r.raw.HasReady() {
		return false
	}
	rd := r.raw.Ready()
	if rd.SoftState != nil {
		role(rd.SoftState.RaftState == raft.StateLeader)
	}
	for _, m := range rd.Messages {
		switch m.To {
		case raft.LocalAppendThread:
			route(m, raftkit.ToAppender)
		case raft.LocalApplyThread:
			route(m, raftkit.ToApplier)
		default:
			route(m, raftkit.ToPeer)
		}
	}
	return true
}

// Save implements raftkit.Raft.
func (r *replica) Save(msgs []raftpb.Message) error {
	var hard raftpb.HardState
	for i := range msgs {
		m := &msgs[i]
		if m.Snapshot != nil {
			panic("BUG: etcdraft: a snapshot arrived; none is ever made")
		}
		r.entries = append(r.entries, m.Entries...)
		if m.Term != 0 || m.Vote != 0 || m.Commit != 0 {
			hard = raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		}
	}
	err := r.log.Save(hard, r.entries)
	clear(r.entries)
	r.entries = r.entries[:0]
	if err != nil {
		return err
	}
	for i := range msgs {
		// One by one: a later message may replace entries of an earlier one.
		if err := r.storage.Append(msgs[i].Entries); err != nil {
			return fmt.Errorf("append in memory: %w", err)
		}
	}
	if raft.IsEmptyHardState(hard) {
		return nil
	}
	return r.storage.SetHardState(hard)
}

// Entries implements raftkit.Raft.
func (r *replica) Entries(m raftpb.Message, fn func(index, term uint64, data []byte)) {
	for i := range m.Entries {
		e := &m.Entries[i]
		data := e.Data
		if e.Type != raftpb.EntryNormal {
			data = nil
		}
		fn(e.Index, e.Term, data)
	}
}

// Responses implements raftkit.Raft.
func (r *replica) Responses(m raftpb.Message) []raftpb.Message { return m.Responses }

// Compact implements raftkit.Raft.
func (r *replica) Compact(index uint64) { _ = r.storage.Compact(index) } // refused: it is compacted already

// Close implements raftkit.Raft.
func (r *replica) Close() error { return r.log.Close() }
