package wal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

var le = binary.LittleEndian

// Version is the version of the segment format. 2: an end mark behind every group.
const Version = 2

const (
	sectorSize = vfs.SectorSize
	pageSize   = 4096 // the page cache's unit

	segmentHeaderSize = sectorSize
	groupHeaderSize   = 64
	sealSize          = sectorSize // kept free at a segment's end

	// segmentBytesMin leaves room for the header, an opening group and a small group in tests with tiny segments.
	segmentBytesMin = 2 * pageSize
)

// segmentMagic opens a segment file. The line ends catch a copy made in text mode.
var segmentMagic = [8]byte{'P', 'X', 'W', 'A', 'L', '\r', '\n', 0x1a}

const groupMagic uint32 = 'P' | 'X'<<8 | 'G'<<16 | '1'<<24

// segmentHeader is what a segment file opens with. doc.go draws the bytes.
type segmentHeader struct {
	Cluster wire.ClusterID
	Node    wire.NodeID
	Members []wire.NodeID
	ID      uint64   // of the segment, from 1
	Size    int64    // of the file in bytes
	First   wire.LSN // of the first record
	Oldest  uint64   // id of the oldest segment still needed
	Salt    uint64
	Prev    uint32 // CRC of the previous segment's seal; 0 in segment 1
	CRC     uint32
}

func (h *segmentHeader) encode() []byte {
	p := make([]byte, segmentHeaderSize)
	copy(p, segmentMagic[:])
	le.PutUint32(p[8:], Version)
	le.PutUint32(p[12:], segmentHeaderSize)
	le.PutUint64(p[16:], uint64(h.Cluster))
	le.PutUint32(p[24:], uint32(h.Node))
	le.PutUint32(p[28:], uint32(len(h.Members)))
	le.PutUint64(p[32:], h.ID)
	le.PutUint64(p[40:], uint64(h.Size))
	le.PutUint64(p[48:], uint64(h.First))
	le.PutUint64(p[56:], h.Oldest)
	le.PutUint64(p[64:], h.Salt)
	le.PutUint32(p[72:], h.Prev)
	for i, m := range h.Members {
		le.PutUint32(p[80+4*i:], uint32(m))
	}
	h.CRC = crc32.Checksum(p[:segmentHeaderSize-4], wire.Castagnoli)
	le.PutUint32(p[segmentHeaderSize-4:], h.CRC)
	return p
}

// decodeSegmentHeader decodes the header in p, which stands in the file name. It checks the header alone; whose segment
// it is and where it belongs is the caller's.
func decodeSegmentHeader(name string, p []byte) (segmentHeader, error) {
	var h segmentHeader
	bad := func(format string, args ...any) (segmentHeader, error) {
		return h, &CorruptError{File: name, Reason: fmt.Sprintf(format, args...)}
	}
	if len(p) < segmentHeaderSize {
		return bad("the file ends after %d bytes, inside the segment header", len(p))
	}
	if [8]byte(p) != segmentMagic {
		return bad("this is not a segment (bad magic)")
	}
	h.CRC = le.Uint32(p[segmentHeaderSize-4:])
	if crc32.Checksum(p[:segmentHeaderSize-4], wire.Castagnoli) != h.CRC {
		return bad("the segment header is damaged (CRC)")
	}
	if v := le.Uint32(p[8:]); v != Version {
		return h, &VersionError{File: name, Got: v, Want: Version}
	}
	h.Cluster = wire.ClusterID(le.Uint64(p[16:]))
	h.Node = wire.NodeID(le.Uint32(p[24:]))
	h.ID = le.Uint64(p[32:])
	h.Size = int64(le.Uint64(p[40:]))
	h.First = wire.LSN(le.Uint64(p[48:]))
	h.Oldest = le.Uint64(p[56:])
	h.Salt = le.Uint64(p[64:])
	h.Prev = le.Uint32(p[72:])
	count := le.Uint32(p[28:])
	if count > wire.NodesMax || h.Size < segmentHeaderSize+sealSize || h.Size%sectorSize != 0 || h.First == 0 ||
		h.Oldest == 0 || h.Oldest > h.ID {
		return bad("the segment header is senseless: %d members, %d bytes, segment %d, oldest %d, LSN %d",
			count, h.Size, h.ID, h.Oldest, h.First)
	}
	for i := range int(count) {
		h.Members = append(h.Members, wire.NodeID(le.Uint32(p[80+4*i:])))
	}
	return h, nil
}

// seed starts every CRC inside the segment: a group validates only in the segment file it was written for, of the node
// and cluster it was written by. The salt is random for each file made or reused, so that bytes which a client got
// into the log cannot be shaped into a group that validates.
func (h *segmentHeader) seed() uint32 {
	var p [28]byte
	le.PutUint64(p[0:], uint64(h.Cluster))
	le.PutUint32(p[8:], uint32(h.Node))
	le.PutUint64(p[12:], h.ID)
	le.PutUint64(p[20:], h.Salt)
	return crc32.Checksum(p[:], wire.Castagnoli)
}

