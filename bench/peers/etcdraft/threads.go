package etcdraft

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// appender writes. Everything that queued up during a flush goes out with the next one: etcd's group commit.
func (r *replica) appender() {
	var msgs []raftpb.Message
	var entries []raftpb.Entry
	for {
		select {
		case <-r.appends.Wait():
		case <-r.stop:
			return
		}
		msgs = r.appends.Swap(msgs)
		entries = entries[:0]
		var hard raftpb.HardState
		for i := range msgs {
			m := &msgs[i]
			if m.Snapshot != nil {
				panic("BUG: etcdraft: a snapshot arrived; none is ever made")
			}
			entries = append(entries, m.Entries...)
			if m.Term != 0 || m.Vote != 0 || m.Commit != 0 {
				hard = raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
			}
		}
		if err := r.log.Save(hard, entries); err != nil {
			panic(fmt.Sprintf("etcdraft: the log failed: %v", err))
		}
		for i := range msgs {
			// One by one: a later message may replace entries of an earlier one.
			if err := r.storage.Append(msgs[i].Entries); err != nil {
				panic(fmt.Sprintf("etcdraft: append in memory: %v", err))
			}
		}
		if !raft.IsEmptyHardState(hard) {
			if err := r.storage.SetHardState(hard); err != nil {
				panic(fmt.Sprintf("etcdraft: hard state: %v", err))
			}
		}
		for i := range msgs {
			r.deliver(msgs[i].Responses)
			msgs[i] = raftpb.Message{}
		}
		clear(entries)
	}
}

// applier executes, and forgets entries that everybody has.
func (r *replica) applier() {
	var msgs []raftpb.Message
	var entries, bytes int // of this generation
	var previous uint64    // the last index of the one before
	for {
		select {
		case <-r.applies.Wait():
		case <-r.stop:
			return
		}
		msgs = r.applies.Swap(msgs)
		for i := range msgs {
			var last uint64
			now := peer.Now()
			for j := range msgs[i].Entries {
				e := &msgs[i].Entries[j]
				last = e.Index
				entries++
				bytes += len(e.Data)
				if e.Type != raftpb.EntryNormal || len(e.Data) == 0 {
					continue // a new leader's empty entry
				}
				if err := r.machine.Apply(e.Data); err != nil {
					panic("BUG: " + err.Error())
				}
				if o := r.pending.Next(e.Term); o != nil {
					o.Complete(now, nil)
				}
			}
			r.deliver(msgs[i].Responses)
			msgs[i] = raftpb.Message{}
			if entries > compactEntries || bytes > compactBytes {
				// Refused (already compacted): nothing to do.
				_ = r.storage.Compact(min(previous, r.minMatch.Load()))
				previous, entries, bytes = last, 0, 0
			}
		}
	}
}
