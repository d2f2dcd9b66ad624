package wal

import (
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// BenchmarkAppendSync is one group commit: an Append of so many records and a Sync, on the file system of the temporary
// directory (TMPDIR). never: without the disk, the cost of the log itself.
func BenchmarkAppendSync(b *testing.B) {
	for _, policy := range []Policy{{}, {Mode: Never}} {
		for _, shape := range []struct{ records, bytes int }{{1, 16}, {1, 1 << 10}, {1, 64 << 10}, {32, 1 << 10}, {32, 16 << 10}} {
			b.Run(fmt.Sprintf("%v/%dx%d", policy, shape.records, shape.bytes), func(b *testing.B) {
				benchAppend(b, policy, shape.records, shape.bytes)
			})
		}
	}
}

func benchAppend(b *testing.B, policy Policy, records, size int) {
	l := bootstrapped(b, Config{
		Dir: b.TempDir(), Cluster: testCluster, Node: 1, Members: testMembers, Policy: policy,
	})
	defer l.Close()
	var recs []wire.Record
	bytes := 0
	for i := range records {
		rec := acceptRecord(1, wire.Slot(i+1), 1<<32|2, size)
		bytes += rec.Frame.Len()
		recs = append(recs, rec)
	}
	defer releaseAll(recs)
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for id := l.active.id; b.Loop(); {
		if _, err := l.Append(recs); err != nil {
			b.Fatal(err)
		}
		mustSync(b, l)
		if l.active.id != id { // as a snapshot would: everything in old segments is given up, and reused
			id = l.active.id
			if err := l.Trim(1, wire.Slot(records+1)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkReplay reads a log of 48 MiB.
func BenchmarkReplay(b *testing.B) {
	c := Config{Dir: b.TempDir(), Cluster: testCluster, Node: 1, Members: testMembers}
	l := bootstrapped(b, c)
	rec := acceptRecord(1, 1, 1<<32|2, 4<<10)
	defer rec.Frame.Release()
	for range 48 << 20 / rec.Frame.Len() {
		if _, err := l.Append([]wire.Record{rec}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(48 << 20)
	for b.Loop() {
		l, _, err := replayAny(c)
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}
