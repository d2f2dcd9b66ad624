package client

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Client is a session with one group of a cluster. All methods may be called from any goroutine.
//
// Goroutines: the manager (seek.go), which dials, watches over time and looks for leaders, and two for each connection.
// mu guards all state; no callback and nothing that waits runs under it.
type Client struct {
	c Config

	mu     sync.Mutex
	closed bool

	// The session. 0: not open, nothing can be sent.
	session  wire.SessionID
	nextSeq  wire.Seq // of the next block that is sent for the first time
	opened   chan struct{}
	openID   uint64 // request that opens the session, 0: none
	openSent int64  // awaited since, 0: not
	openings uint64 // counts requests that open

	// Blocks. A block is in exactly one place: in the caller's hands, open, queue, flight, or free.
	open   *block    // takes the commands of Go and Do; nil: none yet. Invariant: not empty
	queue  blockRing // full, never sent
	flight blockRing // sent at least once; by id, with gaps (nil) where blocks were settled out of order
	free   []*block
	nextID uint64

	// Invariant: inFlight = blocks in flight that are not nil; flight.count <= Window.
	inFlight int
	// dispatching counts goroutines that run callbacks: what callbacks add is held until they are through, so that
	// it leaves in one block.
	dispatching int

	queries   map[uint64]*query
	freeQuery []*query
	nextQuery uint64

	// link leads to the node taken for the leader; nil: unknown. hint is who may be it then.
	link    *link
	links   map[*link]struct{} // all that live
	hint    wire.NodeID
	byNode  map[wire.NodeID]string // addresses: configured ones as nodes name themselves, others as nodes name them
	lastErr error                  // why there is no link; for people

	admission admission
	orphans   []orphan // given up, and still at the node of link; at most Window
	crowded   bool     // something is to be sent again and finds no room
	late      []*block // taken from the queue as hopeless; the manager ends them

	// paused: a queue at the leader is full. Nothing is sent until pauseEnd.
	paused    bool
	pauseEnd  int64
	pauseStep time.Duration

	stats   Stats
	wakeAt  int64         // when the manager wakes by itself
	wake    chan struct{} // capacity 1: wakes it earlier
	room    chan struct{} // closed when the queue has room again; nil: nobody waits
	quit    chan struct{} // closed by Close
	refused chan struct{} // closed when every address refuses this client for good
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // manager and dialers
}

// never is a time that does not come.
const never = math.MaxInt64

// started anchors Now.
var started = time.Now()

// Now is the clock of BlockResult's times: nanoseconds since the start of the process, monotonic.
func Now() int64 { return int64(time.Since(started)) }

// Dial finds the leader and opens a session. It gives up when ctx ends or after Config.Timeout, and returns why there
// was no leader.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	cl := newClient(c.withDefaults())
	cl.running.Add(1)
	go newSeeker(cl).run()
	timeout := time.NewTimer(cl.c.Timeout)
	defer timeout.Stop()
	var err error
	select {
	case <-cl.opened:
		return cl, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = ErrTimeout
	case <-cl.refused:
		err = ErrInvalid
	}
	cl.mu.Lock()
	last := cl.lastErr
	cl.mu.Unlock()
	_ = cl.Close()
	if last != nil {
		return nil, fmt.Errorf("%w: no leader found: %w", err, last)
	}
	return nil, fmt.Errorf("%w: no leader found", err)
}

func newClient(c Config) *Client {
	cl := &Client{
		c:         c,
		opened:    make(chan struct{}),
		nextID:    1,
		flight:    blockRing{base: 1},
		queries:   make(map[uint64]*query),
		links:     make(map[*link]struct{}),
		byNode:    make(map[wire.NodeID]string),
		pauseStep: c.RetryMin,
		wakeAt:    never,
		wake:      make(chan struct{}, 1),
		quit:      make(chan struct{}),
		refused:   make(chan struct{}),
	}
	cl.admission = newAdmission(&c)
	cl.ctx, cl.cancel = context.WithCancel(context.Background())
	return cl
}

// Stats are counters since Dial.
type Stats struct {
	Blocks   uint64 // sent for the first time
	Commands uint64 // in them
	Resends  uint64 // of blocks: after a redirect, a lost connection, Busy, or silence
	Busy     uint64 // times a request was turned away because a queue was full
	Expired  uint64 // blocks and queries given up by the leader, or here before they were sent, as too late for their timeout
	Sessions uint64 // opened
	Searches uint64 // for a leader, begun
	Attaches uint64 // connections taken for the leader's
}

// Stats is a reading of the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Session is the present session; 0 if it is being opened anew.
func (c *Client) Session() wire.SessionID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Close ends the client. What was never sent ends with ErrClosed; what was sent and has no answer, with ErrUnknown.
// When Close returns, every callback has returned, the connections are closed, and the cluster has been told, if it
// could be, that the session is over. A second Close waits for the first. It must not be called from a callback.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	var lost lostBlocks
	if first {
		c.endSession()
		c.failAll(&lost)
		close(c.quit)
		c.cancel()
		c.signalRoom()
	}
	links := make([]*link, 0, len(c.links))
	for l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()
	lost.finish(c)
	c.running.Wait()
	for _, l := range links {
		l.close()
		<-l.conn.Done()
	}
	return nil
}

// endSession tells the cluster that the session is over; if that gets lost, the session is evicted in time. mu is held.
func (c *Client) endSession() {
	if c.session != 0 && c.link != nil {
		c.sendControlBlock(c.link, closeID, c.session, 0)
	}
}

// failAll takes everything that waits. mu is held.
func (c *Client) failAll(lost *lostBlocks) {
	for i := range c.flight.count {
		if b := c.flight.at(i); b != nil {
			lost.add(b, b.outcome(ErrClosed, ErrClosed, errClosedSent))
		}
	}
	c.flight, c.inFlight = blockRing{}, 0
	for c.queue.count > 0 {
		lost.add(c.queue.pop(), ErrClosed)
	}
	for _, b := range c.late {
		lost.add(b, ErrClosed)
	}
	c.late = nil
	if c.open != nil {
		lost.add(c.open, ErrClosed)
		c.open = nil
	}
	for id, q := range c.queries {
		delete(c.queries, id)
		lost.addQuery(q, ErrClosed)
	}
}

// arm makes the manager look after things at time t, if it would not earlier. mu is held.
func (c *Client) arm(t int64) {
	if t < c.wakeAt {
		c.wakeAt = t
		c.poke()
	}
}

// poke wakes the manager.
func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// signalRoom wakes those who wait for room. mu is held.
func (c *Client) signalRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}
