package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// nodeDir makes a node's data directory with a log of ten synced groups and a snapshot, and returns the log's file and where
// each record is in it.
func nodeDir(t *testing.T) (dir, file string, offsets []int64) {
	t.Helper()
	dir = t.TempDir()
	l, err := wal.Open(wal.Config{Dir: filepath.Join(dir, "wal"), Cluster: 7, Node: 1, Members: []wire.NodeID{1, 2, 3},
		Bootstrap: true, SegmentBytes: 1 << 16, Foreground: true})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Replay(nil)
	for i := uint32(1); i <= 10 && err == nil; i++ {
		rec := wire.PromiseRecord(7, 1, 1, wire.NewBallot(i, 2), 0, nil)
		if _, err = l.Append([]wire.Record{rec}); err == nil {
			_, err = l.Sync()
		}
		rec.Frame.Release()
	}
	if err == nil {
		err = l.Close()
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "snap"), 0o755)
	}
	if err == nil {
		_, _, err = snapshot.Write(nil, filepath.Join(dir, "snap"), snapshot.Meta{Cluster: 7, Group: 1, Slot: 5}, func(w io.Writer) error {
			_, err := w.Write([]byte("state"))
			return err
		})
	}
	if err == nil {
		_, err = wal.Inspect(filepath.Join(dir, "wal"), func(e *wal.Entry) error {
			file, offsets = e.File, append(offsets, e.Offset)
			return nil
		})
	}
	if err != nil || len(offsets) != 11 {
		t.Fatalf("%d records, %v", len(offsets), err)
	}
	return dir, file, offsets
}

// What can go wrong: a damaged directory passes, is refused without saying where, or a torn tail is taken for damage or
// for nothing at all.
func TestWALVerify(t *testing.T) {
	const sector = 512
	dir, file, offsets := nodeDir(t)
	last := offsets[len(offsets)-1] / sector * sector
	flip := func(at int64) func(p []byte) []byte {
		return func(p []byte) []byte { p[at] ^= 1; return p }
	}
	zero := func(from, to int64) func(p []byte) []byte {
		return func(p []byte) []byte { clear(p[from:to]); return p }
	}
	identity := filepath.Join(dir, "wal", "identity")
	snap := filepath.Join(dir, "snap", snapshot.Name(1, 5))
	for _, test := range []struct {
		name, file string
		damage     func(p []byte) []byte
		code       int
		at         int64 // -1: an offset is not named
		says       string
	}{
		{"intact", file, func(p []byte) []byte { return p }, exitOK, -1, "ends: clean"},
		{"a bit of a record", file, flip(offsets[4] + 20), exitRuntime, offsets[4] / sector * sector, "is corrupt"},
		{"a bit of a group's header", file, flip(offsets[4]/sector*sector + 17), exitRuntime, offsets[4] / sector * sector, "is corrupt"},
		{"a sector zeroed", file, zero(offsets[4]/sector*sector, offsets[5]/sector*sector), exitRuntime, offsets[4] / sector * sector, "is corrupt"},
		{"the segment's header", file, flip(40), exitRuntime, 0, "is corrupt"},
		{"cut in half", file, func(p []byte) []byte { return p[:len(p)/2] }, exitRuntime, 1 << 15, "is corrupt"},
		{"the identity", identity, flip(20), exitRuntime, 0, "is corrupt"},
		{"the snapshot", snap, flip(70), exitRuntime, -1, "damaged"},
		{"the last group", file, flip(offsets[10] + 20), exitOK, last, "torn tail"},
		{"the last group zeroed", file, zero(last, last+sector), exitOK, last, "torn tail"},
		{"the end mark zeroed", file, zero(last+sector, last+2*sector), exitOK, last + sector, "torn tail"},
	} {
		whole, err := os.ReadFile(test.file)
		if err != nil {
			t.Fatal(err)
		}
		damaged := test.damage(append([]byte(nil), whole...))
		if err := os.WriteFile(test.file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		code, out, errs := call(nil, "wal", "verify", dir)
		said := out + errs
		if code != test.code || !strings.Contains(said, test.says) ||
			test.code != exitOK && !strings.Contains(errs, test.file) ||
			test.at >= 0 && !strings.Contains(said, fmt.Sprintf("at offset %d:", test.at)) {
			t.Errorf("%s: exit %d, want %d with %q and offset %d of %s\n%s%s", test.name, code, test.code, test.says, test.at, test.file, out, errs)
		}
		if now, err := os.ReadFile(test.file); err != nil || string(now) != string(damaged) {
			t.Errorf("%s: verify changed the file (%v)", test.name, err)
		}
		if err := os.WriteFile(test.file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(nil, "wal", "verify", dir); code != exitRuntime || !strings.Contains(errs, filepath.Join(dir, "wal")) {
		t.Errorf("segment lost: exit %d, %s", code, errs)
	}
}
