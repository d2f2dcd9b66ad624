package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
)

func mustCreate(t *testing.T, m *Mem, name string) File {
	t.Helper()
	if err := m.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	f, err := m.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func do(t *testing.T, steps ...error) {
	t.Helper()
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

// TestMemForgetsWhatWasNotSynced: the model would hide every missing sync if it kept more than POSIX promises.
func TestMemForgetsWhatWasNotSynced(t *testing.T) {
	for _, test := range []struct {
		name             string
		file, dir        bool
		exists, contents bool
	}{
		{"nothing synced", false, false, false, false},
		{"file synced, name not", true, false, false, false},
		{"name synced, file not", false, true, true, false},
		{"both synced", true, true, true, true},
	} {
		m := NewMem()
		f := mustCreate(t, m, "/d/a")
		do(t, f.Writev([][]byte{[]byte("he"), []byte("llo")}, 0))
		if test.file {
			do(t, f.Sync())
		}
		if test.dir {
			do(t, m.SyncDir("/d"))
		}
		do(t, f.Writev([][]byte{[]byte("XX")}, 0)) // never synced
		m.PowerLoss(LoseAll, 0)
		p, err := ReadFile(m, "/d/a")
		if (err == nil) != test.exists || string(p) != map[bool]string{true: "hello"}[test.contents] {
			t.Errorf("%s: %q, %v", test.name, p, err)
		}
	}
}

// TestMemRebootKeepsUnsynced: a process crash loses nothing, and a power loss after it loses what was un-synced before.
func TestMemRebootKeepsUnsynced(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "/d/a")
	do(t, f.Writev([][]byte{[]byte("one")}, 0), f.Datasync(), m.SyncDir("/d"), f.Writev([][]byte{[]byte("two")}, 0))
	m.Reboot()
	if err := f.Datasync(); !errors.Is(err, ErrCrashed) {
		t.Errorf("a handle survived the crash: %v", err)
	}
	if p, _ := ReadFile(m, "/d/a"); string(p) != "two" {
		t.Errorf("after the process crash: %q", p)
	}
	m.PowerLoss(LoseAll, 0)
	if p, _ := ReadFile(m, "/d/a"); string(p) != "one" {
		t.Errorf("after the power loss: %q", p)
	}
}

// TestMemFailedSyncLosesPages: after a failed sync the bytes are still readable, and no later sync saves them, until they
// are written again.
func TestMemFailedSyncLosesPages(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "/d/a")
	do(t, f.Writev([][]byte{[]byte("old")}, 0), f.Sync(), m.SyncDir("/d"), f.Writev([][]byte{[]byte("new")}, 0))
	planted := errors.New("planted")
	m.SetHook(func(op Op) error { return planted })
	if err := f.Datasync(); !errors.Is(err, planted) {
		t.Fatal(err)
	}
	m.SetHook(nil)
	do(t, f.Datasync())
	if p, _ := ReadFile(m, "/d/a"); string(p) != "new" {
		t.Errorf("live %q", p)
	}
	m.PowerLoss(LoseNone, 0)
	if p, _ := ReadFile(m, "/d/a"); string(p) != "old" {
		t.Errorf("durable %q", p)
	}
}

// TestMemLosses: each kind of loss leaves what its description says, and all kinds leave the synced part.
func TestMemLosses(t *testing.T) {
	const sectors = 64
	old, young := bytes.Repeat([]byte{1}, sectors*SectorSize), bytes.Repeat([]byte{2}, sectors*SectorSize)
	for _, loss := range Losses() {
		kinds := map[byte]int{} // by the first byte of each sector; 0: neither
		prefix := true
		for seed := range uint64(20) {
			m := NewMem()
			f := mustCreate(t, m, "/d/a")
			do(t, f.Writev([][]byte{old}, 0), f.Sync(), m.SyncDir("/d"), f.Writev([][]byte{young}, 0))
			m.PowerLoss(loss, seed)
			p, err := ReadFile(m, "/d/a")
			if err != nil || len(p) != len(old) {
				t.Fatalf("%v: %d bytes, %v", loss, len(p), err)
			}
			seen := false
			for i := range sectors {
				switch s := p[i*SectorSize : (i+1)*SectorSize]; {
				case bytes.Equal(s, old[:SectorSize]):
					kinds[1]++
					seen = true
				case bytes.Equal(s, young[:SectorSize]):
					kinds[2]++
					prefix = prefix && !seen
				default:
					kinds[0]++
				}
			}
		}
		ok := false
		switch loss {
		case LoseAll, KeepNames:
			ok = kinds[2] == 0 && kinds[0] == 0
		case LoseNone, KeepContents:
			ok = kinds[1] == 0 && kinds[0] == 0
		case KeepPrefix:
			ok = prefix && kinds[0] == 0 && kinds[1] > 0 && kinds[2] > 0
		case KeepSectors:
			ok = !prefix && kinds[0] == 0 && kinds[1] > 0 && kinds[2] > 0
		case KeepGarbage:
			ok = !prefix && kinds[0] > 0 && kinds[1] > 0 && kinds[2] > 0
		}
		if !ok {
			t.Errorf("%v: old %d, new %d, garbage %d, prefix %v", loss, kinds[1], kinds[2], kinds[0], prefix)
		}
	}
}

// TestMemCrashAt: the operation with the number does not happen, nor any later one.
func TestMemCrashAt(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "/d/a")
	m.CrashAt(2)
	do(t, f.Writev([][]byte{[]byte("a")}, 0))
	if err := f.Writev([][]byte{[]byte("b")}, 0); !errors.Is(err, ErrCrashed) {
		t.Errorf("write: %v", err)
	}
	if err := m.Rename("/d/a", "/d/b"); !errors.Is(err, ErrCrashed) {
		t.Errorf("rename: %v", err)
	}
	m.Reboot()
	if p, err := ReadFile(m, "/d/a"); string(p) != "a" {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := m.Create("/d/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v", err)
	}
	if _, err := m.Open("/d/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
}
