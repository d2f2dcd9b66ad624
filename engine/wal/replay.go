package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Replay reads the log, hands every record to fn in order, and then makes the log ready for Append. It is called once,
// before anything else. fn may be nil. The Record and its Frame are valid during the call; fn retains what it keeps.
// Records that the log made itself (what each segment opens with) are handed out as well: they repeat what was said.
//
// Errors: *CorruptError, *VersionError or, if configured, *TornError (the log is refused, and nothing was changed on the disk), fn's, or those of
// the file system. After an error the log is unusable, and what fn was given is worth nothing.
//
// When Replay returns nil, everything fn was given is durable, also what a process that crashed had written and not
// synced, and a torn tail has been wiped. Nothing recovered may be acted upon before.
func (l *Log) Replay(fn func(*wire.Record) error) error {
	if l.state != opened || l.Err() != nil {
		panic("BUG: wal: Replay called twice or after Close")
	}
	h, err := readHistory(l.c.FS, l.c.Dir, l.id, historyVisitor{
		record: func(w *walker, off int64, _ wire.LSN, frame []byte) error { return l.replay(w, off, frame, fn) },
		end: func(w *walker, _ ending) {
			l.sealed = append(l.sealed, segment{w.header.ID, w.header.Size, l.groups.takeMax()})
		},
	})
	if err != nil {
		return l.fail(err)
	}
	if h.verdict.Torn && l.c.RefuseTorn {
		return l.fail(&TornError{h.verdict})
	}
	if err := l.checkSuspect(h.verdict); err != nil {
		return l.fail(err)
	}
	if err := l.recover(h); err != nil {
		return l.fail(err)
	}
	l.start()
	return nil
}

// replay hands one record to fn.
func (l *Log) replay(w *walker, off int64, frame []byte, fn func(*wire.Record) error) error {
	f := wire.GetCopy(frame)
	defer f.Release()
	var r wire.Record
	if err := wire.DecodeRecord(f, &r); err != nil {
		return &CorruptError{File: w.name, Offset: off, Reason: fmt.Sprintf("not a record of this version: %v", err), Err: err}
	}
	if r.Kind == wire.KindRecMembers {
		l.noteMembers(frame)
	} else {
		l.groups.note(&r)
	}
	if fn == nil {
		return nil
	}
	return fn(&r)
}

// recover makes durable what was read, wipes what was cut, and takes up the log where it ended.
func (l *Log) recover(h *history) error {
	fsys, dir, w := l.c.FS, l.c.Dir, h.tail
	// First the directory: a seal that is durable before the name of the next segment would say that one is lost.
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("wal: sync directory %s: %w", dir, err)
	}
	if h.lastSeal != nil {
		if err := l.finishRotation(h.lastSeal); err != nil {
			return err
		}
	}
	f, err := fsys.Open(w.name)
	if err != nil {
		return fmt.Errorf("wal: open segment: %w", err)
	}
	if err := l.settle(f, w, h.verdict.Torn); err != nil {
		f.Close()
		return err
	}
	l.verdict = h.verdict
	l.takeUp(f, w)
	return l.tidy(h)
}

// finishRotation writes the seal of the segment before the newest: it may be missing, or not be on the disk.
func (l *Log) finishRotation(s *sealed) error {
	f, err := l.c.FS.Open(s.name)
	if err != nil {
		return fmt.Errorf("wal: open segment: %w", err)
	}
	defer f.Close()
	if err := f.Writev([][]byte{s.seal[:]}, s.off); err != nil {
		return fmt.Errorf("wal: seal %s: %w", s.name, err)
	}
	if err := l.datasync(f); err != nil {
		return fmt.Errorf("wal: seal %s: %w", s.name, err)
	}
	return nil
}

// settle makes the newest segment, up to where the log ends, durable, and wipes the rest of it if something was cut.
//
// The groups that no later one vouches for are written once more before the sync, and what Append writes behind them. They
// may be in the kernel's memory only: if the process before this one ended because a sync failed, the kernel has marked
// the pages as clean, and a sync alone would succeed without writing them.
//
// The wipe keeps what was cut from ever being read again: without it a new group written over the cut one could end
// just where an old one begins.
func (l *Log) settle(f vfs.File, w *walker, torn bool) error {
	if plant.Is(plant.RecoveredNotSynced) && !torn {
		return nil
	}
	from, size := w.unproven[0].off, int64(len(w.p))
	w.mark.encode(l.mark[:], w.seed)
	_, pad := padding(w.off, size)
	if err := f.Writev([][]byte{w.p[from:w.off], l.mark[:], pad}, from); err != nil {
		return fmt.Errorf("wal: rewrite the end of %s: %w", w.name, err)
	}
	if torn && !plant.Is(plant.TailNotWiped) {
		const chunk = 1 << 20
		begin := w.off + groupHeaderSize + int64(len(pad))
		blank := make([]byte, min(chunk, size-begin))
		for off := begin; off < size; off += chunk {
			if err := f.Writev([][]byte{blank[:min(int64(len(blank)), size-off)]}, off); err != nil {
				return fmt.Errorf("wal: wipe the torn tail of %s: %w", w.name, err)
			}
		}
	}
	if err := l.datasync(f); err != nil {
		return fmt.Errorf("wal: sync %s: %w", w.name, err)
	}
	return nil
}

// takeUp makes the newest segment the active one.
func (l *Log) takeUp(f vfs.File, w *walker) {
	last := l.sealed[len(l.sealed)-1]
	l.sealed = l.sealed[:len(l.sealed)-1]
	for _, m := range last.max {
		g := l.groups.get(m.group)
		g.slotMax = max(g.slotMax, m.slot)
	}
	l.active = active{
		id: w.header.ID, size: w.header.Size, file: f, seed: w.seed,
		pos: w.off, next: w.next, chain: w.chain,
	}
	l.oldest = w.oldest
	l.appended.Store(uint64(w.next - 1))
	l.durable.Store(uint64(w.next - 1))
	l.stats.live.Store(int64(len(l.sealed)) + 1)
}

// tidy removes half-made files and takes over the spares and the segments that were given up.
func (l *Log) tidy(h *history) error {
	fsys, dir := l.c.FS, l.c.Dir
	for _, n := range h.tmps {
		err := fsys.Remove(filepath.Join(dir, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // checkSuspect may have replaced its own
			return fmt.Errorf("wal: remove: %w", err)
		}
	}
	var spares []string
	for _, n := range h.spares {
		path := filepath.Join(dir, n)
		size, err := fileSize(fsys, path)
		if err != nil {
			return err
		}
		serial, _ := parseName(n, sparePrefix)
		l.keeper.serial = max(l.keeper.serial, serial)
		if size == l.c.SegmentBytes && len(spares) < l.c.SparesMax {
			spares = append(spares, n)
			continue
		}
		if err := fsys.Remove(path); err != nil {
			return fmt.Errorf("wal: remove: %w", err)
		}
	}
	l.keeper.publish(spares)
	var freed []segment
	for _, id := range h.leftovers {
		size, err := fileSize(fsys, filepath.Join(dir, segmentName(id)))
		if err != nil {
			return err
		}
		freed = append(freed, segment{id: id, size: size})
	}
	if len(freed) == 0 {
		return nil
	}
	return l.keeper.turn(freed)
}

func fileSize(fsys FS, name string) (int64, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return 0, fmt.Errorf("wal: open: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, fmt.Errorf("wal: size of %s: %w", name, err)
	}
	return size, nil
}
