package vfs

import (
	"path/filepath"
	"syscall"
)

// What disks do to bytes that were safely stored. All of it happens to both images, so that it is seen at once and stays.
//
//	flipped bit          Corrupt
//	zeroed sector        SetSector with zeros
//	stale sector         SetSector with SectorBefore: a write that was confirmed and never done
//	misdirected sector   SetSector with Sector of another place, file or disk
//	unreadable sector    Unreadable

// Corrupt lets fn change a file's bytes, as rot would. fn may also return a shorter or longer slice.
func (m *Mem) Corrupt(name string, fn func(p []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.corrupt(name, fn)
}

func (m *Mem) corrupt(name string, fn func(p []byte) []byte) {
	n := m.at(name)
	n.live = fn(append([]byte(nil), n.live...))
	n.durable = n.live
	n.liveShared, n.durableShared = true, true
}

// at is the file of this name, which the caller knows to be there.
func (m *Mem) at(name string) *inode {
	n := m.live[filepath.Clean(name)]
	if n == nil {
		panic("BUG: vfs: a fault in a file that is not there: " + name)
	}
	return n
}

// KeepHistory has files that are made from now on remember for each sector what was durable there before. Copies of
// the file system go on with it.
func (m *Mem) KeepHistory() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = true
}

// remember keeps what the durable image holds in the sectors that data at off is about to change.
func (n *inode) remember(data []byte, off int64) {
	if n.before == nil {
		return
	}
	end := off + int64(len(data))
	for s := off / SectorSize; s*SectorSize < end; s++ {
		from, to := max(s*SectorSize, off), min((s+1)*SectorSize, end)
		if old := sectorOf(n.durable, s); old != nil {
			from0 := from - s*SectorSize
			if string(old[from0:from0+to-from]) != string(data[from-off:to-off]) {
				n.before[s] = append([]byte(nil), old...)
			}
		}
	}
}

// sectorOf is a view of sector s of p; nil: p does not have all of it.
func sectorOf(p []byte, s int64) []byte {
	if (s+1)*SectorSize > int64(len(p)) {
		return nil
	}
	return p[s*SectorSize : (s+1)*SectorSize]
}

// Sector is a copy of sector s of a file, counting from 0; nil: the file does not have all of it.
func (m *Mem) Sector(name string, s int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]byte(nil), sectorOf(m.at(name).durable, s)...)
}

// SectorBefore is what sector s of a file durably held before its last change; nil: nothing, or KeepHistory came too
// late. Of a file that was renamed it is what the file held under its old name.
func (m *Mem) SectorBefore(name string, s int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]byte(nil), m.at(name).before[s]...)
}

// SetSector makes sector s of a file hold p, SectorSize bytes.
func (m *Mem) SetSector(name string, s int64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.corrupt(name, func(all []byte) []byte {
		copy(sectorOf(all, s), p[:SectorSize])
		return all
	})
}

// Unreadable makes sector s of a file unreadable, EIO, until all of it is written again.
func (m *Mem) Unreadable(name string, s int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.at(name)
	if n.bad == nil {
		n.bad = map[int64]bool{}
	}
	n.bad[s] = true
}

// Bad says that a sector of some file cannot be read.
func (m *Mem) Bad() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.live {
		if len(n.bad) > 0 {
			return true
		}
	}
	return false
}

// unreadable says how many bytes from off on can be read, of size, and with which error reading then stops.
func (n *inode) unreadable(off int64, size int) (int, error) {
	if len(n.bad) == 0 {
		return size, nil
	}
	for s := off / SectorSize; s*SectorSize < off+int64(size); s++ {
		if n.bad[s] {
			return int(max(0, s*SectorSize-off)), syscall.EIO
		}
	}
	return size, nil
}
