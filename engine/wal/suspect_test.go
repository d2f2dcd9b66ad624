package wal

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// tornLog is a disk with a log of whose last acknowledged group a bit has flipped.
func tornLog(t *testing.T) (*vfs.Mem, Config) {
	t.Helper()
	m := vfs.NewMem()
	c := memConfig(m)
	smallLog(t, c, 600, 3)
	offsets, _ := groupsOf(t, m, 1)
	m.Corrupt(segmentFile(1), func(p []byte) []byte {
		p[offsets[len(offsets)-1]+groupHeaderSize+40] ^= 1
		return p
	})
	c.SuspectTorn = true
	return m, c
}

// What can go wrong: the cut of a damaged end reaches the disk, the mark that says so does not, and the node wakes up on a
// log that looks whole. Every crash in the recovery, and everything that a power loss leaves of it, must leave one or the other.
func TestSuspectBeforeTheCut(t *testing.T) {
	torn, c := tornLog(t)
	recovery := func(m *vfs.Mem, c Config) (*Log, error) {
		c.FS = m
		l, _, err := openReplay(c)
		return l, err
	}
	whole := torn.Clone()
	begin := whole.Ops()
	l, err := recovery(whole, c)
	if err != nil || l.Suspect() == "" || !l.Verdict().Torn {
		t.Fatalf("suspect %q, verdict %v, %v", l.Suspect(), l.Verdict(), err)
	}
	ops := whole.Ops() - begin
	l.Close()
	if ops < 8 {
		t.Fatalf("the recovery took %d operations", ops)
	}
	states := 0
	for at := 1; at <= ops; at++ {
		for _, loss := range vfs.Losses() {
			for seed := range uint64(4) {
				m := torn.Clone()
				m.CrashAt(m.Ops() + at)
				if l, err := recovery(m, c); err == nil {
					t.Fatalf("no crash at operation %d: %v", at, l)
				}
				m.PowerLoss(loss, seed)
				l, err := recovery(m, c)
				if err != nil {
					t.Fatalf("crash at operation %d, %v, seed %d: %v", at, loss, seed, err)
				}
				if l.Suspect() == "" {
					t.Errorf("crash at operation %d, %v, seed %d: the cut is on the disk, the mark is not", at, loss, seed)
				}
				states++
				l.Close()
			}
		}
	}
	t.Logf("%d states after %d crashes", states, ops)
}

// What can go wrong: the mark is gone before what it stands for is, comes back, is read wrong when it is damaged itself, or is not
// shown to somebody who looks at the directory.
func TestSuspectMark(t *testing.T) {
	m, c := tornLog(t)
	l, _, err := openReplay(c)
	if err != nil {
		t.Fatal(err)
	}
	why := l.Suspect()
	if !strings.Contains(why, "CRC") || !strings.Contains(why, segmentName(1)) {
		t.Errorf("suspect: %s", why)
	}
	if err := l.MarkSuspect("another reason"); err != nil || l.Suspect() != why {
		t.Errorf("marked again: %q, %v", l.Suspect(), err)
	}
	l.Close()
	name := filepath.Join(testDir, suspectName)
	for what, damage := range map[string]func([]byte) []byte{
		"whole":     func(p []byte) []byte { return p },
		"a bit":     func(p []byte) []byte { p[20] ^= 1; return p },
		"truncated": func(p []byte) []byte { return p[:7] },
		"emptied":   func([]byte) []byte { return nil },
	} {
		d := m.Clone()
		d.Corrupt(name, damage)
		report, err := InspectFS(d, testDir, nil)
		if err != nil || report.Suspect == "" || (report.Suspect == why) != (what == "whole") {
			t.Errorf("%s: inspected as %q, %v", what, report.Suspect, err)
		}
		c.FS = d
		l, _, err := openReplay(c)
		if err != nil || l.Suspect() != report.Suspect || l.Verdict().Torn {
			t.Fatalf("%s: %q, %v, %v", what, l.Suspect(), l.Verdict(), err)
		}
		if err := l.ClearSuspect(); err != nil || l.Suspect() != "" {
			t.Errorf("%s: cleared: %q, %v", what, l.Suspect(), err)
		}
		l.Close()
		d.PowerLoss(vfs.LoseAll, 1)
		if l, _, err = openReplay(c); err != nil || l.Suspect() != "" {
			t.Errorf("%s: after it was cleared: %q, %v", what, l.Suspect(), err)
		}
		l.Close()
	}
}

// What can go wrong: a directory that lost everything but the mark is bootstrapped as if it were new.
func TestSuspectMarkIsHistory(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Bootstrap = true
	m.WriteFile(filepath.Join(testDir, suspectName), mark{why: "why"}.encode())
	if _, err := Open(c); !errors.Is(err, ErrHistory) {
		t.Errorf("bootstrapped over it: %v", err)
	}
}
