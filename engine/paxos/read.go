package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// pendingRead is a read that waits for a quorum to confirm that this replica still leads.
type pendingRead struct {
	token uint64
	slot  wire.Slot
	round uint64
}

// Read asks for a slot whose applied state is fresh enough for a linearizable read. The slot is the chosen prefix at this
// moment: every write acknowledged so far is in it. The read may be answered once a quorum, asked after this moment, says
// that it has promised nothing higher; so no other leader can have chosen anything by then. Reads of one output share a
// round. token comes back in Output().Reads. (Ongaro's thesis, section 6.4, describes the same for Raft; for Paxos, Chubby's
// master reads are the case with a lease instead of the round.)
func (r *Replica) Read(token uint64) Outcome {
	r.begin()
	if r.fast != nil {
		r.qualifyFast()
	}
	if r.role != Leader && r.role != Proposer && (r.fast == nil || r.fast.taking == 0) {
		return NotLeader
	}
	if !r.roundOpen {
		r.roundOpen = true
		r.round++
		switch {
		case r.basic != nil:
			r.sendBeacon()
		case r.fast != nil:
			r.askVoted()
		default:
			r.sendHeartbeat()
		}
	}
	// Before the barrier, the first slot of its own, is chosen a new leader does not know how far its predecessors got.
	q := pendingRead{token, max(r.chosen, r.barrier), r.round}
	if r.c.Learn != LearnOne {
		q.slot = max(q.slot, r.next-1) // others may have learned what this replica has not
	}
	if plant.Is(plant.ReadBeforeBarrier) {
		q.slot = r.chosen
	}
	r.reads = append(r.reads, q)
	if r.confirms(nodeSet(0).with(r.self)) || plant.Is(plant.ReadUnconfirmed) {
		r.confirmReads()
	}
	return Taken
}

// failReads tells that no read under way can be answered here.
func (r *Replica) failReads() {
	for _, q := range r.reads {
		r.out.Reads = append(r.out.Reads, ReadReady{Token: q.token})
	}
	r.reads = r.reads[:0]
}

// confirms says whether no other leader can have chosen anything that this one does not know, if these nodes promised nothing
// higher: they are a quorum of votes in every configuration that is in force. Where any node proposes they are to tell how
// far they have voted: a quorum of promises has a member in common with whichever quorum voted.
func (r *Replica) confirms(nodes nodeSet) bool {
	if r.basic != nil || r.fast != nil {
		return r.canPromise(nodes)
	}
	return r.canChoose(nodes)
}

// confirmReads answers the reads of every round that a quorum, this replica included, has confirmed.
func (r *Replica) confirmReads() {
	n := 0
	anywhere := r.basic != nil || r.fast != nil // values are chosen without this replica's knowing
	for _, q := range r.reads {
		confirmed := nodeSet(0).with(r.self)
		for i := range r.peers {
			if i != r.self && r.peers[i].round >= q.round {
				confirmed = confirmed.with(i)
			}
		}
		if !r.confirms(confirmed) && !plant.Is(plant.ReadUnconfirmed) {
			break // rounds only grow along the queue
		}
		if anywhere && !plant.Is(plant.FastReadByAcks) {
			q.slot = r.readSlot()
		}
		r.out.Reads = append(r.out.Reads, ReadReady{Token: q.token, Slot: q.slot, OK: true})
		n++
	}
	r.reads = append(r.reads[:0], r.reads[n:]...)
}
