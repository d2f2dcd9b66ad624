package paxos

import (
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// members is a configuration: which nodes decide the slots from one on, until the next configuration begins.
type members struct {
	from            wire.Slot // the first slot it decides
	nodes           nodeSet
	prepare, accept int // sizes of quorums: any prepare of the nodes share one with any accept of them
}

// prepared says whether a set of nodes holds a quorum of promises.
func (m *members) prepared(set nodeSet) bool { return (set & m.nodes).size() >= m.prepare }

// chooses says whether a set of nodes holds a quorum of votes.
func (m *members) chooses(set nodeSet) bool { return (set & m.nodes).size() >= m.accept }

// found sets up the configuration that the cluster was founded with, which decides every slot.
func (r *Replica) found() {
	r.nodes = r.c.Nodes
	r.peers = make([]peer, len(r.nodes))
	q := r.c.Quorums.of(len(r.nodes))
	if plant.Is(plant.QuorumsApart) {
		q.Prepare = max(1, len(r.nodes)-q.Accept)
	}
	for i, n := range r.nodes {
		r.members = r.members.with(i)
		if n == r.c.Self {
			r.self = i
		}
	}
	r.configs = []members{{from: 1, nodes: r.members, prepare: q.Prepare, accept: q.Accept}}
}

// configOf is the configuration that decides slot s, which is above the chosen prefix.
func (r *Replica) configOf(s wire.Slot) *members {
	i := len(r.configs) - 1
	for i > 0 && r.configs[i].from > s {
		i--
	}
	return &r.configs[i]
}

// grant counts what node i grants at ballot b, and says whether it is enough in every configuration.
func (r *Replica) grant(b wire.Ballot, i int) bool {
	twice := r.grants.add(b, i) - r.grants.nodes.size() // a planted fault
	if b != r.grants.ballot {
		return false
	}
	for c := range r.configs {
		if m := &r.configs[c]; (r.grants.nodes&m.nodes).size()+twice < m.prepare {
			return false
		}
	}
	return true
}

// canChoose says whether a set of nodes holds a quorum of votes in every configuration.
func (r *Replica) canChoose(set nodeSet) bool {
	for c := range r.configs {
		if !r.configs[c].chooses(set) {
			return false
		}
	}
	return true
}
