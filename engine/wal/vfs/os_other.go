//go:build unix && !linux

package vfs

import "os"

// osFile is the portable file: correct, but it writes piece by piece and syncs metadata as well. Measure on Linux.
type osFile struct{ f *os.File }

// newOSFile leaves direct alone: what it asks for is spelled differently on each system.
func newOSFile(f *os.File, direct bool) *osFile { return &osFile{f} }

func (f *osFile) Writev(bufs [][]byte, off int64) error {
	for _, b := range bufs {
		n, err := f.f.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) Size() (int64, error) {
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *osFile) Preallocate(size int64) error { return zeroFill(f, size) }
func (f *osFile) Sync() error                  { return f.f.Sync() }
func (f *osFile) Datasync() error              { return f.f.Sync() }
func (f *osFile) Close() error                 { return f.f.Close() }
