package single_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos/single"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// process is one node of a decree with a real log and real connections, run by one goroutine: the shell that the small types need.
type process struct {
	t     *testing.T
	id    wire.NodeID
	node  *single.Node
	log   *wal.Log
	tcp   *transport.TCP
	inbox chan *wire.Buffer
	stop  chan struct{}
	ended chan struct{}
	want  string      // to propose; "": nothing
	got   chan string // the decree, once
	rng   *rand.Rand
	pause int // ticks until the next Propose
	saved string
}

type decree struct {
	t     *testing.T
	addrs map[wire.NodeID]string
	dirs  map[wire.NodeID]string
}

const decreeCluster = wire.ClusterID(0x51)

func (d *decree) start(id wire.NodeID, ln net.Listener, bootstrap bool, want string) *process {
	t := d.t
	if ln == nil { // a restart: the port may take a moment to be free
		var err error
		for end := time.Now().Add(10 * time.Second); ; {
			if ln, err = net.Listen("tcp", d.addrs[id]); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	members := []wire.NodeID{1, 2, 3}
	log, err := wal.Open(wal.Config{
		Dir: d.dirs[id], Cluster: decreeCluster, Node: id, Members: members, Protocol: "single", Bootstrap: bootstrap, SegmentBytes: 1 << 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	st, err := single.Recover(1, log.Replay)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := transport.Listen(transport.Config{
		Self: id, Cluster: decreeCluster, Listener: ln, Peers: d.addrs, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		t: t, id: id, log: log, tcp: tcp, want: want,
		node:  single.NewNode(single.Config{Cluster: decreeCluster, Group: 1, Self: id, Acceptors: members}, st),
		inbox: make(chan *wire.Buffer, 1024), stop: make(chan struct{}), ended: make(chan struct{}), got: make(chan string, 1),
		rng: rand.New(rand.NewPCG(uint64(id), 1)),
	}
	err = tcp.Serve(func(_ wire.NodeID, f *wire.Buffer) {
		select {
		case p.inbox <- f:
		default:
			f.Release() // as a network may
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	go p.run()
	return p
}

func (p *process) run() {
	defer close(p.ended)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case f := <-p.inbox:
			var m wire.Message
			if err := wire.DecodeMessage(f, &m); err != nil {
				p.t.Error(err)
			} else {
				p.do(p.node.Step(&m))
			}
			f.Release()
		case <-tick.C:
			p.tick()
		case <-p.stop:
			return
		}
	}
}

// tick repeats what was lost, asks for what was missed, and proposes after a random pause.
func (p *process) tick() {
	if _, ok := p.node.Learner.Chosen(); ok {
		return
	}
	p.do(p.node.Proposer.Repeat())
	p.do(p.node.Learner.Ask())
	if p.want == "" || p.node.Proposer.Phase() != single.Idle {
		return
	}
	if p.pause > 0 {
		p.pause--
		return
	}
	p.pause = p.rng.IntN(20)
	o, err := p.node.Proposer.Propose(single.Value([]byte(p.want)))
	if err != nil {
		p.t.Error(err)
	}
	p.do(o)
}

// do makes the records durable, then lets the messages go; what a node tells itself it hears at once.
func (p *process) do(o single.Out) {
	if len(o.Records) > 0 {
		if _, err := p.log.Append(o.Records); err != nil {
			p.t.Error(err)
		}
		if _, err := p.log.Sync(); err != nil {
			p.t.Error(err)
		}
		for _, r := range o.Records {
			r.Frame.Release()
		}
	}
	for _, s := range o.Messages {
		if s.To != p.id {
			p.tcp.Send(s.To, s.Frame)
			continue
		}
		var m wire.Message
		if err := wire.DecodeMessage(s.Frame, &m); err != nil {
			p.t.Error(err)
		} else {
			p.do(p.node.Step(&m))
		}
		s.Frame.Release()
	}
	if v, ok := p.node.Learner.Chosen(); ok && p.saved == "" {
		p.saved = string(single.Text(v))
		p.got <- p.saved
	}
}

// end stops the process; what it has not sent is lost, as in a crash, but for what is on its disk.
func (p *process) end() {
	close(p.stop)
	<-p.ended
	if err := p.tcp.Close(); err != nil {
		p.t.Error(err)
	}
	for len(p.inbox) > 0 {
		(<-p.inbox).Release()
	}
	p.node.Close()
	if err := p.log.Close(); err != nil {
		p.t.Error(err)
	}
}

// What can go wrong: over real connections and logs, with two proposers that duel and a node that comes and goes, two nodes learn
// different decrees, or after a restart of all another value is chosen than before.
func TestRealNetworkAndLog(t *testing.T) {
	before := wire.Outstanding()
	d := &decree{t: t, addrs: map[wire.NodeID]string{}, dirs: map[wire.NodeID]string{}}
	lns := map[wire.NodeID]net.Listener{}
	for id := wire.NodeID(1); id <= 3; id++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		lns[id], d.addrs[id], d.dirs[id] = ln, ln.Addr().String(), t.TempDir()
	}
	// A third of the acceptors is not there at first; the others must do without.
	ps := map[wire.NodeID]*process{
		1: d.start(1, lns[1], true, "ayes"),
		2: d.start(2, lns[2], true, "noes"),
	}
	decision := d.await(ps[1])
	if decision != "ayes" && decision != "noes" {
		t.Fatalf("the decree is %q, which nobody proposed", decision)
	}
	ps[3] = d.start(3, lns[3], true, "")
	for _, id := range []wire.NodeID{2, 3} {
		if got := d.await(ps[id]); got != decision {
			t.Errorf("node %d learned %q, node 1 %q", id, got, decision)
		}
	}
	// Nobody remembers what was learned; votes are what the disks hold. Node 3 may never have voted.
	var wait sync.WaitGroup
	for _, p := range ps {
		wait.Go(p.end)
	}
	wait.Wait()
	for id := range ps {
		ps[id] = d.start(id, nil, false, fmt.Sprint("late ", id))
	}
	for id, p := range ps {
		if got := d.await(p); got != decision {
			t.Errorf("after a restart node %d learned %q; the decree was %q", id, got, decision)
		}
	}
	for _, p := range ps {
		p.end()
	}
	if n := wire.Outstanding(); n != before {
		t.Errorf("%d buffers were not released", n-before)
	}
}

func (d *decree) await(p *process) string {
	select {
	case s := <-p.got:
		return s
	case <-time.After(30 * time.Second):
		d.t.Fatalf("node %d has learned nothing in 30 s", p.id)
		return ""
	}
}
