package disk

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// layers are the two file systems of a disk, with a file in each.
func layers(t *testing.T) (d *Disk, log vfs.FS, file vfs.File, snaps snapshot.FS, part snapshot.FileHandle, dir string) {
	t.Helper()
	d, dir = New(), t.TempDir()
	log, snaps = d.Log(vfs.OS()), d.Snapshots(snapshot.OS())
	file, err := log.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.Preallocate(4096); err != nil {
		t.Fatal(err)
	}
	if part, err = snaps.Create(filepath.Join(dir, "snap")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { part.Close() })
	return d, log, file, snaps, part, dir
}

// syncs are all the ways in which something is made durable.
func syncs(log vfs.FS, file vfs.File, snaps snapshot.FS, part snapshot.FileHandle, dir string) map[string]func() error {
	return map[string]func() error{
		"log datasync": file.Datasync, "log sync": file.Sync, "log dir": func() error { return log.SyncDir(dir) },
		"snapshot sync": part.Sync, "snapshot dir": func() error { return snaps.SyncDir(dir) },
	}
}

// A way to the disk that goes past the layer makes a fault smaller than the report says.
func TestSyncs(t *testing.T) {
	d, log, file, snaps, part, dir := layers(t)
	for name, sync := range syncs(log, file, snaps, part, dir) {
		d.Set(Conditions{})
		if err := sync(); err != nil {
			t.Errorf("%s of a good disk: %v", name, err)
		}
		const slow = 20 * time.Millisecond
		d.Set(Conditions{SyncLatency: slow})
		start := time.Now()
		if err := sync(); err != nil || time.Since(start) < slow {
			t.Errorf("%s of a slow disk: %v after %s", name, err, time.Since(start))
		}
		d.Set(Conditions{FailSync: true})
		if err := sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s of a broken disk: %v", name, err)
		}
		d.Set(Conditions{Stall: true})
		done, stalled := make(chan error, 1), d.Counts().Stalled
		go func() { done <- sync() }()
		for d.Counts().Stalled == stalled && len(done) == 0 {
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-done:
			t.Errorf("%s of a stuck disk: %v", name, err)
			continue
		case <-time.After(slow):
		}
		d.Set(Conditions{SyncLatency: time.Nanosecond})
		if err := <-done; err != nil {
			t.Errorf("%s after the stall: %v", name, err)
		}
	}
	if c := d.Counts(); c.Slowed < 10 || c.Failed != 5 || c.Stalled != 5 {
		t.Errorf("%+v", c)
	}
}

// A full disk that lets something grow, or that refuses what a real one permits, is another experiment.
func TestFull(t *testing.T) {
	d, log, file, snaps, part, dir := layers(t)
	write := func() error { return file.Writev([][]byte{[]byte("over what is there")}, 0) }
	grow := map[string]func() error{
		"create a log file": func() error { _, err := log.Create(filepath.Join(dir, "new")); return err },
		"preallocate":       func() error { return file.Preallocate(8192) },
		"make a directory":  func() error { return log.MkdirAll(filepath.Join(dir, "sub")) },
		"create a snapshot": func() error { _, err := snaps.Create(filepath.Join(dir, "new")); return err },
		"open a part":       func() error { _, err := snaps.OpenPart(filepath.Join(dir, "new")); return err },
		"write a snapshot":  func() error { _, err := part.WriteAt([]byte("x"), 0); return err },
	}
	for _, full := range []Full{FullGrow, FullWrite} {
		d.Set(Conditions{Full: full})
		for name, do := range grow {
			if err := do(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("full for %s: %s: %v", full, name, err)
			}
		}
		if err := write(); (full == FullWrite) != errors.Is(err, syscall.ENOSPC) || full == FullGrow && err != nil {
			t.Errorf("full for %s: overwrite: %v", full, err)
		}
		if err := file.Datasync(); err != nil {
			t.Errorf("full for %s: %v", full, err)
		}
	}
	if c := d.Counts(); c.Refused != 13 {
		t.Errorf("%+v", c)
	}
	d.Set(Conditions{})
	if err := write(); err != nil {
		t.Error(err)
	}
}

// An order that is misread, or answered before it is in force, would let a fault begin at another time than reported.
func TestControl(t *testing.T) {
	d := New()
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(in, out) }()
	lines := bufio.NewScanner(answers)
	ask := func(line string) (a Answer) {
		t.Helper()
		io.WriteString(orders, line+"\n")
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := Conditions{SyncLatency: time.Second, Full: FullGrow, FailSync: true}
	text, _ := json.Marshal(want)
	if a := ask(string(text)); a.Disk == nil || *a.Disk != want || a.Error != "" {
		t.Errorf("%+v", a)
	}
	if got, _ := d.look(); got != want {
		t.Errorf("in force: %+v", got)
	}
	if a := ask("nonsense"); a.Error == "" {
		t.Errorf("%+v", a)
	}
	if got, _ := d.look(); got != want {
		t.Errorf("nonsense changed it to %+v", got)
	}
	if a := ask("{}"); a.Disk == nil || *a.Disk != (Conditions{}) {
		t.Errorf("%+v", a)
	}
	orders.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := d.Serve(strings.NewReader("{}\n"), failing{}); err == nil {
		t.Error("an answer that nobody gets is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }
