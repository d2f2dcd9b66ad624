package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// smallStory leaves two segments and a spare, one of them with a former life, small enough to flip every bit.
var smallStory = []string{
	"append 1/100 2/100", "sync", "promise 2", "append 1/2500", "sync", "append 1/2500", "sync", // the second segment
	"append 2/200", "sync", "trim 1 0", "trim 2 0", // frees the first
	"append 1/1500", "sync", "append 1/2500", "sync", // the third, where the first was
	"append 1/30", "append 1/20 2/10", "sync", "append 1/2900", "sync", "append 2/1900", "sync", // the fourth
	"trim 1 2", "trim 2 1", // frees the second
	"append 1/900", "sync",
}

// rotten is a log to be damaged: all of it is acknowledged, and it was closed in order.
func rotten(t testing.TB, script []string, cluster bool) *run {
	t.Helper()
	m := vfs.NewMem()
	m.KeepHistory()
	node := 1
	if cluster {
		node = 2
	}
	r := newRun(t, m, testMembers[node-1], Policy{})
	if err := r.play(script); err != nil {
		t.Fatal(err)
	}
	if err := r.l.Close(); err != nil {
		t.Fatal(err)
	}
	if r.acked < len(r.items) {
		r.before, r.acked = r.acked, len(r.items)
	}
	return r
}

// files lists what is in the log's directory, with paths.
func (r *run) files(t testing.TB) []string {
	t.Helper()
	names, err := r.m.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i] = filepath.Join(testDir, names[i])
	}
	return names
}

// damaged replays a copy of the log to which damage was done. Everything is allowed but losing without a word what was
// acknowledged: the end may be cut if the verdict says so, and unless the damage is wide no more than the last group.
func (r *run) damaged(all *tally, row, what string, wide bool, do func(m *vfs.Mem)) outcome {
	m := r.m.Clone()
	do(m)
	c := r.configOn(m, 77)
	l, rec, err := openReplay(c)
	var v Verdict
	if err == nil {
		v = l.Verdict()
		l.Close()
	}
	o, n, bad := r.outcome(rec, v, err)
	if o == ambiguous && n < r.before && !wide {
		bad = fmt.Errorf("%d items were acknowledged before the last group, and %d are there", r.before, n)
	}
	all.note(row, o, bad, fmt.Sprintf("%s: %v %v", what, v, err), complete, torn, refused, ambiguous)
	return o
}

// TestEnumerateBits: every bit of every file of a small log flipped, one at a time; of what lies behind the end of a segment
// and in spares one bit of each byte. If a flip could pass for the end of the log, acknowledged votes would vanish without a
// word (FAULTS.md F17).
func TestEnumerateBits(t *testing.T) {
	all := newTally()
	r := rotten(t, smallStory, false)
	enumerateBits(t, all, r)
	all.report(t)
	all.must(t, complete, torn, refused, ambiguous)
}

func enumerateBits(t testing.TB, all *tally, r *run) {
	for _, name := range r.files(t) {
		p, err := vfs.ReadFile(r.m, name)
		if err != nil {
			t.Fatal(err)
		}
		row, used := "a bit of the identity file", int64(len(p))
		if id, ok := parseName(filepath.Base(name), segmentPrefix); ok {
			row = "a bit of a segment"
			_, used = groupsOf(t, r.m, id)
			used += sectorSize
		} else if strings.Contains(name, sparePrefix) {
			row, used = "a bit of a spare", 0
		}
		for i := int64(0); i < int64(len(p)); i += stride {
			bits, in := []int{int(i) % 8}, ""
			if i < used {
				bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
			} else if used > 0 {
				in = " behind its end"
			}
			for _, bit := range bits {
				r.damaged(all, row+in, fmt.Sprintf("%s, byte %d, bit %d", name, i, bit), false, func(m *vfs.Mem) {
					m.Corrupt(name, func(p []byte) []byte { p[i] ^= 1 << bit; return p })
				})
			}
		}
	}
}

