package engine_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// Three nodes in one process, with real logs on the disk, replicate a key-value store. Processes of their own differ in
// one line: without Transport a node listens on, and dials, the TCP addresses in Members.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	network := transport.NewLoopback(1)
	members := map[wire.NodeID]string{1: "one:7001", 2: "two:7001", 3: "three:7001"}
	nodes := map[wire.NodeID]*engine.Node{}
	for id := range members {
		nodes[id], err = engine.Open(engine.Config{
			Node: id, Cluster: 42, Members: members, Dir: fmt.Sprintf("%s/%d", dir, id), Bootstrap: true,
			NewStateMachine: func(wire.GroupID) engine.StateMachine { return kv.New() },
			Transport:       network.Node(id), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			log.Fatal(err)
		}
		defer nodes[id].Close()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	put := kv.AppendPut(nil, []byte("colour"), []byte("green"))
	result, err := onLeader(ctx, nodes, func(g *engine.Group) ([]byte, error) { return g.Propose(ctx, put) })
	if err != nil {
		log.Fatal(err)
	}
	r, _ := kv.DecodeResult(result)
	fmt.Println("put: version", r.Version)

	get := kv.AppendQueryGet(nil, []byte("colour"))
	answer, err := onLeader(ctx, nodes, func(g *engine.Group) ([]byte, error) { return g.Query(ctx, get) })
	if err != nil {
		log.Fatal(err)
	}
	a, _ := kv.DecodeGetAnswer(answer)
	fmt.Printf("get: %s\n", a.Value)
	// Output:
	// put: version 1
	// get: green
}

// Atomic broadcast: every node delivers the same messages in the same order, also across a change of leader.
func ExampleGroup_Subscribe() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	network := transport.NewLoopback(1)
	members := map[wire.NodeID]string{1: "one:7001", 2: "two:7001", 3: "three:7001"}
	nodes := map[wire.NodeID]*engine.Node{}
	for id := range members {
		nodes[id], err = engine.Open(engine.Config{
			Node: id, Cluster: 43, Members: members, Dir: fmt.Sprintf("%s/%d", dir, id), Bootstrap: true,
			NewStateMachine: func(wire.GroupID) engine.StateMachine { return kv.NewNull() },
			Transport:       network.Node(id), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			log.Fatal(err)
		}
		defer nodes[id].Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	var leader wire.NodeID
	send := func(text string) {
		if _, err := onLeader(ctx, nodes, func(g *engine.Group) ([]byte, error) {
			p, err := g.Propose(ctx, []byte(text))
			if err == nil {
				leader = g.Status().Leader
			}
			return p, err
		}); err != nil {
			log.Fatal(err)
		}
	}
	send("one")
	send("two")
	first := leader
	nodes[first].Close() // another node takes over
	send("three")

	for id := range wire.NodeID(3) {
		if id++; id == first {
			continue
		}
		var order []string
		for d, err := range nodes[id].Group(1).Subscribe(ctx, 1) {
			if err != nil {
				log.Fatal(err)
			}
			for m := range d.Messages() {
				order = append(order, string(m.Command))
			}
			if len(order) == 3 {
				break
			}
		}
		fmt.Println(order)
	}
	// Output:
	// [one two three]
	// [one two three]
}

// onLeader tries the nodes until one of them leads. What engine/client does from outside, with sessions.
func onLeader(ctx context.Context, nodes map[wire.NodeID]*engine.Node, do func(*engine.Group) ([]byte, error)) ([]byte, error) {
	for id := wire.NodeID(1); ; id = id%3 + 1 {
		p, err := do(nodes[id].Group(1))
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		time.Sleep(10 * time.Millisecond) // an election takes half a second
	}
}
