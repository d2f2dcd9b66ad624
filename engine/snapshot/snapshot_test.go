package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

var testMeta = Meta{Cluster: 0xC1, Group: 3, Slot: 42, Ballot: wire.NewBallot(7, 2)}

func writeBody(p []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		for len(p) > 0 { // in uneven pieces
			n := min(len(p), 1+len(p)/3)
			if _, err := w.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		return nil
	}
}

func mustWrite(t testing.TB, fs FS, dir string, m Meta, body []byte) string {
	t.Helper()
	path, _, err := Write(fs, dir, m, writeBody(body))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func readBody(f *File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func randomBody(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32() >> 28) // compressible
	}
	return p
}

// What can go wrong: an empty, small or large body does not come back as written, a size is misreported, or another
// group's file is taken for this one's.
func TestWriteThenLatestReturnsTheBody(t *testing.T) {
	dir := t.TempDir()
	for i, n := range []int{0, 1, 1000, 3 << 20} {
		m := testMeta
		m.Slot += wire.Slot(i)
		body := randomBody(uint64(n), n)
		path, size, err := Write(nil, dir, m, writeBody(body))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size {
			t.Fatalf("size %d, file has %v, %v", size, info.Size(), err)
		}
		other := m
		other.Group, other.Slot = 4, 1<<40
		mustWrite(t, nil, dir, other, []byte("other group"))
		f, err := Latest(nil, dir, m.Cluster, m.Group)
		if err != nil {
			t.Fatal(err)
		}
		if f.Meta != m || f.Size != size || f.Raw != int64(n) || f.Path != path {
			t.Fatalf("got %+v, want %+v of %d bytes", f, m, size)
		}
		got, err := readBody(f)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("body of %d bytes: got %d bytes, %v", n, len(got), err)
		}
	}
}

// What can go wrong: a file cut anywhere passes for a whole one. Every length is tried.
func TestEveryTruncationIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := mustWrite(t, nil, dir, testMeta, randomBody(1, 300))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(nil, path); !errors.Is(err, ErrCut) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
	if err := os.WriteFile(path, append(whole, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(nil, path); !errors.Is(err, ErrCut) {
		t.Fatalf("one byte too many: %v", err)
	}
}

// What can go wrong: a flipped bit that no checksum covers. Every bit is flipped; the error must be typed and name the
// file, and a body opened before the flip must not read to its end.
func TestEveryBitFlipIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := mustWrite(t, nil, dir, testMeta, []byte("a small body, a small body"))
	good, err := Verify(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) * 8 {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Verify(nil, path)
		var e *Error
		if !errors.As(err, &e) || e.File != path || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrCut) {
			t.Fatalf("bit %d: %v", i, err)
		}
		if got, err := readBody(good); err == nil {
			t.Fatalf("bit %d flipped after Verify: read %q without an error", i, got)
		}
	}
}

