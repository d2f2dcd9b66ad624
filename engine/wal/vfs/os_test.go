package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestOSWritev: more pieces than one system call takes, of all lengths, empty ones among them. A piece lost or written
// twice would be found only by the next start.
func TestOSWritev(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := OS().MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	f, err := OS().Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 20
	if err := f.Preallocate(size + 100); err != nil {
		t.Fatal(err)
	}
	var bufs [][]byte
	var want []byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, i%97)
		bufs, want = append(bufs, b), append(want, b...)
	}
	if err := f.Writev(bufs, 1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 1000); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back: %v, equal %v", err, bytes.Equal(got, want))
	}
	if n, err := f.Size(); err != nil || n != size+100 {
		t.Errorf("size %d, %v", n, err)
	}
	if n := testing.AllocsPerRun(20, func() { f.Writev(bufs, 0) }); n != 0 {
		t.Errorf("Writev: %v allocs", n)
	}
	if err := f.Writev(nil, 0); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
}

// TestOSErrors: a failure must come back as an error that says which file and why.
func TestOSErrors(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OS().Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create: %v", err)
	}
	f, err := OS().OpenRead(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Writev([][]byte{{1}}, 0); err == nil {
		t.Error("wrote to a file opened for reading")
	}
	if _, err := OS().List(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list: %v", err)
	}
	if err := OS().SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync: %v", err)
	}
	if p, err := ReadFile(OS(), name); err != nil || string(p) != "x" {
		t.Errorf("%q, %v", p, err)
	}
}

// TestOSLock: the second holder is refused and told who the first is; the lock ends with Close, the file stays.
func TestOSLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OS().Lock(name)
	var held *LockedError
	if !errors.As(err, &held) || !errors.Is(err, ErrLocked) || held.PID != os.Getpid() {
		t.Errorf("second lock: %v", err)
	}
	if want := fmt.Sprintf("%s is locked by process %d", name, os.Getpid()); err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = OS().Lock(name)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	l.Close()
}
