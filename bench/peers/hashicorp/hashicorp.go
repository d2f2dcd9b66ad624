// Package hashicorp is the adapter of hashicorp/raft with raft-wal.
package hashicorp

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

const (
	appendEntries = 1024 // the most that the library takes
	cacheEntries  = 1 << 14
	rpcsInFlight  = 64
	segmentBytes  = 64 << 20
	// futuresMax is more than any load has under way.
	futuresMax = 1 << 16
)

// Engine is hashicorp/raft as tuned for throughput.
func Engine() peer.Engine {
	return peer.Engine{
		Name: "hashicorp-raft", Module: "github.com/hashicorp/raft",
		Settings: "raft-wal with a log cache of 16384; BatchApplyCh, MaxAppendEntries 1024 (the maximum), MaxRPCsInFlight 64, BatchingFSM; futures awaited in order by one goroutine",
		Open:     func(c peer.Config) (peer.Replica, error) { return open(c) },
	}
}

type replica struct {
	raft    *raft.Raft
	log     *wal.WAL
	net     *raft.NetworkTransport
	machine machine
	futures chan future
	wait    sync.WaitGroup
}

type future struct {
	raft.ApplyFuture
	op *peer.Op
}

func open(c peer.Config) (_ *replica, err error) {
	r := &replica{futures: make(chan future, futuresMax)}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	dir := filepath.Join(c.Dir, "wal")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	if r.log, err = wal.Open(dir, wal.WithSegmentSize(segmentBytes), wal.WithLogger(logger)); err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	cache, err := raft.NewLogCache(cacheEntries, r.log)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	r.net, err = raft.NewTCPTransportWithConfig(c.Addrs[c.ID-1], nil, &raft.NetworkTransportConfig{
		MaxPool: 4, MaxRPCsInFlight: rpcsInFlight, Timeout: 10 * time.Second, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(strconv.Itoa(c.ID))
	conf.MaxAppendEntries = appendEntries
	if c.Fast {
		// Its heartbeats come each tenth of this timeout.
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = peer.FastElection, peer.FastElection, peer.FastElection
	}
	conf.BatchApplyCh = true
	conf.SnapshotThreshold = math.MaxUint64
	conf.SnapshotInterval = time.Hour
	conf.NoLegacyTelemetry = true
	conf.Logger = logger
	var members raft.Configuration
	for i, addr := range c.Addrs {
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(strconv.Itoa(i + 1)), Address: raft.ServerAddress(addr)})
	}
	snaps := raft.NewDiscardSnapshotStore()
	if err := raft.BootstrapCluster(conf, cache, r.log, snaps, r.net, members); err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	if r.raft, err = raft.NewRaft(conf, &r.machine, cache, r.log, snaps, r.net); err != nil {
		return nil, fmt.Errorf("hashicorp: %w", err)
	}
	r.wait.Go(r.waiter)
	return r, nil
}

func (r *replica) Leads() bool { return r.raft.State() == raft.Leader }

func (r *replica) State() (peer.State, error) { return r.machine.State(), nil }

// Propose implements peer.Replica.
func (r *replica) Propose(o *peer.Op) {
	// The log keeps the entry, so it gets memory of its own.
	f := r.raft.Apply(peer.AppendEntry(make([]byte, 0, peer.EntrySize(o)), o), 0)
	r.futures <- future{f, o}
}

// waiter awaits the futures in the order of the calls, which is the order of the log.
func (r *replica) waiter() {
	for f := range r.futures {
		err := f.Error() // waits
		f.op.Complete(peer.Now(), err)
	}
}

func (r *replica) Close() error {
	err := r.raft.Shutdown().Error()
	close(r.futures)
	r.wait.Wait()
	r.net.Close()
	if e := r.log.Close(); err == nil {
		err = e
	}
	return err
}

// machine is peer.Machine as a raft.BatchingFSM.
type machine struct{ peer.Machine }

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any {
	if l.Type == raft.LogCommand {
		if err := m.Machine.Apply(l.Data); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	return nil
}

// ApplyBatch implements raft.BatchingFSM.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	for _, l := range logs {
		m.Apply(l)
	}
	return make([]any, len(logs))
}

// Snapshot implements raft.FSM. None is ever taken.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return nil, fmt.Errorf("hashicorp: no snapshots here")
}

// Restore implements raft.FSM.
func (m *machine) Restore(io.ReadCloser) error { return fmt.Errorf("hashicorp: no snapshots here") }
