package peer

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Prober proposes small commands at a rate as long as its replica leads, one after the other from the same ring of
// operations, and remembers when the first and the last of them completed. It is how an outage is seen: the killed
// leader's last success, and the first one of whoever follows it. It goes on until the process ends.
type Prober struct {
	replica  Replica
	inbox    inbox
	ops      []Op
	free     *Op
	number   uint64
	first    atomic.Int64
	last     atomic.Int64
	commands atomic.Uint64
	failed   atomic.Uint64
}

// Probed is what a prober saw. Times are of the machine's monotonic clock, so those of several processes compare.
type Probed struct {
	First    int64  `json:"first"` // 0: nothing has completed
	Last     int64  `json:"last"`
	Commands uint64 `json:"commands"`
	Failed   uint64 `json:"failed"`
}

const proberOps = 4096

// Monotonic is the machine's monotonic clock in nanoseconds, the same for all processes.
func Monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // there is such a clock
	}
	return t.Nano()
}

// Probe starts a prober. base is the number of its first operation.
func Probe(r Replica, rate float64, base uint64) *Prober {
	p := &Prober{replica: r, ops: make([]Op, proberOps), number: base}
	p.inbox.wake = make(chan struct{}, 1)
	for i := range p.ops {
		o := &p.ops[i]
		o.Count, o.Payload, o.inbox = 1, make([]byte, 16), &p.inbox
		o.next, p.free = p.free, o
	}
	go p.run(time.Duration(1e9 / rate))
	return p
}

func (p *Prober) run(gap time.Duration) {
	ticker := time.NewTicker(gap)
	defer ticker.Stop()
	for {
		select {
		case <-p.inbox.wake:
		case <-ticker.C:
			if o := p.free; o != nil && p.replica.Leads() {
				p.free = o.next
				number(o, p.number)
				p.number++
				p.replica.Propose(o)
			}
		}
		for list := p.inbox.take(); list != nil; {
			o := list
			list = o.next
			p.ended(o)
			o.next, p.free = p.free, o
		}
	}
}

func (p *Prober) ended(o *Op) {
	if o.err != nil {
		p.failed.Add(1)
		return
	}
	now := Monotonic()
	p.first.CompareAndSwap(0, now)
	p.last.Store(now)
	p.commands.Add(1)
}

// Read returns what the prober has seen so far. Any goroutine.
func (p *Prober) Read() Probed {
	return Probed{First: p.first.Load(), Last: p.last.Load(), Commands: p.commands.Load(), Failed: p.failed.Load()}
}