// Flags of a group.
const (
	flagSeal    uint16 = 1 << iota // the segment ends here and the next one exists; no records
	flagRelaxed                    // written under a policy that acknowledges before the sync
	flagEnd                        // not a group but the end mark behind the last one; no records
)

// groupHeader is what a group opens with. doc.go draws the bytes.
type groupHeader struct {
	Flags   uint16
	Segment uint64
	First   wire.LSN
	Durable wire.LSN // every record up to here was on the disk when the group was written
	Oldest  uint64   // id of the oldest segment still needed
	Count   uint32   // records
	Length  uint32   // of the records in bytes
	Prev    uint32   // CRC of the previous group's header, of the segment header in a segment's first group
	Body    uint32   // CRC of the records
	CRC     uint32   // of this header
}

// encode writes the header into p and sets h.CRC.
func (h *groupHeader) encode(p []byte, seed uint32) {
	_ = p[groupHeaderSize-1]
	le.PutUint32(p[0:], groupMagic)
	le.PutUint16(p[4:], h.Flags)
	le.PutUint16(p[6:], 0)
	le.PutUint64(p[8:], h.Segment)
	le.PutUint64(p[16:], uint64(h.First))
	le.PutUint64(p[24:], uint64(h.Durable))
	le.PutUint64(p[32:], h.Oldest)
	le.PutUint32(p[40:], h.Count)
	le.PutUint32(p[44:], h.Length)
	le.PutUint32(p[48:], h.Prev)
	le.PutUint32(p[52:], h.Body)
	le.PutUint32(p[56:], 0)
	h.CRC = crc32.Update(seed, wire.Castagnoli, p[:groupHeaderSize-4])
	le.PutUint32(p[60:], h.CRC)
}

// decode reads the header in p. false: p does not start with a group of this segment.
func (h *groupHeader) decode(p []byte, segment uint64, seed uint32) bool {
	if len(p) < groupHeaderSize || le.Uint32(p) != groupMagic || le.Uint64(p[8:]) != segment {
		return false
	}
	h.CRC = le.Uint32(p[60:])
	if crc32.Update(seed, wire.Castagnoli, p[:groupHeaderSize-4]) != h.CRC {
		return false
	}
	h.Flags = le.Uint16(p[4:])
	h.Segment = segment
	h.First = wire.LSN(le.Uint64(p[16:]))
	h.Durable = wire.LSN(le.Uint64(p[24:]))
	h.Oldest = le.Uint64(p[32:])
	h.Count = le.Uint32(p[40:])
	h.Length = le.Uint32(p[44:])
	h.Prev = le.Uint32(p[48:])
	h.Body = le.Uint32(p[52:])
	return true
}

// sealOf is the header that ends a segment: everything before it is on the disk, and the next segment exists. It is a
// function of what precedes it, so that a rotation which a crash cut short can be finished.
func sealOf(segment uint64, next wire.LSN, oldest uint64, chain uint32) groupHeader {
	return groupHeader{Flags: flagSeal, Segment: segment, First: next, Durable: next - 1, Oldest: oldest, Prev: chain}
}

// endMark is what stands behind the group with header h, at the sector where the next group will begin, until that group
// overwrites it: the log ends here. It is written with the group, in the padding that is written anyway. Without it the
// log's end would be whatever looks like nothing, and an acknowledged group whose one sector was zeroed, or never
// written, looks like nothing.
func (h *groupHeader) endMark() groupHeader {
	return groupHeader{
		Flags: flagEnd, Segment: h.Segment, First: h.First + wire.LSN(h.Count), Durable: h.Durable, Oldest: h.Oldest, Prev: h.CRC,
	}
}

// alignUp rounds n up to a multiple of to, a power of two.
func alignUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

func randomSalt() uint64 {
	var p [8]byte
	if _, err := rand.Read(p[:]); err != nil {
		panic("BUG: wal: the system has no random source: " + err.Error())
	}
	return le.Uint64(p[:])
}

// Names of the files in a log's directory.
const (
	identityName  = "identity"
	lockName      = "lock"
	segmentPrefix = "seg-"
	sparePrefix   = "spare-"
	walSuffix     = ".wal"
	tmpSuffix     = ".tmp" // being made: worth nothing after a crash
)

func segmentName(id uint64) string { return fmt.Sprintf("%s%016x%s", segmentPrefix, id, walSuffix) }
func spareName(n uint64) string    { return fmt.Sprintf("%s%016x%s", sparePrefix, n, walSuffix) }

// parseName reads the number in a name that segmentName or spareName made.
func parseName(name, prefix string) (uint64, bool) {
	hex, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	hex, ok = strings.CutSuffix(hex, walSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil && strings.ToLower(hex) == hex
}
