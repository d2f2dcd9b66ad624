package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

const (
	tick           = 10 * time.Millisecond
	electionTicks  = 50
	heartbeatTicks = 5
	messageBytes   = 1 << 20 // MaxSizePerMsg: entries per append message
	inflight       = 256     // MaxInflightMsgs
	// compactEntries and compactBytes of applied entries in memory make a generation; one full generation is kept.
	compactEntries = 1 << 16
	compactBytes   = 64 << 20
	// mailboxItems bounds nothing here: items are put urgently, and the load has a bound of its own.
	mailboxItems = 1 << 16
)

var errLost = errors.New("etcdraft37: leadership lost with the proposal under way")

type eventKind uint8

const (
	eventPropose eventKind = iota
	eventMessage
	eventTick
)

type event struct {
	kind eventKind
	op   *peer.Op
	msg  *raftpb.Message
}

type replica struct {
	id      uint64
	tick    time.Duration
	raw     *raft.RawNode // the loop's
	storage *raft.MemoryStorage
	log     *wal.WAL // the appender's
	net     *raftkit.Transport[*raftpb.Message]
	machine peer.Machine

	mailbox *batching.Mailbox[event]
	appends *batching.Mailbox[*raftpb.Message]
	applies *batching.Mailbox[*raftpb.Message]
	pending raftkit.Pending

	leads    atomic.Bool
	minMatch atomic.Uint64 // what may be compacted: every follower has it
	stop     chan struct{}
	wait     sync.WaitGroup
}

func open(c peer.Config) (*replica, error) {
	r := &replica{
		id: uint64(c.ID), storage: raft.NewMemoryStorage(), stop: make(chan struct{}),
		mailbox: batching.NewMailbox[event](mailboxItems, math.MaxInt),
		appends: batching.NewMailbox[*raftpb.Message](mailboxItems, math.MaxInt),
		applies: batching.NewMailbox[*raftpb.Message](mailboxItems, math.MaxInt),
	}
	var voters []uint64
	for i := range c.Addrs {
		voters = append(voters, uint64(i+1))
	}
	if err := r.create(filepath.Join(c.Dir, "wal"), voters, c.Fsync); err != nil {
		return nil, fmt.Errorf("etcdraft37: %w", err)
	}
	elections, heartbeats := electionTicks, heartbeatTicks
	r.tick = tick
	if c.Fast {
		r.tick, elections, heartbeats = peer.FastTick, int(peer.FastElection/peer.FastTick), int(peer.FastHeartbeat/peer.FastTick)
	}
	var err error
	r.raw, err = raft.NewRawNode(&raft.Config{
		ID: r.id, ElectionTick: elections, HeartbeatTick: heartbeats, Storage: r.storage, Applied: 1,
		AsyncStorageWrites: true, MaxSizePerMsg: messageBytes, MaxInflightMsgs: inflight,
		CheckQuorum: true, PreVote: true,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
	if err != nil {
		return nil, fmt.Errorf("etcdraft37: %w", err)
	}
	r.net, err = raftkit.Listen(c.ID, c.Addrs, codec, func(m *raftpb.Message) { r.mailbox.PutUrgent(event{kind: eventMessage, msg: m}) })
	if err != nil {
		return nil, fmt.Errorf("etcdraft37: %w", err)
	}
	for _, f := range []func(){r.loop, r.appender, r.applier, r.ticker} {
		r.wait.Go(f)
	}
	return r, nil
}

// create makes the log of a new cluster: a snapshot of nothing at index 1 that knows the members.
func (r *replica) create(dir string, voters []uint64, fsync bool) error {
	members := &raftpb.ConfState{Voters: voters}
	one := uint64(1)
	hard := &raftpb.HardState{Term: &one, Commit: &one}
	snap := &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: members, Index: &one, Term: &one}}
	if err := r.storage.ApplySnapshot(snap); err != nil {
		return err
	}
	if err := r.storage.SetHardState(hard); err != nil {
		return err
	}
	var err error
	if r.log, err = wal.Create(zap.NewNop(), dir, []byte("peers")); err != nil {
		return err
	}
	if !fsync {
		r.log.SetUnsafeNoFsync()
	}
	return errors.Join(
		r.log.SaveSnapshot(&walpb.Snapshot{Index: &one, Term: &one, ConfState: members}),
		r.log.Save(hard, nil))
}

func (r *replica) Leads() bool { return r.leads.Load() }

func (r *replica) State() (peer.State, error) { return r.machine.State(), nil }

// Propose implements peer.Replica.
func (r *replica) Propose(o *peer.Op) {
	if !r.mailbox.PutUrgent(event{kind: eventPropose, op: o}) {
		o.Complete(peer.Now(), errLost)
	}
}

func (r *replica) Close() error {
	close(r.stop)
	r.wait.Wait()
	r.net.Close()
	r.mailbox.Close()
	r.pending.Fail(errLost)
	return r.log.Close()
}

func (r *replica) ticker() {
	t := time.NewTicker(r.tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.mailbox.PutUrgent(event{kind: eventTick})
		case <-r.stop:
			return
		}
	}
}
