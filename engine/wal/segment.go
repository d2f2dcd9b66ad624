package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// image is how a segment begins: its header and its opening group.
type image struct {
	header segmentHeader
	group  groupHeader
	bytes  []byte // padded
	pos    int64  // where the next group goes
}

// newImage builds the beginning of a segment. h.Size is filled in: size, or more if that is needed for one further
// record of need bytes.
func newImage(h segmentHeader, opening []wire.Record, size int64, need int) *image {
	img := &image{header: h}
	length := 0
	for _, r := range opening {
		length += r.Frame.Len()
	}
	end := int64(segmentHeaderSize + groupHeaderSize + length)
	img.pos = alignUp(end, sectorSize)
	least := img.pos + alignUp(groupHeaderSize+int64(need), sectorSize) + sealSize
	img.header.Size = max(size, alignUp(least, pageSize))

	p := img.header.encode()
	var hdr [groupHeaderSize]byte
	p = append(p, hdr[:]...)
	for _, r := range opening {
		p = append(p, r.Frame.Bytes()...)
	}
	seed := img.header.seed()
	img.group = groupHeader{
		Segment: h.ID, First: h.First, Durable: h.First - 1, Oldest: h.Oldest,
		Count: uint32(len(opening)), Length: uint32(length), Prev: img.header.CRC,
		Body: crc32.Update(seed, wire.Castagnoli, p[segmentHeaderSize+groupHeaderSize:]),
	}
	img.group.encode(p[segmentHeaderSize:], seed)
	mark := img.group.endMark()
	mark.encode(hdr[:], seed)
	align, pad := padding(end, img.header.Size)
	img.bytes = slices.Concat(p, align, hdr[:], pad)
	return img
}

func (img *image) writeTo(f vfs.File) error { return f.Writev([][]byte{img.bytes}, 0) }

// next is the LSN behind the opening group.
func (img *image) next() wire.LSN { return img.group.First + wire.LSN(img.group.Count) }

// createZeroed makes a file of size zero bytes, all of them on the disk.
func createZeroed(fsys FS, name string, size int64) (vfs.File, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.Create(name)
	if err != nil {
		return nil, err
	}
	if err = f.Preallocate(size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		fsys.Remove(name) // half a file is worth nothing, and on a full disk its space is needed
		return nil, err
	}
	return f, nil
}

// rotate ends the active segment and begins the next one, in which a record of need bytes fits.
//
//  1. Everything in the active segment is made durable.
//  2. Header and opening group are written into a spare file and made durable.
//  3. The spare gets the segment's name, and the directory is synced. From here on the segment exists.
//  4. The old segment gets its seal, and is synced. From here on the new segment must exist.
//  5. Records go to the new segment.
//
// The seal comes after the new segment so that a crash between the two leaves something to finish, not something missing;
// it must be durable before anything else is in the new segment, so that a lost newest segment is noticed.
func (l *Log) rotate(need int) error {
	if err := l.flush(); err != nil {
		return err
	}
	old := &l.active
	seal := sealOf(old.id, old.next, l.oldest, old.chain)
	seal.encode(l.hdr[:], old.seed)
	recs := l.opening()
	h := segmentHeader{
		Cluster: l.id.Cluster, Node: l.id.Node, Members: l.Members(), ID: old.id + 1, First: old.next,
		Oldest: l.oldest, Salt: l.c.Salt(), Prev: seal.CRC,
	}
	img := newImage(h, recs, l.c.SegmentBytes, need)
	for _, r := range recs {
		r.Frame.Release()
	}
	f, err := l.prepareNext(img)
	if err != nil {
		return l.failWrite(fmt.Errorf("wal: begin segment %d: %w", h.ID, err))
	}
	if err := l.nameNext(f, img); err != nil {
		return l.fail(fmt.Errorf("wal: begin segment %d: %w", h.ID, err))
	}
	if err = old.file.Writev([][]byte{l.hdr[:]}, old.pos); err == nil {
		err = l.datasync(old.file)
	}
	if err != nil {
		f.Close()
		return l.fail(fmt.Errorf("wal: seal segment %d: %w", old.id, err))
	}
	l.sealed = append(l.sealed, segment{old.id, old.size, l.groups.takeMax()})
	return l.activate(f.File, img)
}

// nextFile is the file of the next segment, under the name of a spare.
type nextFile struct {
	vfs.File
	name string
}

// prepareNext makes the file of the segment that begins with img. A file that could not be filled for want of room is given
// up, and with it the room that it takes.
func (l *Log) prepareNext(img *image) (nextFile, error) {
	f, err := l.takeSpare(img.header.Size, img.header.ID)
	if err != nil {
		return f, err
	}
	if err := img.writeTo(f); err != nil {
		f.Close()
		_ = l.c.FS.Remove(f.name) // if it stays, the next replay clears it away
		return f, err
	}
	return f, nil
}

// nameNext makes the file durable, and gives it its name.
func (l *Log) nameNext(f nextFile, img *image) error {
	err := l.datasync(f)
	if err == nil {
		err = l.c.FS.Rename(f.name, filepath.Join(l.c.Dir, segmentName(img.header.ID)))
	}
	if err == nil && !plant.Is(plant.SegmentNameNotSynced) {
		err = l.c.FS.SyncDir(l.c.Dir)
	}
	if err != nil {
		f.Close()
	}
	return err
}

// takeSpare opens a spare of this size, or makes one.
func (l *Log) takeSpare(size int64, id uint64) (nextFile, error) {
	if size == l.c.SegmentBytes {
		if name := l.keeper.take(); name != "" {
			path := filepath.Join(l.c.Dir, name)
			f, err := l.c.FS.Open(path)
			return nextFile{f, path}, err
		}
	}
	tmp := filepath.Join(l.c.Dir, segmentName(id)+tmpSuffix)
	f, err := createZeroed(l.c.FS, tmp, size)
	l.stats.created.Add(1)
	if err == nil {
		l.keeper.room()
	}
	return nextFile{f, tmp}, err
}

// activate makes f, which begins with img, the active segment, and closes the old one.
func (l *Log) activate(f vfs.File, img *image) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	old := l.active.file
	l.active = active{
		id: img.header.ID, size: img.header.Size, file: f, seed: img.header.seed(),
		pos: img.pos, next: img.next(), chain: img.group.CRC,
	}
	l.appended.Store(uint64(img.next() - 1))
	l.durable.Store(uint64(img.next() - 1))
	l.stats.live.Add(1)
	if err := old.Close(); err != nil {
		return l.fail(fmt.Errorf("wal: close segment %d: %w", img.header.ID-1, err))
	}
	return nil
}
