package vfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
)

// Loss says which un-synced changes a power loss leaves on the disk.
type Loss int

// The ways to lose power. In all of them what was synced stays.
const (
	LoseAll      Loss = iota // nothing un-synced stays
	LoseNone                 // everything stays
	KeepPrefix               // the first changes stay, the last of them up to some sector
	KeepSectors              // of each un-synced write a random set of its sectors stays; of the names a prefix
	KeepGarbage              // as KeepSectors, but a sector that was being changed may hold garbage
	KeepNames                // names and sizes stay, contents do not: files that grew have grown with zeros
	KeepContents             // contents stay, names do not
	lossEnd
)

// Losses lists every way to lose power.
func Losses() []Loss {
	var all []Loss
	for l := LoseAll; l < lossEnd; l++ {
		all = append(all, l)
	}
	return all
}

func (l Loss) String() string {
	names := []string{"LoseAll", "LoseNone", "KeepPrefix", "KeepSectors", "KeepGarbage", "KeepNames", "KeepContents"}
	if l < 0 || int(l) >= len(names) {
		return fmt.Sprintf("Loss(%d)", int(l))
	}
	return names[l]
}

// Reboot is a crash of the process, not of the machine: the live image stays as it is and stays un-synced where it
// was. Open handles and locks are dead; crash point and hook are gone.
func (m *Mem) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reset()
}

func (m *Mem) reset() {
	m.epoch++
	m.locks = map[string]bool{}
	m.ops, m.crashAt, m.hook = 0, 0, nil
}

// PowerLoss is a crash of the machine: of the un-synced changes stay those that loss and seed say, and the live image
// becomes the durable one. Open handles and locks are dead; crash point and hook are gone.
func (m *Mem) PowerLoss(loss Loss, seed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, uint64(loss)))
	changes := m.journal
	m.journal = nil
	switch loss {
	case LoseAll:
	case LoseNone:
		for i := range changes {
			changes[i].apply(m.durable)
		}
	case KeepPrefix:
		m.keepPrefix(changes, rng)
	case KeepSectors, KeepGarbage:
		m.keepSectors(changes, rng, loss == KeepGarbage)
	case KeepNames, KeepContents:
		m.keepOneKind(changes, loss == KeepNames)
	default:
		panic(fmt.Sprintf("BUG: vfs: unknown loss %d", int(loss)))
	}
	m.live = map[string]*inode{}
	for name, n := range m.durable {
		m.live[name] = n
		n.live, n.liveShared, n.durableShared = n.durable, true, true
	}
	m.reset()
}

// keepOneKind carries either the names and the sizes of files to the durable image, or the contents.
func (m *Mem) keepOneKind(changes []change, names bool) {
	for i := range changes {
		c := &changes[i]
		switch grows := c.node != nil && c.data == nil; {
		case grows || names == (c.node == nil):
			c.apply(m.durable)
		case names:
			if size := int64(len(c.node.durable)); c.off+int64(len(c.data)) > size {
				c.node.settle(make([]byte, c.off+int64(len(c.data))-size), size)
			}
		}
	}
}

func (m *Mem) keepPrefix(changes []change, rng *rand.Rand) {
	keep := rng.IntN(len(changes) + 1)
	for i := range changes[:keep] {
		changes[i].apply(m.durable)
	}
	if keep == len(changes) || changes[keep].data == nil {
		return
	}
	c := changes[keep]
	c.data = c.data[:rng.IntN(len(c.data)/SectorSize+1)*SectorSize]
	c.apply(m.durable)
}

func (m *Mem) keepSectors(changes []change, rng *rand.Rand, garbage bool) {
	names := 0
	for i := range changes {
		if changes[i].node == nil {
			names++
		}
	}
	names = rng.IntN(names + 1)
	for i := range changes {
		c := &changes[i]
		switch {
		case c.node == nil:
			if names > 0 {
				c.apply(m.durable)
			}
			names--
		case c.data == nil:
			if rng.IntN(2) == 0 { // zero-filled growth without the data, or no growth
				c.apply(m.durable)
			}
		default:
			c.keepSectors(rng, garbage)
		}
	}
}

// keepSectors carries some of a write's sectors to the durable image. Writes need not be aligned: a sector is the
// disk's, not the write's.
func (c *change) keepSectors(rng *rand.Rand, garbage bool) {
	for from := c.off; from < c.off+int64(len(c.data)); {
		to := min(from/SectorSize*SectorSize+SectorSize, c.off+int64(len(c.data)))
		part := c.data[from-c.off : to-c.off]
		switch roll := rng.IntN(8); {
		case roll < 4:
			c.node.settle(part, from)
		case roll == 4 && garbage && !c.holds(part, from):
			junk := make([]byte, len(part))
			for i := range junk {
				junk[i] = byte(rng.Uint32())
			}
			c.node.settle(junk, from)
		}
		from = to
	}
}

// holds says whether the durable image has these bytes already: a sector that is overwritten by what it holds keeps it.
func (c *change) holds(part []byte, off int64) bool {
	d := c.node.durable
	return int64(len(d)) >= off+int64(len(part)) && string(d[off:off+int64(len(part))]) == string(part)
}

// WriteFile makes name hold data, durably, as an outside hand would: the directory is made, nothing is counted.
func (m *Mem) WriteFile(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	m.dirs[filepath.Dir(name)] = true
	n := m.newInode()
	n.live, n.durable = append([]byte(nil), data...), append([]byte(nil), data...)
	m.live[name], m.durable[name] = n, n
}

// Clone returns an independent copy of the file system, un-synced changes included, without its open handles, locks,
// crash point and hook.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	c.history = m.history
	copies := map[*inode]*inode{nil: nil}
	dup := func(n *inode) *inode {
		if d, ok := copies[n]; ok {
			return d
		}
		n.liveShared, n.durableShared = true, true
		d := &inode{live: n.live, durable: n.durable, liveShared: true, durableShared: true,
			before: maps.Clone(n.before), bad: maps.Clone(n.bad)}
		copies[n] = d
		return d
	}
	for name, n := range m.live {
		c.live[name] = dup(n)
	}
	for name, n := range m.durable {
		c.durable[name] = dup(n)
	}
	for dir := range m.dirs {
		c.dirs[dir] = true
	}
	for i := range m.journal {
		m.journal[i].shared = true
		ch := m.journal[i]
		ch.node, ch.target = dup(ch.node), dup(ch.target)
		c.journal = append(c.journal, ch)
	}
	return c
}
