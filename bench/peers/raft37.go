package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// etcdRaft37 is etcd's raft 3.7, whose replicas are another program's: see package etcdraft37.
func etcdRaft37() peer.Engine {
	return peer.Engine{
		Name: "etcd-raft-3.7", Module: raftModule, NoFsync: true, Program: buildRaft37,
		Settings: "as etcd-raft, with etcd 3.7's WAL and the marshalling of the protobuf runtime",
		Open: func(peer.Config) (peer.Replica, error) {
			return nil, fmt.Errorf("etcd-raft-3.7 is not in this program")
		},
	}
}

const raftModule = "go.etcd.io/raft/v3"

// buildRaft37 compiles the program, once, into a directory that removeRaft37 removes.
var buildRaft37 = sync.OnceValues(func() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir, err := os.MkdirTemp("", "peers-raft37-")
	if err != nil {
		return "", err
	}
	raft37Dir = dir
	program := filepath.Join(dir, "etcdraft37")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join(filepath.Dir(file), "etcdraft37")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build etcd-raft-3.7 in bench/peers/etcdraft37: %w\n%s", err, out)
	}
	return program, nil
})

var raft37Dir string

func removeRaft37() {
	if raft37Dir != "" {
		os.RemoveAll(raft37Dir)
	}
}

// programVersion is the version of a module in a program; the path is not its own.
func programVersion(path, module string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return dependency(info, module)
}
