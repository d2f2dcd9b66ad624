package wire

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// A sum that differs from the plain one at any length would make a log that reads as damaged.
func TestUpdateFrameCRC(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lengths := []int{0, 1, shiftMin - 1, shiftMin, shiftMin + 1, 4096, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 3<<20 + 5}
	for range 200 {
		lengths = append(lengths, shiftMin+rng.IntN(1<<14))
	}
	for _, n := range lengths {
		f := make([]byte, HeaderSize+n)
		for i := range f {
			f[i] = byte(rng.Uint32())
		}
		le.PutUint32(f[HeaderSize-4:], frameCRC(f))
		from := rng.Uint32()
		if got, want := UpdateFrameCRC(from, f), crc32.Update(from, Castagnoli, f); got != want {
			t.Fatalf("body of %d bytes from %08x: %08x, want %08x", n, from, got, want)
		}
	}
}

// A frame that changed in memory after it was sealed must not be signed: the sum has to disagree with the bytes.
func TestUpdateFrameCRCSignsNoDamage(t *testing.T) {
	f := make([]byte, HeaderSize+4000)
	le.PutUint32(f[HeaderSize-4:], frameCRC(f))
	f[2000] ^= 4
	if UpdateFrameCRC(7, f) == crc32.Update(7, Castagnoli, f) {
		t.Error("the sum fits the damaged bytes")
	}
}

func BenchmarkUpdateFrameCRC(b *testing.B) {
	for _, n := range []int{1 << 10, 8 << 10, 64 << 10, 1 << 20} {
		f := make([]byte, HeaderSize+n)
		le.PutUint32(f[HeaderSize-4:], frameCRC(f))
		b.Run("shift", func(b *testing.B) {
			b.SetBytes(int64(n))
			for range b.N {
				UpdateFrameCRC(1, f)
			}
		})
		b.Run("read", func(b *testing.B) {
			b.SetBytes(int64(n))
			for range b.N {
				crc32.Update(1, Castagnoli, f)
			}
		})
	}
}
