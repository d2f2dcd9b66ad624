package wire

import "hash/crc32"

// A checksum that goes on over a sealed frame need not read its body again: the frame's own CRC tells enough of it.
//
// CRC is linear: of two pieces of bytes, crc(a|b) = shift(crc(a), len(b)) ^ crc(b), where shift(c, n) is c followed by n zero
// bytes, which is c * x^8n modulo the polynomial (zlib's crc32_combine, M. Adler). With h the first 28 bytes of a frame and b
// its body, the header holds X = crc(h|b) = shift(crc(h), n) ^ crc(b). Hence, going on from c over the whole frame f, whose first
// 32 bytes are h and X:
//
//	crc(c, f) = shift(crc(c, f[:32]), n) ^ crc(b) = shift(crc(c, f[:32]) ^ crc(h), n) ^ X
//
// The sum is of what was sealed: if memory changed the bytes afterwards, the sum does not fit them, and whoever reads them
// back finds out. Reading them again here would have signed the damage.

// shiftMin is the body from which on the detour is the shorter way.
const shiftMin = 1 << 10

// UpdateFrameCRC is crc32.Update(crc, Castagnoli, frame) of a sealed frame.
func UpdateFrameCRC(crc uint32, frame []byte) uint32 {
	n := len(frame) - HeaderSize
	if n < shiftMin {
		return crc32.Update(crc, Castagnoli, frame)
	}
	head := crc32.Update(crc, Castagnoli, frame[:HeaderSize])
	return shiftCRC(head^crc32.Checksum(frame[:HeaderSize-4], Castagnoli), n) ^ le.Uint32(frame[HeaderSize-4:])
}

// shiftCRC multiplies by x^8n.
func shiftCRC(crc uint32, n int) uint32 {
	for k := 0; n > 0; k, n = k+1, n>>1 {
		if n&1 == 0 {
			continue
		}
		t := &crcPowers[k]
		crc = t[0][crc&15] ^ t[1][crc>>4&15] ^ t[2][crc>>8&15] ^ t[3][crc>>12&15] ^
			t[4][crc>>16&15] ^ t[5][crc>>20&15] ^ t[6][crc>>24&15] ^ t[7][crc>>28]
	}
	return crc
}

// crcPowers[k][i][v] is v in the i-th nibble, followed by 2^k zero bytes: 512 bytes for each k.
var crcPowers = makeCRCPowers()

// powersMax bounds the length of a frame: below 1 << powersMax bytes.
const powersMax = 31

func makeCRCPowers() (t [powersMax][8][16]uint32) {
	power := uint32(1) << 30 // x, reflected: the highest bit is x^0
	for range 3 {
		power = multiplyCRC(power, power)
	}
	for k := range t { // power is x^(8*2^k)
		for i := range t[k] {
			for v := range t[k][i] {
				t[k][i][v] = multiplyCRC(power, uint32(v)<<(4*i))
			}
		}
		power = multiplyCRC(power, power)
	}
	return t
}

// multiplyCRC is a*b modulo the polynomial, bits reflected.
func multiplyCRC(a, b uint32) (p uint32) {
	for m := uint32(1) << 31; m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.Castagnoli
		} else {
			b >>= 1
		}
	}
	return p
}
