package client

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// echo is a node that answers every block at once with empty results and keeps nothing: what a client reaches against
// it is the client's own cost, and the network's.
type echo struct{ conn *transport.ClientConn }

func (e *echo) Closed(error) {}

func (e *echo) Frame(f *wire.Buffer) {
	defer f.Release()
	h, _ := wire.ParseHeader(f.Bytes())
	out := wire.Get(wire.ReplySize)
	switch h.Kind {
	case wire.KindPropose:
		request, _, blk, _ := wire.DecodePropose(f.Bytes())
		r := wire.Reply{Request: request, Empty: true, Slot: 1, Session: blk.Session(), First: blk.First(), Count: uint32(blk.Count())}
		if r.Session == 0 {
			r.Session = wire.NewSessionID(1, 0)
		}
		wire.AppendReply(out, testCluster, 1, 1, &r)
	case wire.KindQuery:
		var q wire.Query
		_ = wire.DecodeQuery(f.Bytes(), &q)
		wire.AppendAnswer(out, testCluster, 1, 1, &wire.Answer{Request: q.Request})
	default:
		text, _ := json.Marshal(Welcome{Node: 1, Leader: 1, Groups: 1})
		wire.AppendControl(out, testCluster, 1, 1, &wire.Control{Kind: wire.KindWelcome, Text: text})
	}
	e.conn.Send(out)
}

func echoServer(t testing.TB) Config {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := transport.Listen(transport.Config{
		Self: 1, Cluster: testCluster, Listener: l, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	tcp.ServeClients(func(c *transport.ClientConn) transport.ClientHandler { return &echo{c} })
	if err := tcp.Serve(func(_ wire.NodeID, f *wire.Buffer) { f.Release() }); err != nil {
		t.Fatal(err)
	}
	return Config{Cluster: testCluster, Addrs: []string{l.Addr().String()}}
}

// loop keeps a number of commands under way: each completion proposes the next.
type loop struct {
	c    *Client
	cmd  []byte
	mu   sync.Mutex
	left int
	busy int
	idle chan struct{}
}

func (l *loop) run(n, outstanding int) {
	l.left, l.busy = n, min(n, outstanding)
	for range l.busy {
		if err := l.c.Go(l.cmd, l); err != nil {
			panic(err)
		}
	}
	<-l.idle
}

func (l *loop) Done(r *Result) {
	if r.Err != nil {
		panic(r.Err)
	}
	l.mu.Lock()
	l.left--
	more := l.left >= l.busy
	if !more {
		l.busy--
	}
	end := l.busy == 0
	l.mu.Unlock()
	if more {
		if err := l.c.Go(l.cmd, l); err != nil {
			panic(err)
		}
	}
	if end {
		l.idle <- struct{}{}
	}
}

func newLoop(c *Client, size int) *loop {
	return &loop{c: c, cmd: make([]byte, size), idle: make(chan struct{}, 1)}
}

// blockLoop does the same with blocks.
type blockLoop struct {
	c    *Client
	cmd  []byte
	each int
	mu   sync.Mutex
	left int
	busy int
	idle chan struct{}
}

func (l *blockLoop) submit() {
	b := l.c.NewBlock()
	for range l.each {
		b.Add(l.cmd)
	}
	if err := l.c.Submit(b, l); err != nil {
		panic(err)
	}
}

func (l *blockLoop) BlockDone(r *BlockResult) {
	if r.Err != nil {
		panic(r.Err)
	}
	l.mu.Lock()
	more := l.left > 0
	if more {
		l.left--
	} else {
		l.busy--
	}
	end := l.busy == 0
	l.mu.Unlock()
	if more {
		l.submit()
	}
	if end {
		l.idle <- struct{}{}
	}
}

func (l *blockLoop) run(blocks, outstanding int) {
	l.busy = min(blocks, outstanding)
	l.left = blocks - l.busy
	for range l.busy {
		l.submit()
	}
	<-l.idle
}

func BenchmarkGo(b *testing.B) {
	for _, outstanding := range []int{1, 64, 1024, 16384} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			c := dial(b, echoServer(b))
			l := newLoop(c, 16)
			b.ReportAllocs()
			b.ResetTimer()
			l.run(b.N, outstanding)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

func BenchmarkSubmit(b *testing.B) {
	for _, each := range []int{64, 512, 2048} {
		b.Run(fmt.Sprintf("commands=%d", each), func(b *testing.B) {
			c := dial(b, echoServer(b))
			l := &blockLoop{c: c, cmd: make([]byte, 16), each: each, idle: make(chan struct{}, 1)}
			b.ReportAllocs()
			b.ResetTimer()
			l.run(b.N, 8)
			b.ReportMetric(float64(b.N*each)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkCoalesce is the client's work for one command without the network: from Go to the callback.
func BenchmarkCoalesce(b *testing.B) {
	c := newClient(Config{Cluster: testCluster, Addrs: []string{"x:1"}, Timeout: time.Hour}.withDefaults())
	cmd := make([]byte, 16)
	done := DoneFunc(func(*Result) {})
	var s results
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Go(cmd, done); err != nil {
			b.Fatal(err)
		}
		if blk := c.open; blk.count == 1000 {
			c.open = nil
			blk.place(1, 1, 1, 1)
			blk.seal(&c.c, 1)
			s.block(blk, &wire.Reply{Empty: true, Count: 1000}, nil, 0)
			c.giveBlock(blk)
		}
	}
}
