package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// fill appends synced votes of group g from slot on until the log has begun segment id, and returns the next slot.
func fill(t testing.TB, l *Log, g wire.GroupID, slot wire.Slot, id uint64) wire.Slot {
	t.Helper()
	for ; l.active.id < id; slot++ {
		rec := acceptRecord(g, slot, wire.NewBallot(1, 2), 900)
		_, err := l.Append([]wire.Record{rec})
		rec.Frame.Release()
		if err != nil {
			t.Fatal(err)
		}
		mustSync(t, l)
	}
	return slot
}

// TestPromisesOutliveTheirSegments: a promise, or a vote that promises as much, stands in a segment that is then reused.
// If the segments behind did not repeat it, the node would after a restart vote at a ballot below it, and two values
// could be chosen in one slot.
func TestPromisesOutliveTheirSegments(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	high := wire.NewBallot(7, 3)
	recs := []wire.Record{
		wire.PromiseRecord(testCluster, 2, 1, high, 0, nil), // a promise, no vote
		acceptRecord(3, 1, high+1, 10),                      // a vote at a ballot never promised by a record of its own
	}
	if _, err := l.Append(recs); err != nil {
		t.Fatal(err)
	}
	releaseAll(recs)
	slot := fill(t, l, 1, 1, 3)
	for _, g := range []wire.GroupID{1, 3} {
		if err := l.Trim(g, slot); err != nil {
			t.Fatal(err)
		}
	}
	if l.oldest != 3 {
		t.Fatalf("oldest segment is %d", l.oldest)
	}
	l.Close()
	_, r, err := openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	if r.promised[2] != high || r.promised[3] != high+1 || r.trimmed[1] != slot-1 || r.members == 0 {
		t.Errorf("replayed promises %v, marks %v", r.promised, r.trimmed)
	}
}

// TestSlotPromisesKeepTheirSegments: a promise for one slot alone goes with its segment although the slot is still open, and
// the node votes there at a lower ballot after a restart; or it, or a vote at a ballot for one slot alone, becomes a
// promise for all slots, and the node refuses what it never promised to refuse.
func TestSlotPromisesKeepTheirSegments(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	high := wire.NewBallot(7, 3)
	vote := acceptRecord(2, 9, high+1, 10)
	vote.Scope = wire.ScopeSlot
	recs := []wire.Record{wire.SlotPromiseRecord(testCluster, 2, 1, high, 10, 0, nil), vote}
	if _, err := l.Append(recs); err != nil {
		t.Fatal(err)
	}
	releaseAll(recs)
	slot := fill(t, l, 1, 1, 3)
	for _, step := range []struct {
		group  wire.GroupID
		below  wire.Slot
		oldest uint64
	}{{1, slot, 1}, {2, 10, 1}, {2, 11, 3}} {
		if err := l.Trim(step.group, step.below); err != nil {
			t.Fatal(err)
		}
		if l.oldest != step.oldest {
			t.Fatalf("group %d trimmed below slot %d: oldest segment is %d, want %d", step.group, step.below, l.oldest, step.oldest)
		}
	}
	l.Close()
	_, r, err := openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	if r.promised[2] != 0 || r.trimmed[2] != 10 {
		t.Errorf("replayed promises %v, marks %v", r.promised, r.trimmed)
	}
}

