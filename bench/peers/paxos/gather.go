package paxos

import (
	"sync"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// Bounds of a gathered block, and how many may be under way before commands wait for company: those of engine/client.
const (
	blockBytes    = 64 << 10
	blockCommands = 4096
	pipeline      = 4
)

// gatherer makes blocks of single commands: a block leaves when fewer than pipeline are under way, or when it is full;
// meanwhile the next one grows. No timer. It is the core of what engine/client does, without sessions and retries.
type gatherer struct {
	replica *replica

	mu       sync.Mutex
	open     *block // nil: nothing waits
	underWay int
}

func (g *gatherer) add(o *peer.Op) {
	g.mu.Lock()
	var full *block
	if b := g.open; b != nil && (b.commands >= blockCommands || b.frame.Len()+len(o.Payload)+5 > blockBytes) {
		full = g.leave()
	}
	if g.open == nil {
		g.open = g.replica.newBlock(max(blockBytes, len(o.Payload)+5))
		g.open.gathered = true
	}
	g.open.add(o)
	var b *block
	if g.underWay < pipeline {
		b = g.leave()
	}
	g.mu.Unlock()
	// Outside of the lock: a refused block completes, and comes back, on this goroutine.
	if full != nil {
		g.replica.send(full)
	}
	if b != nil {
		g.replica.send(b)
	}
}

// leave takes the open block for sending. The caller holds mu.
func (g *gatherer) leave() *block {
	b := g.open
	g.open = nil
	g.underWay++
	return b
}

func (g *gatherer) ended() {
	g.mu.Lock()
	g.underWay--
	var b *block
	if g.open != nil && g.underWay < pipeline {
		b = g.leave()
	}
	g.mu.Unlock()
	if b != nil {
		g.replica.send(b)
	}
}
