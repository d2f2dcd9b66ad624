package proxy

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Cut is whether a direction carries bytes, and what becomes of them if not.
type Cut uint8

// The states of a direction.
const (
	Open    Cut = iota // bytes flow
	Hold               // they wait, and are delivered late
	Swallow            // they are thrown away, and the connection is reset when the direction opens again
	Refuse             // connections are reset
)

// String is the name of a state.
func (c Cut) String() string {
	names := [...]string{"open", "hold", "swallow", "refuse"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("Cut(%d)", uint8(c))
}

// Conditions are those of one direction. The zero value is an open direction without any delay.
type Conditions struct {
	Cut       Cut
	Latency   time.Duration // of each piece
	Jitter    time.Duration // up to so much more, drawn for each piece
	Bandwidth int64         // bytes per second, of all connections together; 0: unlimited
}

// Path is one direction between two ends. Its methods may be called by many goroutines.
type Path struct {
	delivered, swallowed, resets atomic.Uint64

	mu      sync.Mutex
	now     Conditions
	changed chan struct{} // closed at the next Set
	free    time.Time     // when the limited line has sent what it was given
}

// NewPath is an open direction.
func NewPath() *Path { return &Path{changed: make(chan struct{})} }

// Set changes the conditions of everything from now on, connections that exist included. Pieces that are on
// their way keep their delay.
func (p *Path) Set(c Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.free = c, time.Time{}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Conditions are the present ones.
func (p *Path) Conditions() Conditions {
	c, _ := p.look()
	return c
}

// look gives the conditions, and what is closed when they change.
func (p *Path) look() (Conditions, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.changed
}

// reserve gives n bytes their time on the line and says when the last of them has been sent; the zero time: at once.
func (p *Path) reserve(n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Bandwidth <= 0 {
		return time.Time{}
	}
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.now.Bandwidth) * 1e9))
	return p.free
}

// Stats are counters since the path was made.
type Stats struct {
	Delivered uint64 // bytes
	Swallowed uint64 // bytes
	Resets    uint64 // connections that were reset because of this direction, or by Proxy.Reset
}

// Stats reads the counters.
func (p *Path) Stats() Stats {
	return Stats{p.delivered.Load(), p.swallowed.Load(), p.resets.Load()}
}
