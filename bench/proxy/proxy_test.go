package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long what must happen may take on a busy machine; silence is how long what must not happen is
// waited for.
const (
	limit   = 20 * time.Second
	silence = 100 * time.Millisecond
)

// listen is a far end that handles each connection with serve.
func listen(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { // before this the proxies are closed, and with them the connections
		l.Close()
		wait.Wait()
	})
	return l.Addr().String()
}

func echo(c *net.TCPConn) { io.Copy(c, c) }

// rig is a proxy in front of a far end.
type rig struct {
	*Proxy
	t *testing.T
}

func newRig(t *testing.T, serve func(*net.TCPConn)) *rig {
	t.Helper()
	upstream := listen(t, serve)
	p, err := Listen(upstream, NewPath(), NewPath(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &rig{p, t}
}

func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(limit))
	r.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got[:n], err, text)
	}
}

// quiet demands that nothing comes.
func quiet(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(silence))
	defer c.SetReadDeadline(time.Now().Add(limit))
	if n, err := c.Read(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v; want silence", n, err)
	}
}

func mustBeReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 64)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%d bytes, %v; want a reset", n, err)
	}
}

// A proxy that changes, loses or reorders bytes would plant faults that TCP cannot have, and blame the engine for them:
// under every delay, with changes of it in the middle, both streams must come out as they went in, to their ends.
func TestStreamsStayWhole(t *testing.T) {
	for _, c := range []Conditions{
		{}, {Latency: 3 * time.Millisecond}, {Latency: time.Millisecond, Jitter: 5 * time.Millisecond}, {Bandwidth: 8 << 20},
		{Latency: time.Millisecond, Jitter: time.Millisecond, Bandwidth: 16 << 20},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, echo)
			r.forth.Set(c)
			r.back.Set(c)
			conn := r.dial()
			rng := rand.New(rand.NewPCG(7, 7))
			data := make([]byte, 2<<20)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			var wait sync.WaitGroup
			wait.Go(func() {
				for at := 0; at < len(data); {
					n := min(1+rng.IntN(50_000), len(data)-at)
					if _, err := conn.Write(data[at : at+n]); err != nil {
						t.Error(err)
						return
					}
					at += n
					switch rng.IntN(8) {
					case 0:
						r.forth.Set(Conditions{Cut: Hold, Latency: c.Latency})
						time.Sleep(time.Millisecond)
						r.forth.Set(c)
					case 1:
						r.back.Set(Conditions{Latency: time.Duration(rng.IntN(int(3 * time.Millisecond)))})
					}
				}
				conn.CloseWrite()
			})
			got, err := io.ReadAll(conn)
			wait.Wait()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d came back, whole: %v; %v", len(got), len(data), bytes.Equal(got, data), err)
			}
			if s := r.back.Stats(); s.Delivered != uint64(len(data)) || s.Resets != 0 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// Latency that is short of what was asked for, or a multiple of it, makes every number behind a slow link wrong. No
// round trip may be faster; the best of several shows what the proxy adds when the machine lets it.
func TestLatency(t *testing.T) {
	r := newRig(t, echo)
	const one = 20 * time.Millisecond
	r.forth.Set(Conditions{Latency: one})
	r.back.Set(Conditions{Latency: one / 2, Jitter: one / 2})
	c := r.dial()
	send(t, c, "?")
	expect(t, c, "?") // connecting has its own round trip
	best := time.Hour
	for range 30 {
		start := time.Now()
		send(t, c, "?")
		expect(t, c, "?")
		took := time.Since(start)
		if took < one*3/2 {
			t.Errorf("a round trip of %s, over %s each way", took, one)
		}
		if best = min(best, took); best <= 2*one {
			break
		}
	}
	if best > 3*one {
		t.Errorf("the best of 30 round trips took %s, want about %s", best, one*7/4)
	}
	// Pieces under way overlap: as many as the window holds take one latency, not one each.
	best = time.Hour
	for range 5 {
		start := time.Now()
		for range 40 {
			send(t, c, "another piece")
			time.Sleep(100 * time.Microsecond)
		}
		for range 40 {
			expect(t, c, "another piece")
		}
		if best = min(best, time.Since(start)); best <= 20*one {
			return
		}
	}
	t.Errorf("40 pieces took %s at best: one after the other", best)
}

// A limited line must not carry more than its limit, whoever shares it, and must carry about that.
func TestBandwidth(t *testing.T) {
	r := newRig(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	const limited, each = 1 << 20, 150 << 10
	r.forth.Set(Conditions{Bandwidth: limited})
	start := time.Now()
	var wait sync.WaitGroup
	for range 2 {
		c := r.dial()
		wait.Go(func() {
			c.Write(make([]byte, each))
			c.CloseWrite()
			io.Copy(io.Discard, c) // until the far end has read all and closed
		})
	}
	wait.Wait()
	least := time.Duration(2 * each * 1e9 / limited)
	if took := time.Since(start); took < least*9/10 || took > least+limit/4 {
		t.Errorf("2 x %d bytes took %s over %d bytes/s, want about %s", each, took, limited, least)
	}
}

// A cut of one direction must stop it, for connections that exist and for new ones, leave the other one alone, hide the
// death of the sender, and lose nothing at the heal.
func TestHold(t *testing.T) {
	accepted := make(chan *net.TCPConn, 8)
	release := make(chan struct{})
	r := newRig(t, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(limit))
		accepted <- c
		<-release
	})
	defer close(release)
	a := r.dial()
	far := <-accepted
	send(t, a, "one")
	expect(t, far, "one")
	r.forth.Set(Conditions{Cut: Hold})
	send(t, a, "two")
	quiet(t, far)
	send(t, far, "backwards")
	expect(t, a, "backwards")
	late := r.dial() // seems to come up
	send(t, late, "late")
	gone := r.dial()
	send(t, gone, "never")
	gone.Close()
	a.CloseWrite()
	quiet(t, far) // nor is its end seen
	select {
	case <-accepted:
		t.Error("a connection came through the cut")
	default:
	}
	r.forth.Set(Conditions{})
	expect(t, far, "two")
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want the end of the stream", err)
	}
	send(t, far, "still")
	expect(t, a, "still")
	second := <-accepted
	expect(t, second, "late")
	select {
	case c := <-accepted:
		t.Errorf("a connection whose maker had given up came through: %v", c.RemoteAddr())
	case <-time.After(silence):
	}
}