// TestEnumerateSectors: every sector of every file zeroed, set back to what it held before, unreadable, or overwritten with
// each other sector of the log, and with the same one of another node's log; and every group's sectors all at once
// (FAULTS.md F16, F18, F19).
func TestEnumerateSectors(t *testing.T) {
	all := newTally()
	for _, script := range [][]string{smallStory, story} {
		enumerateSectors(t, all, rotten(t, script, false), rotten(t, script, true))
	}
	all.report(t)
	all.must(t, complete, torn, refused, ambiguous)
}

// place is a sector of a file.
type place struct {
	name string
	s    int64
}

func (r *run) sectors(t testing.TB) (all []place) {
	t.Helper()
	for _, name := range r.files(t) {
		for s := int64(0); len(r.m.Sector(name, s)) > 0; s++ {
			all = append(all, place{name, s})
		}
	}
	return all
}

func enumerateSectors(t testing.TB, all *tally, r, foreign *run) {
	places := r.sectors(t)
	set := func(row string, at place, p []byte, what string) {
		if len(p) == 0 || bytes.Equal(p, r.m.Sector(at.name, at.s)) {
			return
		}
		r.damaged(all, row, fmt.Sprintf("%s, sector %d: %s", at.name, at.s, what), false, func(m *vfs.Mem) { m.SetSector(at.name, at.s, p) })
	}
	for _, at := range places {
		set("a sector zeroed", at, make([]byte, sectorSize), "zeros")
		set("a sector as it was before", at, r.m.SectorBefore(at.name, at.s), "stale")
		for _, from := range places {
			set("a sector with the content of another", at, r.m.Sector(from.name, from.s), fmt.Sprintf("that of %s, %d", from.name, from.s))
			old := r.m.SectorBefore(from.name, from.s)
			if len(old) == 0 || at == from {
				continue
			}
			r.damaged(all, "the last write of a sector went to another", fmt.Sprintf("%v instead of %v", at, from), true, func(m *vfs.Mem) {
				m.SetSector(at.name, at.s, m.Sector(from.name, from.s))
				m.SetSector(from.name, from.s, old)
			})
		}
		if _, err := vfs.ReadFile(foreign.m, at.name); err == nil {
			set("a sector of another node's log", at, foreign.m.Sector(at.name, at.s), "foreign")
		}
		r.damaged(all, "a sector unreadable", fmt.Sprintf("%s, sector %d", at.name, at.s), false, func(m *vfs.Mem) { m.Unreadable(at.name, at.s) })
		r.damaged(all, "all sectors from one on zeroed", fmt.Sprintf("%s, sector %d", at.name, at.s), true, func(m *vfs.Mem) {
			m.Corrupt(at.name, func(p []byte) []byte { clear(p[at.s*sectorSize:]); return p })
		})
		r.damaged(all, "a page zeroed", fmt.Sprintf("%s, sector %d", at.name, at.s), true, func(m *vfs.Mem) {
			m.Corrupt(at.name, func(p []byte) []byte {
				from := at.s * sectorSize &^ (pageSize - 1)
				clear(p[from:min(from+pageSize, int64(len(p)))])
				return p
			})
		})
	}
}

// TestEnumerateFiles: every file of the directory lost, emptied, another node's, or another file of the directory under its
// name; and the whole directory lost, or another node's (FAULTS.md F20). A directory that is not whole must never be taken for
// a new one, nor made into one.
func TestEnumerateFiles(t *testing.T) {
	all := newTally()
	enumerateFiles(t, all, rotten(t, smallStory, false), rotten(t, smallStory, true))
	all.report(t)
	all.must(t, complete, refused)
}

