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
// text that an operator can read. It is durable before the end of the log is cut, because after the cut nothing else would
// tell that something was there, and it stays until what was lost has been learned again from others (ClearSuspect).
//
// Why a file: a record would have to be written where the damage is, and to be carried along from segment to segment.

const suspectName = "suspect"

func encodeSuspect(why string) []byte {
	text := fmt.Sprintf("paxbench-suspect %d\n%s\n", Version, strings.ReplaceAll(why, "\n", " "))
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), wire.Castagnoli))
}

// readSuspect returns why the log in dir is suspect; "" if it is not. A file that does not read as it was written says so as
// well: that it is there is what counts.
func readSuspect(fsys FS, dir string) (why string, err error) {
	name := filepath.Join(dir, suspectName)
	p, err := readSmall(fsys, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("wal: read %s: %w", name, err)
	}
	lines := strings.SplitN(string(p), "\n", 3)
	if len(lines) == 3 && lines[1] != "" && string(encodeSuspect(lines[1])) == string(p) {
		return lines[1], nil
	}
	return "it was suspect before, and the file that says why is damaged", nil
}

// Suspect says why the log may have lost records that were acknowledged; "": it has not. Valid after Replay.
func (l *Log) Suspect() string { return l.suspect }

// MarkSuspect makes it durable that the log may have lost records, and why. The first reason stays.
func (l *Log) MarkSuspect(why string) error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.markSuspect(why)
}

func (l *Log) markSuspect(why string) error {
	if l.suspect != "" {
		return nil
	}
	name := filepath.Join(l.c.Dir, suspectName)
	err := writeNew(l.c.FS, name+tmpSuffix, encodeSuspect(why))
	if err == nil {
		err = l.c.FS.Rename(name+tmpSuffix, name)
	}
	if err == nil {
		err = l.c.FS.SyncDir(l.c.Dir)
	}
	if err != nil {
		return l.fail(fmt.Errorf("wal: write %s: %w", name, err))
	}
	l.suspect = why
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
	if l.suspect == "" {
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
	l.suspect = ""
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
