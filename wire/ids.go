package wire

import "fmt"

// NodeID names a node (a process) of a cluster. 0 is no node.
type NodeID uint32

// GroupID names a group: one replicated log. Groups count from 1; 0 is no group.
type GroupID uint32

// ClusterID names a cluster. Every frame, log segment and snapshot carries it, so that bytes of one
// cluster are never taken for another's.
type ClusterID uint64

// Slot is a position in a group's log, from 1. 0 is "before the first".
type Slot uint64

// LSN is a log sequence number: the count of records appended so far. 0 is "before the first".
type LSN uint64

// SessionID names a client's session within a group: slot<<16 | the opening block's index in its batch.
// Because a slot is chosen once, an id is never given twice, also not after the session was evicted.
type SessionID uint64

// Seq numbers a client's commands within its session, from 1.
type Seq uint64

// NewSessionID is the id of the session opened by the block at index i of the batch chosen in slot s.
func NewSessionID(s Slot, i int) SessionID {
	if s == 0 || s > SlotMax || i < 0 || i >= BatchBlocksMax {
		panic(fmt.Sprintf("BUG: wire: session opened by block %d of slot %d", i, s))
	}
	return SessionID(uint64(s)<<16 | uint64(i))
}

// Ballot is a round owned by one node: counter<<32 | node. 0 is no ballot. Ballots of different nodes
// never compare equal, and comparing the integers compares counters first
// (Paxos Made Simple, section 2.2: proposal numbers are unique and increasing).
type Ballot uint64

// NewBallot makes the ballot with this counter owned by this node.
func NewBallot(counter uint32, node NodeID) Ballot {
	return Ballot(uint64(counter)<<32 | uint64(node))
}

// Scope says of a Prepare and of an Accept which slots their ballot is for.
type Scope uint8

const (
	ScopeRange Scope = iota // every slot from the message's on: who takes it promises that
	ScopeSlot               // the message's slot alone (independent instances, Fast Paxos' recoveries)
	ScopeAny                // Accept: a value of any node, at a fast ballot that was prepared for a range of slots
	scopeEnd
)

var scopeNames = [scopeEnd]string{"range", "slot", "any"}

func (s Scope) String() string {
	if s < scopeEnd {
		return scopeNames[s]
	}
	return fmt.Sprintf("Scope(%d)", uint8(s))
}

// LeaseStep is what a Lease message says (engine/paxos/lease).
type LeaseStep uint8

const (
	LeasePrepare  LeaseStep = iota // may Ballot's owner ask for the lease?
	LeasePromise                   // no lower ballot will be granted it; Owner has it, 0: nobody
	LeasePropose                   // grant it to Owner, for Span
	LeaseAccepted                  // granted
	LeaseReject                    // no: Promised is higher
	LeaseRelease                   // Owner gives up what it was granted at Ballot
	leaseStepEnd
)

var leaseStepNames = [leaseStepEnd]string{"prepare", "promise", "propose", "accepted", "reject", "release"}

func (s LeaseStep) String() string {
	if s < leaseStepEnd {
		return leaseStepNames[s]
	}
	return fmt.Sprintf("LeaseStep(%d)", uint8(s))
}

// Counter is the round part of the ballot.
func (b Ballot) Counter() uint32 { return uint32(b >> 32) }

// Node is the owner of the ballot.
func (b Ballot) Node() NodeID { return NodeID(uint32(b)) }

// sound says that b is no ballot or one that some node owns.
func (b Ballot) sound() bool { return b == 0 || b.Node() != 0 }

// String prints counter.node, the form used in logs and traces; "-" is no ballot.
func (b Ballot) String() string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%d.%d", b.Counter(), uint32(b.Node()))
}
