package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// bodyOf is the body of every snapshot at a slot, whoever writes it.
func bodyOf(s wire.Slot) []byte { return randomBody(uint64(s), 1500) }

func metaOf(s wire.Slot) Meta {
	return Meta{Cluster: testMeta.Cluster, Group: testMeta.Group, Slot: s, Ballot: 7<<32 | 2}
}

// life is a directory of snapshots in use, and what its user relies on: acked, the newest snapshot of which it was said
// that it is durable, so that the log may have been trimmed.
type life struct {
	fs    memFS
	copy  []byte // what a peer sends: the snapshot at slot 44
	acked wire.Slot
}

func newLife(t testing.TB) *life {
	_, copied := source(t, metaOf(44), bodyOf(44))
	l := &life{fs: newMemFS(), copy: copied}
	if err := l.write(42); err != nil {
		t.Fatal(err)
	}
	l.fs.CrashAt(0)
	return l
}

func (l *life) write(s wire.Slot) error {
	if _, _, err := Write(l.fs, "d", metaOf(s), writeBody(bodyOf(s))); err != nil {
		return err
	}
	l.acked = s
	return RemoveOlder(l.fs, "d", testMeta.Group, s)
}

// receive takes pieces of the copy until it has so many bytes, and all of it if that is the file.
func (l *life) receive(r *Receiver, upTo int) error {
	at, total := uint64(0), uint64(len(l.copy))
	for at < uint64(upTo) {
		end := min(at+500, total)
		ack, err := r.Chunk(44, total, at, l.copy[at:end])
		if refused := errors.Is(err, ErrDamaged) || errors.Is(err, ErrCut); refused && ack.Offset == 0 {
			at = 0 // what a crash left of an earlier copy was no good, and is dropped
			continue
		}
		if err != nil {
			return err
		}
		if at = ack.Offset; ack.Installed != nil {
			l.acked = 44
			return RemoveOlder(l.fs, "d", testMeta.Group, 44)
		}
	}
	return nil
}

