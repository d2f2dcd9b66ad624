package etcdraft

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// loop is the only goroutine that touches the RawNode.
func (r *replica) loop() {
	var events []event
	var ops []*peer.Op
	for {
		select {
		case <-r.mailbox.Wait():
		case <-r.stop:
			return
		}
		for {
			events = r.mailbox.Swap(events)
			if len(events) == 0 {
				break
			}
			ops = ops[:0]
			for i := range events {
				switch e := &events[i]; e.kind {
				case eventPropose:
					ops = append(ops, e.op)
				case eventTick:
					r.raw.Tick()
					r.publish()
				case eventMessage:
					// What raft refuses here (a stale message) it has dealt with.
					_ = r.raw.Step(e.msg)
				}
				events[i] = event{}
			}
			if len(ops) > 0 {
				r.propose(ops)
			}
			for r.raw.HasReady() {
				r.ready(r.raw.Ready())
			}
		}
	}
}

// propose makes one message of all operations: one entry each, and the memory of all entries in one piece.
func (r *replica) propose(ops []*peer.Op) {
	st := r.raw.BasicStatus()
	if st.RaftState != raft.StateLeader {
		for _, o := range ops {
			o.Complete(peer.Now(), raft.ErrProposalDropped)
		}
		return
	}
	size := 0
	for _, o := range ops {
		size += peer.EntrySize(o)
	}
	slab := make([]byte, 0, size)
	entries := make([]raftpb.Entry, len(ops))
	for i, o := range ops {
		from := len(slab)
		slab = peer.AppendEntry(slab, o)
		entries[i].Data = slab[from:len(slab):len(slab)]
	}
	if err := r.raw.Step(raftpb.Message{Type: raftpb.MsgProp, From: r.id, Entries: entries}); err != nil {
		for _, o := range ops {
			o.Complete(peer.Now(), err)
		}
		return
	}
	r.pending.Add(st.Term, ops)
}

// ready hands out what raft wants done.
func (r *replica) ready(rd raft.Ready) {
	if rd.SoftState != nil {
		leads := rd.SoftState.RaftState == raft.StateLeader
		if r.leads.Swap(leads) && !leads {
			r.pending.Fail(errLost)
		}
	}
	for _, m := range rd.Messages {
		switch m.To {
		case raft.LocalAppendThread:
			r.appends.PutUrgent(m)
		case raft.LocalApplyThread:
			r.applies.PutUrgent(m)
		default:
			r.net.Send(m)
		}
	}
}

// publish says how far the log in memory may be forgotten.
func (r *replica) publish() {
	low := r.raw.BasicStatus().Applied
	if r.raw.BasicStatus().RaftState == raft.StateLeader {
		r.raw.WithProgress(func(_ uint64, _ raft.ProgressType, p tracker.Progress) { low = min(low, p.Match) })
	}
	r.minMatch.Store(low)
}

// deliver sends the responses of a local message: to this node's loop, or to a peer.
func (r *replica) deliver(responses []raftpb.Message) {
	for _, m := range responses {
		if m.To == r.id {
			r.mailbox.PutUrgent(event{kind: eventMessage, msg: m})
		} else {
			r.net.Send(m)
		}
	}
}
