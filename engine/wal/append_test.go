package wal

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// TestOneGroupPerSync: several Appends before one Sync. Were they several groups, a crash could leave the later and not
// the earlier one, and a damaged one with another behind it would no longer prove that acknowledged records are lost.
func TestOneGroupPerSync(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1)
	appendVotes(t, l, 300, 2, 3)
	appendVotes(t, l, 10, 4)
	mustSync(t, l)
	appendVotes(t, l, 100, 5)
	mustSync(t, l)
	if s := l.Stats(); s.Groups != 2 || s.Fsyncs != 3 || s.Records != 5 { // one fsync was Replay's
		t.Errorf("stats %+v, want 2 groups and 3 fsyncs", s)
	}
	l.Close()
	l, r, err := openReplay(memConfig(m))
	if err != nil || !slices.Equal(slotsOf(r.votes), slotRange(1, 5)) {
		t.Fatalf("replayed %+v, %v", r, err)
	}
	l.Close()
	groups, _ := groupsOf(t, m, 1)
	for off := groups[1]; off < groups[2]-sectorSize; off++ { // the last sector may be all padding
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte { p[off] ^= 0x10; return p })
		_, _, err := openReplay(memConfig(damaged))
		wantCorrupt(t, err, segmentFile(1))
	}
}

// TestLSN: LSNs count every record, Sync returns the last, and both go on where they were after a restart.
func TestLSN(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	last := wire.LSN(1) // the membership record
	for range 40 {
		rec := acceptRecord(1, 1, 1<<32|2, 400)
		lsn, err := l.Append([]wire.Record{rec, rec})
		if err != nil || lsn < last+2 || lsn > last+5 {
			t.Fatalf("append after LSN %d: %d, %v", last, lsn, err)
		}
		rec.Frame.Release()
		synced, err := l.Sync()
		if err != nil || synced != lsn {
			t.Fatalf("sync: %d, %v, want %d", synced, err, lsn)
		}
		last = lsn
	}
	l.Close()
	l, _, err := openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if lsn, err := l.Sync(); err != nil || lsn != last {
		t.Errorf("after restart: %d, %v, want %d", lsn, err, last)
	}
}

// TestLargeRecords: records larger than a segment, and Appends larger than several. Each must come back, and the
// segments made to measure must not become spares of the wrong size.
func TestLargeRecords(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1)
	appendVotes(t, l, 3*segmentBytesMin, 2)
	appendVotes(t, l, 100, 3)
	appendVotes(t, l, 1000, slotRange(4, 40)...)
	mustSync(t, l)
	if err := l.Trim(1, 40); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Live > 2 || s.Spare != 2 || s.Removed == 0 {
		t.Errorf("stats %+v", s)
	}
	appendVotes(t, l, 1000, slotRange(41, 80)...)
	mustSync(t, l)
	l.Close()
	l, r, err := openReplay(memConfig(m))
	if err != nil || r.votes[len(r.votes)-1].slot != 80 || r.trimmed[1] != 39 {
		t.Fatalf("replayed %+v, %v", r, err)
	}
	l.Close()
}

// TestErrorsAreFinal: a failed write or sync may have lost anything, and a later success proves nothing (FAULTS.md F14).
// Whichever operation fails, with whichever error, every later call must return that error and touch nothing.
func TestErrorsAreFinal(t *testing.T) {
	for _, kind := range []string{"writev", "datasync", "create", "preallocate", "sync", "rename", "syncdir"} {
		t.Run(kind, func(t *testing.T) {
			m := vfs.NewMem()
			l := bootstrapped(t, memConfig(m))
			appendVotes(t, l, 100, 1)
			mustSync(t, l)
			failed, touched := false, 0
			m.SetHook(func(op vfs.Op) error {
				if failed {
					touched++
				} else if op.Kind == kind {
					failed = true
					return fmt.Errorf("planted: %w", syscall.EIO)
				}
				return nil
			})
			var err error
			for s := wire.Slot(2); err == nil && s < 50; s++ {
				rec := acceptRecord(1, s, 1<<32|2, 1000)
				if _, err = l.Append([]wire.Record{rec}); err == nil {
					_, err = l.Sync()
				}
				rec.Frame.Release()
			}
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("error %v", err)
			}
			cleanUp := touched // of a half-made file
			if _, e := l.Append(nil); !errors.Is(e, syscall.EIO) {
				t.Errorf("append: %v", e)
			}
			if _, e := l.Sync(); !errors.Is(e, syscall.EIO) {
				t.Errorf("sync: %v", e)
			}
			if e := l.Trim(1, 10); !errors.Is(e, syscall.EIO) {
				t.Errorf("trim: %v", e)
			}
			if e := l.Close(); !errors.Is(e, syscall.EIO) {
				t.Errorf("close: %v", e)
			}
			if cleanUp > 1 || touched != cleanUp {
				t.Errorf("%d operations after the failure, %d of them in later calls", touched, touched-cleanUp)
			}
		})
	}
}

// TestFailedSyncThenRestart: fdatasync fails, the kernel marks the pages as clean, the process ends and a new one reads
// them back from memory as if they were on the disk. A sync alone would succeed now without writing them; recovery
// must write them again, or a power loss takes what was replayed.
func TestFailedSyncThenRestart(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1)
	mustSync(t, l)
	appendVotes(t, l, 100, 2)
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == "datasync" {
			return syscall.EIO
		}
		return nil
	})
	if _, err := l.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	m.Reboot()
	_, r, err := openReplay(memConfig(m))
	if err != nil || len(r.votes) != 2 {
		t.Fatalf("restart: %+v, %v", r, err)
	}
	m.PowerLoss(vfs.LoseAll, 0)
	_, r, err = openReplay(memConfig(m))
	if err != nil || len(r.votes) != 2 {
		t.Errorf("power loss after the restart: %+v, %v", r, err)
	}
}

