package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// A log is suspect when it may have lost records that were acknowledged. What says so is a file, suspect, beside the segments:
// text that an operator can read. It is durable before the end of the log is cut, or the log is put aside, because after the cut nothing else would
// tell that something was there, and it stays until what was lost has been learned again from others (ClearSuspect).
//
// Why a file: a record would have to be written where the damage is, and to be carried along from segment to segment.

const suspectName = "suspect"

// mark is what the file says.
type mark struct {
	why  string // "": there is no mark
	lost bool   // the log was put aside (Rejoin): nobody can say of what is there now that it has lost nothing
}

func (m mark) encode() []byte {
	lost := ""
	if m.lost {
		lost = " lost"
	}
	text := fmt.Sprintf("paxbench-suspect %d%s\n%s\n", Version, lost, strings.ReplaceAll(m.why, "\n", " "))
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), wire.Castagnoli))
}

// readSuspect returns the mark of the log in dir. A file that does not read as it was written is one as well, of the worse kind:
// that it is there is what counts.
func readSuspect(fsys FS, dir string) (m mark, err error) {
	name := filepath.Join(dir, suspectName)
	p, err := readSmall(fsys, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("wal: read %s: %w", name, err)
	}
	if lines := strings.SplitN(string(p), "\n", 3); len(lines) == 3 && lines[1] != "" {
		for _, lost := range []bool{false, true} {
			if m = (mark{lines[1], lost}); string(m.encode()) == string(p) {
				return m, nil
			}
		}
	}
	return mark{"it was suspect before, and the file that says why is damaged", true}, nil
}

// writeSuspect makes the mark, and makes it durable.
func writeSuspect(fsys FS, dir string, m mark) error {
	name := filepath.Join(dir, suspectName)
	err := writeNew(fsys, name+tmpSuffix, m.encode())
	if err == nil {
		err = fsys.Rename(name+tmpSuffix, name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("wal: write %s: %w", name, err)
	}
	return nil
}

// Suspect says why the log may have lost records that were acknowledged; "": it has not. Valid after Replay.
func (l *Log) Suspect() string { return l.suspect.why }

// Lost says that the log is suspect because an earlier one was put aside (Rejoin). Valid after Replay.
func (l *Log) Lost() bool { return l.suspect.lost }

// MarkSuspect makes it durable that the log may have lost records, and why. The first reason stays.
func (l *Log) MarkSuspect(why string) error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.markSuspect(why)
}

func (l *Log) markSuspect(why string) error {
	if l.suspect.why != "" {
		return nil
	}
	m := mark{why: why}
	if err := writeSuspect(l.c.FS, l.c.Dir, m); err != nil {
		return l.fail(err)
	}
	l.suspect = m
	return nil
}

// ClearSuspect says that the log has everything again that it may have lost: all of it must be durable.
func (l *Log) ClearSuspect() error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.clearSuspect()
}

func (l *Log) clearSuspect() error {
	if l.suspect.why == "" {
		return nil
	}
	name := filepath.Join(l.c.Dir, suspectName)
	err := l.c.FS.Remove(name)
	if err == nil {
		err = l.c.FS.SyncDir(l.c.Dir)
	}
	if err != nil {
		return l.fail(fmt.Errorf("wal: remove %s: %w", name, err))
	}
	l.suspect = mark{}
	return nil
}

// checkSuspect decides, before anything is cut, whether the log is suspect.
func (l *Log) checkSuspect(v Verdict) (err error) {
	if l.suspect, err = readSuspect(l.c.FS, l.c.Dir); err != nil {
		return err
	}
	if v.Torn && l.c.SuspectTorn {
		return l.markSuspect(fmt.Sprintf("its log ended at LSN %d in %s, offset %d, with something that may have been acknowledged: %s",
			v.LSN, filepath.Base(v.File), v.Offset, v.Reason))
	}
	return nil
}
