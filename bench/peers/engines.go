package main

import (
	"fmt"
	"strings"

	"github.com/paxbench/paxbench/bench/peers/dragonboat"
	"github.com/paxbench/paxbench/bench/peers/etcdraft"
	"github.com/paxbench/paxbench/bench/peers/hashicorp"
	"github.com/paxbench/paxbench/bench/peers/paxos"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peers/pipe"
)

// engines is every side there is, ours first.
func engines() []peer.Engine {
	return []peer.Engine{
		paxos.Engine(), paxos.ClientEngine(), etcdraft.Engine(), etcdRaft37(), hashicorp.Engine(), dragonboat.Engine(1), dragonboat.Engine(16), pipe.Engine(),
	}
}

func findEngine(name string) (peer.Engine, error) {
	var names []string
	for _, e := range engines() {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return peer.Engine{}, fmt.Errorf("no engine %q; there are %s", name, strings.Join(names, ", "))
}
