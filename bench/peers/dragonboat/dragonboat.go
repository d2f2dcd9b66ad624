// Package dragonboat is the adapter of lni/dragonboat v4 with its tan log.
package dragonboat

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	dragonboat "github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/plugin/tan"
	sm "github.com/lni/dragonboat/v4/statemachine"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

const (
	rttMillis    = 10
	electionRTT  = 50
	heartbeatRTT = 5
	timeout      = time.Minute
	// execShards is how many workers step the shards. Of 16 (the default), 4 and 1 the last was the fastest with 16
	// shards on two cores, and made no difference with one: a worker flushes the logs of all its shards at once.
	execShards   = 1
	waitingMax   = 1 << 16
	busyPause    = 50 * time.Microsecond
	transferWait = 100 * time.Millisecond
)

// Engine is dragonboat with a number of shards, over which operations go in turn.
func Engine(shards int) peer.Engine {
	name := "dragonboat"
	if shards > 1 {
		name = fmt.Sprintf("dragonboat-%d", shards)
	}
	return peer.Engine{
		Name: name, Module: "github.com/lni/dragonboat/v4",
		Settings: fmt.Sprintf("tan LogDB, %d shard(s), all led by one node; concurrent state machine, CheckQuorum, PreVote, RTT 10 ms, no-op sessions, 1 exec worker, IncomingProposalQueueLength 65536; results awaited in order by one goroutine per shard", shards),
		Files: map[string]string{
			// The default, 2048, answers "busy" to more outstanding operations.
			"dragonboat-soft-settings.json": `{"IncomingProposalQueueLength": 65536}` + "\n",
		},
		Open: func(c peer.Config) (peer.Replica, error) { return open(c, shards) },
	}
}

var quiet sync.Once

type replica struct {
	id     uint64
	host   *dragonboat.NodeHost
	shards []*shard
	turn   int
	entry  []byte // scratch: dragonboat copies what is proposed
	stop   chan struct{}
	wait   sync.WaitGroup
}

type shard struct {
	id      uint64
	user    dragonboat.INodeUser
	session *client.Session
	machine peer.Machine
	waiting chan request
}

type request struct {
	state *dragonboat.RequestState
	op    *peer.Op
}

func open(c peer.Config, shards int) (*replica, error) {
	quiet.Do(func() {
		for _, name := range []string{"raft", "rsm", "transport", "dragonboat", "raftpb", "grpc", "logdb", "tan", "config", "order", "settings", "utils", "raftlog", "server", "registry"} {
			logger.GetLogger(name).SetLevel(logger.ERROR)
		}
	})
	workers := config.GetDefaultEngineConfig()
	workers.ExecShards, workers.CommitShards, workers.ApplyShards = execShards, execShards, execShards
	times := raftTimes{rttMillis, electionRTT, heartbeatRTT}
	if c.Fast {
		times = raftTimes{uint64(peer.FastTick.Milliseconds()), uint64(peer.FastElection / peer.FastTick), uint64(peer.FastHeartbeat / peer.FastTick)}
	}
	host, err := dragonboat.NewNodeHost(config.NodeHostConfig{
		NodeHostDir: c.Dir, RTTMillisecond: times.rtt, RaftAddress: c.Addrs[c.ID-1],
		Expert: config.ExpertConfig{LogDBFactory: tan.Factory, Engine: workers, LogDB: config.GetDefaultLogDBConfig()},
	})
	if err != nil {
		return nil, fmt.Errorf("dragonboat: %w", err)
	}
	r := &replica{id: uint64(c.ID), host: host, stop: make(chan struct{})}
	members := map[uint64]dragonboat.Target{}
	for i, addr := range c.Addrs {
		members[uint64(i+1)] = addr
	}
	for i := range shards {
		if err := r.start(uint64(i+1), members, times); err != nil {
			host.Close()
			return nil, fmt.Errorf("dragonboat: shard %d: %w", i+1, err)
		}
	}
	if shards > 1 {
		r.wait.Go(r.gather)
	}
	return r, nil
}

// raftTimes are the unit of a host's time in milliseconds and its shards' timeouts in it.
type raftTimes struct{ rtt, election, heartbeat uint64 }

