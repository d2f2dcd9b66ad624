package paxos

import "github.com/paxbench/paxbench/wire"

// Output is what the replica wants done since the last Output. Every Frame in it carries one reference that now
// belongs to the caller. The slices are valid until the next call on the replica.
type Output struct {
	Records  []wire.Record // append to the log, in this order
	LastLSN  wire.LSN      // this replica's number of the last record handed out so far, Records included
	Messages []Outgoing
	Chosen   []Chosen    // slots newly in the chosen prefix, in slot order, without gaps
	Moved    []Moved     // what Propose took and could not have chosen in its slot
	Reads    []ReadReady // reads that may be answered, or have failed
	Events   []Event     // for logs, metrics and waiters
}

// Outgoing is a frame to a peer. Gate says what it waits for: 0, nothing; otherwise it may leave only when this
// replica's records up to that number are durable (DESIGN.md, section 4: what waits for the disk).
type Outgoing struct {
	To    wire.NodeID
	Frame *wire.Buffer
	Gate  wire.LSN
}

// Chosen is a slot whose value is known. Value is a view into Frame.
type Chosen struct {
	Slot   wire.Slot
	Ballot wire.Ballot // of this replica's vote for it: whoever proposed at that ballot in that slot proposed this value
	Own    bool        // independent instances: it is what Propose put there. With a leader the ballot says it
	Value  wire.Batch
	Frame  *wire.Buffer
}

// Moved says that what Propose put into slot From is not the value of that slot and was proposed again in slot To, or, with
// To 0, that whether it was chosen there will not be known.
type Moved struct{ From, To wire.Slot }

// ReadReady answers Read: the state with every slot up to Slot applied is fresh enough. Not OK: leadership was lost.
type ReadReady struct {
	Token uint64
	Slot  wire.Slot
	OK    bool
}

// Outcome is the answer to Propose and Read.
type Outcome uint8

const (
	Taken     Outcome = iota // under way
	NotLeader                // not here: ask Status().Leader
	Busy                     // the window or the log is full, or applying lags too far behind
)

func (o Outcome) String() string { return [...]string{"taken", "not leader", "busy"}[o] }

// EventKind says what an Event tells.
type EventKind uint8

const (
	EventLeading      EventKind = iota // this replica leads at Ballot; Slot is the barrier; Holes were filled, Reproposed finished
	EventLost                          // this replica no longer leads at Ballot, because of Reason
	EventFollowing                     // Peer leads at Ballot
	EventProbing                       // no leader heard: asking whether an election could succeed
	EventPreparing                     // phase 1 at Ballot
	EventPeerBehind                    // Peer asked for slot Slot, which is only in a snapshot here
	EventDiskStall                     // this replica's own disk has finished nothing for StallTicks
	EventSuspect                       // this replica may have forgotten votes, because of Reason, and does not vote
	EventCannotHeal                    // so many others are suspect as well that this replica cannot be healed
	EventHealed                        // this replica votes again
	EventProposing                     // this replica takes proposals (independent instances; fast rounds: at Ballot)
	EventResting                       // it no longer does, because of Reason; what it took goes on
	EventDuel                          // a higher Ballot than its own was met in Slot
	EventDisplaced                     // another value won Slot, or was found there; its own goes to slot To
	EventFinishing                     // Slot was left open by others: finishing it
	EventCollision                     // votes for several values in Slot at the fast Ballot (fast rounds, at the coordinator)
	EventContact                       // Peer, at Addr, may be heard of, and is to be connected to
	EventChanging                      // this replica proposes a change of the membership in Slot
	EventMembers                       // the configuration of Slot was chosen; slots from To on are its
	EventInForce                       // the configuration of Slot is that of the next slot: To or later
	EventChanged                       // a leader's: a quorum of the members of Slot has all that was decided before they decide, from slot To on
	EventChangeFailed                  // ChangeMembers came to nothing because of Reason; with a Slot, in which it was proposed, it may yet be made
	EventEngaged                       // a leader's: auxiliary nodes are asked to vote, from Slot on
	EventReleased                      // a leader's: they are not asked any more, from Slot on
	EventForgot                        // an auxiliary's: its votes up to Slot are not needed any more
	EventRemoved                       // this replica is no member any more: not of the configuration of Slot, which decides slots from To on
)

