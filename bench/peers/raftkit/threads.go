package raftkit

import (
	"errors"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

var errNotLeader = errors.New("raftkit: proposed at a node that does not lead")

// loop is the only goroutine that touches the state machine of the protocol.
func (r *Replica[M]) loop() {
	var events []event[M]
	var ops []*peer.Op
	var entries [][]byte
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
					r.raft.Tick()
					r.compact.Store(r.raft.Status().Compacting)
				case eventMessage:
					r.raft.Step(e.msg)
				}
				events[i] = event[M]{}
			}
			if len(ops) > 0 {
				entries = r.propose(ops, entries[:0])
			}
			for r.raft.Ready(r.role, r.route) {
			}
		}
	}
}

// propose makes one message of all operations: one entry each, and the memory of all entries in one piece. It returns what
// it has grown entries to, cleared.
func (r *Replica[M]) propose(ops []*peer.Op, entries [][]byte) [][]byte {
	st := r.raft.Status()
	err := errNotLeader
	if st.Leads {
		size := 0
		for _, o := range ops {
			size += peer.EntrySize(o)
		}
		slab := make([]byte, 0, size)
		for _, o := range ops {
			from := len(slab)
			slab = peer.AppendEntry(slab, o)
			entries = append(entries, slab[from:len(slab):len(slab)])
		}
		err = r.raft.Propose(entries)
		clear(entries)
	}
	if err != nil {
		for _, o := range ops {
			o.Complete(peer.Now(), err)
		}
		return entries
	}
	r.pending.Add(st.Term, ops)
	return entries
}

func (r *Replica[M]) role(leads bool) {
	if r.leads.Swap(leads) && !leads {
		r.pending.Fail(errLost)
	}
}

func (r *Replica[M]) route(m M, to Destination) {
	switch to {
	case ToAppender:
		r.appends.PutUrgent(m)
	case ToApplier:
		r.applies.PutUrgent(m)
	default:
		r.net.Send(m)
	}
}

// deliver sends the responses of a local message: to this node's loop, or to a peer.
func (r *Replica[M]) deliver(responses []M) {
	for _, m := range responses {
		if r.to(m) == r.id {
			r.mailbox.PutUrgent(event[M]{kind: eventMessage, msg: m})
		} else {
			r.net.Send(m)
		}
	}
}

// appender writes. Everything that queued up during a flush goes out with the next one: etcd's group commit.
func (r *Replica[M]) appender() {
	var msgs []M
	for {
		select {
		case <-r.appends.Wait():
		case <-r.stop:
			return
		}
		msgs = r.appends.Swap(msgs)
		if err := r.raft.Save(msgs); err != nil {
			panic(fmt.Sprintf("raftkit: the log failed: %v", err))
		}
		for _, m := range msgs {
			r.deliver(r.raft.Responses(m))
		}
		clear(msgs)
	}
}

// applier executes, and forgets entries that everybody has.
func (r *Replica[M]) applier() {
	var msgs []M
	var entries, bytes int // of this generation
	var previous uint64    // the last index of the one before
	var last uint64
	var now int64
	apply := func(index, term uint64, data []byte) {
		last = index
		entries++
		bytes += len(data)
		if len(data) == 0 {
			return
		}
		if err := r.machine.Apply(data); err != nil {
			panic("BUG: " + err.Error())
		}
		if o := r.pending.Next(term); o != nil {
			o.Complete(now, nil)
		}
	}
	for {
		select {
		case <-r.applies.Wait():
		case <-r.stop:
			return
		}
		msgs = r.applies.Swap(msgs)
		for _, m := range msgs {
			now = peer.Now()
			r.raft.Entries(m, apply)
			r.deliver(r.raft.Responses(m))
			if entries > compactEntries || bytes > compactBytes {
				r.raft.Compact(min(previous, r.compact.Load()))
				previous, entries, bytes = last, 0, 0
			}
		}
		clear(msgs)
	}
}

func (r *Replica[M]) ticker() {
	t := time.NewTicker(r.tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.mailbox.PutUrgent(event[M]{kind: eventTick})
		case <-r.stop:
			return
		}
	}
}
