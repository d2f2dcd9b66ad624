package raftkit

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/bench/peers/peer"
)

const (
	// MessageBytes is MaxSizePerMsg: entries per append message.
	MessageBytes = 1 << 20
	// Inflight is MaxInflightMsgs.
	Inflight = 256

	tick           = 10 * time.Millisecond
	electionTicks  = 50
	heartbeatTicks = 5
	// compactEntries and compactBytes of applied entries in memory make a generation; one full generation is kept.
	compactEntries = 1 << 16
	compactBytes   = 64 << 20
)

// Settings is how every version is configured, in words.
const Settings = "AsyncStorageWrites, MaxSizePerMsg 1 MiB, MaxInflightMsgs 256, PreVote, CheckQuorum; etcd's WAL, one Save for all queued appends; own TCP transport, many messages per write; all queued proposals in one MsgProp"

var errLost = errors.New("raftkit: leadership lost with the proposal under way")

// Raft is one version of the library with its log: what speaks its types. M is its message, by value or by pointer as that
// version has it. Each method belongs to one goroutine of a Replica.
type Raft[M any] interface {
	// The loop's: the state machine of the protocol.

	Tick()
	Step(m M)
	// Propose appends an entry for each of these. It keeps what they point to, not the slice.
	Propose(entries [][]byte) error
	// Status is the term, whether this node leads in it, and up to which entry the log in memory may be forgotten.
	Status() Status
	// Ready hands out what is to be done, if anything is: false otherwise. Role is told when it has changed.
	Ready(role func(leads bool), route func(m M, to Destination)) bool

	// The appender's.

	// Save writes the entries and the last hard state of all these with one flush, and makes the memory the same.
	Save(msgs []M) error

	// The applier's.

	// Entries calls fn for each of a message's; data is empty where a new leader or a change of members speaks.
	Entries(m M, fn func(index, term uint64, data []byte))
	// Compact forgets entries in memory up to index; what is forgotten already is no error.
	Compact(index uint64)

	// Responses of a local message are due when its work is done. Appender and applier call it.
	Responses(m M) []M
	// Close is called when all goroutines have ended.
	Close() error
}

// Status is of Raft's moment.
type Status struct {
	Term       uint64
	Leads      bool
	Compacting uint64 // every follower that counts has entries up to here, and this node has applied them
}

// Destination is where a message goes.
type Destination uint8

// The destinations.
const (
	ToPeer Destination = iota
	ToAppender
	ToApplier
)

type eventKind uint8

const (
	eventPropose eventKind = iota
	eventMessage
	eventTick
)

type event[M any] struct {
	kind eventKind
	op   *peer.Op
	msg  M
}

// Replica is everything around the state machine of the protocol, which the library leaves to its user:
//
//	loop       owns the Raft. Drains its mailbox, makes one MsgProp of all proposals in it, hands out what is ready.
//	appender   drains messages for the log, writes all of them with one save (one fdatasync), delivers the responses
//	applier    drains messages for the state machine, executes the entries, completes the operations
//	transport  a TCP connection to each peer, many messages per write
type Replica[M any] struct {
	id      uint64
	tick    time.Duration
	raft    Raft[M]
	to      func(M) uint64
	net     *Transport[M]
	machine peer.Machine

	mailbox *batching.Mailbox[event[M]]
	appends *batching.Mailbox[M]
	applies *batching.Mailbox[M]
	pending Pending

	leads   atomic.Bool
	compact atomic.Uint64 // Status.Compacting, as of the last tick
	stop    chan struct{}
	wait    sync.WaitGroup
}

// Setup is what a version makes its Raft of.
type Setup struct {
	ID                            uint64
	Dir                           string   // of the log; does not exist
	Voters                        []uint64 // of the cluster
	Fsync                         bool
	ElectionTicks, HeartbeatTicks int
}

// Open starts a replica of a new cluster.
func Open[M any](c peer.Config, codec Codec[M], open func(Setup) (Raft[M], error)) (*Replica[M], error) {
	r := &Replica[M]{
		id: uint64(c.ID), tick: tick, to: codec.To, stop: make(chan struct{}),
		mailbox: batching.NewMailbox[event[M]](mailboxItems, math.MaxInt),
		appends: batching.NewMailbox[M](mailboxItems, math.MaxInt),
		applies: batching.NewMailbox[M](mailboxItems, math.MaxInt),
	}
	s := Setup{ID: r.id, Dir: filepath.Join(c.Dir, "wal"), Fsync: c.Fsync, ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks}
	if c.Fast {
		r.tick, s.ElectionTicks, s.HeartbeatTicks = peer.FastTick, int(peer.FastElection/peer.FastTick), int(peer.FastHeartbeat/peer.FastTick)
	}
	for i := range c.Addrs {
		s.Voters = append(s.Voters, uint64(i+1))
	}
	var err error
	if r.raft, err = open(s); err != nil {
		return nil, fmt.Errorf("raftkit: %w", err)
	}
	r.net, err = Listen(c.ID, c.Addrs, codec, func(m M) { r.mailbox.PutUrgent(event[M]{kind: eventMessage, msg: m}) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raftkit: %w", err), r.raft.Close())
	}
	for _, f := range []func(){r.loop, r.appender, r.applier, r.ticker} {
		r.wait.Go(f)
	}
	return r, nil
}

// Leads implements peer.Replica.
func (r *Replica[M]) Leads() bool { return r.leads.Load() }

// State implements peer.Replica.
func (r *Replica[M]) State() (peer.State, error) { return r.machine.State(), nil }

// Propose implements peer.Replica.
func (r *Replica[M]) Propose(o *peer.Op) {
	if !r.mailbox.PutUrgent(event[M]{kind: eventPropose, op: o}) {
		o.Complete(peer.Now(), errLost)
	}
}

// Close implements peer.Replica.
func (r *Replica[M]) Close() error {
	close(r.stop)
	r.wait.Wait()
	r.net.Close()
	r.mailbox.Close()
	r.pending.Fail(errLost)
	return r.raft.Close()
}
