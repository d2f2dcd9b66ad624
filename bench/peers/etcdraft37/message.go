package main

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

// codec is the transport's: the marshalling of the protobuf runtime, which is all that 3.7's messages have.
var codec = raftkit.Codec[*raftpb.Message]{
	To: func(m *raftpb.Message) uint64 { return m.GetTo() },
	Append: func(buf []byte, m *raftpb.Message) []byte {
		buf, err := proto.MarshalOptions{}.MarshalAppend(buf, m)
		if err != nil {
			panic(fmt.Sprintf("BUG: etcdraft37: marshal: %v", err))
		}
		return buf
	},
	Unmarshal: func(p []byte) (*raftpb.Message, error) {
		m := new(raftpb.Message)
		return m, proto.Unmarshal(p, m)
	},
}