var eventNames = [...]string{
	"leading", "lost leadership", "following", "probing", "preparing", "peer behind", "disk stall", "suspect", "cannot heal", "healed",
	"proposing", "not proposing", "duel", "displaced", "finishing", "collision",
	"contact", "changing members", "members chosen", "members in force", "members changed", "members not changed",
	"auxiliaries engaged", "auxiliaries released", "votes forgotten", "removed",
}

func (k EventKind) String() string { return eventNames[k] }

// Event is something that happened, for people and counters. Nothing in the protocol depends on it.
type Event struct {
	Kind       EventKind
	Ballot     wire.Ballot
	Peer       wire.NodeID
	Slot       wire.Slot
	To         wire.Slot
	Holes      int
	Reproposed int
	Reason     string
	Addr       string // EventContact
}

// Role is what a replica is doing about leadership.
type Role uint8

const (
	Follower Role = iota
	Probing
	Preparing
	Leader
	Proposer // independent instances: taking proposals
)

func (r Role) String() string {
	return [...]string{"follower", "probing", "preparing", "leader", "proposer"}[r]
}

// Status is a copy of a replica's state for those outside.
type Status struct {
	Role     Role
	Leader   wire.NodeID // 0: not known
	Ballot   wire.Ballot // own ballot when preparing or leading, else the leader's
	Promised wire.Ballot
	Chosen   wire.Slot // chosen prefix
	Applied  wire.Slot
	Trimmed  wire.Slot // slots up to here are only in a snapshot
	Last     wire.Slot // highest slot with a vote, or Trimmed; independent instances: that is known to be in use
	InFlight int       // slots proposed here and not yet in the chosen prefix
	Window   int
	Reads    int   // that wait for a quorum to confirm that this replica leads
	LogBytes int64 // bytes of the frames held for slots above Trimmed

	AheadBytes   int64 // of LogBytes: above the chosen prefix
	PromiseBytes int64 // bytes of the promises collected

	Suspect     string // why this replica does not vote; empty: it does
	Healing     int    // suspect: nodes that have told all they know
	HealQuorum  int    // suspect: how many have to
	Incarnation uint64 // 0: never healed

	Auxiliary bool // it is an auxiliary node
	Engaged   bool // leader: auxiliary nodes are asked to vote

	Members wire.Slot // in which the newest configuration was chosen; 0: that of the founding
	Removed bool      // it is no member any more

	Ignored uint64 // messages dropped: senseless ballots, slots or senders
	Stale   uint64 // messages refused because of a higher promise
	Resent  uint64 // Accept frames sent again
	Leased  uint64 // Prepares not answered because of a lease granted to another

	LeaseUntil int64 // leader: until when it holds the lease, by the time of Clock; 0: it does not

	Refused uint64 // values not taken because the log was full (Config.LogBytesMax, AheadBytesMax)

	Basic  BasicStats // independent instances
	Fast   FastStats  // fast rounds
	Taking bool       // fast rounds: proposals are taken here
}

// FastStats counts what happened in fast rounds: Won and Displaced on the proposers, Collisions and what follows on the coordinator.
type FastStats struct {
	Fast       uint64 // of Won, those that this replica saw chosen by a fast quorum
	Won        uint64 // slots chosen with the value that Propose put there
	Displaced  uint64 // values that had to go to another slot
	Collisions uint64 // slots with votes for several values
	Recovered  uint64 // slots settled at the classic ballot
	Prepared   uint64 // of them, those that took promises for the slot alone
	Holes      uint64 // of them, those settled with a no-op
	HoleTicks  uint64 // ticks from the last sign of life in those until they were settled, in sum
}

// BasicStats counts what happened to the instances of this replica, in ModeBasic.
type BasicStats struct {
	Rounds    uint64 // ballots begun
	Duels     uint64 // ballots given up for a higher one
	Won       uint64 // slots chosen with the value that Propose put there
	Displaced uint64 // values that had to go to another slot
	Holes     uint64 // slots of others finished here, with a value found or a no-op
	HoleTicks uint64 // ticks from the last sign of life in those slots until they were chosen, in sum
}
