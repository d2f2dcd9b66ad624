package load

import (
	"bytes"
	"encoding/binary"
)

// Stamp names one write of a run: client<<40 | number. It is what a value carries, so that a value read back says
// which write it comes from.
type Stamp uint64

const stampBits = 40

// ClientsMax and stampNumberMax are what fits in a stamp.
const (
	ClientsMax     = 1 << 16
	stampNumberMax = 1<<stampBits - 1
)

// A load of a series has a part of the numbers to itself: 2^24 a client.
const (
	seriesBits = 24
	seriesMax  = 1 << (stampBits - seriesBits)
)

// NewStamp is the stamp of the number-th command, from 0, of a client, from 0.
func NewStamp(client int, number uint64) Stamp {
	return Stamp(uint64(client)<<stampBits | number&stampNumberMax)
}

// Client is the client, from 0.
func (s Stamp) Client() int { return int(s >> stampBits) }

// Number is the command's number within its client, from 0.
func (s Stamp) Number() uint64 { return uint64(s) & stampNumberMax }

// Values makes the values of a run. A value, size included, is a function of the seed and the stamp and of nothing
// else, so an audit needs only the stamp to know what must be read back.
//
//	0        8        16                  16 or Ratio x size        size
//	| stamp  | check  | pseudo-random ...  | one byte repeated ...  |
//
// Both integers little endian; check depends on seed and stamp. A value of less than 8 bytes begins with the check
// instead of the stamp: it can be verified against a stamp, but does not tell its own.
type Values struct {
	Seed  uint64
	Sizes Sizes

	// Ratio is the share of a value that does not compress, 0 < Ratio <= 1; 0 means 1. The first 16 bytes never do.
	Ratio float64
}

const golden = 0x9e3779b97f4a7c15

func (v *Values) check(s Stamp) uint64 { return mix(mix(v.Seed+golden) ^ uint64(s)*golden) }

// Size is the size in bytes of the value of s.
func (v *Values) Size(s Stamp) int { return v.Sizes.At(mix(v.check(s))) }

// Append appends the value of s to dst.
func (v *Values) Append(dst []byte, s Stamp) []byte {
	check := v.check(s)
	size := v.Sizes.At(mix(check))
	if size >= 8 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s))
		size -= 8
	}
	if size >= 8 {
		dst = binary.LittleEndian.AppendUint64(dst, check)
		size -= 8
		if size > 0 {
			dst = v.appendBody(dst, check, size)
		}
		return dst
	}
	for ; size > 0; size-- {
		dst = append(dst, byte(check))
		check >>= 8
	}
	return dst
}

// appendBody appends the size bytes behind the two integers.
func (v *Values) appendBody(dst []byte, state uint64, size int) []byte {
	random := size
	if v.Ratio > 0 && v.Ratio < 1 {
		random = min(max(int(v.Ratio*float64(size+16))-16, 0), size)
	}
	rest := size - random
	for ; random >= 8; random -= 8 {
		state += golden
		dst = binary.LittleEndian.AppendUint64(dst, mix(state))
	}
	if random > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], mix(state+golden))
		dst = append(dst, last[:random]...)
	}
	for ; rest > 0; rest-- {
		dst = append(dst, '.')
	}
	return dst
}

// Is says whether value is exactly the value of s.
func (v *Values) Is(s Stamp, value []byte) bool {
	var scratch [512]byte
	return bytes.Equal(v.Append(scratch[:0], s), value)
}

// StampOf tells which write a value comes from. ok is false if it is no value of this run, or has less than 16
// bytes and so cannot be told.
func (v *Values) StampOf(value []byte) (s Stamp, ok bool) {
	if len(value) < 16 {
		return 0, false
	}
	s = Stamp(binary.LittleEndian.Uint64(value))
	return s, binary.LittleEndian.Uint64(value[8:]) == v.check(s)
}
