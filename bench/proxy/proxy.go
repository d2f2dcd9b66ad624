package proxy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// dialLimit bounds the making of a connection to the far end.
const dialLimit = 2 * time.Second

// Proxy takes connections at an address of its own and hands them on to another one.
type Proxy struct {
	listener    *net.TCPListener
	upstream    string
	forth, back *Path
	seed        uint64
	mu          sync.Mutex
	conns       map[*conn]struct{}
	number      uint64
	shut        bool
	running     sync.WaitGroup
}

// Listen begins to take connections on a free loopback port, for upstream. Bytes from those who connect go under the
// conditions of forth, what they are answered under those of back. seed decides the jitter.
func Listen(upstream string, forth, back *Path, seed uint64) (*Proxy, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("proxy: for %s: %w", upstream, err)
	}
	p := &Proxy{listener: l, upstream: upstream, forth: forth, back: back, seed: seed, conns: map[*conn]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		raw, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of descriptors there may be none left for a while
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p.mu.Lock()
		if p.shut {
			p.mu.Unlock()
			raw.Close()
			continue
		}
		p.number++
		c := &conn{proxy: p, number: p.number, near: raw, closed: make(chan struct{})}
		p.conns[c] = struct{}{}
		p.running.Go(c.run)
		p.mu.Unlock()
	}
}

// Reset resets all connections there are and says how many.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset(p.forth)
	}
	return len(p.conns)
}

// Conns is the number of connections there are.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Close ends the proxy and all its connections, and returns when nothing of it runs.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.shut = true
	for c := range p.conns {
		c.reset(nil)
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}

// conn is one connection and its continuation.
type conn struct {
	proxy  *Proxy
	number uint64
	near   *net.TCPConn

	mu     sync.Mutex
	far    *net.TCPConn // nil: not made yet
	over   bool
	closed chan struct{}
}

// run is the connection's life. The near side's stream is read from the beginning, also while there is no far side: else
// its end would go unnoticed.
func (c *conn) run() {
	p := c.proxy
	defer func() {
		c.close(false, nil)
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	forth := newFlow(c, p.forth, c.near)
	var flows sync.WaitGroup
	defer flows.Wait()
	defer c.close(false, nil)
	flows.Go(func() { forth.read(p.rng(2 * c.number)) })
	if !c.connect(forth) {
		return
	}
	back := newFlow(c, p.back, c.far)
	var both sync.WaitGroup
	both.Go(func() { forth.write(c.far) })
	both.Go(func() { back.write(c.near) })
	flows.Go(func() { back.read(p.rng(2*c.number + 1)) })
	both.Wait()
}

// rng is the random numbers of one flow.
func (p *Proxy) rng(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, stream)) }

// connect makes the far side, once both directions are open: a connection takes packets both ways. A sender that gives
// up before leaves no trace: the far end never heard of it.
func (c *conn) connect(forth *flow) bool {
	forth.timer = time.NewTimer(time.Hour)
	defer forth.timer.Stop()
	p := c.proxy
	for {
		f, forthChanged := p.forth.look()
		b, backChanged := p.back.look()
		open := f.Cut == Open && b.Cut == Open
		if f.Cut == Refuse || b.Cut == Refuse || open && forth.holed {
			c.reset(p.forth)
			return false
		}
		if open {
			if d := f.Latency + b.Latency; d > 0 && !forth.wait(time.Now().Add(d), nil) {
				return false
			}
			return c.dial()
		}
		var hole <-chan piece
		if f.Cut == Swallow || b.Cut == Swallow {
			hole = forth.line
		}
		select {
		case lost := <-hole:
			forth.holed = true
			p.forth.swallowed.Add(uint64(len(lost.bytes)))
			lost.release()
		case <-forth.gone:
			return false
		case <-forthChanged:
		case <-backChanged:
		case <-c.closed:
			return false
		}
	}
}

func (c *conn) dial() bool {
	raw, err := net.DialTimeout("tcp", c.proxy.upstream, dialLimit)
	if err != nil {
		c.reset(nil)
		return false
	}
	far := raw.(*net.TCPConn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		far.Close()
		return false
	}
	c.far = far
	return true
}

// reset ends both sides with an RST. because is the path to count it for; nil: none.
func (c *conn) reset(because *Path) { c.close(true, because) }

func (c *conn) close(abort bool, because *Path) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	if because != nil {
		because.resets.Add(1)
	}
	close(c.closed)
	for _, side := range []*net.TCPConn{c.near, c.far} {
		if side == nil {
			continue
		}
		if abort {
			_ = side.SetLinger(0) // then Close sends an RST
		}
		side.Close()
	}
}