func enumerateFiles(t testing.TB, all *tally, r, foreign *run) {
	names := r.files(t)
	for _, name := range names {
		try := func(row string, do func(m *vfs.Mem)) {
			allowed := []outcome{refused}
			if strings.Contains(name, sparePrefix) {
				allowed = []outcome{complete}
			}
			r.replayed(all, row, name, do, allowed...)
		}
		try("a file lost", func(m *vfs.Mem) { removeAll(m, []string{name}) })
		try("a file emptied", func(m *vfs.Mem) { m.WriteFile(name, nil) })
		try("a file cut in half", func(m *vfs.Mem) { m.Corrupt(name, func(p []byte) []byte { return p[:len(p)/2] }) })
		if p, err := vfs.ReadFile(foreign.m, name); err == nil {
			try("another node's file", func(m *vfs.Mem) { m.WriteFile(name, p) })
		}
		for _, other := range names {
			if p, err := vfs.ReadFile(r.m, other); err == nil && other != name {
				try("another file under its name", func(m *vfs.Mem) { m.WriteFile(name, p) })
			}
		}
		r.notMadeAnew(all, "bootstrap where a file is lost", name, func(m *vfs.Mem) { removeAll(m, []string{name}) })
	}
	lost := func(m *vfs.Mem) { removeAll(m, names) }
	theirs := func(m *vfs.Mem) { replaceAll(m, names, foreign) }
	r.replayed(all, "the directory emptied", "all files", lost, refused)
	r.replayed(all, "the directory another node's", "all files", theirs, refused)
	r.notMadeAnew(all, "bootstrap over another node's directory", "all files", theirs)
}

// replayed replays a copy of the log to which damage was done.
func (r *run) replayed(all *tally, row, what string, do func(m *vfs.Mem), allowed ...outcome) {
	m := r.m.Clone()
	do(m)
	l, rec, err := openReplay(r.configOn(m, 77))
	var v Verdict
	if err == nil {
		v = l.Verdict()
	}
	o, _, bad := r.outcome(rec, v, err)
	all.note(row, o, bad, fmt.Sprintf("%s: %v %v", what, v, err), allowed...)
}

// notMadeAnew bootstraps over what damage has left of the log, which must be refused.
func (r *run) notMadeAnew(all *tally, row, what string, do func(m *vfs.Mem)) {
	m := r.m.Clone()
	do(m)
	c := r.configOn(m, 1)
	c.Bootstrap = true
	if _, err := Open(c); !errors.Is(err, ErrHistory) {
		all.note(row, silent, fmt.Errorf("bootstrap: %w", err), what)
		return
	}
	all.note(row, refused, nil, what, refused)
}

func removeAll(m *vfs.Mem, names []string) {
	for _, n := range names {
		m.Remove(n)
	}
}

func replaceAll(m *vfs.Mem, names []string, by *run) {
	removeAll(m, names)
	theirs, _ := by.m.List(testDir)
	for _, n := range theirs {
		p, _ := vfs.ReadFile(by.m, filepath.Join(testDir, n))
		m.WriteFile(filepath.Join(testDir, n), p)
	}
}

// TestRefusedReads: a log that cannot be read for now, no descriptor left or a device error, is refused with the cause, and
// nothing is changed: the next start, when reading works, must find all of it (FAULTS.md F15, F16).
func TestRefusedReads(t *testing.T) {
	r := rotten(t, smallStory, false)
	for at := 0; ; at++ {
		m, n, hit := r.m.Clone(), 0, false
		m.SetHook(func(op vfs.Op) error {
			switch op.Kind {
			case "list", "open", "openread", "readat", "lock":
				if n++; n-1 == at {
					hit = true
					return syscall.EMFILE
				}
			}
			return nil
		})
		_, _, err := openReplay(r.configOn(m, 1))
		if !hit {
			if at < 10 {
				t.Fatalf("only %d reads", at)
			}
			return
		}
		var pe *fs.PathError
		if err == nil || !errors.Is(err, syscall.EMFILE) || !errors.As(err, &pe) || !strings.Contains(err.Error(), testDir) {
			t.Errorf("read %d fails: %v", at, err)
		}
		m.Reboot()
		all := newTally()
		r.again(all, powerAfterRecovery, m, 2, fmt.Sprintf("read %d failed, then a new start", at))
		for _, f := range all.first {
			t.Error(f)
		}
	}
}
