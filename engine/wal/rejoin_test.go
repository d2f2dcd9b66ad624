package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// ruins are what may be left of a log when its node is told to rejoin.
func ruins(t testing.TB) map[string]*vfs.Mem {
	r := rotten(t, smallStory, false)
	names := r.files(t)
	last := ""
	for _, n := range names {
		if strings.HasPrefix(filepath.Base(n), segmentPrefix) {
			last = n
		}
	}
	ruin := func(do func(m *vfs.Mem)) *vfs.Mem {
		m := r.m.Clone()
		do(m)
		m.PowerLoss(vfs.LoseNone, 0)
		return m
	}
	return map[string]*vfs.Mem{
		"a sound log":       ruin(func(*vfs.Mem) {}),
		"an empty one":      ruin(func(m *vfs.Mem) { removeAll(m, names) }),
		"no identity":       ruin(func(m *vfs.Mem) { removeAll(m, []string{filepath.Join(testDir, identityName)}) }),
		"no newest segment": ruin(func(m *vfs.Mem) { removeAll(m, []string{last}) }),
		"a damaged segment": ruin(func(m *vfs.Mem) {
			m.Corrupt(last, func(p []byte) []byte { p[segmentHeaderSize+70] ^= 1; return p })
		}),
		"a damaged identity": ruin(func(m *vfs.Mem) {
			m.Corrupt(filepath.Join(testDir, identityName), func(p []byte) []byte { p[30] ^= 1; return p })
		}),
	}
}

func (r *run) rejoinConfig(m *vfs.Mem, salt uint64) Config {
	c := r.configOn(m, salt)
	c.SuspectTorn = true
	return c
}

// enumerateRejoin cuts a rejoin short at each of its operations, with everything that a power loss leaves of it. What opens then must
// be suspect, or the log that was there, whole; and the rejoin must be possible again, and end in an empty log that is
// suspect until it is cleared.
func enumerateRejoin(t testing.TB, all *tally) {
	r := rotten(t, smallStory, false)
	for what, ruin := range ruins(t) {
		for at := 1; ; at++ {
			cut := ruin.Clone()
			cut.CrashAt(at)
			err := Rejoin(r.rejoinConfig(cut, uint64(at)), "told to")
			if err == nil {
				if at < 8 {
					t.Fatalf("%s: rejoined with %d operations", what, at)
				}
				break
			}
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("%s: crash at operation %d: %v", what, at, err)
			}
			for _, loss := range vfs.Losses() {
				m := cut.Clone()
				m.PowerLoss(loss, uint64(at))
				r.rejoined(all, m, uint64(at)<<8, fmt.Sprintf("%s, operation %d, %v", what, at, loss))
			}
			cut.Reboot()
			r.rejoined(all, cut, uint64(at)<<8, fmt.Sprintf("%s, operation %d, process crash", what, at))
		}
	}
}

// rejoined opens what a rejoin that was cut short has left, and rejoins again.
func (r *run) rejoined(all *tally, m *vfs.Mem, salt uint64, what string) {
	const row = "a crash in rejoin, at every operation"
	c := r.rejoinConfig(m, salt)
	bare := m.Clone()
	c.FS = bare
	l, rec, err := openReplay(c)
	switch {
	case err != nil:
		all.note(row, refused, namesFile(err), what, refused)
	case l.Suspect() != "":
		all.note(row, ambiguous, nil, what, ambiguous)
		l.Close()
	default: // nothing has happened yet
		o, _, bad := r.outcome(rec, l.Verdict(), nil)
		all.note(row, o, bad, what, complete)
		l.Close()
	}
	c.FS = m
	for range 2 { // also twice
		if err := Rejoin(c, "told again"); err != nil {
			all.note(row, silent, err, what+": rejoin again")
			return
		}
	}
	m.PowerLoss(vfs.LoseAll, salt)
	l, rec, err = openReplay(c)
	if err != nil || l.Suspect() == "" || !l.Lost() || len(rec.votes) != 0 {
		all.note(row, silent, err, what+": not an empty suspect log after all")
		return
	}
	if err := l.ClearSuspect(); err != nil {
		all.note(row, silent, err, what)
	}
	l.Close()
	if l, _, err = openReplay(c); err != nil || l.Suspect() != "" || l.Lost() {
		all.note(row, silent, err, what+": suspect after it was cleared")
		return
	}
	l.Close()
}

// What can go wrong: a node with a lost log comes back with an empty one that votes, because a crash has cut its rejoin short
// before the log was marked, or between the mark and the rest (FAULTS.md F32, amnesia rule).
func TestEnumerateRejoin(t *testing.T) {
	all := newTally()
	enumerateRejoin(t, all)
	all.report(t)
	all.must(t, complete, refused, ambiguous)
}

// What can go wrong: the command is given with the wrong directory, and somebody else's log is put aside; or two processes do it
// at once; or nothing is left for whoever wants to look at the ruin.
func TestRejoinRefuses(t *testing.T) {
	r := rotten(t, smallStory, false)
	before, err := vfs.ReadFile(r.m, segmentFile(4))
	if err != nil {
		t.Fatal(err)
	}
	c := r.rejoinConfig(r.m, 1)
	for what, change := range map[string]func(c *Config){
		"another node":    func(c *Config) { c.Node = 2 },
		"another cluster": func(c *Config) { c.Cluster++ },
	} {
		other := c
		change(&other)
		var identity *IdentityError
		if err := Rejoin(other, "why"); !errors.As(err, &identity) {
			t.Errorf("%s: %v", what, err)
		}
	}
	l, _, err := openReplay(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := Rejoin(c, "why"); !errors.Is(err, ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	l.Close()
	if err := Rejoin(c, "why"); err != nil {
		t.Fatal(err)
	}
	if aside, err := vfs.ReadFile(r.m, segmentFile(4)+lostSuffix); err != nil || len(aside) != len(before) {
		t.Errorf("put aside: %d bytes of %d, %v", len(aside), len(before), err)
	}
	c.Bootstrap = true
	if _, err := Open(c); !errors.Is(err, ErrHistory) {
		t.Errorf("bootstrapped over it: %v", err)
	}
	c.Bootstrap, c.Node = false, wire.NodeID(2)
	if _, err := Open(c); err == nil {
		t.Error("another node may open it")
	}
}
