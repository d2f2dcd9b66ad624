package snapshot

import (
	"crypto/sha256"
	"io"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// forged is a file with sound checksums around any stream.
func forged(m Meta, raw uint64, stream []byte) []byte {
	p := append(appendHeader(nil, m), stream...)
	p = appendLengths(p, raw, uint64(len(stream)))
	t := trailer{raw: raw, stream: uint64(len(stream)), sum: sha256.Sum256(p)}
	return appendTrailer(p[:len(p)-trailerHashed], t)
}

func place(p []byte) memFS {
	fs := newMemFS()
	fs.WriteFile("d/"+Name(testMeta.Group, testMeta.Slot), p)
	return fs
}

// FuzzVerify gives arbitrary bytes for a file: refused or read, never a panic, and what verifies has a sound header.
func FuzzVerify(f *testing.F) {
	_, whole := source(f, testMeta, []byte("seed"))
	f.Add(whole)
	f.Add(whole[:70])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		fs := place(p)
		v, err := Verify(fs, "d/"+Name(testMeta.Group, testMeta.Slot))
		if err != nil {
			return
		}
		if r, err := v.Open(); err == nil {
			_, _ = io.Copy(io.Discard, r)
			_ = r.Close()
		}
	})
}

// FuzzStream puts arbitrary bytes where the zstd stream stands, under sound checksums: the body never exceeds what the
// file says it has.
func FuzzStream(f *testing.F) {
	f.Add(uint64(4), []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0, 0x21, 0, 0, 1, 2, 3, 4})
	f.Add(uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, raw uint64, stream []byte) {
		fs := place(forged(testMeta, raw, stream))
		v, err := Verify(fs, "d/"+Name(testMeta.Group, testMeta.Slot))
		if err != nil {
			t.Fatalf("sound file refused: %v", err)
		}
		r, err := v.Open()
		if err != nil {
			return
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		if uint64(n) > raw || err == nil && uint64(n) != raw {
			t.Fatalf("%d bytes of a body of %d, %v", n, raw, err)
		}
	})
}

// FuzzReceiver sends arbitrary pieces: never a panic, and nothing is installed that does not verify.
func FuzzReceiver(f *testing.F) {
	_, whole := source(f, testMeta, []byte("seed"))
	f.Add(uint64(testMeta.Slot), uint64(len(whole)), uint64(0), whole)
	f.Add(uint64(1), uint64(1<<40), uint64(1<<63), []byte("x"))
	f.Fuzz(func(t *testing.T, slot, total, offset uint64, data []byte) {
		fs := newMemFS()
		r := receiver(fs, "d")
		for _, s := range []wire.Slot{wire.Slot(slot), testMeta.Slot, testMeta.Slot} {
			ack, _ := r.Chunk(s, total, offset, data)
			if ack.Installed != nil {
				if _, err := Verify(fs, ack.Installed.Path); err != nil {
					t.Fatal(err)
				}
			}
			offset = 0
		}
	})
}
