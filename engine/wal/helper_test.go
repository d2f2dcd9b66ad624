package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

const (
	testCluster wire.ClusterID = 0xc0ffee
	testDir                    = "/data/wal"
)

var testMembers = []wire.NodeID{1, 2, 3}

// memConfig opens a log of tiny segments in memory, without goroutines and without chance.
func memConfig(m *vfs.Mem) Config {
	salt := uint64(0)
	return Config{
		Dir: testDir, Cluster: testCluster, Node: 1, Members: testMembers, SegmentBytes: segmentBytesMin, FS: m,
		SparesMax: 2, Foreground: true, Salt: func() uint64 { salt++; return salt * 0x9e3779b97f4a7c15 },
	}
}

// vote is what a test compares of an Accept record.
type vote struct {
	group  wire.GroupID
	slot   wire.Slot
	ballot wire.Ballot
	bytes  int
}

// acceptRecord makes an Accept record whose one command has size bytes, all derived from the slot.
func acceptRecord(g wire.GroupID, s wire.Slot, b wire.Ballot, size int) wire.Record {
	cmd := make([]byte, size)
	for i := range cmd {
		cmd[i] = byte(uint64(s)*31 + uint64(i))
	}
	run := wire.AppendCommand(nil, cmd)
	block := append(wire.AppendBlockHeader(nil, 0, 1, 1, 1, len(run)), run...)
	f := wire.NewAccept(wire.BatchHeaderSize + len(block))
	wire.PutBatchHeader(f.Extend(wire.BatchHeaderSize), wire.BatchBlocks, wire.CompressNone, 1, 1, len(block), len(block))
	f.Append(block)
	wire.SealAccept(f, testCluster, g, 2, b, s, 0)
	return wire.Record{Kind: wire.KindAccept, Group: g, Ballot: b, Slot: s, Frame: f}
}

func voteOf(r *wire.Record) vote { return vote{r.Group, r.Slot, r.Ballot, r.Frame.Len()} }

func releaseAll(recs []wire.Record) {
	for _, r := range recs {
		r.Frame.Release()
	}
}

// recovered is what a replay handed out.
type recovered struct {
	votes    []vote
	promised map[wire.GroupID]wire.Ballot
	trimmed  map[wire.GroupID]wire.Slot
	members  int
}

func (r *recovered) load(rec *wire.Record) error {
	switch rec.Kind {
	case wire.KindAccept:
		if want := acceptRecord(rec.Group, rec.Slot, rec.Ballot, commandSize(rec.Frame)); string(want.Frame.Bytes()) != string(rec.Frame.Bytes()) {
			want.Frame.Release()
			return fmt.Errorf("slot %d: replayed bytes differ from the written ones", rec.Slot)
		} else {
			want.Frame.Release()
		}
		r.votes = append(r.votes, voteOf(rec))
		r.promised[rec.Group] = max(r.promised[rec.Group], rec.Ballot)
	case wire.KindRecPromise:
		r.promised[rec.Group] = max(r.promised[rec.Group], rec.Ballot)
	case wire.KindRecTrim:
		r.trimmed[rec.Group] = max(r.trimmed[rec.Group], rec.Slot)
	case wire.KindRecMembers:
		r.members++
	}
	return nil
}

// commandSize undoes acceptRecord.
func commandSize(f *wire.Buffer) int {
	run := f.Bytes()[wire.AcceptHeadroom+wire.BatchHeaderSize+wire.BlockHeaderSize:]
	n, _ := binary.Uvarint(run)
	return int(n)
}

func newRecovered() *recovered {
	return &recovered{promised: map[wire.GroupID]wire.Ballot{}, trimmed: map[wire.GroupID]wire.Slot{}}
}

// openReplay opens the log that is there and replays it.
func openReplay(c Config) (*Log, *recovered, error) {
	c.Bootstrap = false
	l, err := Open(c)
	if err != nil {
		return nil, nil, err
	}
	r := newRecovered()
	if err := l.Replay(r.load); err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, r, nil
}

// bootstrapped makes a log and opens it for appending.
func bootstrapped(t testing.TB, c Config) *Log {
	t.Helper()
	c.Bootstrap = true
	l, err := Open(c)
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	if err := l.Replay(nil); err != nil {
		t.Fatalf("replay of a new log: %v", err)
	}
	return l
}

// appendVotes appends one Accept for each slot in one group.
func appendVotes(t testing.TB, l *Log, size int, slots ...wire.Slot) {
	t.Helper()
	var recs []wire.Record
	for _, s := range slots {
		recs = append(recs, acceptRecord(1, s, wire.NewBallot(1, 2), size))
	}
	defer releaseAll(recs)
	if _, err := l.Append(recs); err != nil {
		t.Fatalf("append: %v", err)
	}
}

func mustSync(t testing.TB, l *Log) {
	t.Helper()
	if _, err := l.Sync(); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

func slotsOf(votes []vote) []wire.Slot {
	var s []wire.Slot
	for _, v := range votes {
		s = append(s, v.slot)
	}
	return s
}

func slotRange(from, to wire.Slot) []wire.Slot {
	var s []wire.Slot
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

// reseal makes the CRC of the segment header in p fit again.
func reseal(p []byte) []byte {
	le.PutUint32(p[segmentHeaderSize-4:], crc32.Checksum(p[:segmentHeaderSize-4], wire.Castagnoli))
	return p
}

// fixGroup makes the CRCs of the group at the start of p fit, as far as its records are there.
func fixGroup(p []byte, seed uint32) {
	length := le.Uint32(p[44:])
	if int64(length) <= int64(len(p))-groupHeaderSize {
		le.PutUint32(p[52:], crc32.Update(seed, wire.Castagnoli, p[groupHeaderSize:groupHeaderSize+int(length)]))
	}
	le.PutUint64(p[8:], 1)
	le.PutUint32(p[60:], crc32.Update(seed, wire.Castagnoli, p[:groupHeaderSize-4]))
}
