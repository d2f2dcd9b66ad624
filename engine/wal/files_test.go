package wal

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// TestLostAndSwappedFiles: files of the directory are lost, swapped, or come from elsewhere. Each is refused with a
// message that names a file, and the directory is left as it was.
func TestLostAndSwappedFiles(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 700, 30)
	names, err := m.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	count := len(slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, segmentPrefix) }))
	if count < 3 {
		t.Fatalf("%d segments", count)
	}
	for id := uint64(1); id <= uint64(count); id++ {
		lost := m.Clone()
		if err := lost.Remove(segmentFile(id)); err != nil {
			t.Fatal(err)
		}
		_, _, err := openReplay(memConfig(lost))
		wantCorrupt(t, err, segmentFile(id))
	}
	swapped := m.Clone()
	for _, r := range [][2]string{{segmentFile(1), "x"}, {segmentFile(2), segmentFile(1)}, {"x", segmentFile(2)}} {
		for i := range r {
			if r[i] == "x" {
				r[i] = filepath.Join(testDir, "x")
			}
		}
		if err := swapped.Rename(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = openReplay(memConfig(swapped))
	wantCorrupt(t, err, segmentFile(1))
}

// TestForeignSegments: a segment of another node, cluster or run in an otherwise good directory.
func TestForeignSegments(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 700, 12)
	for _, change := range []func(*Config){
		func(c *Config) { c.Node = 2 },
		func(c *Config) { c.Cluster++ },
		func(c *Config) { salt := uint64(77); c.Salt = func() uint64 { salt++; return salt } },
	} {
		other := vfs.NewMem()
		c := memConfig(other)
		change(&c)
		l := bootstrapped(t, c)
		for _, s := range slotRange(1, 12) {
			rec := acceptRecord(1, s, wire.NewBallot(1, 2), 700)
			if c.Cluster != testCluster {
				wire.SealAccept(rec.Frame, c.Cluster, 1, 2, rec.Ballot, s, 0)
			}
			if _, err := l.Append([]wire.Record{rec}); err != nil {
				t.Fatal(err)
			}
			rec.Frame.Release()
			mustSync(t, l)
		}
		l.Close()
		for id := uint64(1); id <= 2; id++ {
			p, err := vfs.ReadFile(other, segmentFile(id))
			if err != nil {
				t.Fatal(err)
			}
			mixed := m.Clone()
			mixed.WriteFile(segmentFile(id), p)
			_, _, err = openReplay(memConfig(mixed))
			var ce *CorruptError
			if !errors.As(err, &ce) {
				t.Errorf("segment %d of node %d, cluster %x: %v", id, c.Node, c.Cluster, err)
			}
		}
	}
}

// TestOtherVersion: a segment of the next version is refused by naming both versions; its content is not guessed at.
func TestOtherVersion(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 2)
	m.Corrupt(segmentFile(1), func(p []byte) []byte {
		le.PutUint32(p[8:], Version+1)
		return reseal(p)
	})
	_, _, err := openReplay(memConfig(m))
	var v *VersionError
	if !errors.As(err, &v) || v.Got != Version+1 || v.File != segmentFile(1) {
		t.Fatalf("error %v, want a *VersionError", err)
	}
}

// badSector is a file system on which reading past an offset fails, as on a disk with an unreadable sector.
type badSector struct {
	FS
	from int64
}

type badFile struct {
	vfs.File
	from int64
}

func (b badSector) OpenRead(name string) (vfs.File, error) {
	f, err := b.FS.OpenRead(name)
	if strings.Contains(name, segmentPrefix) && err == nil {
		return badFile{f, b.from}, nil
	}
	return f, err
}

func (b badFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.from {
		return b.File.ReadAt(p, off)
	}
	return int(max(0, b.from-off)), syscall.EIO
}

// TestUnreadableSector: what cannot be read is not the end of the log. It is refused, with the cause.
func TestUnreadableSector(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 3)
	for _, from := range []int64{0, 100, 1024, 4096} {
		c := memConfig(m)
		c.FS = badSector{m, from}
		_, _, err := openReplay(c)
		wantCorrupt(t, err, segmentFile(1))
		var ce *CorruptError
		if errors.As(err, &ce); !errors.Is(err, syscall.EIO) || ce.Offset != from {
			t.Errorf("unreadable from %d: %v", from, err)
		}
	}
}
