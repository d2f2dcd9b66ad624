package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// zeros is what a group is padded with.
var zeros [2 * pageSize]byte

// Append writes records behind all earlier ones and returns the LSN of the last of them. It does not make them durable:
// see Sync. It keeps no reference: the frames are the caller's, who may release them on return. Their bytes go from
// the frames to the kernel without a copy in between.
//
// A full disk gives a *FullError: the records from FullError.Written on may be appended again.
//
// LSNs number all records in the log, and the log adds some of its own (at the start of each segment, and by Trim): the
// LSNs of two Appends need not be adjacent.
func (l *Log) Append(recs []wire.Record) (wire.LSN, error) {
	if err := l.ready(); err != nil {
		return 0, err
	}
	for done := 0; done < len(recs); {
		n, bytes := l.fit(recs[done:])
		var err error
		if n == 0 {
			err = l.rotate(recs[done].Frame.Len())
		} else {
			err = l.write(recs[done:done+n], bytes)
		}
		if err != nil {
			return 0, partial(err, done)
		}
		done += n
	}
	return wire.LSN(l.appended.Load()), nil
}

// partial notes in the error of a full disk how many records are in the log.
func partial(err error, written int) error {
	var full *FullError
	if errors.As(err, &full) {
		full.Written = written
	}
	return err
}

// fit returns how many of recs, and how many bytes, still go into the active segment.
func (l *Log) fit(recs []wire.Record) (n int, bytes int) {
	a := &l.active
	from := a.pos + groupHeaderSize
	if a.open.header.Count > 0 {
		from = a.open.start + groupHeaderSize + int64(a.open.header.Length)
	}
	room := a.size - sealSize - from
	for i := range recs {
		size := recs[i].Frame.Len()
		if int64(bytes+size) > room {
			break
		}
		n, bytes = n+1, bytes+size
	}
	return n, bytes
}

// write puts recs into the open group or a new one. They fit.
func (l *Log) write(recs []wire.Record, bytes int) (err error) {
	a := &l.active
	h := a.open.header
	grow := h.Count > 0
	start := a.open.start
	if !grow {
		start = a.pos
		h = groupHeader{Segment: a.id, First: a.next, Durable: wire.LSN(l.durable.Load()), Prev: a.chain, Body: a.seed}
		if l.c.Policy.Mode != Always {
			h.Flags = flagRelaxed
		}
	}
	l.vec = append(l.vec[:0], l.hdr[:])
	for i := range recs {
		p := recs[i].Frame.Bytes()
		l.note(&recs[i], p)
		h.Body = wire.UpdateFrameCRC(h.Body, p)
		l.vec = append(l.vec, p)
	}
	body := start + groupHeaderSize + int64(h.Length)
	h.Oldest = l.oldest
	h.Count += uint32(len(recs))
	h.Length += uint32(bytes)
	h.encode(l.hdr[:], a.seed)
	end := start + groupHeaderSize + int64(h.Length)
	mark := h.endMark()
	mark.encode(l.mark[:], a.seed)
	align, pad := padding(end, a.size)
	l.vec = append(l.vec, align, l.mark[:], pad)
	if grow {
		// The header goes last: until then the group ends where it did, and what is behind it means nothing.
		if err = a.file.Writev(l.vec[1:], body); err == nil {
			err = a.file.Writev(l.vec[:1], start)
		}
	} else {
		err = a.file.Writev(l.vec, start)
	}
	clear(l.vec)
	if err != nil {
		// Nothing above has changed: the next write goes to the same place, over what came of this one.
		return l.failWrite(fmt.Errorf("wal: append to segment %d: %w", a.id, err))
	}
	if !grow {
		l.stats.groups.Add(1)
	}
	l.stats.records.Add(uint64(len(recs)))
	l.stats.bytes.Add(uint64(bytes))
	l.stats.written.Add(uint64(alignUp(end, sectorSize) - a.pos))
	a.next += wire.LSN(len(recs))
	a.pos = alignUp(end, sectorSize)
	a.chain = h.CRC
	if l.c.Policy.Mode == Always {
		a.open = openGroup{start: start, header: h}
	}
	l.appended.Store(uint64(a.next - 1))
	return nil
}

// padding is what is written behind a group that ends at end: zeros up to the next sector, there the end mark, and behind
// the mark zeros up to the end of a page.
//
//   - Whole pages: a reused segment's pages are mostly not in memory, and the kernel would have to read a page from the
//     disk before it could change a part of it. So every write covers its last page; the first one was covered by the
//     write before. The mark is in that page, or takes one more: it costs no write of its own and no sync.
//   - The next sector: what replay finds behind the last group is then the mark, and anything else is a group that was
//     being written, or damage.
func padding(end, size int64) (align, pad []byte) {
	mark := alignUp(end, sectorSize)
	to := min(alignUp(mark+sectorSize, pageSize), size)
	return zeros[:mark-end], zeros[:to-mark-groupHeaderSize]
}

// note keeps what the log must know about a record, whose frame is p.
func (l *Log) note(r *wire.Record, p []byte) {
	h, err := wire.ParseHeader(p)
	if err != nil || h.Size() != len(p) || h.Kind != r.Kind || h.Group != r.Group || h.Cluster != l.id.Cluster {
		panic(fmt.Sprintf("BUG: wal: append of a %v record of group %d whose frame of %d bytes says %+v (%v)",
			r.Kind, r.Group, len(p), h, err))
	}
	if r.Kind == wire.KindRecMembers {
		l.noteMembers(p)
		return
	}
	l.groups.note(r)
}

func (l *Log) noteMembers(frame []byte) {
	m, err := wire.ParseMembers(frame)
	if err != nil {
		panic("BUG: wal: append of a members record: " + err.Error())
	}
	l.members.Store(&m)
}

// Sync makes every appended record durable as the policy has it and returns the LSN up to which records may be acted
// upon. Always: one fdatasync, skipped if nothing is new. Interval and Never: nothing is waited for.
func (l *Log) Sync() (wire.LSN, error) {
	if err := l.ready(); err != nil {
		return 0, err
	}
	if l.c.Policy.Mode == Always {
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	return wire.LSN(l.appended.Load()), nil
}

// Flush makes every appended record durable, whatever the policy.
func (l *Log) Flush() error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.flush()
}

// flush is one fdatasync of the active segment. It is called by the owner, and under an interval policy by the background
// sync as well. What it covers is read before it begins: records written while it runs may or may not be on the disk.
func (l *Log) flush() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	upTo := l.appended.Load()
	if upTo == l.durable.Load() {
		return nil
	}
	err := l.datasync(l.active.file)
	if err != nil && plant.Is(plant.SyncRetried) {
		err = l.datasync(l.active.file)
	}
	if err != nil {
		return l.fail(fmt.Errorf("wal: sync segment %d: %w", l.active.id, err))
	}
	l.durable.Store(upTo)
	if l.c.Policy.Mode == Always {
		l.active.open = openGroup{}
	}
	return nil
}

// datasync is one counted and timed fdatasync.
func (l *Log) datasync(f interface{ Datasync() error }) error {
	var begin time.Time
	if l.c.OnSync != nil {
		begin = time.Now()
	}
	err := f.Datasync()
	l.stats.fsyncs.Add(1)
	if l.c.OnSync != nil {
		l.c.OnSync(time.Since(begin).Nanoseconds())
	}
	return err
}
