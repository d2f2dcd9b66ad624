package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

var le = binary.LittleEndian

// Castagnoli is the CRC32C table: the polynomial that processors compute in hardware.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Magic opens every frame: "PXB1" read as a little-endian integer.
const Magic uint32 = 'P' | 'X'<<8 | 'B'<<16 | '1'<<24

// Version is the version of every layout in this package. A frame of another version is refused, naming both.
const Version = 2

// HeaderSize is the size in bytes of a frame's header.
const HeaderSize = 32

// Header is a frame's decoded header.
type Header struct {
	Kind    Kind
	Cluster ClusterID
	Group   GroupID
	From    NodeID // sender; 0: a client
	Length  uint32 // of the body, in bytes
	CRC     uint32 // CRC32C over the header's first 28 bytes and the body

	Incarnations int // so many stand at the body's end; see AppendIncarnation
}

// Size is the size in bytes of the whole frame.
func (h Header) Size() int { return HeaderSize + int(h.Length) }

// Errors of ParseHeader and CheckFrame. All mean: the bytes are not a frame to act upon; nothing was changed.
var (
	ErrShort   = errors.New("wire: frame cut short")
	ErrMagic   = errors.New("wire: bytes are not a frame (bad magic)")
	ErrVersion = errors.New("wire: frame of another version")
	ErrTooLong = errors.New("wire: frame longer than the limit")
	ErrKind    = errors.New("wire: unknown frame kind")
	ErrCRC     = errors.New("wire: frame damaged (CRC)")
	ErrFormat  = errors.New("wire: malformed body")
)

// ParseHeader decodes the header at the start of p and checks everything but the CRC: the length also against what a
// frame of its kind can have. It needs HeaderSize bytes and does not look at the body.
func ParseHeader(p []byte) (Header, error) {
	if len(p) < HeaderSize {
		return Header{}, ErrShort
	}
	if le.Uint32(p) != Magic {
		return Header{}, ErrMagic
	}
	if p[4] != Version {
		return Header{}, fmt.Errorf("%w: got version %d, this build speaks %d", ErrVersion, p[4], Version)
	}
	h := Header{
		Kind:    Kind(p[5]),
		Cluster: ClusterID(le.Uint64(p[8:])),
		Group:   GroupID(le.Uint32(p[16:])),
		From:    NodeID(le.Uint32(p[20:])),
		Length:  le.Uint32(p[24:]),
		CRC:     le.Uint32(p[28:]),
	}
	if !h.Kind.known() {
		return Header{}, fmt.Errorf("%w %d", ErrKind, p[5])
	}
	k := &kinds[h.Kind]
	if h.Incarnations = int(le.Uint16(p[6:])); h.Incarnations > NodesMax || h.Incarnations > 0 && !k.incarnations {
		return Header{}, fmt.Errorf("%w: %d incarnations in a %v frame: reserved bytes are not zero", ErrFormat, h.Incarnations, h.Kind)
	}
	extra := uint32(incarnationSize * h.Incarnations)
	if h.Length > k.max+extra {
		return Header{}, fmt.Errorf("%w: %v body of %d bytes, limit %d", ErrTooLong, h.Kind, h.Length, k.max+extra)
	} else if h.Length < k.min+extra {
		return Header{}, fmt.Errorf("%w: %v body of %d bytes, at least %d are needed", ErrFormat, h.Kind, h.Length, k.min+extra)
	}
	return h, nil
}

// CheckFrame decodes the header of the frame that p starts with and verifies length and CRC.
// Bytes after the frame are not looked at.
func CheckFrame(p []byte) (Header, error) {
	h, err := ParseHeader(p)
	if err != nil {
		return h, err
	}
	if len(p) < h.Size() {
		return h, ErrShort
	}
	if frameCRC(p[:h.Size()]) != h.CRC {
		return h, ErrCRC
	}
	return h, nil
}

func frameCRC(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:28], Castagnoli), Castagnoli, frame[HeaderSize:])
}

// putHeader writes all of the header but length and CRC, which seal fills in.
func putHeader(p []byte, k Kind, c ClusterID, g GroupID, from NodeID) {
	_ = p[HeaderSize-1]
	le.PutUint32(p, Magic)
	p[4], p[5], p[6], p[7] = Version, byte(k), 0, 0
	le.PutUint64(p[8:], uint64(c))
	le.PutUint32(p[16:], uint32(g))
	le.PutUint32(p[20:], uint32(from))
}

// seal fills in length and CRC of a complete frame.
func seal(frame []byte) {
	k, n := Kind(frame[5]), len(frame)-HeaderSize
	extra := incarnationSize * int(le.Uint16(frame[6:]))
	if limits := &kinds[k]; n < int(limits.min)+extra || n > int(limits.max)+extra || extra > 0 && !limits.incarnations {
		panic(fmt.Sprintf("BUG: wire: %v body of %d bytes, %d of incarnations, is outside %d..%d", k, n, extra, limits.min, limits.max))
	}
	le.PutUint32(frame[24:], uint32(n))
	le.PutUint32(frame[28:], frameCRC(frame))
}
