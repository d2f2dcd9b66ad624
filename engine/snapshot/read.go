package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// File is a snapshot whose whole content was verified.
type File struct {
	Path string
	Meta Meta
	Size int64             // of the file, in bytes
	Raw  int64             // of the body, in bytes
	Sum  [sha256.Size]byte // names the content; equal sums are equal files

	// Refused holds an *Error for each newer file of the group that Latest passed over.
	Refused []error

	fs FS
}

// readBytes is the size of the buffer a file is hashed through.
const readBytes = 256 << 10

// Verify reads the whole snapshot at path and checks all there is to check: lengths, checksums, and that it is the
// snapshot its name says. Any error is an *Error. It costs one pass over the file and a fixed amount of memory.
func Verify(fs FS, path string) (*File, error) {
	fs = orOS(fs)
	f, err := fs.Open(path)
	if err != nil {
		return nil, at(path, err)
	}
	defer f.Close()
	v, err := verify(f)
	if err != nil {
		return nil, at(path, err)
	}
	if name := Name(v.Meta.Group, v.Meta.Slot); name != filepath.Base(path) {
		return nil, at(path, &Error{Err: ErrStale, Detail: "its header says " + name})
	}
	v.Path, v.fs = path, fs
	return v, nil
}

// verify checks everything but the name.
func verify(f FileHandle) (*File, error) {
	m, t, size, err := readEnds(f)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	hashed := size - trailerSize + trailerHashed
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, 0, hashed), make([]byte, min(hashed, readBytes))); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), t.sum[:]) {
		return nil, &Error{Err: ErrDamaged, Detail: "checksum"}
	}
	return &File{Meta: m, Size: size, Raw: int64(t.raw), Sum: t.sum}, nil
}

// readEnds reads and checks header and trailer.
func readEnds(f FileHandle) (Meta, trailer, int64, error) {
	size, err := f.Size()
	if err != nil {
		return Meta{}, trailer{}, 0, err
	}
	if size < headerSize+trailerSize {
		return Meta{}, trailer{}, 0, &Error{Err: ErrCut, Detail: fmt.Sprintf("%d bytes do not hold a snapshot", size)}
	}
	var b [headerSize]byte
	if err := readFull(f, b[:], 0); err != nil {
		return Meta{}, trailer{}, 0, err
	}
	m, err := parseHeader(b[:])
	if err != nil {
		return Meta{}, trailer{}, 0, err
	}
	var e [trailerSize]byte
	if err := readFull(f, e[:], size-trailerSize); err != nil {
		return Meta{}, trailer{}, 0, err
	}
	t, err := parseTrailer(e[:], size)
	return m, t, size, err
}

// readFull reads all of p at offset.
func readFull(f FileHandle, p []byte, offset int64) error {
	n, err := f.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &Error{Err: ErrCut, Detail: fmt.Sprintf("ends at byte %d", offset+int64(n))}
	}
	return err
}

// Open returns the body. The bytes are hashed again while they are read, and the last Read returns io.EOF only if
// everything fits; after any other error (an *Error) what was read must be thrown away. Not safe for concurrent use.
func (f *File) Open() (io.ReadCloser, error) {
	h, err := f.fs.Open(f.Path)
	if err != nil {
		return nil, at(f.Path, err)
	}
	m, t, _, err := readEnds(h)
	if err == nil && (m != f.Meta || t.sum != f.Sum) {
		err = &Error{Err: ErrStale, Detail: "replaced since it was verified"}
	}
	if err != nil {
		_ = h.Close()
		return nil, at(f.Path, err)
	}
	r := &bodyReader{path: f.Path, f: h, t: t, sum: sha256.New()}
	r.sum.Write(appendHeader(nil, m))
	r.src = io.TeeReader(io.NewSectionReader(h, headerSize, int64(t.stream)), r.sum)
	r.z, err = zstd.NewReader(r.src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(WindowBytes), zstd.WithDecoderMaxMemory(WindowBytes), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		_ = h.Close()
		return nil, at(f.Path, &Error{Err: ErrDamaged, Detail: err.Error()})
	}
	return r, nil
}

// bodyReader decompresses a body and checks it.
type bodyReader struct {
	path string
	f    FileHandle
	t    trailer
	src  io.Reader // the stream, through sum
	sum  hash.Hash
	z    *zstd.Decoder
	n    uint64 // bytes of the body so far
	err  error  // sticky
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.z.Read(p)
	r.n += uint64(n)
	switch {
	case r.n > r.t.raw:
		n, err = 0, at(r.path, &Error{Err: ErrDamaged, Detail: "body longer than it says"})
	case errors.Is(err, io.EOF):
		err = r.finish()
	case err != nil:
		err = at(r.path, &Error{Err: ErrDamaged, Detail: err.Error()})
	}
	r.err = err
	return n, err
}

// finish is called at the end of the stream: io.EOF if everything fits.
func (r *bodyReader) finish() error {
	if _, err := io.Copy(io.Discard, r.src); err != nil {
		return at(r.path, err)
	}
	r.sum.Write(appendLengths(nil, r.t.raw, r.t.stream))
	if r.n != r.t.raw || !bytes.Equal(r.sum.Sum(nil), r.t.sum[:]) {
		return at(r.path, &Error{Err: ErrDamaged, Detail: "body does not fit its checksum"})
	}
	return io.EOF
}

// Close ends reading, also before the end of the body.
func (r *bodyReader) Close() error {
	r.z.Close()
	if r.err == nil {
		r.err = fmt.Errorf("snapshot: %s: read after Close", r.path)
	}
	return r.f.Close()
}