// play writes a snapshot, receives one in two parts with a restart between them, and writes another.
func (l *life) play() error {
	if err := l.write(43); err != nil {
		return err
	}
	r := receiver(l.fs, "d")
	if err := l.receive(r, len(l.copy)/2); err != nil {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	if err := l.receive(receiver(l.fs, "d"), len(l.copy)); err != nil {
		return err
	}
	return l.write(45)
}

// table counts what became of the directory, by fault.
type table struct {
	rows   []string
	counts map[string]*[3]int
	first  []string
	failed int
}

// The outcomes: the newest snapshot that was acknowledged or one after it; an older one, and the newest refused by name; an
// error that names the files.
const (
	intact = iota
	older
	refused
)

func (tb *table) note(row string, o int) {
	if tb.counts == nil {
		tb.counts = map[string]*[3]int{}
	}
	if tb.counts[row] == nil {
		tb.counts[row] = new([3]int)
		tb.rows = append(tb.rows, row)
	}
	tb.counts[row][o]++
}

func (tb *table) fail(format string, args ...any) {
	tb.failed++
	if len(tb.first) < 5 {
		tb.first = append(tb.first, fmt.Sprintf(format, args...))
	}
}

func (tb *table) report(t testing.TB, must ...int) {
	t.Helper()
	for _, f := range tb.first {
		t.Error(f)
	}
	if tb.failed > len(tb.first) {
		t.Errorf("and %d more", tb.failed-len(tb.first))
	}
	var b strings.Builder
	var total [3]int
	fmt.Fprintf(&b, "\n%-46s%12s%12s%12s", "fault", "intact", "older", "refused")
	for _, row := range tb.rows {
		c := tb.counts[row]
		fmt.Fprintf(&b, "\n%-46s%12d%12d%12d", row, c[0], c[1], c[2])
		for o := range c {
			total[o] += c[o]
		}
	}
	t.Log(b.String())
	for _, o := range must {
		if total[o] == 0 {
			t.Errorf("outcome %d never came about", o)
		}
	}
}

// latest is the newest good snapshot, read to its end.
func latest(fs FS) (*File, error) {
	f, err := Latest(fs, "d", testMeta.Cluster, testMeta.Group)
	if err != nil {
		return nil, err
	}
	p, err := readBody(f)
	if err == nil && (f.Meta != metaOf(f.Meta.Slot) || !bytes.Equal(p, bodyOf(f.Meta.Slot))) {
		err = fmt.Errorf("the snapshot at slot %d is not what was written: %+v", f.Meta.Slot, f.Meta)
	}
	return f, err
}

// survive is a start after a crash: the newest snapshot that was acknowledged, or a later one, must be there, nothing
// bad may have a snapshot's name, and what the start found and cleaned up must stay, whatever comes. Then it is used again.
func (l *life) survive(all *table, row, what string, fs memFS) {
	f, err := latest(fs)
	if err != nil || f.Meta.Slot < l.acked || len(f.Refused) > 0 {
		all.fail("%s: %s: %+v, %v; slot %d was acknowledged", row, what, f, err, l.acked)
		return
	}
	all.note(row, intact)
	found := f.Meta.Slot
	if err := Clean(fs, "d", testMeta.Group, found); err != nil {
		all.fail("%s: %s: %v", row, what, err)
		return
	}
	lost := memFS{fs.Clone()}
	lost.PowerLoss(vfs.LoseAll, 0)
	if f, err := latest(lost); err != nil || f.Meta.Slot != found || len(f.Refused) > 0 {
		all.fail("%s: %s: power lost after a start from slot %d: %+v, %v", row, what, found, f, err)
	}
	all.note("  then power lost right after the start", intact)
	on := &life{fs: fs, copy: l.copy, acked: found}
	if found < 44 {
		err = on.receive(receiver(fs, "d"), len(l.copy)) // it goes on with what is left of the copy, or anew
	} else {
		err = on.write(46)
	}
	if err != nil {
		all.fail("%s: %s: using it after the start: %v", row, what, err)
		return
	}
	fs.PowerLoss(vfs.LoseAll, 0)
	if f, err := latest(fs); err != nil || f.Meta.Slot != on.acked || len(f.Refused) > 0 {
		all.fail("%s: %s: used again and power lost: %+v, %v; slot %d was acknowledged", row, what, f, err, on.acked)
	}
	all.note("  then used again, power lost again", intact)
}

// What can go wrong: a crash between two steps of writing, receiving or removing leaves a mixture under a snapshot's name,
// loses the old file before the new one is safe, or leaves what a start trusts and a power loss then takes (FAULTS.md F11-F13,
// F27). Every operation is the crash, with every treatment of what was not synced.
func TestEnumerateCrashes(t *testing.T) {
	all := &table{}
	enumerateCrashes(t, all)
	all.report(t, intact)
}

func enumerateCrashes(t testing.TB, all *table) {
	for at := 1; ; at++ {
		l := newLife(t)
		l.fs.CrashAt(at)
		err := l.play()
		for _, loss := range vfs.Losses() {
			for seed := range uint64(3) {
				after := memFS{l.fs.Clone()}
				after.PowerLoss(loss, uint64(at)<<8|seed)
				l.survive(all, "crash, "+loss.String(), fmt.Sprintf("operation %d, seed %d", at, seed), after)
			}
		}
		l.fs.Reboot()
		l.survive(all, "process crash", fmt.Sprintf("operation %d", at), l.fs)
		if err == nil {
			if at < 20 {
				t.Fatalf("only %d operations", at)
			}
			return
		}
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
	}
}

// What can go wrong: a failing disk yields success, or what a failed operation left is taken for good later: after a failed
// sync the kernel shows bytes which the disk will never have (FAULTS.md F14, F15). Every operation fails with everything it can
// fail with, and the next try succeeds.
func TestEnumerateFailures(t *testing.T) {
	all := &table{}
	enumerateFailures(t, all)
	all.report(t, intact)
}

func enumerateFailures(t testing.TB, all *table) {
	failures := []struct {
		name  string
		kinds []string
		err   error
	}{
		{"EIO", []string{"writev", "create", "rename", "remove"}, syscall.EIO},
		{"EIO of a sync, success from then on", []string{"sync", "syncdir"}, syscall.EIO},
		{"ENOSPC", []string{"writev", "create", "rename", "syncdir"}, syscall.ENOSPC},
		{"short write", []string{"writev"}, &vfs.PartialError{Bytes: 30, Err: syscall.ENOSPC}},
		{"EMFILE", []string{"create", "open", "openread", "list"}, syscall.EMFILE},
		{"EIO of a read", []string{"readat", "list"}, syscall.EIO},
	}
	for at := 0; ; at++ {
		kind := ""
		for _, f := range failures {
			l, n, failed := newLife(t), 0, false
			l.fs.SetHook(func(op vfs.Op) error {
				if n++; n-1 != at {
					return nil
				}
				if kind = op.Kind; !slices.Contains(f.kinds, kind) {
					return nil
				}
				failed = true
				return f.err
			})
			err := l.play()
			if !failed {
				continue
			}
			var part *vfs.PartialError
			if cause := f.err; err != nil && !errors.Is(err, cause) && !errors.As(err, &part) {
				all.fail("%s: operation %d, %s: the play ended with %v", f.name, at, kind, err)
			}
			for i, loss := range []vfs.Loss{vfs.LoseAll, vfs.LoseNone, vfs.KeepGarbage} {
				after := memFS{l.fs.Clone()}
				after.PowerLoss(loss, uint64(at*3+i))
				l.survive(all, f.name+", then power loss", fmt.Sprintf("operation %d, %s, %v", at, kind, loss), after)
			}
			l.fs.Reboot()
			l.survive(all, f.name+", then a new process", fmt.Sprintf("operation %d, %s", at, kind), l.fs)
		}
		if kind == "" {
			return
		}
	}
}

// What can go wrong: damage to a stored snapshot passes for a snapshot, or hides a good one. Every bit of a file flipped, every
// sector zeroed, unreadable or overwritten by each other sector, the file cut, emptied, lost, another node's: with an older one
// beside it that one is found and the bad one named, and without it all is refused by name (FAULTS.md F16-F19, F27).
func TestEnumerateRot(t *testing.T) {
	all := &table{}
	for _, two := range []bool{true, false} {
		m := newMemFS()
		if two {
			mustWrite(t, m, "d", metaOf(42), bodyOf(42))
		}
		enumerateRot(t, all, m, mustWrite(t, m, "d", metaOf(43), bodyOf(43)), two)
	}
	all.report(t, older, refused)
}

func enumerateRot(t testing.TB, all *table, m memFS, path string, two bool) {
	whole, err := vfs.ReadFile(m.Mem, path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(row, what string, do func(m *vfs.Mem)) {
		c := memFS{m.Clone()}
		do(c.Mem)
		f, err := latest(c)
		var some *AllRefusedError
		switch {
		case err == nil && two && f.Meta.Slot == 42 && len(f.Refused) == 1 && strings.Contains(f.Refused[0].Error(), path):
			all.note(row, older)
		case !two && errors.As(err, &some) && strings.Contains(err.Error(), path):
			all.note(row, refused)
		default:
			all.fail("%s: %s: %+v, %v", row, what, f, err)
		}
	}
	set := func(row string, s int64, p []byte) {
		if p = append(p, make([]byte, vfs.SectorSize)...)[:vfs.SectorSize]; bytes.Equal(p, m.Sector(path, s)) {
			return
		}
		try(row, fmt.Sprintf("sector %d", s), func(m *vfs.Mem) { m.SetSector(path, s, p) })
	}
	for i := range len(whole) * 8 {
		try("a bit", fmt.Sprint(i), func(m *vfs.Mem) {
			m.Corrupt(path, func(p []byte) []byte { p[i/8] ^= 1 << (i % 8); return p })
		})
	}
	for s := range int64(len(whole)) / vfs.SectorSize {
		set("a sector zeroed", s, nil)
		for from := range int64(len(whole)) / vfs.SectorSize {
			set("a sector with the content of another", s, m.Sector(path, from))
		}
		try("a sector unreadable", fmt.Sprint(s), func(m *vfs.Mem) { m.Unreadable(path, s) })
	}
	for n := range len(whole) {
		try("cut at every byte", fmt.Sprint(n), func(m *vfs.Mem) { m.Corrupt(path, func(p []byte) []byte { return p[:n] }) })
	}
	for _, other := range []Meta{metaOf(44), {Cluster: testMeta.Cluster + 1, Group: testMeta.Group, Slot: 43}, {Cluster: testMeta.Cluster, Group: 9, Slot: 43}} {
		_, p := source(t, other, bodyOf(43))
		try("another snapshot, cluster's or group's under its name", fmt.Sprintf("%+v", other), func(m *vfs.Mem) { m.WriteFile(path, p) })
	}
	if left := (memFS{m.Clone()}); two { // lost: the older one counts, and the engine sees that the log begins later
		left.Remove(path)
		if f, err := latest(left); err != nil || filepath.Base(f.Path) != Name(testMeta.Group, 42) {
			t.Errorf("the newer lost: %+v, %v", f, err)
		}
	}
}
