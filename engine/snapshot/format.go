package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

var le = binary.LittleEndian

const (
	headMagic = "PAXSNAP1"
	tailMagic = "PAXSEND1"
	version   = 1

	headerSize  = 64
	trailerSize = 64

	// trailerHashed is how much of the trailer the hash covers: the two lengths in front of it.
	trailerHashed = 16
)

// WindowBytes bounds the memory a zstd stream may demand of its reader. The writer stays below it.
const WindowBytes = 1 << 20

// Meta says what a snapshot is of.
type Meta struct {
	Cluster wire.ClusterID
	Group   wire.GroupID
	Slot    wire.Slot   // the state holds every slot up to here
	Ballot  wire.Ballot // of that slot, as the writer learned it; 0: not known
}

// trailer is the decoded end of a file.
type trailer struct {
	raw    uint64 // bytes of the body
	stream uint64 // bytes of the zstd stream
	sum    [sha256.Size]byte
}

func appendHeader(dst []byte, m Meta) []byte {
	var h [headerSize]byte
	copy(h[:], headMagic)
	le.PutUint32(h[8:], version)
	le.PutUint32(h[12:], uint32(m.Group))
	le.PutUint64(h[16:], uint64(m.Cluster))
	le.PutUint64(h[24:], uint64(m.Slot))
	le.PutUint64(h[32:], uint64(m.Ballot))
	le.PutUint32(h[60:], crc32.Checksum(h[:60], wire.Castagnoli))
	return append(dst, h[:]...)
}

// parseHeader decodes the header at the start of p. The version is looked at before the CRC: another version may
// have another CRC.
func parseHeader(p []byte) (Meta, error) {
	if len(p) < headerSize {
		return Meta{}, &Error{Err: ErrCut, Detail: fmt.Sprintf("%d bytes do not hold a header", len(p))}
	}
	if string(p[:8]) != headMagic {
		return Meta{}, &Error{Err: ErrDamaged, Detail: "does not begin like a snapshot"}
	}
	sound := le.Uint32(p[60:]) == crc32.Checksum(p[:60], wire.Castagnoli)
	if v := le.Uint32(p[8:]); v != version && sound {
		return Meta{}, &Error{Err: ErrVersion, Detail: fmt.Sprintf("version %d, this build reads %d", v, version)}
	}
	if !sound {
		return Meta{}, &Error{Err: ErrDamaged, Detail: "header checksum"}
	}
	return Meta{
		Group:   wire.GroupID(le.Uint32(p[12:])),
		Cluster: wire.ClusterID(le.Uint64(p[16:])),
		Slot:    wire.Slot(le.Uint64(p[24:])),
		Ballot:  wire.Ballot(le.Uint64(p[32:])),
	}, nil
}

// appendTrailer appends the trailer; sum is the hash over everything up to and including the two lengths.
func appendTrailer(dst []byte, t trailer) []byte {
	dst = appendLengths(dst, t.raw, t.stream)
	dst = append(dst, t.sum[:]...)
	dst = le.AppendUint64(dst, headerSize+t.stream+trailerSize)
	return append(dst, tailMagic...)
}

func appendLengths(dst []byte, raw, stream uint64) []byte {
	return le.AppendUint64(le.AppendUint64(dst, raw), stream)
}

// parseTrailer decodes the trailer p of a file of size bytes. It does not check the hash.
func parseTrailer(p []byte, size int64) (trailer, error) {
	var t trailer
	if len(p) != trailerSize || string(p[56:]) != tailMagic {
		return t, &Error{Err: ErrCut, Detail: "does not end like a snapshot"}
	}
	t.raw, t.stream = le.Uint64(p), le.Uint64(p[8:])
	copy(t.sum[:], p[trailerHashed:])
	if said := le.Uint64(p[48:]); said != uint64(size) || t.stream != uint64(size)-headerSize-trailerSize {
		return t, &Error{Err: ErrCut, Detail: fmt.Sprintf("%d bytes, should have %d", size, said)}
	}
	return t, nil
}

const (
	namePrefix = "snap-"
	tmpSuffix  = ".tmp"
	partSuffix = ".part"
)

// Name is the file name of the snapshot of group g at slot s.
func Name(g wire.GroupID, s wire.Slot) string {
	return fmt.Sprintf("%s%010d-%020d", namePrefix, uint32(g), uint64(s))
}

// partName is the file name of a copy under way.
func partName(g wire.GroupID, s wire.Slot, total uint64) string {
	return fmt.Sprintf("%s-%d%s", Name(g, s), total, partSuffix)
}

// ParseName is the inverse of Name; ok is false for every other name.
func ParseName(name string) (g wire.GroupID, s wire.Slot, ok bool) {
	gs, ss, found := strings.Cut(strings.TrimPrefix(name, namePrefix), "-")
	if !found {
		return 0, 0, false
	}
	gn, gerr := strconv.ParseUint(gs, 10, 32)
	sn, serr := strconv.ParseUint(ss, 10, 64)
	g, s = wire.GroupID(gn), wire.Slot(sn)
	return g, s, gerr == nil && serr == nil && name == Name(g, s)
}

// parsePartName is the inverse of partName.
func parsePartName(name string) (g wire.GroupID, s wire.Slot, total uint64, ok bool) {
	base, isPart := strings.CutSuffix(name, partSuffix)
	cut := strings.LastIndexByte(base, '-')
	if !isPart || cut < 0 {
		return 0, 0, 0, false
	}
	g, s, ok = ParseName(base[:cut])
	total, err := strconv.ParseUint(base[cut+1:], 10, 64)
	return g, s, total, ok && err == nil && name == partName(g, s, total)
}

// at puts the path into an *Error that does not have one yet, and wraps any other error.
func at(path string, err error) error {
	if e, ok := err.(*Error); ok {
		e.File = path
		return e
	}
	return &Error{File: filepath.Clean(path), Err: err}
}
