package wal

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// TestInspect: what an operator is told about a log must be what is in it, and asking must neither need the lock nor
// change anything, also not a torn tail.
func TestInspect(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	slot := fill(t, l, 1, 1, 2)
	rec := wire.PromiseRecord(testCluster, 2, 1, 5<<32|1, 0, nil)
	if _, err := l.Append([]wire.Record{rec}); err != nil {
		t.Fatal(err)
	}
	rec.Frame.Release()
	mustSync(t, l)
	tail := l.active.pos
	m.Corrupt(segmentFile(2), func(p []byte) []byte { p[tail+5] = 1; return p }) // a group that was being written
	m.CrashAt(1)                                                                 // refuses whatever changes something
	var entries []Entry
	rep, err := InspectFS(m, testDir, func(e *Entry) error { entries = append(entries, *e); return nil })
	if err != nil || m.Ops() != 0 {
		t.Fatalf("inspect: %v, %d operations", err, m.Ops())
	}
	if !rep.Verdict.Torn || rep.Verdict.Offset != tail || rep.Identity.Node != 1 || len(rep.Segments) != 2 {
		t.Fatalf("report %+v", rep)
	}
	a, b := rep.Segments[0], rep.Segments[1]
	if !a.Sealed || a.First != 1 || a.Last+1 != b.First || a.Kinds[wire.KindAccept] != int(slot)-2 || a.Slots[1] != (SlotRange{1, slot - 2}) {
		t.Errorf("first segment %+v, last slot %d", a, slot-1)
	}
	if b.Sealed || b.Used != tail || b.Kinds[wire.KindRecPromise] != 2 || b.Kinds[wire.KindRecMembers] != 1 || b.Slots[1] != (SlotRange{slot - 1, slot - 1}) {
		t.Errorf("second segment %+v", b)
	}
	for i, e := range entries {
		if e.LSN != wire.LSN(i+1) {
			t.Fatalf("entry %d has LSN %d", i, e.LSN)
		}
	}
	if last := entries[len(entries)-1]; last.LSN != b.Last || last.File != segmentFile(2) || last.Record.Ballot != 5<<32|1 {
		t.Errorf("last entry %+v", last)
	}
	stop := errors.New("enough")
	if _, err := InspectFS(m, testDir, func(*Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error became %v", err)
	}
}

// TestInspectDamaged: a log that is refused is looked at all the more: everything before the damage, and the same error
// that Open or Replay would give.
func TestInspectDamaged(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 6)
	groups, _ := groupsOf(t, m, 1)
	broken := m.Clone()
	broken.Corrupt(segmentFile(1), func(p []byte) []byte { p[groups[4]+70] ^= 1; return p })
	rep, err := InspectFS(broken, testDir, nil)
	wantCorrupt(t, err, segmentFile(1))
	if len(rep.Segments) != 1 || rep.Segments[0].Used != groups[4] || rep.Segments[0].Groups != 4 {
		t.Errorf("report %+v", rep)
	}
	if err := m.Remove(filepath.Join(testDir, identityName)); err != nil {
		t.Fatal(err)
	}
	rep, err = InspectFS(m, testDir, nil)
	var ident *IdentityError
	if !errors.As(err, &ident) || len(rep.Segments) != 1 || rep.Segments[0].Records != 7 {
		t.Errorf("without identity: %+v, %v", rep, err)
	}
	if _, err := InspectFS(vfs.NewMem(), testDir, nil); err == nil {
		t.Error("inspected a directory that is not there")
	}
	if _, err := Inspect(t.TempDir(), nil); !errors.Is(err, ErrNotBootstrapped) {
		t.Errorf("an empty directory: %v", err)
	}
}