// TestTrimKeepsWhatAGroupNeeds: one group's snapshot must not free a segment in which another still has its only copy
// of a vote, and segments go oldest first only.
func TestTrimKeepsWhatAGroupNeeds(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	defer l.Close()
	slot1 := fill(t, l, 1, 1, 3)    // group 1: segments 1, 2 and a bit of 3
	slot2 := fill(t, l, 2, 1, 4)    // group 2: segment 3
	slot1 = fill(t, l, 1, slot1, 6) // group 1: segments 4, 5
	steps := []struct {
		group  wire.GroupID
		below  wire.Slot
		oldest uint64
	}{
		{2, slot2, 1},     // segment 3 still has the votes of group 1, and 1 and 2 are older
		{1, 0, 1},         // no mark
		{1, 2, 1},         // slot 1 only
		{1, slot1 / 2, 3}, // 1 and 2 go
		{1, 2, 3},         // an older mark changes nothing
		{1, slot1, 6},     // all but the active one
		{1, slot1 + 100, 6},
	}
	for i, step := range steps {
		if err := l.Trim(step.group, step.below); err != nil {
			t.Fatal(err)
		}
		if l.oldest != step.oldest {
			t.Fatalf("step %d: oldest segment is %d, want %d", i, l.oldest, step.oldest)
		}
	}
	if s := l.Stats(); s.Live != 1 || s.Spare != 2 || s.Recycled != 2 || s.Removed != 3 {
		t.Errorf("stats %+v", s)
	}
}

// TestDiskIsBounded: with a snapshot every two segments the number of files stays what the configuration says, for ever.
func TestDiskIsBounded(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	l := bootstrapped(t, c)
	slot := wire.Slot(1)
	for id := uint64(3); id < 60; id += 2 {
		slot = fill(t, l, 1, slot, id)
		if err := l.Trim(1, slot); err != nil {
			t.Fatal(err)
		}
		names, err := m.List(testDir)
		if err != nil {
			t.Fatal(err)
		}
		if files := len(names) - 1; files > 1+c.SparesMax { // without the identity file
			t.Fatalf("segment %d: %v", id, names)
		}
	}
	if s := l.Stats(); s.Created > 10 {
		t.Errorf("%d segments were made in the long run: %+v", s.Created, s)
	}
	l.Close()
}

// TestLeftoversAreTakenOver: the process ends between the record that a segment is not needed and the renaming of its
// file, or after making spares. The next start must take them over, whatever their names and sizes.
func TestLeftoversAreTakenOver(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	slot := fill(t, l, 1, 1, 4)
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == "rename" || op.Kind == "remove" {
			return syscall.EIO
		}
		return nil
	})
	if err := l.Trim(1, slot); !errors.Is(err, syscall.EIO) {
		t.Fatalf("trim: %v", err)
	}
	m.Reboot()
	m.WriteFile(testDir+"/"+spareName(77), make([]byte, segmentBytesMin/2)) // another size: from another configuration
	m.WriteFile(testDir+"/"+spareName(3), make([]byte, segmentBytesMin))
	m.WriteFile(testDir+"/"+spareName(9)+tmpSuffix, nil)
	m.WriteFile(testDir+"/notes.txt", nil) // somebody's: left alone
	rep, err := InspectFS(m, testDir, nil)
	if err != nil || rep.GivenUp != 3 || rep.Spares != 2 {
		t.Errorf("inspect: %+v, %v", rep, err)
	}
	l, _, err = openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	names, _ := m.List(testDir)
	want := []string{"identity", "notes.txt", segmentName(4), spareName(3), spareName(78)}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("directory holds %v, want %v", names, want)
	}
	if s := l.Stats(); s.Spare != 2 || s.Live != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestKeeperInBackground: with goroutines a spare is there before it is needed, segments are given up behind the owner's
// back, and Close ends everything at any moment.
func TestKeeperInBackground(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Foreground = false
	l := bootstrapped(t, c)
	slot := wire.Slot(1)
	for id := uint64(2); id < 40; id++ {
		slot = fill(t, l, 1, slot, id)
		if err := l.Trim(1, slot); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := m.List(testDir)
	files := slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, walSuffix) })
	if len(files) > 4+c.SparesMax {
		t.Errorf("directory holds %v", files)
	}
	l, r, err := openReplay(c)
	if err != nil || r.trimmed[1] != slot-1 {
		t.Fatalf("restart: %+v, %v", r, err)
	}
	l.Close()
}

