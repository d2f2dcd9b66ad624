package etcdraft

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/paxbench/paxbench/bench/peers/raftkit"
)

// codec is the transport's: raftpb's own marshalling.
var codec = raftkit.Codec[raftpb.Message]{
	To: func(m raftpb.Message) uint64 { return m.To },
	Append: func(buf []byte, m raftpb.Message) []byte {
		at, n := len(buf), m.Size()
		buf = slices.Grow(buf, n)[:at+n]
		if _, err := m.MarshalTo(buf[at:]); err != nil {
			panic(fmt.Sprintf("BUG: etcdraft: marshal: %v", err))
		}
		return buf
	},
	Unmarshal: func(p []byte) (raftpb.Message, error) {
		var m raftpb.Message
		err := m.Unmarshal(p)
		return m, err
	},
}