func (r *replica) start(id uint64, members map[uint64]dragonboat.Target, times raftTimes) error {
	s := &shard{id: id, session: r.host.GetNoOPSession(id), waiting: make(chan request, waitingMax)}
	err := r.host.StartConcurrentReplica(members, false,
		func(uint64, uint64) sm.IConcurrentStateMachine { return &machine{&s.machine} },
		config.Config{
			ReplicaID: r.id, ShardID: id, CheckQuorum: true, PreVote: true,
			ElectionRTT: times.election, HeartbeatRTT: times.heartbeat,
		})
	if err != nil {
		return err
	}
	if s.user, err = r.host.GetNodeUser(id); err != nil {
		return err
	}
	r.shards = append(r.shards, s)
	r.wait.Go(s.waiter)
	return nil
}

// gather moves the leadership of all shards to node 1: operations are proposed where the leader is.
func (r *replica) gather() {
	for {
		for _, s := range r.shards {
			if leader, _, ok, err := r.host.GetLeaderID(s.id); err == nil && ok && leader == r.id && r.id != 1 {
				// Refused while a transfer is under way: asked again.
				_ = r.host.RequestLeaderTransfer(s.id, 1)
			}
		}
		select {
		case <-time.After(transferWait):
		case <-r.stop:
			return
		}
	}
}

func (r *replica) Leads() bool {
	for _, s := range r.shards {
		if leader, _, ok, err := r.host.GetLeaderID(s.id); err != nil || !ok || leader != r.id {
			return false
		}
	}
	return true
}

func (r *replica) State() (peer.State, error) {
	var st peer.State
	var digest uint64
	for _, s := range r.shards {
		st.Commands += s.machine.Commands()
		digest = digest*31 + s.machine.Digest()
	}
	st.Digest = fmt.Sprintf("%016x", digest)
	return st, nil
}

// Propose implements peer.Replica.
func (r *replica) Propose(o *peer.Op) {
	s := r.shards[r.turn]
	r.turn = (r.turn + 1) % len(r.shards)
	r.entry = peer.AppendEntry(r.entry[:0], o)
	for {
		state, err := s.user.Propose(s.session, r.entry, timeout)
		switch {
		case err == nil:
			s.waiting <- request{state, o}
			return
		case !errors.Is(err, dragonboat.ErrSystemBusy):
			o.Complete(peer.Now(), err)
			return
		}
		time.Sleep(busyPause)
	}
}

// waiter awaits the results in the order of the calls, which is the order of the log.
func (s *shard) waiter() {
	for q := range s.waiting {
		result := <-q.state.ResultC()
		now := peer.Now()
		var err error
		if !result.Completed() {
			err = fmt.Errorf("dragonboat: proposal not completed: timeout %v, dropped %v, terminated %v, rejected %v",
				result.Timeout(), result.Dropped(), result.Terminated(), result.Rejected())
		}
		q.state.Release()
		q.op.Complete(now, err)
	}
}

func (r *replica) Close() error {
	close(r.stop)
	for _, s := range r.shards {
		close(s.waiting)
	}
	r.host.Close()
	r.wait.Wait()
	return nil
}

// machine is peer.Machine as a concurrent state machine: the kind that takes batches of entries.
type machine struct{ *peer.Machine }

// Update implements statemachine.IConcurrentStateMachine.
func (m *machine) Update(entries []sm.Entry) ([]sm.Entry, error) {
	for i := range entries {
		if err := m.Apply(entries[i].Cmd); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// Lookup implements statemachine.IConcurrentStateMachine.
func (m *machine) Lookup(any) (any, error) { return nil, nil }

// PrepareSnapshot implements statemachine.IConcurrentStateMachine. None is ever taken.
func (m *machine) PrepareSnapshot() (any, error) { return nil, nil }

// SaveSnapshot implements statemachine.IConcurrentStateMachine.
func (m *machine) SaveSnapshot(any, io.Writer, sm.ISnapshotFileCollection, <-chan struct{}) error {
	return nil
}

// RecoverFromSnapshot implements statemachine.IConcurrentStateMachine.
func (m *machine) RecoverFromSnapshot(io.Reader, []sm.SnapshotFile, <-chan struct{}) error {
	return nil
}

// Close implements statemachine.IConcurrentStateMachine.
func (m *machine) Close() error { return nil }