// TestIntervalSyncs: under an interval policy records become durable soon without anybody calling, and an error of the
// background sync reaches the caller. It would otherwise acknowledge records for ever that no disk has.
func TestIntervalSyncs(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Policy, c.Foreground = Policy{Mode: Interval, Every: time.Millisecond}, false
	synced := make(chan int64, 1000)
	c.OnSync = func(nanos int64) { synced <- nanos }
	l := bootstrapped(t, c)
	<-synced // Replay's
	appendVotes(t, l, 100, 1)
	if lsn, err := l.Sync(); err != nil || lsn != 2 {
		t.Fatalf("sync: %d, %v", lsn, err)
	}
	waitSync := func() { // the hook runs inside the sync, which ends with the lock
		<-synced
		l.syncMu.Lock()
		defer l.syncMu.Unlock()
	}
	waitSync()
	after := m.Clone()
	after.PowerLoss(vfs.LoseAll, 0)
	if _, r, err := openReplay(memConfig(after)); err != nil || len(r.votes) != 1 {
		t.Errorf("replayed %+v, %v", r, err)
	}
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == "datasync" {
			return syscall.EIO
		}
		return nil
	})
	appendVotes(t, l, 100, 2)
	waitSync()
	if _, err := l.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync after a failed background sync: %v", err)
	}
	if err := l.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
}

// TestSyncCoversWhatWasWrittenBefore: a record appended while an fdatasync runs may not be on the disk when it returns.
// Counted as durable it would make the next group a false witness, and a torn tail would be refused.
func TestSyncCoversWhatWasWrittenBefore(t *testing.T) {
	c := memConfig(vfs.NewMem())
	c.Policy = Policy{Mode: Interval, Every: time.Hour}
	var during func()
	c.OnSync = func(int64) { during() }
	during = func() {}
	l := bootstrapped(t, c)
	appendVotes(t, l, 100, 1)
	during = func() { appendVotes(t, l, 100, 2); during = func() {} }
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if d, a := l.durable.Load(), l.appended.Load(); d != 2 || a != 3 {
		t.Errorf("durable %d, appended %d, want 2 and 3", d, a)
	}
	if err := l.Close(); err != nil || l.durable.Load() != 3 {
		t.Errorf("close: durable %d, %v", l.durable.Load(), err)
	}
}

// TestPolicyNeverDoesNotSync: under "never" Sync must not touch the disk, and a clean Close must.
func TestPolicyNeverDoesNotSync(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Policy = Policy{Mode: Never}
	l := bootstrapped(t, c)
	before := l.Stats().Fsyncs
	appendVotes(t, l, 100, 1)
	mustSync(t, l)
	if got := l.Stats().Fsyncs; got != before {
		t.Errorf("%d fsyncs", got-before)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m.PowerLoss(vfs.LoseAll, 0)
	if _, r, err := openReplay(memConfig(m)); err != nil || len(r.votes) != 1 {
		t.Errorf("replayed %+v, %v", r, err)
	}
}

// TestAppendAllocatesNothing: Append and Sync are called for every group commit; garbage there is a pause everywhere.
func TestAppendAllocatesNothing(t *testing.T) {
	c := Config{Dir: t.TempDir(), Cluster: testCluster, Node: 1, Members: testMembers, Bootstrap: true, Foreground: true}
	l := bootstrapped(t, c)
	defer l.Close()
	var recs []wire.Record
	for i := range wire.Slot(100) {
		recs = append(recs, acceptRecord(wire.GroupID(1+i%3), i+1, 1<<32|2, 200))
	}
	defer releaseAll(recs)
	for name, n := range map[string]int{"one record": 1, "100 records": 100} {
		run := func() {
			if _, err := l.Append(recs[:n]); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(recs[:n]); err != nil { // into the open group
				t.Fatal(err)
			}
			mustSync(t, l)
		}
		run()
		if got := testing.AllocsPerRun(50, run); got != 0 {
			t.Errorf("%s: %v allocs", name, got)
		}
	}
}

// TestBadRecordsPanic: a record whose fields and frame disagree is a bug of the caller. Written down it would be found
// at the next start, by a node that refuses its own log.
func TestBadRecordsPanic(t *testing.T) {
	good := acceptRecord(1, 1, 1<<32|2, 10)
	defer good.Frame.Release()
	for name, change := range map[string]func(*wire.Record){
		"kind":  func(r *wire.Record) { r.Kind = wire.KindLearn },
		"group": func(r *wire.Record) { r.Group = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			l := bootstrapped(t, memConfig(vfs.NewMem()))
			defer l.Close()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			bad := good
			change(&bad)
			l.Append([]wire.Record{bad})
		})
	}
}

// TestFramesAreReturned: the log makes frames of its own (openings, marks) and copies each record for replay. One that is
// not released is lost to the pool, once for each segment, for ever.
func TestFramesAreReturned(t *testing.T) {
	before := wire.Outstanding()
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	slot := fill(t, l, 1, 1, 5)
	if err := l.Trim(1, slot/2); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l, _, err := openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := InspectFS(m, testDir, nil); err != nil {
		t.Fatal(err)
	}
	if got := wire.Outstanding(); got != before {
		t.Errorf("%d frames were not released", got-before)
	}
}
