package paxos

import (
	"math"

	"github.com/paxbench/paxbench/engine/paxos/lease"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// The leader's lease: while it lasts no other node can have chosen anything, so that the leader answers reads from what it has
// applied, without a round (Paxos Made Live, section 5.2, master leases).
//
//	leader of ballot b                                  follower
//	Heartbeat(b, stamp = own clock, span)           ->  promises nobody but the leader until own clock + span
//	counts on it until stamp + span - drift         <-  HeartbeatAck(b, the same stamp, span)
//
// It is PaxosLease (package lease) with the leadership as its first phase: the ballot was prepared already, so that a heartbeat is
// the request and its answer the grant, and nothing is sent that is not sent anyway. What the two share is in package lease:
// Grant, End, Until.
//
// # Why it is safe
//
// The leader holds the lease as long as so many nodes have granted it that no quorum of promises is left without one of them:
// n - prepare + 1, itself included (leaseUntil); with flexible quorums that may be one node, or all. It needs no
// grant of itself: before it promises anybody anything it ends its leadership, and its lease with it.
//
//  1. A granter promised nothing above b when it granted, or it would have refused the heartbeat, and promises nobody else
//     before its grant ends. That is later, in true time, than the leader stops counting on it (lease.End).
//  2. So until the lease ends there is no quorum of promises above b, no leader but this one, and nothing is chosen but what
//     it proposes. A vote for, or a heartbeat of, a higher ballot needs no check of its own: there is none before.
//  3. What was chosen at lower ballots is at most the barrier, and the lease says nothing before that is chosen.
//
// A granter that restarts has forgotten its grant. It promises nobody, itself included, until the longest that it can have
// granted is over (Grant.Wait), and needs no disk for that. That its promise of b may be gone as well (a
// HeartbeatAck does not wait for the record) changes nothing: the wait covers it. A node that is suspect does not answer
// heartbeats, so it grants nothing; what it granted before still binds it when it is healed.
//
// Clocks are monotonic, may show any time, and are bounded in how fast they run against each other (Config.LeaseDrift). Beyond the
// bound leases promise nothing, and everything else still holds: reads by Replica.Read do not look at a clock (FAULTS.md F8).
//
// # Who looks at the clock
//
// The core knows the time of the last call of Clock only. A process may stand still for any time after it (F9), so whoever answers a
// read looks at the clock himself, after he has read the state: see Lease.
type leaseState struct {
	now     int64
	grant   lease.Grant
	unknown bool    // restarted, and the time is not known yet
	ends    []int64 // scratch
	granted bool    // leader: somebody has granted something at this ballot
}

func (r *Replica) startLeases() {
	r.lease.unknown = r.c.Lease > 0 && !r.c.Fresh && !plant.Is(plant.GrantForgotten)
}

// Clock tells the time, in nanoseconds of a monotonic clock of any origin, not negative. It is to be called before what came in is
// stepped: an earlier time than the true one only makes a lease shorter and a grant, of what arrived before the clock was read,
// longer. Without leases it does nothing.
func (r *Replica) Clock(now int64) {
	l := &r.lease
	l.now = max(l.now, now)
	if l.unknown {
		l.unknown = false
		l.grant.Wait(l.now + r.c.Lease)
	}
}

// leasedFrom says whether a grant forbids to promise node n anything.
func (r *Replica) leasedFrom(n wire.NodeID) bool {
	return r.c.Lease > 0 && (r.lease.unknown || r.lease.grant.Blocks(r.lease.now, n))
}

// beginLease starts the tally of a new leadership.
func (r *Replica) beginLease() {
	for i := range r.peers {
		r.peers[i].leased = 0
	}
	r.lease.granted = false
}

// leaseUntil is until when this replica, which leads, holds the lease: in every configuration that is or may come in force so many
// nodes have granted it that each quorum of promises has one of them.
func (r *Replica) leaseUntil() int64 {
	return min(r.leasedIn(r.configs), r.leasedIn(r.proposed))
}

func (r *Replica) leasedIn(configs []members) int64 {
	until := int64(math.MaxInt64)
	for c := range configs {
		m := &configs[c]
		ends := r.lease.ends[:0]
		for i := range r.peers {
			switch {
			case !m.nodes.has(i):
			case i == r.self:
				ends = append(ends, math.MaxInt64)
			default:
				ends = append(ends, r.peers[i].leased)
			}
		}
		r.lease.ends = ends
		if need := len(ends) - m.prepare + 1; need > 0 {
			until = min(until, lease.Until(ends, need))
		} else {
			until = 0 // a configuration of nobody
		}
	}
	return until
}

// endLease gives the lease up. The others are told if they have granted any: they need not wait for its end. Not so when one of
// them is about to lead: it is not to be disturbed by elections.
func (r *Replica) endLease() {
	if l := &r.lease; l.granted {
		l.granted = false
		r.broadcast(&wire.Message{Kind: wire.KindResign, Ballot: r.ballot}, 0)
	}
}

// askLease adds to a heartbeat what it asks for.
func (r *Replica) askLease(m *wire.Message) {
	if r.c.Lease > 0 {
		m.Stamp, m.Span = uint64(r.lease.now), uint64(r.c.Lease)
	}
}

// grantLease adds to the answer to heartbeat m what is granted.
func (r *Replica) grantLease(m, ack *wire.Message) {
	span := min(int64(m.Span), r.c.Lease)
	if span <= 0 || r.lease.unknown {
		return
	}
	r.lease.grant.Give(m.From, m.Ballot, r.lease.now+span)
	ack.Stamp, ack.Span = m.Stamp, uint64(span)
}

// leaseGranted counts a grant. A stamp that was never given, and a span that was never asked for, count nothing.
func (r *Replica) leaseGranted(m *wire.Message, from int) {
	l := &r.lease
	stamp, span := int64(m.Stamp), int64(m.Span)
	if span <= 0 || span > r.c.Lease || stamp > l.now {
		return
	}
	drift := r.c.LeaseDrift
	if plant.Is(plant.LeaseWithoutDrift) {
		drift = 0
	}
	if plant.Is(plant.LeaseFromReceipt) {
		stamp = l.now
	}
	l.granted = true
	p := &r.peers[from]
	p.leased = max(p.leased, lease.End(stamp, span, drift))
}

// Lease is the leader's lease, for those who look at the clock themselves.
type Lease struct {
	Ballot wire.Ballot // of the leadership; 0: there is no lease
	Until  int64       // of the time of Clock
	From   wire.Slot   // the state must be of this slot or a later one
}

// Lease returns the lease that this replica holds, which may be over by now. There is none before the first slot of a new leader's own
// is chosen: it does not know yet how far its predecessors got.
//
// A read is answered by it in this order: Ballot and From are taken after it was asked for; the state is read, when it has come to
// From; then Until is taken, of the same Ballot, and then the time. If that is before Until, no other leader has
// had anything chosen between the first step and the last, so that the state held all that anybody can have known to be chosen at the
// first.
func (r *Replica) Lease() (l Lease) {
	if r.c.Lease == 0 || r.role != Leader || r.c.Mode != ModeMulti {
		return l
	}
	l = Lease{r.ballot, r.leaseUntil(), max(r.chosen, r.barrier)}
	if r.c.Learn != LearnOne {
		l.From = max(l.From, r.next-1) // others may have learned what this replica has not
	}
	if plant.Is(plant.LeaseBeforeBarrier) {
		l.From = r.chosen
		return l
	}
	if r.chosen < r.barrier {
		return Lease{}
	}
	return l
}

// Resign ends this replica's leadership, as of one who is about to stop: its lease is released, and the others need not wait for
// its silence.
func (r *Replica) Resign(why string) {
	r.begin()
	if r.role == Leader {
		r.stepDown(why)
	}
}

// onResign takes the word of a leader that it leads no more at a ballot.
func (r *Replica) onResign(m *wire.Message) {
	r.lease.grant.Release(m.From, m.Ballot)
	if m.Ballot == r.ballot {
		r.leaderGone(m.From)
	}
}
