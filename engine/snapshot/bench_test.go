package snapshot

import (
	"io"
	"testing"
)

// BenchmarkWrite includes the syncs of the machine's temporary directory.
func BenchmarkWrite(b *testing.B) {
	body, dir := randomBody(1, 16<<20), b.TempDir()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		mustWrite(b, nil, dir, testMeta, body)
	}
}

func BenchmarkVerify(b *testing.B) {
	path := mustWrite(b, nil, b.TempDir(), testMeta, randomBody(1, 16<<20))
	for b.Loop() {
		f, err := Verify(nil, path)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(f.Size)
	}
}

func BenchmarkOpen(b *testing.B) {
	body := randomBody(1, 16<<20)
	f, err := Verify(nil, mustWrite(b, nil, b.TempDir(), testMeta, body))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r, err := f.Open()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}
