package wal

import (
	"bytes"
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// pool is every intact record of the cluster in the directories that a repair may take from, the damaged log's own included. What is
// read there is believed in nothing: a frame is something to be tried. So files are searched byte by byte for what
// looks like a frame and has its CRC, whatever surrounds it.
type pool struct {
	r      *repair
	loaded bool
	files  []vfs.File
	frames []poolFrame // in the order of the files
	bySlot []int32     // votes, by group and slot
	byKey  []int32     // all, by key
	own    []int32     // of the node itself and not votes, newest first
	bytes  map[int32][]byte
	held   int // in bytes
}

// frameKey tells frames apart that are tried: their length and CRC.
type frameKey uint64

func keyOf(frame []byte) frameKey {
	return frameKey(uint64(len(frame))<<32 | uint64(le.Uint32(frame[wire.HeaderSize-4:])))
}

type poolFrame struct {
	file   int32
	kind   wire.Kind
	off    int64
	key    frameKey
	group  wire.GroupID
	from   wire.NodeID
	slot   wire.Slot
	ballot wire.Ballot
}

func (f *poolFrame) size() int { return int(f.key >> 32) }

func (f *poolFrame) vote() bool {
	return f.kind == wire.KindAccept || f.kind == wire.KindLearn || f.kind == wire.KindRecVote
}

// Bounds of what a repair takes from others' directories.
const (
	poolFramesMax = 1 << 25
	poolBytesHeld = 64 << 20
	scanWorkMax   = 16 // CRC bytes for each byte of a file: one that is made of headers which lie is not read to its end
)

var frameMagic = le.AppendUint32(nil, wire.Magic)

func (p *pool) init(r *repair) { p.r, p.bytes = r, map[int32][]byte{} }

func (p *pool) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// load reads the directories, once. What cannot be opened is done without.
func (p *pool) load() {
	if p.loaded {
		return
	}
	p.loaded = true
	var buf []byte
	for _, dir := range append([]string{p.r.c.Dir}, p.r.c.From...) {
		names, err := p.r.c.FS.List(dir)
		if err != nil {
			continue
		}
		for _, n := range names {
			n, lost := strings.CutSuffix(n, lostSuffix)
			_, segment := parseName(n, segmentPrefix)
			_, spare := parseName(n, sparePrefix)
			if !segment && !spare {
				continue
			}
			if lost {
				n += lostSuffix
			}
			buf = p.scan(filepath.Join(dir, n), buf)
		}
	}
	p.index()
}

// scan notes the frames in a file.
func (p *pool) scan(name string, buf []byte) []byte {
	all, _, err := loadSectors(p.r.c.FS, name, buf)
	if err != nil {
		return buf
	}
	f, err := p.r.c.FS.OpenRead(name)
	if err != nil {
		return all
	}
	file := int32(len(p.files))
	p.files = append(p.files, f)
	work := int64(len(all))*scanWorkMax + wire.FrameMax
	for off := 0; work > 0 && len(p.frames) < poolFramesMax; {
		at := bytes.Index(all[off:], frameMagic)
		if at < 0 {
			break
		}
		off += at
		h, err := wire.CheckFrame(all[off:])
		if err == nil || errors.Is(err, wire.ErrCRC) {
			work -= int64(h.Size())
		}
		if err != nil || !h.Kind.IsRecord() || h.Cluster != p.r.who.Cluster {
			off++
			continue
		}
		frame := all[off : off+h.Size()]
		pf := poolFrame{file: file, kind: h.Kind, off: int64(off), key: keyOf(frame), group: h.Group, from: h.From}
		if h.Kind != wire.KindRecMembers {
			pf.ballot, pf.slot = wire.Ballot(le.Uint64(frame[wire.HeaderSize:])), wire.Slot(le.Uint64(frame[wire.HeaderSize+8:]))
		}
		p.frames = append(p.frames, pf)
		off += h.Size()
	}
	return all
}

func (p *pool) index() {
	for i := range p.frames {
		f := &p.frames[i]
		p.byKey = append(p.byKey, int32(i))
		if f.vote() {
			p.bySlot = append(p.bySlot, int32(i))
		} else if f.from == p.r.who.Node {
			p.own = append(p.own, int32(i))
		}
	}
	slices.SortStableFunc(p.byKey, func(a, b int32) int { return cmp.Compare(p.frames[a].key, p.frames[b].key) })
	slices.SortStableFunc(p.bySlot, func(a, b int32) int {
		return cmp.Or(cmp.Compare(p.frames[a].group, p.frames[b].group), cmp.Compare(p.frames[a].slot, p.frames[b].slot))
	})
	slices.Reverse(p.own)
}

// slots returns the votes of a group in slots from..to.
func (p *pool) slots(g wire.GroupID, from, to wire.Slot) []int32 {
	lo := sort.Search(len(p.bySlot), func(i int) bool {
		f := &p.frames[p.bySlot[i]]
		return f.group > g || f.group == g && f.slot >= from
	})
	hi := lo
	for hi < len(p.bySlot) && p.frames[p.bySlot[hi]].group == g && p.frames[p.bySlot[hi]].slot <= to {
		hi++
	}
	return p.bySlot[lo:hi]
}

// after returns what stands behind copies of a frame.
func (p *pool) after(key frameKey) (all []int32) {
	lo := sort.Search(len(p.byKey), func(i int) bool { return p.frames[p.byKey[i]].key >= key })
	for ; lo < len(p.byKey) && p.frames[p.byKey[lo]].key == key; lo++ {
		next := p.byKey[lo] + 1
		if int(next) < len(p.frames) && p.frames[next].file == p.frames[next-1].file {
			all = append(all, next)
		}
	}
	return all
}

// read returns a frame's bytes; nil: they cannot be read any more.
func (p *pool) read(i int32) []byte {
	if b, ok := p.bytes[i]; ok {
		return b
	}
	f := &p.frames[i]
	b := make([]byte, f.size())
	if n, _ := p.files[f.file].ReadAt(b, f.off); n < len(b) {
		b = nil
	} else if _, err := wire.CheckFrame(b); err != nil || keyOf(b) != f.key {
		b = nil
	}
	if p.held += len(b); p.held > poolBytesHeld {
		clear(p.bytes)
		p.held = len(b)
	}
	p.bytes[i] = b
	return b
}
