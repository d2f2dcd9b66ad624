package snapshot

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/paxbench/paxbench/wire/plant"
)

// syncBytes is how many bytes are written between syncs. One sync at the end of a large file would have the file
// system write all of it at once, and the log's own syncs on the same disk would wait behind.
const syncBytes = 8 << 20

// Write makes the snapshot described by m in directory dir out of what body writes, and returns its path and its size
// in bytes. When it returns nil the file is complete and durable under its name; after an error the directory holds
// what it held before, apart from a temporary file that Clean removes. body is called once, on this goroutine; its
// memory is the writer's window, not the snapshot's size.
//
// fs nil is the operating system's. One Write for a group and slot at a time.
func Write(fs FS, dir string, m Meta, body func(io.Writer) error) (path string, size int64, err error) {
	fs = orOS(fs)
	path = filepath.Join(dir, Name(m.Group, m.Slot))
	tmp := path + tmpSuffix
	f, err := fs.Create(tmp)
	if err != nil {
		return "", 0, fmt.Errorf("snapshot: create: %w", err)
	}
	size, err = writeFile(f, m, body)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("snapshot: close %s: %w", tmp, cerr)
	}
	if err != nil {
		_ = fs.Remove(tmp) // best effort: a leftover is not read by anybody
		return "", 0, err
	}
	if err := install(fs, dir, tmp, path); err != nil {
		return "", 0, err
	}
	return path, size, nil
}

// install gives a complete and synced file its name, durably.
func install(fs FS, dir, tmp, path string) error {
	if err := fs.Rename(tmp, path); err != nil {
		_ = fs.Remove(tmp)
		return fmt.Errorf("snapshot: rename: %w", err)
	}
	if plant.Is(plant.SnapshotNameNotSynced) {
		return nil
	}
	if err := fs.SyncDir(dir); err != nil {
		return fmt.Errorf("snapshot: sync directory %s: %w", dir, err)
	}
	return nil
}

// writeFile writes header, stream and trailer to f and syncs it.
func writeFile(f FileHandle, m Meta, body func(io.Writer) error) (int64, error) {
	w := &fileWriter{f: f, sum: sha256.New()}
	if _, err := w.Write(appendHeader(nil, m)); err != nil {
		return 0, err
	}
	z := encoders.Get().(*zstd.Encoder)
	z.Reset(w)
	defer func() {
		z.Reset(nil) // it must not hold on to the file
		encoders.Put(z)
	}()
	raw := &countingWriter{w: z}
	if err := body(raw); err != nil {
		_ = z.Close()
		return 0, fmt.Errorf("snapshot: write body: %w", err)
	}
	if err := z.Close(); err != nil {
		return 0, fmt.Errorf("snapshot: compress: %w", err)
	}
	t := trailer{raw: raw.n, stream: uint64(w.at - headerSize)}
	w.sum.Write(appendLengths(nil, t.raw, t.stream))
	w.sum.Sum(t.sum[:0])
	w.sum = nil
	if _, err := w.Write(appendTrailer(nil, t)); err != nil {
		return 0, err
	}
	if plant.Is(plant.RenameBeforeSync) {
		return w.at, nil
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("snapshot: sync: %w", err)
	}
	return w.at, nil
}

// encoders holds idle encoders: each has buffers of several windows, which to make costs more than to write a small snapshot.
// A stream does not depend on what its encoder wrote before.
var encoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(WindowBytes), zstd.WithZeroFrames(true))
	if err != nil {
		panic("BUG: snapshot: encoder options: " + err.Error())
	}
	return z
}}

// fileWriter appends to a file, hashes what it writes, and syncs now and then.
type fileWriter struct {
	f      FileHandle
	at     int64
	synced int64
	sum    hash.Hash // nil: the trailer is being written
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.at)
	w.at += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, fmt.Errorf("snapshot: write: %w", err)
	}
	if w.sum != nil {
		w.sum.Write(p)
	}
	if w.at-w.synced >= syncBytes {
		if err := w.f.Sync(); err != nil {
			return n, fmt.Errorf("snapshot: sync: %w", err)
		}
		w.synced = w.at
	}
	return n, nil
}

// countingWriter counts the bytes of the body.
type countingWriter struct {
	w io.Writer
	n uint64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}
