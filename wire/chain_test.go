package wire

import (
	"hash/crc32"
	"testing"
)

// What can go wrong: the sum of a value depends on the ballot, sender or kind of the frame that it stands in, or on which side of the
// detour's threshold it is; two orders, or two values, have the same chain; a chain does not begin anew.
func TestChainCRC(t *testing.T) {
	for _, size := range []int{100, shiftMin - 1, shiftMin, shiftMin + 1, 100_000} {
		cmd := make([]byte, size)
		for i := range cmd {
			cmd[i] = byte(i * 7)
		}
		b := chainBatch(cmd)
		f := NewAccept(len(b.Bytes()))
		f.Append(b.Bytes())
		SealAccept(f, testCluster, testGroup, testNode, NewBallot(3, 2), 5, 4)
		m := Message{Kind: KindLearn, Group: testGroup, From: 3, Ballot: NewBallot(9, 3), Slot: 5, Value: b}
		g := m.Encode(testCluster)
		if valueCRC(f.Bytes()) != crc32.Checksum(b.Bytes(), Castagnoli) || valueCRC(g.Bytes()) != valueCRC(f.Bytes()) {
			t.Errorf("%d bytes: %08x and %08x, want %08x", size, valueCRC(f.Bytes()), valueCRC(g.Bytes()), crc32.Checksum(b.Bytes(), Castagnoli))
		}
		f.Release()
		g.Release()
	}
	frame := func(text string) *Buffer {
		b := chainBatch([]byte(text))
		f := NewAccept(len(b.Bytes()))
		f.Append(b.Bytes())
		SealAccept(f, testCluster, testGroup, testNode, NewBallot(3, 2), 5, 4)
		return f
	}
	x, y := frame("x"), frame("y")
	defer x.Release()
	defer y.Release()
	xy, yx := ChainCRC(ChainCRC(0, 1, x), 2, y), ChainCRC(ChainCRC(0, 1, y), 2, x)
	if xy == yx || xy == ChainCRC(ChainCRC(0, 1, x), 2, x) {
		t.Errorf("%08x, %08x", xy, yx)
	}
	if ChainCRC(xy, ChainLength+1, x) != ChainCRC(0, 1, x) || ChainCRC(xy, ChainLength, x) == ChainCRC(0, ChainLength, x) {
		t.Error("it begins anew at another slot")
	}
}

func chainBatch(cmd []byte) Batch {
	cmds := AppendCommand(nil, cmd)
	p := make([]byte, BatchHeaderSize)
	PutBatchHeader(p, BatchBlocks, CompressNone, 1, 1, BlockHeaderSize+len(cmds), BlockHeaderSize+len(cmds))
	b, err := ParseBatch(append(AppendBlockHeader(p, 0, 0, 0, 1, len(cmds)), cmds...))
	if err != nil {
		panic(err)
	}
	return b
}
