// Package peer is what the compared engines have in common here: the small interface behind which each is driven, the
// state machine that executes nothing, and the load.
package peer

import (
	"sync/atomic"
	"time"

	"github.com/paxbench/paxbench/bench/peerstable"
)

// Config says which replica of a cluster to open.
type Config struct {
	ID    int      // 1..len(Addrs)
	Addrs []string // host:port of every replica; Addrs[ID-1] is this one's
	Dir   string   // empty and its own
	Fsync bool     // false: the engine must be able to (Engine.NoFsync)
	Fast  bool     // elections: silence of FastElection to twice as much, heartbeats each FastHeartbeat
}

// The timeouts that Config.Fast asks of every engine.
const (
	FastTick      = peerstable.FastTick
	FastElection  = peerstable.FastElection
	FastHeartbeat = peerstable.FastHeartbeat
)

// Engine is one side of the comparison: an engine with one way of configuring it.
type Engine struct {
	Name     string // as in tables and flags
	Module   string // the Go module whose version is recorded
	Settings string // what was configured and why, in a line
	NoFsync  bool   // it can run without fsync
	Bare     bool   // it has no state to verify, and no single operations: a Loader

	// ShareCores gives each process its share of the cores (cluster.ProcsShare) where every replica is one: the engine does
	// better so. Otherwise the runtime takes all cores, whoever else does.
	ShareCores bool

	// Files are written into the working directory of the process before it starts: configuration that the engine
	// reads when its packages are initialised.
	Files map[string]string

	Open func(Config) (Replica, error)

	// Program gives the path of the program whose processes are the nodes; nil: the one that runs.
	Program func() (string, error)
}

// Replica is one replica in this process. Methods may be called from any goroutine, Propose from one at a time.
type Replica interface {
	// Leads says whether this replica leads and takes proposals.
	Leads() bool

	// Propose proposes an operation at the leader. It may wait for room in a queue, not for the outcome, and does
	// not keep op.Payload beyond op.Complete, which is called exactly once.
	Propose(op *Op)

	// State is what this replica has applied.
	State() (State, error)

	// Close stops the replica.
	Close() error
}

// Loader is a replica that makes its load itself.
type Loader interface {
	Load(l Load) (Result, error)
}

// State is what replicas that have applied the same have in common.
type State struct {
	Commands uint64 `json:"commands"` // applied
	Digest   string `json:"digest"`   // over what was applied, in its order
}

// Op is one operation: a command, or a block of commands that are proposed together.
type Op struct {
	Payload []byte // Count commands of equal size, one after the other
	Count   int
	Adapter any // the adapter's own: kept from one use of the operation to the next

	sent, done int64
	err        error
	next       *Op
	inbox      *inbox
}

// Size is the size of one command in bytes.
func (o *Op) Size() int { return len(o.Payload) / o.Count }

// Complete ends the operation; nil: it is durable on a quorum and applied here. now is a reading of Now, of which one may
// do for operations that complete at the same moment. Never blocks. The operation is not the caller's any more.
func (o *Op) Complete(now int64, err error) {
	o.done, o.err = now, err
	o.inbox.put(o)
}

var started = time.Now()

// Now is the clock of Complete: nanoseconds since the start of the process, monotonic.
func Now() int64 { return int64(time.Since(started)) }

// inbox carries completed operations to the load's goroutine: a stack, so that a completion costs one
// compare-and-swap, and a wake-up only if the load sleeps.
type inbox struct {
	head atomic.Pointer[Op]
	wake chan struct{}
}

func (b *inbox) put(o *Op) {
	for {
		head := b.head.Load()
		o.next = head
		if b.head.CompareAndSwap(head, o) {
			if head == nil {
				select {
				case b.wake <- struct{}{}:
				default:
				}
			}
			return
		}
	}
}

// take gives everything that completed, oldest first.
func (b *inbox) take() *Op {
	var list *Op
	for o := b.head.Swap(nil); o != nil; {
		next := o.next
		o.next = list
		list, o = o, next
	}
	return list
}
