package disk

import (
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// Log is the file system of a log on this disk.
func (d *Disk) Log(inner vfs.FS) vfs.FS { return logFS{inner, d} }

type logFS struct {
	vfs.FS
	disk *Disk
}

func (f logFS) MkdirAll(dir string) error {
	if err := f.disk.room(dir, true); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

func (f logFS) Create(name string) (vfs.File, error) {
	if err := f.disk.room(name, true); err != nil {
		return nil, err
	}
	return f.open(name, f.FS.Create)
}

func (f logFS) Open(name string) (vfs.File, error) { return f.open(name, f.FS.Open) }

func (f logFS) open(name string, open func(string) (vfs.File, error)) (vfs.File, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &logFile{file, name, f.disk}, nil
}

func (f logFS) SyncDir(dir string) error {
	return f.disk.sync(dir, func() error { return f.FS.SyncDir(dir) })
}

type logFile struct {
	vfs.File
	name string
	disk *Disk
}

// Writev writes into what was preallocated: the log never writes beyond.
func (f *logFile) Writev(bufs [][]byte, off int64) error {
	if err := f.disk.room(f.name, false); err != nil {
		return err
	}
	return f.File.Writev(bufs, off)
}

func (f *logFile) Preallocate(size int64) error {
	if err := f.disk.room(f.name, true); err != nil {
		return err
	}
	return f.File.Preallocate(size)
}

func (f *logFile) Sync() error     { return f.disk.sync(f.name, f.File.Sync) }
func (f *logFile) Datasync() error { return f.disk.sync(f.name, f.File.Datasync) }

// Snapshots is the file system of snapshots on this disk.
func (d *Disk) Snapshots(inner snapshot.FS) snapshot.FS { return snapFS{inner, d} }

type snapFS struct {
	snapshot.FS
	disk *Disk
}

func (f snapFS) Create(name string) (snapshot.FileHandle, error) {
	if err := f.disk.room(name, true); err != nil {
		return nil, err
	}
	return f.open(name, f.FS.Create)
}

func (f snapFS) OpenPart(name string) (snapshot.FileHandle, error) {
	if err := f.disk.room(name, true); err != nil {
		return nil, err
	}
	return f.open(name, f.FS.OpenPart)
}

func (f snapFS) open(name string, open func(string) (snapshot.FileHandle, error)) (snapshot.FileHandle, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &snapFile{file, name, f.disk}, nil
}

func (f snapFS) SyncDir(dir string) error {
	return f.disk.sync(dir, func() error { return f.FS.SyncDir(dir) })
}

type snapFile struct {
	snapshot.FileHandle
	name string
	disk *Disk
}

// WriteAt grows the file: snapshots are not preallocated.
func (f *snapFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.disk.room(f.name, true); err != nil {
		return 0, err
	}
	return f.FileHandle.WriteAt(p, off)
}

func (f *snapFile) Sync() error { return f.disk.sync(f.name, f.FileHandle.Sync) }
