package raftkit

import (
	"sync"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// Pending is the operations under way, in the order of their entries: a leader's entries are applied in the order in
// which it appended them, so no numbers in entries and no map are needed. Invariant: entries of another term than the
// first batch's are not ours.
type Pending struct {
	mu      sync.Mutex
	batches []pendingBatch
	current pendingBatch // the applier's, being used up
}

type pendingBatch struct {
	term uint64
	ops  []*peer.Op
}

// Add queues operations that were proposed in a term, in this order. The slice stays the caller's.
func (p *Pending) Add(term uint64, ops []*peer.Op) {
	b := pendingBatch{term: term, ops: append([]*peer.Op(nil), ops...)}
	p.mu.Lock()
	p.batches = append(p.batches, b)
	p.mu.Unlock()
}

// Next is the operation of the next entry of a term; nil: it is not one of this node's.
func (p *Pending) Next(term uint64) *peer.Op {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.current.ops) == 0 {
		if len(p.batches) == 0 {
			return nil
		}
		p.current = p.batches[0]
		p.batches[0] = pendingBatch{}
		p.batches = p.batches[1:]
	}
	if p.current.term != term {
		return nil
	}
	o := p.current.ops[0]
	p.current.ops = p.current.ops[1:]
	return o
}

// Fail ends everything under way.
func (p *Pending) Fail(err error) {
	p.mu.Lock()
	all := append([]pendingBatch{p.current}, p.batches...)
	p.current, p.batches = pendingBatch{}, nil
	p.mu.Unlock()
	for _, b := range all {
		for _, o := range b.ops {
			o.Complete(peer.Now(), err)
		}
	}
}
