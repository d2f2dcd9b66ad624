// Command etcdraft37 is a node (package node) with etcd's raft 3.7: a module of its own, because a program holds one version of a
// module, and package main has 3.6. Its replicas are raftkit's, as those of 3.6 are.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

func main() {
	text := os.Getenv(node.Variable)
	if text == "" {
		fmt.Fprintf(os.Stderr, "etcdraft37: started by bench/peers, which sets %s\n", node.Variable)
		os.Exit(2)
	}
	os.Exit(node.Main(text, func(name string) (peer.Engine, error) {
		return peer.Engine{Name: name, NoFsync: true, Open: func(c peer.Config) (peer.Replica, error) { return raftkit.Open[*raftpb.Message](c, codec, open) }}, nil
	}))
}
