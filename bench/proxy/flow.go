package proxy

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	pieceBytes = 16 << 10
	pieces     = 64 // on their way in one direction of a connection; the product is the window
)

// piece is what one read gave, and when it may be delivered.
type piece struct {
	bytes []byte // of a buffer of the pool
	at    time.Time
	reset bool // not bytes: the sender's side was reset
}

var buffers = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

func (p *piece) release() {
	if p.bytes != nil {
		buffers.Put((*[pieceBytes]byte)(p.bytes[:pieceBytes]))
		p.bytes = nil
	}
}

func newFlow(c *conn, path *Path, src *net.TCPConn) *flow {
	return &flow{conn: c, path: path, src: src, line: make(chan piece, pieces), gone: make(chan struct{})}
}

// flow is one direction of one connection: a reader that takes what comes, up to the window, and a writer that delivers
// it as the path's conditions have it.
type flow struct {
	conn *conn
	path *Path
	src  *net.TCPConn
	line chan piece    // closed by the reader at the end of the stream
	gone chan struct{} // closed with it

	// The rest is the writer's.
	timer  *time.Timer
	holed  bool // bytes were thrown away: the stream must not go on
	broken bool // the receiver's side is gone: the rest of the stream goes nowhere
}

// read takes what the sender sends until its stream ends. An error is a reset, which follows the bytes.
func (f *flow) read(rng *rand.Rand) {
	defer close(f.gone)
	defer close(f.line)
	var last time.Time
	for {
		buf := buffers.Get().(*[pieceBytes]byte)
		n, err := f.src.Read(buf[:])
		p := piece{bytes: buf[:n], at: f.stamp(&last, rng), reset: err != nil && err != io.EOF}
		if n == 0 {
			p.release()
		}
		if n > 0 || p.reset {
			select {
			case f.line <- p:
			case <-f.conn.closed:
				p.release()
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stamp is when a piece that was read now may be delivered: not before the piece ahead of it.
func (f *flow) stamp(last *time.Time, rng *rand.Rand) time.Time {
	c := f.path.Conditions()
	if c.Latency == 0 && c.Jitter == 0 && last.IsZero() {
		return time.Time{}
	}
	at := time.Now().Add(c.Latency)
	if c.Jitter > 0 {
		at = at.Add(time.Duration(rng.Int64N(int64(c.Jitter))))
	}
	if at.Before(*last) {
		at = *last
	}
	*last = at
	return at
}

// write delivers to dst until the stream or the connection ends.
func (f *flow) write(dst *net.TCPConn) {
	f.timer = time.NewTimer(time.Hour)
	defer f.timer.Stop()
	for {
		now, changed := f.path.look()
		if f.mustReset(now) {
			f.conn.reset(f.path)
			return
		}
		select {
		case p, ok := <-f.line:
			if !ok {
				f.finish(dst)
				return
			}
			over := f.deliver(dst, &p)
			p.release()
			if over {
				return
			}
		case <-changed:
		case <-f.conn.closed:
			return
		}
	}
}

func (f *flow) mustReset(now Conditions) bool {
	return now.Cut == Refuse || f.holed && now.Cut != Swallow
}

// deliver is true when nothing more is to be delivered.
func (f *flow) deliver(dst *net.TCPConn, p *piece) (over bool) {
	if f.broken {
		return false
	}
	for {
		now, changed := f.path.look()
		switch {
		case f.mustReset(now):
			f.conn.reset(f.path)
			return true
		case now.Cut == Swallow:
			f.holed = true
			f.path.swallowed.Add(uint64(len(p.bytes)))
			return false
		case now.Cut == Hold:
			if !f.wait(time.Time{}, changed) {
				return true
			}
			continue
		case !p.at.IsZero() && time.Until(p.at) > 0:
			if !f.wait(p.at, changed) {
				return true
			}
			continue
		}
		break
	}
	if p.reset {
		f.conn.reset(nil)
		return true
	}
	// A cut that comes while the line is sending lets this piece through: packets that are under way arrive.
	if done := f.path.reserve(len(p.bytes)); !done.IsZero() && !f.wait(done, nil) {
		return true
	}
	n, err := dst.Write(p.bytes)
	f.path.delivered.Add(uint64(n))
	// The receiver's side is gone. That is for the other direction to tell the sender, by its end of the stream: if
	// that direction is cut, the sender must not know.
	f.broken = err != nil
	return false
}

// wait is until at (zero: without end), or a change; false: the connection was closed.
func (f *flow) wait(at time.Time, changed <-chan struct{}) bool {
	var expired <-chan time.Time
	if !at.IsZero() {
		f.timer.Reset(time.Until(at))
		expired = f.timer.C
	}
	select {
	case <-expired:
	case <-changed:
	case <-f.conn.closed:
		return false
	}
	return true
}

// finish hands on the end of the stream, when the conditions let it through.
func (f *flow) finish(dst *net.TCPConn) {
	end := piece{}
	if f.broken || f.deliver(dst, &end) {
		return
	}
	if f.holed { // its end was swallowed too: wait for the reset
		for f.holed {
			now, changed := f.path.look()
			if f.mustReset(now) {
				f.conn.reset(f.path)
				return
			}
			if !f.wait(time.Time{}, changed) {
				return
			}
		}
	}
	_ = dst.CloseWrite() // an error says that it is gone already
}
