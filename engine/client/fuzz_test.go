package client

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// fuzzClient is a client without a network, with a link that leads nowhere.
func fuzzClient() (*Client, *link) {
	c := newClient(Config{Cluster: testCluster, Addrs: []string{"x:1"}, Timeout: time.Hour}.withDefaults())
	l := &link{c: c, seeker: newSeeker(c)}
	close(c.quit) // nobody takes events
	return c, l
}

// FuzzFrames gives a client arbitrary replies, answers and welcomes (as they come from the transport: whole frames with
// a sound CRC) while a block and a query wait: never a panic, and each callback at most once.
func FuzzFrames(f *testing.F) {
	ok := wire.Reply{Request: 1, Session: 5, First: 1, Count: 2, Slot: 9, Results: []byte{1, 'a', 1, 'b'}}
	for _, r := range []wire.Reply{ok, {Request: 1, Status: wire.StatusInvalid}, {Request: 1, Status: wire.StatusTooLarge},
		{Request: 1, Status: wire.StatusUnknown, Slot: 3}, {Request: 1, Session: 5, First: 2, Count: 2, Empty: true}} {
		b := wire.Get(256)
		wire.AppendReply(b, testCluster, 1, 1, &r)
		f.Add(b.Bytes())
	}
	b := wire.Get(256)
	wire.AppendAnswer(b, testCluster, 1, 1, &wire.Answer{Request: queryBit | 1, Body: []byte("x")})
	f.Add(b.Bytes())
	f.Add([]byte("welcome"))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, l := fuzzClient()
		calls := 0
		c.mu.Lock()
		blk := c.takeBlock()
		blk.user.b = nil
		for range 2 {
			blk.add(&c.c, []byte("cmd"))
			blk.dones = append(blk.dones, DoneFunc(func(*Result) { calls++ }))
		}
		blk.place(c.nextID, 5, 1, 1)
		blk.seal(&c.c, 1)
		c.nextID++
		c.flight.push(blk)
		c.inFlight++
		c.mu.Unlock()
		if err := c.GoQuery(nil, wire.QueryStale, DoneFunc(func(*Result) { calls += 10 })); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			deliver(c, l, p)
		}
		if _, err := parseWelcomeText(wire.StatusOK, p); err == nil && len(p) == 0 {
			t.Fatal("an empty welcome")
		}
		_, _, _ = decodeNodeReply(p)
		if calls != 0 && calls != 2 && calls != 10 && calls != 12 {
			t.Fatalf("callbacks: %d", calls)
		}
	})
}

// deliver gives a frame to the handlers that do not need a connection. A violation closes the link, which there is
// none of here, so only what decodes is passed on.
func deliver(c *Client, l *link, p []byte) {
	var r wire.Reply
	if wire.DecodeReply(p, &r) == nil {
		c.mu.Lock()
		b := c.flight.find(r.Request)
		matches := b != nil && r.Session == b.session && r.First == b.first && int(r.Count) == b.count
		c.mu.Unlock()
		if r.Status != wire.StatusOK || matches {
			f := wire.GetCopy(p)
			c.reply(l, f)
			f.Release()
		}
	}
	var a wire.Answer
	if wire.DecodeAnswer(p, &a) == nil {
		f := wire.GetCopy(p)
		c.answer(l, f)
		f.Release()
	}
}