// TestFullDisk: no space for a spare is nothing while nobody needs it, and no space for the segment that is needed is an
// error that says so and ends nothing: the log keeps what it has, also over a power loss, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	for _, foreground := range []bool{true, false} {
		for _, kind := range []string{"preallocate", "writev"} {
			t.Run(fmt.Sprintf("foreground=%v/%s", foreground, kind), func(t *testing.T) { fullDisk(t, foreground, kind) })
		}
	}
}

func fullDisk(t *testing.T, foreground bool, kind string) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Foreground = foreground
	l := bootstrapped(t, c)
	if !foreground {
		l.keeper.mu.Lock() // let the first spare be made, and take it away
		for len(l.keeper.spares) == 0 {
			l.keeper.changed.Wait()
		}
		l.keeper.mu.Unlock()
	}
	acked := wire.Slot(0)
	give := func() error {
		recs := []wire.Record{acceptRecord(1, acked+1, 1<<32|2, 900), acceptRecord(1, acked+2, 1<<32|2, 900)}
		defer releaseAll(recs)
		_, err := l.Append(recs)
		var full *FullError
		for tries := 0; errors.As(err, &full) && tries < 3; tries++ {
			recs = recs[full.Written:]
			_, err = l.Append(recs)
			if tries == 1 {
				m.SetHook(nil)
			}
		}
		if err == nil {
			if _, err = l.Sync(); err == nil {
				acked += 2
			}
		}
		return err
	}
	for range 5 {
		if err := give(); err != nil {
			t.Fatal(err)
		}
	}
	var refused atomic.Int32 // in the background the keeper asks too
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == kind {
			refused.Add(1)
			return syscall.ENOSPC
		}
		return nil
	})
	if kind == "writev" { // a mark without room is made up for
		if err := l.Trim(1, 3); !errors.As(err, new(*FullError)) {
			t.Fatalf("trim: %v", err)
		}
	}
	for refused.Load() < 3 {
		if err := give(); err != nil {
			t.Fatalf("after %d refusals: %v", refused.Load(), err)
		}
	}
	m.SetHook(nil)
	for range 10 {
		if err := give(); err != nil {
			t.Fatal(err)
		}
	}
	if kind == "writev" {
		if err := l.Trim(1, 3); err != nil {
			t.Fatal(err)
		}
		mustSync(t, l)
	}
	if l.Err() != nil || l.active.id < 2 {
		t.Errorf("in segment %d: %v", l.active.id, l.Err())
	}
	l.Close()
	m.PowerLoss(vfs.LoseAll, 1)
	l, r, err := openReplay(c)
	if err != nil || !slices.Equal(slotsOf(r.votes), slotRange(1, acked)) || kind == "writev" && r.trimmed[1] != 2 {
		t.Fatalf("restart: want slots 1 to %d: %+v, %v", acked, r, err)
	}
	l.Close()
}

// TestTrimAfterRestart: what a segment holds is known from replay as well as from writing. A restart that forgets it
// frees, at the next snapshot of another group, a segment with the only copy of a vote.
func TestTrimAfterRestart(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1) // group 1: in segment 1, which is the active one at the restart
	mustSync(t, l)
	l.Close()
	l, _, err := openReplay(memConfig(m))
	if err != nil {
		t.Fatal(err)
	}
	slot := fill(t, l, 2, 1, 3)
	if err := l.Trim(2, slot); err != nil {
		t.Fatal(err)
	}
	if l.oldest != 1 {
		t.Fatal("the segment with the vote of group 1 was given up")
	}
	l.Close()
	l, _, err = openReplay(memConfig(m)) // now segment 1 is a full one
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Trim(2, slot+1); err != nil || l.oldest != 1 {
		t.Fatalf("the segment with the vote of group 1 was given up after a restart (%v)", err)
	}
	if err := l.Trim(1, 2); err != nil || l.oldest != 3 {
		t.Errorf("oldest segment is %d, %v", l.oldest, err)
	}
}
