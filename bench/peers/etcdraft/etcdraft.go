// Package etcdraft is the adapter of etcd's raft library 3.6 with etcd's write-ahead log: raftkit's replica around it.
package etcdraft

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

// Engine is raft with asynchronous storage writes.
func Engine() peer.Engine {
	return peer.Engine{
		Name: "etcd-raft", Module: "go.etcd.io/raft/v3", NoFsync: true, Settings: raftkit.Settings,
		Open: func(c peer.Config) (peer.Replica, error) { return raftkit.Open[raftpb.Message](c, codec, open) },
	}
}