// In a black hole the sender must notice nothing; but a stream with a hole in it must never go on.
func TestSwallow(t *testing.T) {
	accepted := make(chan *net.TCPConn, 8)
	release := make(chan struct{})
	r := newRig(t, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(limit))
		accepted <- c
		<-release
	})
	defer close(release)
	a := r.dial()
	far := <-accepted
	b := r.dial()
	farB := <-accepted
	r.forth.Set(Conditions{Cut: Swallow})
	send(t, a, "lost")
	fresh := r.dial()
	send(t, fresh, "lost too")
	quiet(t, far)
	send(t, far, "backwards")
	expect(t, a, "backwards")
	quiet(t, fresh)
	for deadline := time.Now().Add(limit); r.forth.Stats().Swallowed != uint64(len("lostlost too")); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("swallowed %+v", r.forth.Stats())
		}
	}
	r.forth.Set(Conditions{})
	mustBeReset(t, a)
	mustBeReset(t, far)
	mustBeReset(t, fresh)
	send(t, b, "whole") // it lost nothing
	expect(t, farB, "whole")
	c := r.dial()
	send(t, c, "again")
	expect(t, <-accepted, "again")
	if s := r.forth.Stats(); s.Resets != 2 {
		t.Errorf("%+v, want 2 resets", s)
	}
}

// A reset must end both sides at once, in the middle of whatever was on its way, and let new connections through; refused
// ones must not get anywhere.
func TestResetAndRefuse(t *testing.T) {
	r := newRig(t, echo)
	a, b := r.dial(), r.dial()
	for _, c := range []net.Conn{a, b} {
		send(t, c, "x")
		expect(t, c, "x")
	}
	r.forth.Set(Conditions{Latency: time.Hour})
	send(t, a, "under way")
	if n := r.Reset(); n != 2 {
		t.Errorf("%d connections reset", n)
	}
	mustBeReset(t, a)
	mustBeReset(t, b)
	r.forth.Set(Conditions{})
	c := r.dial()
	send(t, c, "new")
	expect(t, c, "new")
	r.back.Set(Conditions{Cut: Refuse})
	mustBeReset(t, c)
	if d, err := net.Dial("tcp", r.Addr()); err == nil {
		defer d.Close()
		d.SetDeadline(time.Now().Add(limit))
		if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a refused connection lives: %v", err)
		}
	}
	r.back.Set(Conditions{})
	e := r.dial()
	send(t, e, "open")
	expect(t, e, "open")
}

// A far end that is not there must look like one that goes away, and come back when it does.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Listen(l.Addr().String(), NewPath(), NewPath(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l.Close()
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // else the reset was here before Dial was done
		defer c.Close()
		c.SetDeadline(time.Now().Add(limit))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("somebody answered")
		}
	}
	for deadline := time.Now().Add(limit); p.Conns() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still there", p.Conns())
		}
	}
}

// A closed proxy that leaves goroutines or connections behind would keep a benchmark of many runs from ending clean;
// TestMain looks for the goroutines.
func TestClose(t *testing.T) {
	r := newRig(t, echo)
	r.forth.Set(Conditions{Cut: Hold})
	r.back.Set(Conditions{Latency: time.Hour})
	for range 20 {
		send(t, r.dial(), "waiting")
	}
	r.back.Set(Conditions{Bandwidth: 1})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Conns() != 0 {
		t.Errorf("%d connections are still there", r.Conns())
	}
	if c, err := net.Dial("tcp", r.Addr()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// Paths of a mesh that are crossed would cut another link than the report says.
func TestMesh(t *testing.T) {
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, listen(t, func(c *net.TCPConn) {
			fmt.Fprintf(c, "node %d", i+1)
			io.Copy(io.Discard, c)
		}))
	}
	m, err := NewMesh(addrs, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	reaches := func(from, to int) bool {
		c, err := net.Dial("tcp", m.Addr(from, to))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(limit))
		if m.Path(from, to).Conditions().Cut != Open || m.Path(to, from).Conditions().Cut != Open {
			c.SetReadDeadline(time.Now().Add(silence))
		}
		got := make([]byte, 6)
		_, err = io.ReadFull(c, got)
		if err == nil && string(got) != fmt.Sprintf("node %d", to) {
			t.Errorf("from %d to %d: %q", from, to, got)
		}
		return err == nil
	}
	cut := [2]int{2, 3}
	m.Path(cut[0], cut[1]).Set(Conditions{Cut: Hold})
	for from := range 4 {
		for to := 1; to <= 3; to++ {
			if from == to {
				continue
			}
			want := [2]int{from, to} != cut && [2]int{to, from} != cut // both directions make a connection
			if reaches(from, to) != want {
				t.Errorf("from %d to %d: reached %v", from, to, !want)
			}
		}
	}
	m.Heal()
	if !reaches(2, 3) || m.Stats().Delivered == 0 {
		t.Errorf("not healed: %+v", m.Stats())
	}
}
