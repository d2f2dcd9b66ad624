package transport

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/valyala/fastrpc"

	"github.com/paxbench/paxbench/wire"
)

// A slot is a fastrpc.Client that one link at a time uses. fastrpc's client cannot be closed: its two goroutines (the
// worker, and the one that sweeps stale requests) live as long as the process. So slots are never thrown away: a link
// that closes leaves its slot to the next one, and a process has as many as it ever had links open at once.
//
// What goes through fastrpc's own queue is not frames but a token: the slot itself, at most one at a time. When the
// worker comes to it, the token writes all frames that wait in the link's queue as one message. Frames in fastrpc's
// queue was the plain design. It could not bound the queue by bytes, could not take back what waits for a peer that is
// gone (fastrpc keeps it for 10 s and then delivers it stale, or drops it), lost the order of frames (the worker and
// the sweeper rotate the queue), and cost a channel operation and a clock reading for each frame.
//
// When little waits and nobody writes, Send writes it itself and arms nothing (direct).
//
// Invariant: while a link is attached and either has no connection or has frames waiting, or a rest of a direct write, a token
// is armed, the worker is inside dial, or a Send is about to see to it. It is restored wherever it could break:
//
//  1. attach, and the end of a connection, arm;
//  2. a Send arms after its frame is in the queue, unless it has written the queue itself, and whole;
//  3. fastrpc is done with a token (written, failed, or swept): released looks again and arms if need be. A frame that
//     came after the token took the queue but before released found the token still armed; this look finds the frame.
type slot struct {
	client fastrpc.Client
	done   func(fastrpc.RequestWriter) // released, as one value: a method value allocates at each use
	armed  atomic.Bool                 // the token is with fastrpc
	conn   atomic.Pointer[peerOut]     // the connection that is up, or nil

	mu       sync.Mutex
	attached sync.Cond
	link     *link // nil: nobody uses the slot
}

// slots holds those that no link uses.
var slots struct {
	sync.Mutex
	free []*slot
}

func takeSlot() *slot {
	slots.Lock()
	defer slots.Unlock()
	if n := len(slots.free); n > 0 {
		s := slots.free[n-1]
		slots.free = slots.free[:n-1]
		return s
	}
	s := &slot{}
	s.attached.L = &s.mu
	s.done = s.released
	s.client.SniffHeader = wire.PeerPreamble
	s.client.ProtocolVersion = wire.Version
	s.client.CompressType = fastrpc.CompressNone // the zero value is flate
	s.client.NewResponse = func() fastrpc.ResponseReader { return noResponse{} }
	s.client.Dial = s.dial
	s.client.WriteBufferSize = writeBuffer
	s.client.ReadBufferSize = 64    // nothing comes back
	s.client.MaxPendingRequests = 8 // one token, and room for the moments in which the sweeper or worker re-queues it
	return s
}

func putSlot(s *slot) {
	slots.Lock()
	slots.free = append(slots.free, s)
	slots.Unlock()
}

// attach gives the slot to l, which makes the worker connect.
func (s *slot) attach(l *link) {
	s.mu.Lock()
	if s.link != nil {
		panic("BUG: transport: slot attached twice")
	}
	s.link = l
	s.mu.Unlock()
	s.attached.Broadcast()
	s.arm()
}

// detach takes the slot from its link. The worker, wherever it is, comes to rest by itself.
func (s *slot) detach() {
	s.mu.Lock()
	s.link = nil
	s.mu.Unlock()
}

// user is the link that uses the slot, or nil.
func (s *slot) user() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// arm hands the token to fastrpc unless it is there already.
func (s *slot) arm() {
	if s.armed.Load() || !s.armed.CompareAndSwap(false, true) {
		return
	}
	if !s.client.SendNowait(s, s.done) {
		panic("BUG: transport: fastrpc's queue is full of one token")
	}
}

// released is called by fastrpc, once for each token, when it is done with it in whatever way.
func (s *slot) released(fastrpc.RequestWriter) {
	s.armed.Store(false)
	l := s.user()
	if l == nil {
		return
	}
	c := s.conn.Load()
	if n, _ := l.queue.Len(); n > 0 || c == nil || c.direct.behind.Load() {
		s.arm()
	}
}

var errLinkDown = errors.New("transport: the connection is gone")

// WriteRequest implements fastrpc.RequestWriter: it writes everything that waits.
func (s *slot) WriteRequest(bw *bufio.Writer) error {
	c := s.conn.Load()
	if c == nil {
		return errLinkDown // the writer of a connection that has just ended; returning ends it too
	}
	return c.link.write(bw, c)
}

// dial is fastrpc's Dial. It returns only with a connection whose handshake is over, because fastrpc answers an error,
// of dialling or of the handshake, with a sleep of 1 s. It is called by the worker, for one connection at a time and
// never while the last one's reader or writer runs.
func (s *slot) dial(string) (net.Conn, error) {
	for {
		s.mu.Lock()
		for s.link == nil {
			s.attached.Wait()
		}
		l := s.link
		s.mu.Unlock()
		if c := l.connect(); c != nil {
			return c, nil
		}
	}
}

// noResponse is what a peer answers: nothing, ever.
type noResponse struct{}

func (noResponse) ReadResponse(*bufio.Reader) error {
	return errors.New("transport: a peer sent bytes where it has nothing to say")
}
