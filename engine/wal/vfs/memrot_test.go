package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

// sectors makes n sectors, the bytes of each of which are its number plus base.
func sectors(base byte, n int) []byte {
	var p []byte
	for i := range n {
		p = append(p, bytes.Repeat([]byte{base + byte(i)}, SectorSize)...)
	}
	return p
}

// TestMemNamesWithoutContents: what a file system may leave of a file that was written and renamed and not synced is a name
// with zeros, or the contents under the old name. A model that keeps both or neither never shows a missing sync.
func TestMemNamesWithoutContents(t *testing.T) {
	for loss, want := range map[Loss]struct{ name, content string }{
		KeepNames: {"/d/b", "\x00\x00\x00"}, KeepContents: {"/d/a", "new"},
	} {
		m := NewMem()
		f := mustCreate(t, m, "/d/a")
		do(t, m.SyncDir("/d"), f.Writev([][]byte{[]byte("new")}, 0), m.Rename("/d/a", "/d/b"))
		m.PowerLoss(loss, 0)
		names, err := m.List("/d")
		p, _ := ReadFile(m, want.name)
		if err != nil || len(names) != 1 || string(p) != want.content {
			t.Errorf("%v: %v, %q", loss, names, p)
		}
	}
}

// TestMemPartialAndLyingOperations: a write of which only a part is done must leave that part; one that is confirmed and not
// done must read well and be gone after a power loss, whatever was synced in between.
func TestMemPartialAndLyingOperations(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "/d/a")
	do(t, f.Writev([][]byte{[]byte("......")}, 0), f.Sync(), m.SyncDir("/d"))
	var answer error
	m.SetHook(func(Op) error { return answer })
	answer = &PartialError{Bytes: 3, Err: syscall.ENOSPC}
	if err := f.Writev([][]byte{[]byte("ab"), []byte("cd")}, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("short write: %v", err)
	}
	answer = ErrLie
	do(t, f.Writev([][]byte{[]byte("Z")}, 5))
	answer = nil
	if p, _ := ReadFile(m, "/d/a"); string(p) != "abc..Z" {
		t.Errorf("live: %q", p)
	}
	answer = ErrLie
	do(t, f.Datasync(), m.SyncDir("/d"))
	lied := m.Clone()
	lied.PowerLoss(LoseAll, 0)
	if p, _ := ReadFile(lied, "/d/a"); string(p) != "......" {
		t.Errorf("after a sync that lied: %q", p)
	}
	answer = nil
	do(t, f.Datasync())
	m.PowerLoss(LoseAll, 0)
	if p, _ := ReadFile(m, "/d/a"); string(p) != "abc..." {
		t.Errorf("after a true sync: %q", p)
	}
	g := mustCreate(t, m, "/d/g")
	m.SetHook(func(Op) error { return &PartialError{Bytes: 100, Err: syscall.ENOSPC} })
	err := g.Preallocate(1000)
	if n, _ := g.Size(); !errors.Is(err, syscall.ENOSPC) || n != 100 {
		t.Errorf("preallocation on a full disk: %d bytes, %v", n, err)
	}
	m.SetHook(func(Op) error { return syscall.EMFILE })
	for _, op := range []func() error{
		func() error { _, err := m.Open("/d/a"); return err },
		func() error { _, err := m.OpenRead("/d/a"); return err },
		func() error { _, err := m.List("/d"); return err },
		func() error { _, err := m.Lock("/d/l"); return err },
		func() error { _, err := g.ReadAt(make([]byte, 1), 0); return err },
	} {
		if err := op(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("an operation that reads was not refused: %v", err)
		}
	}
}

// TestMemStoredBytes: each fault of stored bytes does what it says to the sector it is asked for, and to no other file system
// that the contents are shared with.
func TestMemStoredBytes(t *testing.T) {
	m := NewMem()
	m.KeepHistory()
	f := mustCreate(t, m, "/d/a")
	do(t, f.Writev([][]byte{sectors(10, 4)}, 0), f.Sync(), m.SyncDir("/d"))
	do(t, f.Writev([][]byte{sectors(20, 1)}, SectorSize), f.Datasync())
	do(t, f.Writev([][]byte{sectors(20, 1)}, SectorSize), f.Datasync()) // changes nothing
	do(t, f.Writev([][]byte{sectors(30, 1)}, 2*SectorSize))             // not durable
	if p := m.SectorBefore("/d/a", 1); !bytes.Equal(p, sectors(11, 1)) {
		t.Errorf("sector 1 held %v before", p)
	}
	for _, s := range []int64{0, 2, 9} {
		if p := m.SectorBefore("/d/a", s); len(p) != 0 {
			t.Errorf("sector %d held %v before", s, p)
		}
	}
	other := m.Clone()
	other.SetSector("/d/a", 1, other.SectorBefore("/d/a", 1))
	other.Corrupt("/d/a", func(p []byte) []byte { p[0] ^= 1; return p })
	o, err := other.Open("/d/a")
	do(t, err, o.Writev([][]byte{sectors(50, 1)}, 3*SectorSize))
	if p, _ := ReadFile(other, "/d/a"); p[0] != 11 || p[SectorSize] != 11 || p[3*SectorSize] != 50 {
		t.Errorf("after the faults: %v %v %v", p[0], p[SectorSize], p[3*SectorSize])
	}
	if p, _ := ReadFile(m, "/d/a"); p[0] != 10 || p[SectorSize] != 20 || p[3*SectorSize] != 13 {
		t.Errorf("a fault in a copy is seen in the original: %v %v %v", p[0], p[SectorSize], p[3*SectorSize])
	}
	if !bytes.Equal(m.Sector("/d/a", 2), sectors(12, 1)) || len(m.Sector("/d/a", 4)) != 0 {
		t.Error("Sector is not what is durable")
	}
	m.Unreadable("/d/a", 2)
	p := make([]byte, 4*SectorSize)
	var pe *fs.PathError
	if n, err := f.ReadAt(p, 0); n != 2*SectorSize || !errors.Is(err, syscall.EIO) || !errors.As(err, &pe) {
		t.Errorf("read over a bad sector: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p[:10], 3*SectorSize); n != 10 || err != nil {
		t.Errorf("read behind it: %d, %v", n, err)
	}
	do(t, f.Writev([][]byte{sectors(60, 1)}, 2*SectorSize))
	if n, err := f.ReadAt(p, 0); n != len(p) || err != nil {
		t.Errorf("read after it was written anew: %d, %v", n, err)
	}
}