// What can go wrong: an older good file is not found behind a newer bad one, or a bad one is taken. The newest is
// spoiled in every way that FAULTS F27 names.
func TestLatestFallsBackToTheNextOlderGoodFile(t *testing.T) {
	old := testMeta
	newer := old
	newer.Slot += 10
	foreign := newer
	foreign.Cluster++
	spoil := map[string]struct {
		reason error
		do     func(t *testing.T, dir, path string)
	}{
		"cut": {ErrCut, func(t *testing.T, dir, path string) {
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}},
		"stale": {ErrStale, func(t *testing.T, dir, path string) {
			mustCopy(t, filepath.Join(dir, Name(old.Group, old.Slot)), path)
		}},
		"foreign": {ErrForeign, func(t *testing.T, dir, path string) { mustWrite(t, nil, dir, foreign, []byte("x")) }},
		"version": {ErrVersion, func(t *testing.T, dir, path string) { rewriteVersion(t, path) }},
		"empty": {ErrCut, func(t *testing.T, dir, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, s := range spoil {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustWrite(t, nil, dir, old, []byte("old"))
			path := mustWrite(t, nil, dir, newer, []byte("new"))
			s.do(t, dir, path)
			f, err := Latest(nil, dir, old.Cluster, old.Group)
			if err != nil {
				t.Fatal(err)
			}
			if f.Meta != old || len(f.Refused) != 1 || !errors.Is(f.Refused[0], s.reason) {
				t.Fatalf("got %+v, refused %v", f.Meta, f.Refused)
			}
			if !strings.Contains(f.Refused[0].Error(), path) {
				t.Fatalf("%q does not name %s", f.Refused[0], path)
			}
			if got, err := readBody(f); err != nil || string(got) != "old" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

func mustCopy(t *testing.T, from, to string) {
	t.Helper()
	p, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rewriteVersion makes the header another version's, with a sound checksum.
func rewriteVersion(t *testing.T, path string) {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le.PutUint32(p[8:], version+1)
	fixHeader(p)
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What can go wrong: a directory of bad files only looks like an empty one, and the replica starts without its state.
func TestLatestTellsNoneFromAllBad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Latest(nil, dir, 1, 1); !errors.Is(err, ErrNone) {
		t.Fatalf("empty directory: %v", err)
	}
	path := mustWrite(t, nil, dir, testMeta, nil)
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	_, err := Latest(nil, dir, testMeta.Cluster, testMeta.Group)
	var all *AllRefusedError
	if !errors.As(err, &all) || !errors.Is(err, ErrCut) || errors.Is(err, ErrNone) {
		t.Fatalf("only a bad file: %v", err)
	}
	if _, err := Latest(nil, filepath.Join(dir, "absent"), 1, 1); err == nil || errors.Is(err, ErrNone) {
		t.Fatalf("absent directory: %v", err)
	}
}

// What can go wrong: a failing disk or a failing body function yields success, or leaves a file under its final name.
func TestWriteReportsEveryFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []string{"create", "writev", "sync", "rename", "syncdir"} {
		fs := newMemFS()
		fs.SetHook(func(o vfs.Op) error {
			if o.Kind == op {
				return boom
			}
			return nil
		})
		if _, _, err := Write(fs, "d", testMeta, writeBody([]byte("x"))); !errors.Is(err, boom) {
			t.Fatalf("%s fails: %v", op, err)
		}
		if f, err := Latest(fs, "d", testMeta.Cluster, testMeta.Group); err == nil && op != "syncdir" {
			t.Fatalf("%s failed, yet there is %s", op, f.Path)
		}
	}
	fs := newMemFS()
	if _, _, err := Write(fs, "d", testMeta, func(io.Writer) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("body fails: %v", err)
	}
	if names, _ := fs.List("d"); len(names) != 0 {
		t.Fatalf("left over: %v", names)
	}
}

// What can go wrong: RemoveOlder removes the file it should keep, another group's, or nothing.
func TestRemoveOlderKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	for s := wire.Slot(1); s <= 4; s++ {
		mustWrite(t, nil, dir, Meta{Cluster: 1, Group: 1, Slot: s}, nil)
		mustWrite(t, nil, dir, Meta{Cluster: 1, Group: 2, Slot: s}, nil)
	}
	if err := RemoveOlder(nil, dir, 1, 3); err != nil {
		t.Fatal(err)
	}
	for g, want := range map[wire.GroupID]string{1: "[4 3]", 2: "[4 3 2 1]"} {
		slots, err := listSlots(osFS{}, dir, g)
		if err != nil || fmt.Sprint(slots) != want {
			t.Fatalf("group %d has %v, want %s, %v", g, slots, want, err)
		}
	}
}

// What can go wrong: a name is read as another snapshot's than it was made for.
func TestNamesParseBack(t *testing.T) {
	for _, s := range []wire.Slot{0, 1, 1 << 63, ^wire.Slot(0)} {
		g, got, ok := ParseName(Name(7, s))
		if !ok || g != 7 || got != s {
			t.Fatalf("%s: %d %d %v", Name(7, s), g, got, ok)
		}
		_, got, total, ok := parsePartName(partName(7, s, 123))
		if !ok || got != s || total != 123 {
			t.Fatalf("%s: %d %d %v", partName(7, s, 123), got, total, ok)
		}
	}
	for _, bad := range []string{"", "snap-", "snap-1-1", Name(1, 1) + ".tmp", "x" + Name(1, 1), partName(1, 1, 5), "snap--1-2"} {
		if _, _, ok := ParseName(bad); ok {
			t.Fatalf("%q parses", bad)
		}
	}
}

// What can go wrong: the process ends between a snapshot's rename and the sync of the directory; the next one starts from that
// snapshot, and a power loss takes its name back.
func TestCleanMakesDurableWhatLatestFound(t *testing.T) {
	fs := newMemFS()
	mustWrite(t, fs, "d", metaOf(1), bodyOf(1))
	fs.SetHook(func(op vfs.Op) error {
		if op.Kind == "syncdir" {
			return vfs.ErrCrashed
		}
		return nil
	})
	if _, _, err := Write(fs, "d", metaOf(2), writeBody(bodyOf(2))); !errors.Is(err, vfs.ErrCrashed) {
		t.Fatal(err)
	}
	fs.Reboot()
	if f, err := latest(fs); err != nil || f.Meta.Slot != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := Clean(fs, "d", testMeta.Group, 2); err != nil {
		t.Fatal(err)
	}
	fs.PowerLoss(vfs.LoseAll, 0)
	if f, err := latest(fs); err != nil || f.Meta.Slot != 2 {
		t.Fatalf("after the power loss: %+v, %v", f, err)
	}
}

// What can go wrong: what was received could not be synced, is kept, and is taken up by the next process, whose sync finds
// nothing to write: a snapshot is installed that the disk does not have.
func TestPartOfAFailedSyncIsNotKept(t *testing.T) {
	_, whole := source(t, testMeta, randomBody(6, 5000))
	fs := newMemFS()
	r := receiver(fs, "d")
	if _, err := r.Chunk(testMeta.Slot, uint64(len(whole)), 0, whole[:1000]); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	fs.SetHook(func(op vfs.Op) error {
		if op.Kind == "sync" {
			return boom
		}
		return nil
	})
	if err := r.Close(); !errors.Is(err, boom) {
		t.Fatalf("close: %v", err)
	}
	if names, err := fs.List("d"); err != nil || len(names) != 0 {
		t.Fatalf("left over: %v, %v", names, err)
	}
}
