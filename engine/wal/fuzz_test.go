package wal

import (
	"errors"
	"runtime"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// FuzzReplay: arbitrary bytes as the newest segment. Replay must end in records or in a typed error, without a panic and
// without believing a length: memory stays within a multiple of the bytes there. With fix set the CRCs of the segment
// header and of every group header are made to fit, so that the fuzzer gets behind them.
func FuzzReplay(f *testing.F) {
	m := vfs.NewMem()
	c := memConfig(m)
	l := bootstrapped(f, c)
	recs := []wire.Record{
		acceptRecord(1, 1, 1<<32|2, 30), wire.PromiseRecord(testCluster, 1, 1, 2<<32|1, 0, nil),
		wire.TrimRecord(testCluster, 2, 1, 9), wire.MembersRecord(testCluster, 1, testMembers),
	}
	if _, err := l.Append(recs); err != nil {
		f.Fatal(err)
	}
	releaseAll(recs)
	mustSync(f, l)
	appendVotes(f, l, 900, 2)
	mustSync(f, l)
	end := l.active.pos
	l.Close()
	p, err := vfs.ReadFile(m, segmentFile(1))
	if err != nil {
		f.Fatal(err)
	}
	identity, err := vfs.ReadFile(m, testDir+"/"+identityName)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p[:end], true)
	f.Add(p[:end], false)
	f.Add(p[:segmentHeaderSize], true)
	f.Fuzz(func(t *testing.T, p []byte, fix bool) {
		if len(p) > 1<<20 {
			return
		}
		if fix {
			p = fixed(p)
		}
		m := vfs.NewMem()
		m.WriteFile(testDir+"/"+identityName, identity)
		m.WriteFile(segmentFile(1), p)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, _, err := replayAny(memConfig(m))
		runtime.ReadMemStats(&after)
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 2<<20+uint64(len(p))*64 {
			t.Errorf("%d bytes allocated for %d bytes", grew, len(p))
		}
		var corrupt *CorruptError
		var version *VersionError
		if err != nil && !errors.As(err, &corrupt) && !errors.As(err, &version) {
			t.Errorf("error %v", err)
		}
		if err == nil {
			l.Close()
		}
	})
}

// replayAny is openReplay for records that no test wrote.
func replayAny(c Config) (*Log, int, error) {
	l, err := Open(c)
	if err != nil {
		return nil, 0, err
	}
	n := 0
	if err := l.Replay(func(*wire.Record) error { n++; return nil }); err != nil {
		l.Close()
		return nil, n, err
	}
	return l, n, nil
}

// fixed makes a segment's header and CRCs fit what is there, padded to a possible size.
func fixed(p []byte) []byte {
	p = append(append([]byte(nil), p...), make([]byte, max(0, segmentBytesMin-len(p)))...)
	p = append(p, make([]byte, -len(p)&(sectorSize-1))...)
	copy(p, segmentMagic[:])
	le.PutUint32(p[8:], Version)
	le.PutUint64(p[16:], uint64(testCluster))
	le.PutUint32(p[24:], 1)
	le.PutUint64(p[32:], 1)
	le.PutUint64(p[40:], uint64(len(p)))
	reseal(p)
	h, err := decodeSegmentHeader("", p)
	if err != nil {
		return p
	}
	for off := segmentHeaderSize; off < len(p); off += sectorSize {
		if le.Uint32(p[off:]) == groupMagic {
			fixGroup(p[off:], h.seed())
		}
	}
	return p
}
