package transport

import (
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the way around fastrpc's worker is never taken, and nobody notices but whoever measures.
func TestLittleIsWrittenBySend(t *testing.T) {
	if !canTryWrite {
		t.Skip("not on this system")
	}
	a, _, _, inB := pair(t, nil)
	l := a.link(2)
	a.Send(2, newFrame(1, 16, 1))
	inB.next(t)
	eventually(t, "the token of the connection's begin is back", func() bool { return !l.slot.armed.Load() })
	for n := range uint64(100) {
		if !a.Send(2, newFrame(1, 200, n)) {
			t.Fatal("dropped")
		}
		if items, _ := l.queue.Len(); items != 0 || l.slot.armed.Load() {
			t.Fatalf("frame %d: %d frames wait, token armed: %v; they were to be written", n, items, l.slot.armed.Load())
		}
		if got, _ := inB.next(t); got != n {
			t.Fatalf("got frame %d, want %d", got, n)
		}
	}
	if !a.Send(2, newFrame(1, writeBuffer, 7)) { // too large for it
		t.Fatal("dropped")
	}
	if got, _ := inB.next(t); got != 7 {
		t.Fatalf("got frame %d", got)
	}
}

// What can go wrong when the socket takes a part of a message only: the rest is lost, or written behind what came later, or
// in the middle of it, or it waits for the next frame, which may never come; or Send waits for the peer. A peer that does not read
// for a while makes the socket full; then it reads, and everything that was not refused must come, whole and in order.
func TestSocketTakesAPart(t *testing.T) {
	if !canTryWrite {
		t.Skip("not on this system")
	}
	t.Run("and nothing more is sent", func(t *testing.T) { testSocketTakesAPart(t, 0) })
	t.Run("and more is sent", func(t *testing.T) { testSocketTakesAPart(t, 20) })
}

func testSocketTakesAPart(t *testing.T, more int) {
	mark := wire.Outstanding()
	lns, addrs := bind(t, 2)
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
	a.Serve(discard)
	gate := make(chan struct{})
	got := make(inbox, 1<<16)
	b.Serve(func(from wire.NodeID, f *wire.Buffer) {
		<-gate
		got.handle(from, f)
	})
	l := a.link(2)
	eventually(t, "connected", func() bool { return l.state.Load() == linkUp })
	eventually(t, "idle", func() bool { return !l.slot.armed.Load() })
	sent := uint64(0)
	send := func(size int) {
		begun := time.Now()
		if a.Send(2, newFrame(1, size, sent)) {
			sent++
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Fatalf("Send took %v: it waited for the peer", took)
		}
	}
	behind := func() bool { return l.slot.conn.Load().direct.behind.Load() }
	for !behind() {
		if send(5000 + int(sent)%1000); sent == 1<<15 {
			t.Fatal("150 MB are under way and the socket takes more")
		}
	}
	for range more { // behind the rest
		send(300)
	}
	eventually(t, "the worker has the token", func() bool { return l.slot.armed.Load() })
	close(gate)
	for want := range sent {
		if n, _ := got.next(t); n != want {
			t.Fatalf("frame %d came, want %d", n, want)
		}
	}
	eventually(t, "no rest is left", func() bool { return !behind() }) // its writer notes it after the frames have come
	a.Close()
	b.Close()
	noneOutstanding(t, mark)
}

// What can go wrong with many senders: two write to the socket at once, or each leaves it to another. A damaged frame cuts the
// connection, a frame that nobody writes never comes.
func TestManySendersDirect(t *testing.T) {
	mark := wire.Outstanding()
	lns, addrs := bind(t, 2)
	a := open(t, Config{Self: 1, Listener: lns[0], Peers: addrs})
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
	a.Serve(discard)
	got := make(inbox, 1<<16)
	n := 0
	b.Serve(func(from wire.NodeID, f *wire.Buffer) {
		if n++; n%1000 == 0 {
			time.Sleep(5 * time.Millisecond) // so that the socket is full now and then
		}
		got.handle(from, f)
	})
	eventually(t, "connected", func() bool { return a.link(2).state.Load() == linkUp })
	const senders, each = 4, 2000
	var wait sync.WaitGroup
	for s := range uint64(senders) {
		wait.Go(func() {
			for i := range uint64(each) {
				size := 16 + int(i*977%3000)
				if i%50 == 0 {
					size = 20000
				}
				for !a.Send(2, newFrame(1, size, s*each+i)) { // the queue is full
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
	seen := make(map[uint64]bool)
	for range senders * each {
		n, _ := got.next(t)
		if seen[n] {
			t.Fatalf("frame %d came twice", n)
		}
		seen[n] = true
	}
	wait.Wait()
	if s := b.Stats(); s.RejectedTotal() != 0 || a.Stats().Disconnects != 0 {
		t.Errorf("connections were cut: %+v", s)
	}
	a.Close()
	b.Close()
	noneOutstanding(t, mark)
}

// What can go wrong: a Send that is late, whose link was closed while another one has taken the slot over, takes the other's connection
// for its own, and sets its deadline beside whoever writes to it.
func TestLateSendLeavesTheNextLinkAlone(t *testing.T) {
	if !canTryWrite {
		t.Skip("not on this system")
	}
	lns, addrs := bind(t, 2)
	lns[0].Close()
	b := open(t, Config{Self: 2, Listener: lns[1], Peers: addrs})
	serve(t, b)
	connected := func() (*TCP, *link) {
		a := open(t, Config{Self: 1, Addr: "127.0.0.1:0", Peers: map[wire.NodeID]string{2: addrs[2]}})
		serve(t, a)
		l := a.link(2)
		eventually(t, "connected", func() bool { return l.slot.conn.Load() != nil })
		return a, l
	}
	first, late := connected()
	first.Close()
	_, l := connected()
	if l.slot != late.slot {
		t.Fatal("the slot was not taken again")
	}
	eventually(t, "idle", func() bool { return !l.slot.armed.Load() })
	l.writing.Lock()
	defer l.writing.Unlock()
	c := l.slot.conn.Load()
	c.out.deadline = 0
	if late.writeDirect() || c.out.deadline != 0 {
		t.Error("it wrote to a connection that is not its own")
	}
}
