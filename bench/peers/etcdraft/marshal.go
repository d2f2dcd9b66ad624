package etcdraft

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

func appendMessage(buf []byte, m *raftpb.Message) []byte {
	n := m.Size()
	at := len(buf)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(n))
	if need := at + 4 + n; need > cap(buf) {
		buf = append(make([]byte, 0, 2*need), buf...)
	}
	buf = buf[:at+4+n]
	if _, err := m.MarshalTo(buf[at+4:]); err != nil {
		panic(fmt.Sprintf("BUG: etcdraft: marshal: %v", err))
	}
	return buf
}

// unmarshal copies: p is free when it returns.
func unmarshal(p []byte, m *raftpb.Message) error { return m.Unmarshal(p) }
